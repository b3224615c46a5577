/** Jobs on a cluster of real processes: waiting, running side by side, failing, being cancelled, and what is left of them. */
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type ClusterClient,
  ConnectionError,
  type JobFailedError,
  type JobHandle,
  LocalCluster,
  OutOfMemoryError,
  type ProgramOptions,
  TaskManagerLostError,
  UserFunctionError,
  environment,
  seconds,
  tumbling,
} from "drey";
import { filter as filterRows, firstValueFrom, lastValueFrom, take, toArray } from "rxjs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { ProgramFolder } from "../cluster/local/programs.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
const deadline = { timeout: 30_000, interval: 30 };

let cluster: LocalCluster;
let client: ClusterClient;
beforeAll(async () => {
  cluster = await LocalCluster.start({
    taskManagers: 2,
    slots: 2,
    options: {
      "metrics.interval": 200,
      "task.cancellation.timeout": "1 s",
      "taskmanager.memory.task.heap.size": "96 mb",
      // An attached job outlives its client by as much.
      "heartbeat.timeout": "10 s",
    },
  });
  client = await cluster.connect();
});
afterAll(async () => {
  await client.close();
  await cluster.stop();
});
let programs: ReturnType<typeof environment>[] = [];
afterEach(async () => {
  for (const program of programs) await program.close();
  programs = [];
  await vi.waitFor(async () => expect((await client.overview()).slotsFree).toBe(4), deadline);
});

function program(options: ProgramOptions = {}): ReturnType<typeof environment> {
  const made = environment({ cluster, ...options });
  programs.push(made);
  return made;
}
const failure = async (promise: Promise<unknown>): Promise<JobFailedError> =>
  (await promise.then(
    () => expect.unreachable("it did not fail"),
    (error: unknown) => error,
  )) as JobFailedError;
const running = (job: JobHandle<never> | JobHandle): Promise<unknown> =>
  firstValueFrom(
    job.status$.pipe(filterRows(({ state, executions }) => state === "RUNNING" && executions.every((it) => it.state === "RUNNING"))),
  );

type Values = Readonly<Record<string, number>>;
/** The latest values of each subtask by the name of its vertex. */
async function metricsOf(job: JobHandle | JobHandle<never>): Promise<ReadonlyMap<string, readonly Values[]>> {
  const { graph } = await job.details();
  const latest = new Map<string, Values>();
  for (const { subtasks } of await job.metricsHistory()) {
    for (const { job: of, vertex, subtask, values } of subtasks) if (of === job.id) latest.set(`${vertex}/${subtask}`, values);
  }
  return new Map(
    graph.vertices.map((vertex) => [
      vertex.name,
      Array.from({ length: vertex.parallelism }, (_, subtask) => latest.get(`${vertex.id}/${subtask}`) ?? {}),
    ]),
  );
}
const sum = (values: readonly Values[] | undefined, name: string): number =>
  (values ?? []).reduce((total, it) => total + (it[name] ?? 0), 0);

describe("slots", () => {
  it("are waited for, with the reason shown, until a TaskManager joins", async () => {
    const small = await LocalCluster.start({ taskManagers: 1, slots: 1 });
    const env = environment({ cluster: small });
    try {
      const job = await env.submit({
        name: "wide",
        outputs: {
          rows: env
            .generate((i) => i, { count: 100 })
            .setParallelism(2)
            .keyBy((x) => x % 7)
            .reduce((_, x) => x)
            .setParallelism(2),
        },
      });
      const waiting = await firstValueFrom(job.status$.pipe(filterRows(({ state }) => state === "WAITING")));
      expect(waiting.waitingFor).toMatch(/2 slots.*1 (is|are) free/);
      const other = await environment({ cluster: small }).of(1, 2).collect();
      expect(other).toEqual([1, 2]);
      expect((await job.details()).state).toBe("WAITING");
      await small.addTaskManager();
      expect(await lastValueFrom(job.outputs.rows.pipe(toArray()))).toHaveLength(100);
      const { details } = await job.result();
      expect(new Set(details.executions.map((it) => it.taskManager)).size).toBe(2);
    } finally {
      await env.close();
      await small.stop();
    }
  });

  it("that never come fail the job after slot.request.timeout, with the reason", async () => {
    const env = program({ configuration: { "slot.request.timeout": "300 ms" } });
    env
      .generate((i) => i)
      .setParallelism(5)
      .sinkTo(() => undefined)
      .setParallelism(5);
    expect((await failure(env.execute("too wide"))).message).toMatch(/needs 5 slots.*4 (are|is) free/);
  });

  it("are shared by several jobs at once, each with its own rows", async () => {
    const results = await Promise.all(
      Array.from({ length: 6 }, (_, n) =>
        program()
          .generate((i) => i * 10 + n, { count: 2_000 })
          .keyBy((x) => x % 50)
          .reduce((_, x) => x)
          .collect(),
      ),
    );
    for (const [n, rows] of results.entries()) expect(rows).toEqual(Array.from({ length: 2_000 }, (_, i) => i * 10 + n));
  });
});

