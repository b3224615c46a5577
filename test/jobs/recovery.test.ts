/** Jobs with checkpoints on real processes: what a client sees when TaskManagers are killed, and jobs are stopped, changed and rescaled. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LocalCluster, environment, type Environment, type JobHandle } from "drey";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

const KEYS = 10;
interface Counted {
  readonly key: number;
  readonly count: number;
}

let cluster: LocalCluster;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drey-recovery-"));
  cluster = await LocalCluster.start({
    taskManagers: 3,
    slots: 1,
    // Whoever is killed is noticed at once; a machine that is too busy for heartbeats is no fault.
    options: { "heartbeat.timeout": "30 s", "execution.checkpointing.savepoint-dir": folder },
  });
});
afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Rows 0, 1, 2 …, counted by key; each row says how many of its key there have been. Without end, so that no machine is too slow. */
function counting(rowsPerSecond: number, count = Number.POSITIVE_INFINITY, configuration: Readonly<Record<string, unknown>> = {}) {
  const env = environment({ cluster, printLogs: false, configuration: { "parallelism.default": 2, ...configuration } }).enableCheckpointing(200);
  const counted = env
    .generate((n) => ({ key: n % 10, count: 1 }), { count, rowsPerSecond })
    .keyBy((row) => row.key)
    .reduce((a, b) => ({ key: a.key, count: a.count + b.count }))
    .uid("counter");
  return { env, counted };
}

/** What a subscriber sees, and whether each count was the one after the last of its key. */
class Seen {
  readonly last = new Map<number, number>();
  rows = 0;
  readonly wrong: string[] = [];
  readonly ended: Promise<void>;

  constructor(job: JobHandle<{ readonly counted: Counted }>) {
    this.ended = new Promise((resolve, reject) => {
      job.outputs.counted.subscribe({ next: (row) => this.#see(row), complete: resolve, error: reject });
    });
  }

  #see({ key, count }: Counted): void {
    this.rows++;
    if (count !== (this.last.get(key) ?? 0) + 1) this.wrong.push(`${key}: ${count} after ${this.last.get(key)}`);
    this.last.set(key, count);
  }
}

async function submitted(rowsPerSecond: number): Promise<{ env: Environment; job: JobHandle<{ readonly counted: Counted }>; seen: Seen }> {
  const { env, counted } = counting(rowsPerSecond);
  const job = await env.submit({ name: "counts", outputs: { counted } });
  return { env, job, seen: new Seen(job) };
}

/** Ends a job that has no end, and looks at what its subscriber saw. */
async function endsSound(job: JobHandle<{ readonly counted: Counted }>, seen: Seen): Promise<void> {
  await job.stopWithSavepoint();
  await seen.ended;
  expect(seen.wrong).toEqual([]);
  expect(seen.last.size).toBe(KEYS);
  expect(seen.rows).toBe([...seen.last.values()].reduce((sum, count) => sum + count, 0));
}

const completed = (job: JobHandle<never> | JobHandle<{ readonly counted: Counted }>, least: number): Promise<void> =>
  vi.waitFor(async () => expect((await job.checkpoints()).completed).toBeGreaterThanOrEqual(least), { timeout: 30_000, interval: 50 });

describe("a subscriber", () => {
  it("sees every row once and in order while TaskManagers are killed", { timeout: 90_000 }, async () => {
    const { env, job, seen } = await submitted(4_000);
    for (let kills = 0; kills < 2; kills++) {
      const { restored, completed: before } = await job.checkpoints();
      await completed(job, before + 2);
      const { executions } = await job.details();
      const victim = cluster.processes.taskManagers.findIndex((_, index) => executions.some((it) => it.taskManager?.startsWith(`tm-${index}-`)));
      await cluster.killTaskManager(victim);
      await vi.waitFor(async () => expect((await job.checkpoints()).restored).toBeGreaterThan(restored), { timeout: 30_000, interval: 50 });
      }
    await completed(job, (await job.checkpoints()).completed + 1);
    await endsSound(job, seen);
    await env.close();
  });

  it("that takes rows at once is told which come again", { timeout: 90_000 }, async () => {
    const env = environment({
      cluster, printLogs: false, configuration: { "execution.results.release": "at-once" },
    }).enableCheckpointing(200);
    // One task, so that a restart makes the very same rows in the same order.
    const job = await env.submit({ name: "at once", outputs: { rows: env.generate((n) => n, { rowsPerSecond: 2_000 }) } });
    const rows: number[] = [];
    const again: number[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      job.markedOutput<number>("rows").subscribe({
        next: ({ row, repeated }) => (repeated ? again : rows).push(row), complete: resolve, error: reject,
      });
    });
    await completed(job as never, 2);
    const [execution] = (await job.details()).executions;
    const { restored } = await job.checkpoints();
    await cluster.killTaskManager([0, 1, 2].findIndex((index) => execution?.taskManager?.startsWith(`tm-${index}-`)));
    await vi.waitFor(async () => expect((await job.checkpoints()).restored).toBeGreaterThan(restored), { timeout: 30_000, interval: 50 });
    await completed(job as never, (await job.checkpoints()).completed + 1);
    await job.stopWithSavepoint();
    await ended;
    await env.close();
    expect(rows).toEqual(rows.map((_, index) => index));
    expect(again).toEqual(again.map((_, index) => (again[0] ?? 0) + index));
    expect(again.at(-1)).toBeLessThan(rows.length);
  });

  it("sees every row once that this program feeds in, while TaskManagers are killed", { timeout: 90_000 }, async () => {
    const env = environment({ cluster, printLogs: false }).enableCheckpointing(200);
    let all = Number.POSITIVE_INFINITY;
    let fedRows = 0;
    async function* fed(): AsyncGenerator<number> {
      for (let row = 0; row < all; row++, fedRows++) {
        if (row % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 10));
        yield row;
      }
    }
    const job = await env.submit({ name: "fed", outputs: { rows: env.from(fed()) } });
    const rows: number[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      job.outputs.rows.subscribe({ next: (row) => rows.push(row), complete: resolve, error: reject });
    });
    await completed(job as never, 2);
    const { executions } = await job.details();
    const taskManager = executions[0]?.taskManager;
    await cluster.killTaskManager(cluster.processes.taskManagers.findIndex((_, index) => taskManager?.startsWith(`tm-${index}-`)));
    await vi.waitFor(async () => expect((await job.checkpoints()).restored).toBeGreaterThan(0), { timeout: 30_000, interval: 50 });
    all = fedRows + 1_000;
    await ended;
    expect(rows).toEqual(Array.from({ length: all }, (_, row) => row));
    await env.close();
  });

  it("sees every row once while the job is rescaled", { timeout: 90_000 }, async () => {
    const { env, job, seen } = await submitted(3_000);
    for (const parallelism of [3, 1]) {
      await completed(job, (await job.checkpoints()).completed + 1);
      await job.rescale(parallelism);
    }
    await completed(job, (await job.checkpoints()).completed + 1);
    await endsSound(job, seen);
    await env.close();
  });
});

