/**
 * Files that jobs write on real processes, read back by someone who knows nothing of checkpoints: each row once, whatever is killed. The
 * job insists itself that no record of a key is missing or doubled.
 */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Collector, type JobHandle, KeyedProcessFunction, LocalCluster, type ProcessContext, type RuntimeContext, type ValueState, environment,
  jsonLines, valueState,
} from "drey";
import { afterAll, beforeAll, expect, it, vi } from "vitest";

const KEYS = 11;
let cluster: LocalCluster;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drey-exactly-once-"));
  // Whoever is killed is noticed at once; a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 3, slots: 1, options: { "heartbeat.timeout": "30 s" } });
});
afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

class Consecutive extends KeyedProcessFunction<number, number, number> {
  private last!: ValueState<number>;

  override open(context: RuntimeContext): void {
    this.last = context.state(valueState<number>("last", -1));
  }

  override processElement(row: number, { key }: ProcessContext<number>, out: Collector<number>): void {
    const [last, now] = [this.last.value() as number, Math.floor(row / KEYS)];
    if (now !== last + 1) throw new Error(`key ${key}: record ${now} comes after ${last}`);
    this.last.update(now);
    out.collect(row);
  }
}

/** Rows in the visible files. */
const written = (out: string): number[] =>
  readdirSync(out)
    .filter((name) => !name.startsWith("."))
    .flatMap((name) => readFileSync(join(out, name), "utf8").trim().split("\n").filter((line) => line !== "").map(Number));

const completed = (job: JobHandle, least: number): Promise<void> =>
  vi.waitFor(async () => expect((await job.checkpoints()).completed).toBeGreaterThanOrEqual(least), { timeout: 45_000, interval: 50 });

async function kill(job: JobHandle): Promise<void> {
  const { restored, completed: before } = await job.checkpoints();
  await completed(job, before + 1);
  const { executions } = await job.details();
  const runs = (index: number): boolean => executions.some(({ taskManager }) => taskManager?.startsWith(`tm-${index}-`));
  await cluster.killTaskManager(cluster.processes.taskManagers.findIndex((_, index) => runs(index)));
  await vi.waitFor(async () => expect((await job.checkpoints()).restored).toBeGreaterThan(restored), { timeout: 45_000, interval: 50 });
}

it.each([
  { name: "aligned", kills: 2, configuration: {} },
  { name: "unaligned, under back pressure", kills: 1, slow: true, configuration: { "execution.checkpointing.unaligned.enabled": true } },
  {
    name: "aligned, then unaligned",
    kills: 1,
    configuration: { "execution.checkpointing.unaligned.enabled": true, "execution.checkpointing.aligned-checkpoint-timeout": "20 ms" },
  },
])("files hold each row once while TaskManagers are killed: $name", { timeout: 120_000 }, async ({ name, kills, slow = false, configuration }) => {
  const out = join(folder, name.replaceAll(/\W+/g, "-"));
  const count = slow ? 15_000 : 25_000;
  const env = environment({ cluster, parallelism: 2, printLogs: false, configuration }).enableCheckpointing(150);
  env
    .generate((i) => i, { count, rowsPerSecond: slow ? Number.POSITIVE_INFINITY : 5_000 })
    .setParallelism(1)
    .keyBy((i) => i % KEYS)
    .process(new Consecutive())
    .rebalance()
    .map((row) => {
      if (slow) for (const until = performance.now() + 0.3; performance.now() < until; );
      return row;
    })
    .sinkTo(jsonLines(out));
  const job = await env.submit(name);
  for (let killed = 0; killed < kills; killed++) await kill(job);
  if (slow) {
    const { latest } = await job.checkpoints();
    expect(Math.max(...latest.flatMap(({ subtasks }) => subtasks.map(({ channelBytes }) => channelBytes)))).toBeGreaterThan(1_000);
  }
  // What is seen meanwhile stays.
  const meanwhile = existsSync(out) ? written(out) : [];
  await job.result();
  const rows = written(out);
  expect(rows.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
  const all = new Set(rows);
  expect(meanwhile.filter((row) => !all.has(row))).toEqual([]);
  expect(readdirSync(out).filter((file) => file.startsWith("."))).toEqual([]);
  await env.close();
});

it("files hold each row once while the job is rescaled, and stopped and started again", { timeout: 120_000 }, async () => {
  const out = join(folder, "rescaled");
  const count = 16_000;
  const build = (parallelism: number): ReturnType<typeof environment> => {
    const env = environment({ cluster, parallelism, printLogs: false }).enableCheckpointing(150);
    env
      .generate((i) => i, { count, rowsPerSecond: 4_000 })
      .setParallelism(1)
      .keyBy((i) => i % KEYS)
      .process(new Consecutive())
      .sinkTo(jsonLines(out))
      .uid("files");
    return env;
  };
  const first = build(2);
  const job = await first.submit("rescaled");
  for (const parallelism of [3, 1]) {
    await completed(job, (await job.checkpoints()).completed + 2);
    await job.rescale(parallelism);
  }
  await completed(job, (await job.checkpoints()).completed + 1);
  const savepoint = await job.stopWithSavepoint({ folder: join(folder, "savepoints") });
  const before = written(out);
  await first.close();
  const second = build(3);
  await (await second.submit("again", { from: savepoint })).result();
  await second.close();
  expect(before.length).toBeGreaterThan(0);
  expect(before.length).toBeLessThan(count);
  expect(written(out).toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
  expect(readdirSync(out).filter((file) => file.startsWith("."))).toEqual([]);
});