describe("a job outlives its client", () => {
  let folder: ProgramFolder;
  beforeEach(() => {
    folder = new ProgramFolder();
  });
  afterEach(() => folder.remove());

  it("when it is detached, and another process attaches by its id: state, metrics, the rest of the rows", async () => {
    const env = environment({ cluster, configuration: { "execution.results.buffer-size": "1 mb" } });
    const stream = env.generate((i) => ({ i, text: `row ${i}`.padEnd(200) }), { count: 20_000 });
    const job = await env.submit({ name: "left behind", detached: true, outputs: { rows: stream } });
    expect((await lastValueFrom(job.outputs.rows.pipe(take(10), toArray()))).map(({ i }) => i)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    await env.close();
    const other = folder.node(
      "attach.mjs",
      `import { connect } from "drey";
       import { firstValueFrom, lastValueFrom, toArray } from "${import.meta.resolve("rxjs")}";
       const [address, id] = process.argv.slice(2);
       const client = await connect(address);
       const job = await client.attach(id);
       const { state, name } = await firstValueFrom(job.status$);
       const rows = (await lastValueFrom(job.output("rows").pipe(toArray()))).map(({ i }) => i);
       const gaps = rows.filter((i, at) => at > 0 && i !== rows[at - 1] + 1).length;
       const result = await job.result();
       const metrics = (await job.metricsHistory()).length > 0;
       console.log(JSON.stringify({ state, name, metrics, first: rows[0], last: rows.at(-1), gaps, end: result.details.state }));
       await client.close();`,
      cluster.address,
      job.id,
    );
    expect((await other.ended).code, other.stderr).toBe(0);
    const told = JSON.parse(other.stdout) as { first: number };
    expect(told).toMatchObject({ state: "RUNNING", name: "left behind", metrics: true, last: 19_999, gaps: 0, end: "FINISHED" });
    // The first row that was not taken: none is missing between the two readers, and none comes twice.
    expect(told.first).toBe(10);
  });

  it("and one that is attached is cancelled when its client is killed", async () => {
    const other = folder.node(
      "attached.mjs",
      `import { environment } from "drey";
       const env = environment({ cluster: process.argv[2] });
       env.generate((i) => i).sinkTo(() => undefined);
       const job = await env.submit("orphan");
       console.log(job.id);
       await job.result();`,
      cluster.address,
    );
    const [id] = await other.said(/[0-9a-f]{32}/);
    other.kill("SIGKILL");
    await vi.waitFor(async () => expect((await (await client.attach(id)).details()).state).toBe("CANCELED"), deadline);
  });

  it.each([
    ["process.exit(4)", 4],
    ["await env.close()", 0],
  ])("and with it the local cluster that it had, when it ends by `%s` in the middle of a job", async (end, code) => {
    const other = folder.node(
      "local.mjs",
      `import { environment } from "drey";
       const env = environment();
       env.generate((i) => { for (;;) if (i < 0) return i; }).sinkTo(() => undefined);
       const job = await env.submit("hangs");
       const runs = ({ executions }) => executions.every((it) => it.state === "RUNNING");
       await new Promise((resolve) => job.status$.subscribe((details) => runs(details) && resolve()));
       ${end};`,
    );
    expect((await other.ended).code, other.stderr).toBe(code);
    await nothingIsLeft(folder);
  });

  it.each(["SIGINT", "SIGKILL"] as const)(
    "and with it the local cluster that it had, when it gets %s in the middle of a job",
    async (signal) => {
      const other = folder.node(
        "local.mjs",
        `import { environment } from "drey";
       const env = environment();
       const stream = env.generate((i) => i).keyBy((x) => x % 3).reduce((_, x) => x).setParallelism(2);
       stream.subscribe((row) => row === 0 && console.log("rows"));`,
      );
      await other.said(/rows/);
      other.kill(signal);
      expect((await other.ended).signal).toBe(signal);
      await nothingIsLeft(folder);
    },
  );
});

/** No process that was started in this folder's environment, and no file of one. */
async function nothingIsLeft(folder: ProgramFolder): Promise<void> {
  await vi.waitFor(() => expect(folder.processes).toEqual([]), deadline);
  expect(readdirSync(folder.env["TMPDIR"] as string)).toEqual([]);
}

describe("a failure", () => {
  it("in a user's function names the operator, the subtask, and the line in the user's file", async () => {
    const env = program({ parallelism: 2 });
    const stream = env
      .generate((i) => i, { count: 1_000 })
      .keyBy((x) => x % 10)
      .reduce((_, x) => x)
      .map((x) => {
        if (x === 777) throw new TypeError(`can't bear ${x}`); // the line that fails
        return x;
      })
      .name("picky");
    const line =
      readFileSync(fileURLToPath(import.meta.url), "utf8")
        .split("\n")
        .findIndex((text) => text.endsWith("// the line that fails")) + 1;
    const error = await failure(stream.collect());
    expect(error.message).toMatch(/^Job ".*" failed: "picky" \(subtask [12] of 2\) threw TypeError: can't bear 777/);
    const cause = error.cause as UserFunctionError;
    expect(cause).toBeInstanceOf(UserFunctionError);
    expect(cause.details).toMatchObject({ operator: "picky", parallelism: 2 });
    expect((cause.cause as Error).stack).toContain(`cluster.test.ts:${line}:`);
  });

  it("of a TaskManager fails its job with that reason and frees its slots, and the next job runs", async () => {
    const other = await LocalCluster.start({
      taskManagers: 2,
      slots: 1,
      options: { "heartbeat.timeout": "60 s" },
      restart: false,
    });
    const env = environment({ cluster: other });
    const observer = await other.connect();
    try {
      env
        .generate((i) => i)
        .keyBy((x) => x % 7)
        .reduce((_, x) => x)
        .sinkTo(() => undefined)
        .setParallelism(2);
      const job = await env.submit("loses a part");
      await running(job);
      const result = failure(job.result());
      await other.killTaskManager(1);
      const error = await result;
      expect(error.cause).toBeInstanceOf(TaskManagerLostError);
      expect(error.message).toMatch(/TaskManager tm-1-\w+ .*(lost|connection|answer|ended)/);
      await vi.waitFor(async () => expect(await observer.overview()).toMatchObject({ slotsTotal: 1, slotsFree: 1 }), deadline);
      expect(
        await env
          .of(1, 2, 3)
          .map((x) => x + 1)
          .collect(),
      ).toEqual([2, 3, 4]);
    } finally {
      await observer.close();
      await env.close();
      await other.stop();
    }
  });

  it("of a task that outgrows its slot stays its own: the job beside it in the same TaskManager goes on", async () => {
    const calm = program();
    const ticking = await calm.submit({
      name: "calm",
      outputs: {
        ticks: calm
          .generate((i) => i, { rowsPerSecond: 200 })
          .setParallelism(3)
          .map((x) => x)
          .setParallelism(3),
      },
    });
    await running(ticking);
    let ticks = 0;
    const subscription = ticking.outputs.ticks.subscribe(() => ticks++);
    const greedy = program();
    const rows: unknown[] = [];
    const eats = greedy.generate((i) => i).filter((x) => rows.push({ x, text: `${x}`.repeat(20), more: [x, x + 1, x + 2] }) < 0);
    const error = await failure(eats.collect());
    expect(error.cause).toBeInstanceOf(OutOfMemoryError);
    expect(error.message).toMatch(/taskmanager\.memory\.task\.heap\.size/);
    const then = ticks;
    await vi.waitFor(() => expect(ticks).toBeGreaterThan(then + 50), deadline);
    expect((await ticking.details()).state).toBe("RUNNING");
    expect((await client.overview()).slotsTotal).toBe(4);
    subscription.unsubscribe();
    await ticking.cancel();
  });

  it("to come back from a user's function is ended with the job's cancellation", async () => {
    const env = program();
    env
      .of(1)
      .map((x) => {
        for (;;) if (x < 0) return x;
      })
      .sinkTo(() => undefined);
    const job = await env.submit("hangs");
    await running(job);
    await job.cancel();
    expect((await job.details()).state).toBe("CANCELED");
    expect((await client.overview()).slotsTotal).toBe(4);
  });

  it("to find a JobManager is told in bounded time", async () => {
    const env = environment({ cluster: "tcp://127.0.0.1:9", configuration: { "client.timeout": "2 s" } });
    const error = await failure(env.of(1).collect());
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error.message).toMatch(/no JobManager answers at tcp:\/\/127\.0\.0\.1:9 after .* s; is it running\?/);
    await expect(environment({ cluster: "udp://nowhere" }).of(1).collect()).rejects.toThrow(/"?udp:\/\/nowhere"?/);
    await env.close();
  });
});

describe("malformed input", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "drey-lines-"));
    writeFileSync(join(folder, "few.jsonl"), '{"n":1}\n{"n":2}\n\n{"n":3\n{"n":4}\n');
    // More than one split: lines of 100 bytes, 20 MB, one broken line far behind.
    const path = join(folder, "many.jsonl");
    writeFileSync(path, "");
    for (let block = 0; block < 20; block++) {
      let text = "";
      for (let i = 0; i < 10_000; i++) {
        const n = block * 10_000 + i;
        text += n === 190_000 ? `{"n": broken ${"x".repeat(80)}}\n` : `{"n":${n},"pad":"${"x".repeat(83)}"}\n`;
      }
      appendFileSync(path, text);
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("fails the job with file and line", async () => {
    const error = await failure(program().fromJsonLines<{ n: number }>(join(folder, "few.jsonl")).collect());
    expect(error.message).toContain(`${join(folder, "few.jsonl")}, line 4 is not JSON: "{\\"n\\":3"`);
    expect(error.message).toContain('read the file with { malformed: "skip" }');
  });

  it("is left out and counted, if told so", async () => {
    const env = program();
    const job = await env.submit({ outputs: { rows: env.fromJsonLines<{ n: number }>(join(folder, "few.jsonl"), { malformed: "skip" }) } });
    expect((await lastValueFrom(job.outputs.rows.pipe(toArray()))).map(({ n }) => n)).toEqual([1, 2, 4]);
    await job.result();
    expect(sum([...(await metricsOf(job)).values()].flat(), "numRecordsSkipped")).toBe(1);
  });

  it("is found at its line also in a large file that several subtasks read", async () => {
    const env = program({ parallelism: 2 });
    const path = join(folder, "many.jsonl");
    const error = await failure(
      env
        .fromJsonLines<{ n: number }>(path)
        .keyBy(() => 0)
        .reduce((_, row) => row)
        .filter(() => false)
        .collect(),
    );
    expect(error.message).toContain(`${path}, line 190001 is not JSON`);
    const job = await env.submit({ outputs: { counts: env.fromJsonLines<{ n: number }>(path, { malformed: "skip" }).map(({ n }) => n) } });
    const seen = await lastValueFrom(job.outputs.counts.pipe(toArray()));
    expect([seen.length, new Set(seen).size, seen.includes(190_000)]).toEqual([199_999, 199_999, false]);
    await job.result();
    const metrics = [...(await metricsOf(job)).values()][0] as readonly Values[];
    expect(sum(metrics, "numRecordsSkipped")).toBe(1);
    // Both subtasks had a share.
    for (const values of metrics) expect(values["numRecordsOut"]).toBeGreaterThan(10_000);
  });

  it("and a file that is missing is named", async () => {
    expect((await failure(program().fromText(join(folder, "none.txt")).collect())).message).toContain(join(folder, "none.txt"));
  });
});