describe("a savepoint", () => {
  it("ends one run and begins another, at another parallelism, and no row is counted twice", { timeout: 90_000 }, async () => {
    const first = await submitted(3_000);
    await completed(first.job, 1);
    const savepoint = await first.job.stopWithSavepoint();
    await first.seen.ended;
    expect((await first.job.details()).state).toBe("FINISHED");
    await first.env.close();

    const all = first.seen.rows + 5_000;
    const { env, counted } = counting(20_000, all, { "parallelism.default": 3 });
    const job = await env.submit("counts again", { outputs: { counted }, from: savepoint });
    const seen = new Seen(job);
    for (const [key, count] of first.seen.last) seen.last.set(key, count);
    await seen.ended;
    expect(seen.wrong).toEqual([]);
    expect(first.seen.rows + seen.rows).toBe(all);
    await env.close();
  });
});

describe("a subscriber of a cluster with high availability", () => {
  it("sees every row once through the deaths of a TaskManager and of the JobManager", { timeout: 120_000 }, async () => {
    const shared = mkdtempSync(join(tmpdir(), "drey-recovery-ha-"));
    const available = await LocalCluster.start({
      taskManagers: 2,
      slots: 2,
      options: {
        "heartbeat.timeout": "30 s",
        "high-availability.type": "filesystem",
        "high-availability.storageDir": shared,
        "execution.checkpointing.savepoint-dir": folder,
        "high-availability.lease-timeout": "1 s",
      },
    });
    try {
      const env = environment({ cluster: available, printLogs: false, parallelism: 2 }).enableCheckpointing(200);
      const counted = env
        .generate((n) => ({ key: n % 10, count: 1 }), { rowsPerSecond: 2_000 })
        .keyBy((row) => row.key)
        .reduce((a, b) => ({ key: a.key, count: a.count + b.count }));
      const job = await env.submit({ name: "counts", outputs: { counted } });
      const seen = new Seen(job);
      await completed(job, 2);
      process.kill(available.processes.taskManagers[0] as number, "SIGKILL");
      await vi.waitFor(async () => expect((await job.checkpoints()).completed).toBeGreaterThan(3), { timeout: 30_000, interval: 50 });
      const before = seen.rows;
      process.kill(available.processes.jobManager as number, "SIGKILL");
      await vi.waitFor(() => expect(seen.rows).toBeGreaterThan(before + 2_000), { timeout: 60_000, interval: 50 });
      await endsSound(job, seen);
      expect((await job.details()).state).toBe("FINISHED");
      await env.close();
    } finally {
      await available.stop();
      rmSync(shared, { recursive: true, force: true });
    }
  });
});
