/** A savepoint of a job on real processes, read as data: it says what the job had come to, whoever reads it and at whatever parallelism. */
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import {
  BroadcastProcessFunction, CorruptCheckpointError, type Collector, type Environment, KeyedProcessFunction, LocalCluster, type OperatorList, type ProcessContext,
  ProcessFunction, type ReadOnlyBroadcastContext, type RuntimeContext, type Savepoint, aggregatingState, average, environment, listState, localEnvironment, mapState,
  countTrigger, discard, jsonLines, openSavepoint, reducingState, session, sliding, tumbling, valueState,
} from "drey";
import { firstValueFrom } from "rxjs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

interface Row {
  readonly key: string;
  readonly n: number;
}

class Everything extends KeyedProcessFunction<string, Row, [string, number, number]> {
  override processElement(row: Row, context: ProcessContext<string>, out: Collector<[string, number, number]>): void {
    const count = context.state(valueState<number>("count", 0));
    count.update((count.value() ?? 0) + 1);
    context.state(listState<number>("numbers")).add(row.n);
    context.state(mapState<number, string>("by rest")).put(row.n % 3, `n ${row.n}`);
    context.state(reducingState<number>("highest", Math.max)).add(row.n);
    context.state(aggregatingState("mean", average((n: number) => n))).add(row.n);
    if (row.n < 100) context.timers.registerProcessingTimeTimer(4e12 + row.n);
    out.collect([context.key, row.n, count.value() ?? 0]);
  }
}

class Remembering extends ProcessFunction<[string, number, number], [string, number, number]> {
  kept!: OperatorList<string>;
  all!: OperatorList<number>;
  override open(context: RuntimeContext): void {
    this.kept = context.listState("kept");
    this.all = context.unionListState("all");
  }
  override processElement(row: [string, number, number], _context: ProcessContext, out: Collector<[string, number, number]>): void {
    if (row[1] < 50) this.kept.add(`${row[0]} ${row[1]}`);
    if (row[1] < 30) this.all.add(row[1]);
    out.collect(row);
  }
}

const rules = mapState<string, number>("rules");
class Ruled extends BroadcastProcessFunction<[string, number, number], Row, [string, number, number]> {
  override processElement(row: [string, number, number], _context: ReadOnlyBroadcastContext, out: Collector<[string, number, number]>): void {
    out.collect(row);
  }
  override processBroadcastElement(rule: Row, context: Parameters<BroadcastProcessFunction<Row, Row, Row>["processBroadcastElement"]>[1]): void {
    context.broadcastState(rules).put(rule.key, rule.n);
  }
}

let cluster: LocalCluster;
let folder: string;
let place: string;
let savepoint: Savepoint;
/** By key, the numbers that the job had emitted when it stopped. */
const emitted = new Map<string, number[]>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drey-savepoint-"));
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "heartbeat.timeout": "60 s" } });
  const env = environment({ cluster, parallelism: 3, printLogs: false }).enableCheckpointing("1 s");
  const ruling = env.of<Row>({ key: "a", n: 1 }, { key: "b", n: 2 }).broadcast(rules);
  const rows = env
    .generate((n): Row => ({ key: `key ${n % 17}`, n }), { rowsPerSecond: 2_000 })
    .keyBy((row) => row.key)
    .process(new Everything()).uid("everything")
    .process(new Remembering()).uid("remembering")
    .connect(ruling).process(new Ruled()).uid("ruled");
  const job = await env.submit({ name: "remembered", outputs: { rows } });
  const ended = new Promise<void>((resolve, reject) => {
    job.outputs.rows.subscribe({
      next: ([key, n]) => (emitted.has(key) ? emitted.get(key)!.push(n) : emitted.set(key, [n])), complete: resolve, error: reject,
    });
  });
  await vi.waitFor(() => expect([...emitted.values()].flat().length).toBeGreaterThan(1_000), { timeout: 90_000, interval: 50 });
  place = await job.stopWithSavepoint({ folder });
  await ended;
  await env.close();
  savepoint = await openSavepoint(place);
}, 120_000);
afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

const byKey = <T>(rows: readonly { readonly key: string; readonly value: T }[]): Record<string, T> => {
  expect(new Set(rows.map(({ key }) => key)).size).toBe(rows.length);
  return Object.fromEntries(rows.map(({ key, value }) => [key, value]));
};
const expected = <T>(of: (numbers: readonly number[]) => T): Record<string, T> =>
  Object.fromEntries([...emitted].map(([key, numbers]) => [key, of(numbers)]));
