/**
 * One suite for every operator: whatever has happened to it, a snapshot taken anywhere and restored at another parallelism goes on as if
 * nothing had been. Each operator of the registry has its pipelines here, or a reason why it has none.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { bufferTime, map as rxMap, scan } from "rxjs";
import { afterAll, describe, expect, test } from "vitest";
import {
  BroadcastProcessFunction, CoProcessFunction, type Collector, type DataStream, KeyedBroadcastProcessFunction, KeyedProcessFunction,
  type OperatorList, type ProcessContext, ProcessFunction, ProcessWindowFunction, type ReadOnlyBroadcastContext, type RuntimeContext, type TimerContext, type ValueState, aggregatingState,
  average, count, countEvictor, countTrigger, cumulative, listState, mapState, milliseconds, purging, reducingState, session, sliding, sum, tumbling, valueState,
} from "../../src/core/index.ts";
import { DataStream as Stream } from "../../src/core/api/data-stream.ts";
import { connectorKinds } from "../../src/core/connectors/index.ts";
import type { SavepointSpec } from "../../src/core/connectors/savepoint-source.ts";
import { noClasses } from "../../src/core/data/classes.ts";
import { operatorKinds } from "../../src/core/operators/index.ts";
import { SubtaskStates } from "../../src/core/state/operator-states.ts";
import type { OperatorSnapshot } from "../../src/core/state/snapshot.ts";
import { type HarnessSnapshot, type StreamRecord, type TestHarness, testHarness } from "../../src/core/testing/index.ts";

interface Row {
  readonly key: string;
  readonly id: number;
  readonly n: number;
  /** Event time. */
  readonly at: number;
}
type Rows = DataStream<Row>;

/** What a pipeline is for its test. */
interface Case {
  readonly build: (rows: Rows, others: Rows) => DataStream<unknown>;
  /** What a subtask keeps belongs to no key, so the operator means something else at another parallelism. Default: it rescales. */
  readonly alone?: true;
  /** Results are not in the records' order, or come when they can. Default: the same records, compared as a set. */
  readonly waits?: true;
}

const folder = mkdtempSync(join(tmpdir(), "drey-restore-"));
afterAll(() => rmSync(folder, { recursive: true }));
const lines = join(folder, "lines.txt");
writeFileSync(lines, Array.from({ length: 200 }, (_, i) => `line ${i}`).join("\n"));

const stored = ((): OperatorSnapshot => {
  const states = new SubtaskStates({ stateId: "stored", maxParallelism: 4, classes: noClasses, now: () => 0 });
  for (let key = 0; key < 3_000; key++) {
    states.keyed.setCurrentKey(key);
    states.keyed.state(listState<number>("numbers")).update([key, key + 1]);
  }
  const frozen = states.freeze(1, "savepoint");
  const written: Uint8Array[] = [];
  while (!frozen.work(100, (bytes) => written.push(bytes) > 0));
  writeFileSync(join(folder, "state"), Buffer.concat(written));
  return frozen.finish("state", 0);
})();

/** State of every kind, and timers of both clocks. */
class Everything extends KeyedProcessFunction<string, Row, string> {
  override processElement(row: Row, context: ProcessContext<string>, out: Collector<string>): void {
    const value = context.state(valueState<number>("value", 0));
    const list = context.state(listState<number>("list"));
    const map = context.state(mapState<number, string>("map"));
    const highest = context.state(reducingState<number>("highest", Math.max));
    const mean = context.state(aggregatingState("mean", average((n: number) => n)));
    value.update((value.value() ?? 0) + row.n);
    if (row.n % 7 === 0) list.clear();
    list.add(row.id);
    map.put(row.n % 3, `${row.id}`);
    if (row.n % 5 === 0) map.remove(1);
    highest.add(row.n);
    mean.add(row.n);
    context.timers.registerEventTimeTimer(row.at + 5);
    if (row.n % 2 === 0) context.timers.deleteEventTimeTimer(row.at + 4);
    context.timers.registerProcessingTimeTimer(context.timers.currentProcessingTime() + 7);
    out.collect(JSON.stringify([row.key, value.value(), list.get(), [...map.entries()], highest.get(), mean.get()]));
  }
  override onTimer(timestamp: number, context: TimerContext<string>, out: Collector<string>): void {
    const value = context.state(valueState<number>("value", 0));
    out.collect(`${context.key} ${context.timeDomain} ${timestamp} ${value.value()}`);
    value.update(-(value.value() ?? 0));
  }
}