describe("metrics", () => {
  it("count what flowed, to the record, and one connection for each pair of TaskManagers", async () => {
    const env = program({ parallelism: 4, chaining: false });
    const job = await env.submit({
      outputs: {
        rows: env
          .generate((i) => i, { count: 40_000 })
          .flatMap((x) => [x, -x])
          .keyBy((x) => x % 101)
          .reduce((_, x) => x)
          .filter((x) => x % 2 === 0),
      },
    });
    let connections = 0;
    const watching = client.overview$.subscribe(({ taskManagers }) => {
      for (const { process } of taskManagers) connections = Math.max(connections, process["dataConnections"] ?? 0);
    });
    expect(await lastValueFrom(job.outputs.rows.pipe(toArray()))).toHaveLength(40_000);
    await job.result();
    watching.unsubscribe();
    const metrics = await metricsOf(job);
    const flow = [...metrics].map(([name, values]) => [name, sum(values, "numRecordsIn"), sum(values, "numRecordsOut")]);
    expect(flow).toEqual([
      ["Source: generator", 40_000, 40_000],
      ["flatMap", 40_000, 80_000],
      ["reduce", 80_000, 80_000],
      ["filter", 80_000, 40_000],
      ["result: rows", 40_000, 40_000],
    ]);
    const bytes = [...metrics.values()].map((values) => [sum(values, "numBytesIn"), sum(values, "numBytesOut")]);
    for (let i = 1; i < bytes.length; i++) expect(bytes[i]?.[0]).toBe(bytes[i - 1]?.[1]);
    const reported = Math.max(connections, ...(await job.metricsHistory()).map(({ process }) => process["dataConnections"] ?? 0));
    expect(reported).toBe(1);
  });

  it("show where the time goes: a slow sink is busy, what is before it waits, and a source that waits is idle", async () => {
    const env = program();
    env
      .generate((i) => i)
      .startNewChain()
      .name("fast")
      .map((x) => x)
      .startNewChain()
      .name("between")
      .sinkTo((x: number) => {
        for (const end = performance.now() + 2; performance.now() < end && x >= 0;);
      })
      .disableChaining()
      .name("slow");
    env
      .generate((i) => i, { rowsPerSecond: 5 })
      .name("calm")
      .sinkTo(() => undefined)
      .name("quiet");
    const job = await env.submit("slow sink");
    await vi.waitFor(async () => {
      const metrics = await metricsOf(job);
      const time = (name: string): readonly number[] => {
        const [values] = [...metrics].find(([vertex]) => vertex.includes(name))?.[1] ?? [];
        return ["busy", "idle", "backPressured"].map((it) => Math.round(values?.[`${it}TimeMsPerSecond`] ?? -1));
      };
      for (const name of ["fast", "between", "slow", "calm"]) {
        const total = time(name).reduce((a, b) => a + b, 0);
        expect(Math.abs(total - 1_000), `${name}: ${time(name)}`).toBeLessThanOrEqual(3);
      }
      expect(time("slow")[0], `slow ${time("slow")}`).toBeGreaterThan(900);
      expect(time("fast")[2], `fast ${time("fast")}`).toBeGreaterThan(800);
      expect(time("between")[2], `between ${time("between")}`).toBeGreaterThan(800);
      expect(time("calm")[1], `calm ${time("calm")}`).toBeGreaterThan(800);
    }, deadline);
    await job.cancel();
  });

  it("show event time: the watermark moves on as the rows do", async () => {
    const env = program({ configuration: { "pipeline.auto-watermark-interval": "50 ms" } });
    const began = Date.UTC(2026, 0, 1);
    const stream = env
      .generate((i) => ({ at: began + i * 1_000 }), { rowsPerSecond: 500 })
      .withTimestamps((row) => row.at, { outOfOrderness: seconds(5) })
      .keyBy(() => 0)
      .window(tumbling(seconds(60)))
      .count();
    const job = await env.submit({ outputs: { stream } });
    const [first] = await lastValueFrom(job.outputs.stream.pipe(take(1), toArray()));
    expect(first).toEqual({ key: 0, start: began, end: began + 60_000, count: 60 });
    const marks = new Set<number>();
    await vi.waitFor(async () => {
      const values = [...(await metricsOf(job)).values()].at(-1)?.[0];
      marks.add(values?.["currentInputWatermark"] ?? Number.NEGATIVE_INFINITY);
      expect([...marks].filter((mark) => mark > began).length).toBeGreaterThan(2);
    }, deadline);
    expect([...marks]).toEqual([...marks].sort((a, b) => a - b));
    expect(Math.max(...marks)).toBeLessThan(began + 3_600_000 * 24);
    await job.cancel();
  });
});