const numbers = (a: number, b: number): number => a - b;

describe("a savepoint", () => {
  it("tells the job's operators and what states they have", () => {
    expect(savepoint).toMatchObject({ jobName: "remembered", kind: "savepoint", folder: place });
    const everything = savepoint.operators.find(({ uid }) => uid === "everything")!;
    expect(everything).toMatchObject({ kind: "process", parallelism: 3, maxParallelism: 128 });
    expect(everything.states.map(({ name, kind, type }) => `${kind} ${name} ${type}`).sort()).toEqual([
      "keyed by rest map", "keyed count value", "keyed highest reducing", "keyed mean aggregating", "keyed numbers list",
      "timers event timers", "timers processing timers",
    ]);
    expect(everything.states.find(({ name }) => name === "numbers")!.bytes).toBeGreaterThan(1_000);
  });

  const places: [string, () => Environment][] = [
    ["one subtask of a cluster", () => environment({ cluster, parallelism: 1, printLogs: false })],
    ["four subtasks of a cluster", () => environment({ cluster, parallelism: 4, printLogs: false })],
    ["two tasks in this thread", () => localEnvironment({ parallelism: 2 })],
  ];
  it.each(places)("gives %s all that the job had come to, each key and item once", { timeout: 60_000 }, async (_where, open) => {
    const env = open();
    const state = <T>(set: { collect(): Promise<{ readonly key: string; readonly value: T }[]> }): Promise<Record<string, T>> => set.collect().then(byKey);
    expect(await state(savepoint.keyedState(env, "everything", valueState<number>("count")))).toEqual(expected((all) => all.length));
    const lists = await state(savepoint.keyedState(env, "everything", listState<number>("numbers")));
    expect(Object.fromEntries(Object.entries(lists).map(([key, all]) => [key, all.toSorted(numbers)]))).toEqual(expected((all) => all.toSorted(numbers)));
    const maps = await state(savepoint.keyedState(env, "everything", mapState<number, string>("by rest")));
    expect(Object.fromEntries(Object.entries(maps).map(([key, pairs]) => [key, pairs.map(([rest]) => rest).toSorted(numbers)])))
      .toEqual(expected((all) => [...new Set(all.map((n) => n % 3))].toSorted(numbers)));
    expect(await state(savepoint.keyedState(env, "everything", reducingState<number>("highest", Math.max)))).toEqual(expected((all) => Math.max(...all)));
    const means = await state(savepoint.keyedState(env, "everything", aggregatingState("mean", average((n: number) => n))));
    for (const [key, mean] of Object.entries(expected((all) => all.reduce((a, b) => a + b) / all.length))) expect(means[key]).toBeCloseTo(mean, 6);
    expect((await savepoint.operatorState<string>(env, "remembering", "kept").collect()).sort())
      .toEqual(Array.from({ length: 50 }, (_, n) => `key ${n % 17} ${n}`).sort());
    expect((await savepoint.operatorState<number>(env, "remembering", "all").collect()).sort(numbers)).toEqual(Array.from({ length: 30 }, (_, n) => n));
    expect(byKey(await savepoint.broadcastState<number>(env, "ruled", "rules").collect())).toEqual({ a: 1, b: 2 });
    const timers = await savepoint.timers(env, "everything").collect();
    expect(timers.toSorted((a, b) => a.timeMs - b.timeMs)).toEqual(
      Array.from({ length: 100 }, (_, n) => ({ key: `key ${n % 17}`, timeMs: 4e12 + n, name: "processing" })),
    );
    await env.close();
  });

  it("is a data set like any other: it can be joined and filtered", { timeout: 20_000 }, async () => {
    const env = localEnvironment();
    const counts = savepoint.keyedState(env, "everything", valueState<number>("count"));
    const highest = savepoint.keyedState(env, "everything", reducingState<number>("highest", Math.max));
    const joined = await counts.join(highest).where((row) => row.key).equalTo((row) => row.key).with((a, b) => ({ key: a.key as string, value: [a.value, b.value] })).collect();
    expect(byKey(joined)).toEqual(expected((all) => [all.length, Math.max(...all)]));
  });
});