class Both extends CoProcessFunction<Row, Row, string, string> {
  last!: ValueState<number>;
  override open(context: RuntimeContext): void {
    this.last = context.state(valueState<number>("last", 0));
  }
  override processElement1(row: Row, context: ProcessContext<string>, out: Collector<string>): void {
    out.collect(`${context.key} 1 ${this.last.value()} ${row.n}`);
    this.last.update(row.n);
    context.timers.registerEventTimeTimer(row.at + 3);
  }
  override processElement2(row: Row, context: ProcessContext<string>, out: Collector<string>): void {
    out.collect(`${context.key} 2 ${this.last.value()} ${row.n}`);
    this.last.update(-row.n);
  }
  override onTimer(timestamp: number, context: TimerContext<string>, out: Collector<string>): void {
    out.collect(`${context.key} timer ${timestamp} ${this.last.value()}`);
  }
}

/** Keeps what waits in a field, and in a list of its own when a snapshot is taken. */
class Waiting extends ProcessFunction<Row, string> {
  waiting: Row[] = [];
  kept!: OperatorList<Row>;
  override open(context: RuntimeContext): void {
    this.kept = context.listState("waiting");
    this.waiting = [...this.kept.get()];
  }
  override processElement(row: Row, _context: ProcessContext, out: Collector<string>): void {
    this.waiting.push(row);
    if (this.waiting.length === 3) out.collect(this.waiting.splice(0).map(({ id }) => id).join());
  }
  override snapshotState(): void {
    this.kept.update(this.waiting);
  }
}

const rules = mapState<string, number>("rules");
class Ruled extends BroadcastProcessFunction<Row, Row, string> {
  override processElement(row: Row, context: ReadOnlyBroadcastContext, out: Collector<string>): void {
    out.collect(`${row.id} ${context.broadcastState(rules).get(row.key)}`);
  }
  override processBroadcastElement(rule: Row, context: Parameters<BroadcastProcessFunction<Row, Row, string>["processBroadcastElement"]>[1]): void {
    context.broadcastState(rules).put(rule.key, rule.n);
  }
}
class KeyedRuled extends KeyedBroadcastProcessFunction<string, Row, Row, string> {
  override processElement(
    row: Row, context: Parameters<KeyedBroadcastProcessFunction<string, Row, Row, string>["processElement"]>[1], out: Collector<string>,
  ): void {
    const seen = context.state(valueState<number>("seen", 0));
    seen.update((seen.value() ?? 0) + 1);
    out.collect(`${row.id} ${context.broadcastState(rules).get(row.key)} ${seen.value()}`);
  }
  override processBroadcastElement(
    rule: Row, context: Parameters<KeyedBroadcastProcessFunction<string, Row, Row, string>["processBroadcastElement"]>[1],
  ): void {
    context.broadcastState(rules).put(rule.key, rule.n);
  }
}

class PerWindow extends ProcessWindowFunction<Row, string, string> {
  override process(rows: readonly Row[], context: Parameters<ProcessWindowFunction<Row, string, string>["process"]>[1], out: Collector<string>): void {
    const fired = context.globalState(valueState<number>("fired", 0));
    fired.update((fired.value() ?? 0) + 1);
    out.collect(`${context.key} ${context.window.start} ${rows.map(({ id }) => id)} ${fired.value()}`);
  }
}

const keyed = (rows: Rows) => rows.keyBy((row) => row.key);
const told = ({ key, id }: Row): string => `${key}${id}`;