/** Its task has come to its end long before it says so. */
class SlowlyClosing extends ProcessFunction<number, number> {
  override processElement(row: number, _context: ProcessContext, out: Collector<number>): void {
    out.collect(row);
  }
  override async close(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

describe("a task that is ending", () => {
  it("fails no checkpoint of those that go on", { timeout: 60_000 }, async () => {
    await using env = environment({ cluster, parallelism: 1, printLogs: false }).enableCheckpointing("50 ms");
    env.of(1, 2, 3).process(new SlowlyClosing()).name("brief").sinkTo(discard());
    env.generate((n) => n, { rowsPerSecond: 500 }).process(new SlowlyClosing()).sinkTo(discard());
    const job = await env.submit("partly over");
    await vi.waitFor(async () => expect((await job.details()).tasks.FINISHED).toBeGreaterThan(0), { timeout: 30_000, interval: 50 });
    await vi.waitFor(() => job.checkpoint(), { timeout: 30_000 });
    const { completed, failed, restored } = await firstValueFrom(job.checkpoints$);
    expect({ completed: completed > 0, failed, restored }).toEqual({ completed: true, failed: 0, restored: 0 });
    await job.cancel();
  });
});

describe("a savepoint of a job some of whose tasks have ended", () => {
  class Counting extends KeyedProcessFunction<string, string, { key: string; count: number }> {
    override processElement(_row: string, context: ProcessContext<string>, out: Collector<{ key: string; count: number }>): void {
      const count = context.state(valueState<number>("count", 0));
      count.update((count.value() as number) + 1);
      out.collect({ key: context.key, count: count.value() as number });
    }
  }
  /** Counts the rows of each key: few of some, which go into files, and many of others. */
  const counting = (env: Environment, brief: number, long: number) => {
    const counted = (name: string, rows: number, rowsPerSecond: number) =>
      env
        .generate((n) => `${name} ${n % 5}`, { count: rows, rowsPerSecond })
        .keyBy((key) => key)
        .process(new Counting())
        .uid(name);
    counted("brief", brief, 10_000).sinkTo(jsonLines(join(folder, "brief")));
    return counted("long", long, 1_000);
  };
  const counts = async (from: Savepoint, uid: string): Promise<Record<string, number>> => {
    return byKey(await from.keyedState(localEnvironment(), uid, valueState<number>("count")).collect());
  };

  it("can be moved when the job and its checkpoints are gone, and another run begins with it", { timeout: 120_000 }, async () => {
    const begin = (): Environment => environment({ cluster, parallelism: 2, printLogs: false }).enableCheckpointing("200 ms");
    await using env = begin();
    const job = await env.submit({ name: "half over", outputs: { counted: counting(env, 1_000, Number.POSITIVE_INFINITY) } });
    const seen = new Map<string, number>();
    const wrong: string[] = [];
    const see = ({ key, count }: { readonly key: string; readonly count: number }): void => {
      if (count !== (seen.get(key) ?? 0) + 1) wrong.push(`${key}: ${count} after ${seen.get(key)}`);
      seen.set(key, count);
    };
    const over = new Promise<void>((resolve, reject) => job.outputs.counted.subscribe({ next: see, complete: resolve, error: reject }));
    await vi.waitFor(async () => expect((await job.details()).tasks.FINISHED).toBeGreaterThanOrEqual(2), { timeout: 60_000, interval: 50 });
    const before = (await job.checkpoints()).completed;
    await vi.waitFor(async () => expect((await job.checkpoints()).completed).toBeGreaterThan(before + 1), { timeout: 60_000, interval: 50 });
    const meanwhile = await job.savepoint(folder);
    const last = await job.stopWithSavepoint({ folder });
    await over;

    for (const made of [meanwhile, last]) {
      const moved = join(folder, "moved", basename(made));
      cpSync(made, moved, { recursive: true });
      rmSync(made, { recursive: true });
      expect(await counts(await openSavepoint(moved), "brief")).toEqual(Object.fromEntries(Array.from({ length: 5 }, (_, key) => [`brief ${key}`, 200])));
    }
    const all = [...seen.values()].reduce((a, b) => a + b) + 3_000;
    await using next = begin();
    const again = await next.submit({ name: "goes on", outputs: { counted: counting(next, 1_000, all) }, from: join(folder, "moved", basename(last)) });
    await new Promise<void>((resolve, reject) => again.outputs.counted.subscribe({ next: see, complete: resolve, error: reject }));
    expect(wrong).toEqual([]);
    expect([...seen.values()].reduce((a, b) => a + b)).toBe(all);
    expect(readdirSync(join(folder, "brief")).filter((name) => !name.startsWith(".")).flatMap((name) => readFileSync(join(folder, "brief", name), "utf8").trim().split("\n"))).toHaveLength(1_000);
  });
});

describe("the open windows in a savepoint", () => {
  const total = { createAccumulator: () => ({ sum: 0 }), add: (row: Row, it: { sum: number }) => ({ sum: it.sum + row.n }), getResult: (it: { sum: number }) => it.sum,
    merge: (a: { sum: number }, b: { sum: number }) => ({ sum: a.sum + b.sum }) };
  /** Row n is of time n: gaps of 3 between sessions. */
  const timeOf = ({ n }: Row): number => 10 * n + (n % 5 === 0 ? 5 : 0);
  const seen: Row[] = [];
  let windows: Savepoint;
  beforeAll(async () => {
    const env = environment({ cluster, parallelism: 2, printLogs: false }).enableCheckpointing("1 s");
    const rows = env.generate((n): Row => ({ key: `key ${n % 3}`, n }), { rowsPerSecond: 1_000 }).withTimestamps(timeOf, { outOfOrderness: "1000 d" });
    const byKey3 = rows.keyBy((row) => row.key);
    byKey3.window(tumbling(100)).aggregate(total).uid("tumbling").sinkTo(discard());
    byKey3.window(sliding(100, 40)).aggregate(total).uid("sliding").sinkTo(discard());
    byKey3.window(session(32)).aggregate(total).uid("sessions").sinkTo(discard());
    byKey3.window(tumbling(100)).process((group, _context, out: Collector<number>) => out.collect([...group].length)).uid("kept").sinkTo(discard());
    byKey3.window(tumbling(100)).trigger(countTrigger(1_000_000)).aggregate(total).uid("triggered").sinkTo(discard());
    const job = await env.submit({ name: "windows", outputs: { rows } });
    const over = new Promise<void>((resolve, reject) => job.outputs.rows.subscribe({ next: (row) => seen.push(row), complete: resolve, error: reject }));
    await vi.waitFor(() => expect(seen.length).toBeGreaterThan(300), { timeout: 90_000, interval: 50 });
    windows = await openSavepoint(await job.stopWithSavepoint({ folder }));
    await over;
    await env.close();
  }, 120_000);

  /** By key and window, what is in it. */
  const aligned = (size: number, slide: number): Map<string, Row[]> => {
    const all = new Map<string, Row[]>();
    for (const row of seen) {
      for (let start = Math.floor(timeOf(row) / slide) * slide; start > timeOf(row) - size; start -= slide) {
        const name = `${row.key} ${start} ${start + size}`;
        all.set(name, [...(all.get(name) ?? []), row]);
      }
    }
    for (const group of all.values()) group.sort((a, b) => a.n - b.n);
    return all;
  };
  const sums = (all: ReadonlyMap<string, readonly Row[]>): Record<string, number> =>
    Object.fromEntries([...all].map(([name, group]) => [name, group.reduce((sum, { n }) => sum + n, 0)]));
  const read = async (uid: string, parallelism = 2): Promise<Record<string, number>> => {
    const all = await windows.windows(localEnvironment({ parallelism }), uid, total).collect();
    expect(new Set(all.map(({ key, window }) => `${key} ${window.start}`)).size).toBe(all.length);
    return Object.fromEntries(all.map(({ key, window, value }) => [`${key} ${window.start} ${window.end}`, value]));
  };

  it("are told with what they would fire, overlapping or not, aggregated at once or when a trigger says", { timeout: 60_000 }, async () => {
    expect(await read("tumbling")).toEqual(sums(aligned(100, 100)));
    expect(await read("sliding", 3)).toEqual(sums(aligned(100, 40)));
    expect(await read("triggered")).toEqual(sums(aligned(100, 100)));
  });

  it("are told on the cluster too", { timeout: 60_000 }, async () => {
    const env = environment({ cluster, parallelism: 3, printLogs: false });
    const all = await windows.windows(env, "tumbling", total).collect();
    expect(Object.fromEntries(all.map(({ key, window, value }) => [`${key} ${window.start} ${window.end}`, value]))).toEqual(sums(aligned(100, 100)));
    await env.close();
  });

  it("are told as sessions, as far as they reach", async () => {
    const sessions = new Map<string, Row[]>();
    for (const key of new Set(seen.map((row) => row.key))) {
      const times = seen.filter((row) => row.key === key).toSorted((a, b) => timeOf(a) - timeOf(b));
      let [start, end, group]: [number, number, Row[]] = [0, 0, []];
      for (const row of times) {
        if (group.length === 0 || timeOf(row) > end) [start, group] = [timeOf(row), []];
        else sessions.delete(`${key} ${start} ${end}`);
        end = timeOf(row) + 32;
        group.push(row);
        sessions.set(`${key} ${start} ${end}`, group);
      }
    }
    expect(await read("sessions")).toEqual(sums(sessions));
  });

  it("are told with their records, where they keep them", async () => {
    const all = await windows.windows(localEnvironment(), "kept").collect();
    const rows = new Map(all.map(({ key, window, rows: kept }) => [`${key} ${window.start} ${window.end}`, (kept as Row[]).toSorted((a, b) => a.n - b.n)]));
    expect(rows).toEqual(aligned(100, 100));
    expect(all.every(({ value }) => value === undefined)).toBe(true);
  });

  it("that overlap need the aggregate, and operators without windows have none", async () => {
    const bare = windows.windows(localEnvironment(), "sliding").collect().catch((error: Error) => (error.cause as Error).message);
    expect(await bare).toMatch(/^The windows of "sliding" overlap, and share their parts; give windows\(\) the aggregate that the job has/);
    expect(() => savepoint.windows(localEnvironment(), "everything")).toThrow(/^The operator "everything" of savepoint \d+ of job "remembered" in .* has no windows\. It has: /);
  });
});

describe("who asks for what is not there", () => {
  const env = localEnvironment();
  it("is told which operators there are", () => {
    expect(() => savepoint.keyedState(env, "everythng", valueState("count"))).toThrow(/has no operator "everythng"\. With state it has: .*"everything" \(Everything\)/);
    expect(() => savepoint.timers(env, "x")).toThrow(/has no operator "x"/);
  });
  it("is told which states the operator has", () => {
    expect(() => savepoint.keyedState(env, "everything", valueState("cnt"))).toThrow(/has no state "cnt"\. It has: .*"count" \(value\)/);
  });
  it("is told what kind the state is", () => {
    expect(() => savepoint.keyedState(env, "everything", listState("count"))).toThrow('"count" of "everything" is value state, but is asked for as list state');
    expect(() => savepoint.operatorState(env, "everything", "count")).toThrow("is keyed state; use keyedState()");
    expect(() => savepoint.operatorState(env, "ruled", "rules")).toThrow("is broadcast state; use broadcastState()");
  });
  it("is told that a place is none, or holds no savepoint", async () => {
    await expect(openSavepoint("ftp://host/savepoint")).rejects.toThrow('openSavepoint() got "ftp://host/savepoint"; give the folder of a savepoint');
    await expect(openSavepoint(folder)).rejects.toThrow("it has no file _metadata");
    expect((await openSavepoint(join(place, "_metadata"))).folder).toBe(place);
  });
  it("is told that the manifest is of something else, of a newer version, or cut off", async () => {
    const whole = readFileSync(join(place, "_metadata"));
    const copy = (bytes: Uint8Array): string => {
      const to = mkdtempSync(join(folder, "copy-"));
      writeFileSync(join(to, "_metadata"), bytes);
      return to;
    };
    await expect(openSavepoint(copy(Buffer.from("something of Flink's, perhaps")))).rejects.toThrow("is not the checkpoint of a drey");
    await expect(openSavepoint(copy(whole.subarray(0, whole.length - 9)))).rejects.toThrow("it was cut off");
    const newer = Buffer.from(whole);
    newer.writeUInt32BE(99, "drey checkpoint\n".length);
    await expect(openSavepoint(copy(newer))).rejects.toThrow("has version 99");
  });
  it("is told which file of a copied savepoint is cut off or missing", async () => {
    const copy = mkdtempSync(join(folder, "copy-"));
    cpSync(place, copy, { recursive: true });
    const files = readdirSync(copy).filter((name) => name !== "_metadata");
    const read = async (): Promise<unknown> => (await openSavepoint(copy)).keyedState(localEnvironment(), "everything", valueState("count")).collect().catch(corrupt);
    for (const name of files) truncateSync(join(copy, name), 10);
    expect(await read()).toMatchObject({ name: CorruptCheckpointError.name, message: expect.stringMatching(/ends after 10 bytes.*it was cut off/) as unknown });
    for (const name of files) rmSync(join(copy, name));
    expect(await read()).toMatchObject({ name: CorruptCheckpointError.name, message: expect.stringMatching(/is not there, and the state of everything is in it/) as unknown });
  });
});

const corrupt = (error: unknown): unknown => (error instanceof CorruptCheckpointError || !(error instanceof Error) ? error : corrupt(error.cause));