const cases: Readonly<Record<string, Readonly<Record<string, Case>>>> = {
  map: { map: { build: (rows) => rows.map(told) } },
  filter: { filter: { build: (rows) => rows.filter(({ n }) => n % 2 === 0) } },
  flatMap: { flatMap: { build: (rows) => rows.flatMap((row) => [told(row), row.n]) } },
  timestamps: {
    "out of order": { build: (rows) => rows.withTimestamps(({ at }) => at, { outOfOrderness: 4 }).keyBy(({ key }) => key).window(tumbling(6)).aggregate(count()) },
  },
  reduce: { reduce: { build: (rows) => keyed(rows).reduce((a, b) => ({ ...b, n: a.n + b.n })) } },
  window: {
    tumbling: { build: (rows) => keyed(rows).window(tumbling(milliseconds(5))).count() },
    "sliding, with an object as accumulator": { build: (rows) => keyed(rows).window(sliding(9, 3)).aggregate(average(({ n }) => n), (mean, { key, window }) => ({ key, mean, ...window })) },
    session: { build: (rows) => keyed(rows).window(session(4)).aggregate(sum(({ n }) => n), (n, { key, window }) => ({ key, n, ...window })) },
    "reduced, of keys that are records": { build: (rows) => rows.keyBy(({ key }) => ({ key })).window(tumbling(7)).reduce((a, b) => ({ ...b, n: a.n + b.n })) },
  },
  triggeredWindow: {
    "with all its rows": { build: (rows) => keyed(rows).window(tumbling(6)).process(new PerWindow()) },
    cumulative: { build: (rows) => keyed(rows).window(cumulative(12, 4)).count() },
    "late rows fire again": { build: (rows) => keyed(rows).window(tumbling(5)).allowedLateness(6).count() },
    "sessions that live on": { build: (rows) => keyed(rows).window(session(3)).allowedLateness(5).aggregate(sum(({ n }) => n)) },
    "count windows": { build: (rows) => keyed(rows).countWindow(3).process((all, { key }, out) => out.collect(`${key} ${all.map(({ id }) => id)}`)) },
    "count trigger and evictor": { build: (rows) => keyed(rows).window(tumbling(20)).trigger(purging(countTrigger(2))).evictor(countEvictor(3)).process((all, _, out) => out.collect(all.map(told))) },
    "a join": { build: (rows, others) => rows.join(others).where(({ key }) => key).equalTo(({ key }) => key).window(tumbling(6)).apply((a, b) => `${told(a)} ${told(b)}`) },
  },
  batch: { batch: { build: (rows) => keyed(rows).batch({ count: 3, within: 9 }).map((all) => all.map(told)) } },
  process: {
    everything: { build: (rows) => keyed(rows).process(new Everything()) },
    "with a list of its own": { build: (rows) => rows.process(new Waiting()), alone: true },
    "without keys": { build: (rows) => rows.process<string>((row, context, out) => out.collect(`${told(row)} ${context.timestamp}`)) },
  },
  coProcess: { both: { build: (rows, others) => rows.connect(others).keyBy(({ key }) => key, ({ key }) => key).process(new Both()) } },
  broadcastProcess: {
    rules: { build: (rows, others) => rows.connect(others.broadcast(rules)).process(new Ruled()) },
    "rules for keys": { build: (rows, others) => keyed(rows).connect(others.broadcast(rules)).process(new KeyedRuled()) },
  },
  intervalJoin: {
    interval: { build: (rows, others) => keyed(rows).intervalJoin(keyed(others)).between("-3 ms", "5 ms").apply((a, b) => `${told(a)} ${told(b)}`) },
  },
  mapAsync: {
    ordered: { build: (rows) => rows.mapAsync(async (row) => Promise.resolve(told(row))), waits: true },
    unordered: { build: (rows) => rows.mapAsync(async (row) => Promise.resolve(told(row)), { ordered: false }), waits: true },
  },
  rx: {
    "per key": { build: (rows) => keyed(rows).rx((row$, { scheduler, key }) => row$.pipe(scan((all, { n }) => all + n, 0), bufferTime(5, scheduler), rxMap((all) => `${key} ${all}`)), { state: "replay" }) },
    "alone": { build: (rows) => rows.rx((row$, { scheduler }) => row$.pipe(bufferTime(5, scheduler), rxMap((all) => all.map(({ at }) => at))), { state: "replay" }) },
  },
  scan: {
    "per key": { build: (rows) => keyed(rows).scan((all: string, row) => `${all}${row.id}`, "") },
    alone: { build: (rows) => rows.scan((all: string, row) => `${all}${row.id}`, ""), alone: true },
  },
  rolling: {
    sum: { build: (rows) => keyed(rows).sum("n") },
    min: { build: (rows) => keyed(rows).min("n") },
    maxBy: { build: (rows) => keyed(rows).maxBy("n") },
  },
  distinct: { distinct: { build: (rows) => rows.distinct(({ key, n }) => `${key}${n % 3}`).map(({ key, n }) => `${key}${n % 3}`) } },
  changes: { "distinctUntilChanged": { build: (rows) => keyed(rows).distinctUntilChanged(undefined, ({ n }) => n % 2) } },
  throttle: { throttle: { build: (rows) => keyed(rows).throttle(4) }, dedupe: { build: (rows) => keyed(rows).dedupe(6) } },
  pairwise: { pairwise: { build: (rows) => keyed(rows).pairwise().map(([a, b]) => `${told(a)} ${told(b)}`) } },
  startWith: { startWith: { build: (rows) => rows.map(told).startWith("first", "second"), alone: true } },
  take: { take: { build: (rows) => keyed(rows).take(2) }, skip: { build: (rows) => keyed(rows).skip(2) }, takeWhile: { build: (rows) => keyed(rows).takeWhile(({ n }) => n < 15) } },
  takeUntil: { takeUntil: { build: (rows, others) => rows.takeUntil(others.filter(({ n }) => n > 15)).map(told), alone: true } },
  topN: { topN: { build: (rows) => keyed(rows).topN(2, ({ n }) => n).map((all) => all.map(told)) } },
  iterate: {
    countdown: {
      build: (rows) =>
        rows.map(({ id, n }) => ({ id, n: n % 4 })).iterate((loop) => {
          const less = loop.map(({ id, n }) => ({ id, n: n - 1 }));
          return { feedback: less.filter(({ n }) => n > 0), output: less.filter(({ n }) => n <= 0).map(({ id, n }) => `${id} ${n}`) };
        }),
      waits: true,
    },
  },
  collection: { array: { build: (rows) => rows.map(told).union(rows.environment.from(Array.from({ length: 300 }, (_, i) => `row ${i}`))) } },
  generator: { generate: { build: (rows) => rows.map(told).union(rows.environment.generate((i) => `row ${i}`, { count: 60, rowsPerSecond: 500 })) } },
  iterable: {
    "function at a rate": {
      build: (rows) => rows.map(told).union(rows.environment.from(function* () {
        for (let i = 0; i < 60; i++) yield `row ${i}`;
      }, { rowsPerSecond: 500 })),
    },
  },
  savepoint: { "keyed state": { build: (rows) => rows.map(told).union(fromSavepoint(rows)) } },
  files: { lines: { build: (rows) => rows.map(told).union(rows.environment.fromText(lines)) } },
};

/** What a savepoint holds of 3,000 keys in four key groups, as text. */
function fromSavepoint({ environment }: Rows): DataStream<string> {
  const spec: SavepointSpec = {
    kind: "savepoint", folder, snapshots: [stored], maxParallelism: 4, part: { kind: "keyed", descriptor: listState("numbers") }, nowMs: 0,
  };
  const from = environment.add({ name: "savepoint", spec });
  return new Stream<{ key: number; value: number[] }>(environment, [{ from, partitioning: undefined, sideOutput: undefined }])
    .map(({ key, value }) => `${key} ${value}`);
}

/** Kinds without a pipeline here, and why. */
const elsewhere: Readonly<Record<string, string>> = {
  feed: "the inputs of every pipeline here",
  result: "the output of every pipeline here",
  loopExit: "the end of every loop",
  print: "keeps nothing",
  sink: "keeps nothing",
  discard: "keeps nothing",
  twoPhaseSink: "test/core/testing/snapshot.test.ts",
  fileSink: "its files are looked at in test/core/connectors",
  savepointSink: "bounded: writes anew after a failure; test/jobs/savepoint-writer.test.ts",
  ...Object.fromEntries(
    ["mapPartition", "groupReduce", "sortPartition", "first", "boundedJoin", "boundedCoGroup", "cross", "broadcastVariables", "materialize", "materialized"]
      .map((kind) => [kind, "bounded: runs from the beginning after a failure"]),
  ),
};

type Action =
  | { readonly push: Row; readonly input: 0 | 1 }
  | { readonly watermark: number }
  | { readonly clock: number };

/** Records, watermarks and the clock, so that no record is later than the last watermark allows too often. */
const actions: fc.Arbitrary<readonly Action[]> = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.record({ key: fc.constantFrom(..."abcdefg"), n: fc.nat(19), late: fc.nat(6), input: fc.constantFrom<0 | 1>(0, 0, 1) }) },
      { weight: 2, arbitrary: fc.record({ step: fc.nat(6) }) },
      { weight: 1, arbitrary: fc.record({ clock: fc.integer({ min: 1, max: 12 }) }) },
    ),
    { minLength: 2, maxLength: 40 },
  )
  .map((drawn) => {
    let now = 5;
    return drawn.map((it, id): Action => {
      if ("clock" in it) return { clock: it.clock };
      if ("step" in it) {
        now += it.step;
        return { watermark: now - 5 };
      }
      now++;
      return { push: { key: it.key, id, n: it.n, at: now - it.late }, input: it.input };
    });
  });

type Harness = TestHarness<[Row, Row], { output: unknown }>;

async function act(harness: Harness, todo: readonly Action[], waits: boolean): Promise<void> {
  for (const action of todo) {
    if ("push" in action) harness.inputs[action.input].push(action.push, action.push.at);
    else if ("watermark" in action) harness.watermark(Math.max(action.watermark, 0));
    else harness.advanceBy(action.clock);
  }
  if (waits) await new Promise((resolve) => setImmediate(resolve));
}

async function finished(harness: Harness): Promise<void> {
  harness.advanceBy(1_000);
  // How far time has come in each subtask when its input ends is its own affair.
  harness.watermark(10_000);
  harness.end();
  // A loop waits by the clock before it looks whether it is empty.
  for (let turn = 0; turn < 1_000 && !harness.finished; turn++) {
    harness.advanceBy(100);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(harness.finished).toBe(true);
  await harness.close();
}

const texts = (records: readonly StreamRecord<unknown>[]): string[] => records.map((record) => JSON.stringify(record)).sort();

async function uninterrupted({ build, waits = false as never }: Case, todo: readonly Action[], parallelism: number): Promise<string[]> {
  const harness = await testHarness((rows: Rows, others: Rows) => build(rows, others), { parallelism });
  await act(harness, todo, waits);
  await finished(harness);
  return texts(harness.output.records);
}

/** Where a snapshot is taken, at which parallelism the pipeline begins anew, and where keyed state lies from then on. */
type Cut = readonly [at: number, parallelism: number, backend?: "heap" | "lmdb"];

/** The same, with a snapshot and a new beginning at each cut. */
async function interrupted(it: Case, todo: readonly Action[], cuts: readonly Cut[], first: number): Promise<string[]> {
  const records: StreamRecord<unknown>[] = [];
  const pipeline = (rows: Rows, others: Rows): DataStream<unknown> => it.build(rows, others);
  let harness: Harness = await testHarness(pipeline, { parallelism: first });
  let done = 0;
  for (const [at, parallelism, backend = "heap"] of cuts) {
    await act(harness, todo.slice(done, at), it.waits ?? false);
    done = Math.max(done, at);
    const restore: HarnessSnapshot = harness.snapshot();
    records.push(...harness.output.recordsBefore(restore));
    // What came behind the snapshot never was.
    if (todo[done] !== undefined) await act(harness, todo.slice(done, done + 1), false);
    await harness.close();
    harness = await testHarness(pipeline, { parallelism, restore, configuration: { "state.backend.type": backend } });
  }
  await act(harness, todo.slice(done), it.waits ?? false);
  await finished(harness);
  return texts([...records, ...harness.output.records]);
}

const runs = Number(process.env["DREY_RUNS"] ?? 6);

describe.each(Object.entries(cases))("%s", (_kind, pipelines) => {
  test.each(Object.entries(pipelines))("%s: a snapshot anywhere goes on anywhere", async (_title, it) => {
    const parallelism = it.alone === true ? fc.constant(1) : fc.integer({ min: 1, max: 4 });
    const cuts = fc.array(fc.tuple(fc.nat(40), parallelism), { minLength: 1, maxLength: 2 }).map((all) => all.sort(([a], [b]) => a - b));
    await fc.assert(
      fc.asyncProperty(actions, cuts, parallelism, async (todo, at, first) => {
        expect(await interrupted(it, todo, at, first)).toEqual(await uninterrupted(it, todo, 1));
      }),
      { numRuns: runs },
    );
  });
});

test.each([
  ["process", "everything"], ["triggeredWindow", "with all its rows"], ["rx", "per key"], ["broadcastProcess", "rules for keys"], ["intervalJoin", "interval"],
])("%s, %s: goes on wherever its state lies, in the heap or on disk", async (kind, title) => {
  const it = cases[kind]![title]!;
  const cuts = fc
    .array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 2 }), fc.constantFrom("lmdb" as const, "lmdb" as const, "heap" as const)), { minLength: 2, maxLength: 3 })
    .map((all) => all.sort(([a], [b]) => a - b));
  await fc.assert(
    fc.asyncProperty(actions, cuts, async (todo, at) => {
      expect(await interrupted(it, todo, at, 1)).toEqual(await uninterrupted(it, todo, 1));
    }),
    { numRuns: Math.ceil(runs / 2) },
  );
});

test("every operator and connector has a pipeline here, or a reason why not", () => {
  const kinds = [...operatorKinds, ...connectorKinds].map(({ kind }) => kind);
  expect(kinds.filter((kind) => !(kind in cases) && !(kind in elsewhere))).toEqual([]);
  expect([...Object.keys(cases), ...Object.keys(elsewhere)].filter((kind) => !kinds.includes(kind))).toEqual([]);
});
