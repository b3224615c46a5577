import { describe, expect, test } from "vitest";
import {
  type Collector, type DataStream, type DataStreamSink, KeyedProcessFunction, type ListState, type MapState, type ProcessContext,
  type RuntimeContext, StateError, type TimerContext, type ValueState, count, listState, mapState, milliseconds, tumbling, twoPhaseSink, valueState,
} from "../../../src/core/index.ts";
import { expectStream, marbles, testHarness } from "../../../src/core/testing/index.ts";

const total = valueState("total", 0);
const seen = listState<number>("seen");
const byDigit = mapState<number, number>("by digit");

/** Keeps what it sees in every kind of state; fires every ten, in event time and by the clock. */
class Keeper extends KeyedProcessFunction<string, { key: string; n: number }, string> {
  total!: ValueState<number>;
  seen!: ListState<number>;
  byDigit!: MapState<number, number>;
  override open(context: RuntimeContext): void {
    this.total = context.state(total);
    this.seen = context.state(seen);
    this.byDigit = context.state(byDigit);
  }
  override processElement({ n }: { key: string; n: number }, context: ProcessContext<string>, out: Collector<string>): void {
    this.total.update((this.total.value() ?? 0) + n);
    this.seen.add(n);
    this.byDigit.put(n % 10, n);
    context.timers.registerEventTimeTimer(Math.ceil((context.timestamp ?? 0) / 10) * 10 + 10);
    context.timers.registerProcessingTimeTimer(context.timers.currentProcessingTime() + 1_000);
    out.collect(`${context.key}=${this.total.value()}`);
  }
  override onTimer(timestamp: number, context: TimerContext<string>, out: Collector<string>): void {
    out.collect(`${context.key} ${context.timeDomain} ${timestamp}: ${this.total.value()} of ${this.seen.get()}`);
  }
}

const keyed = { keyBy: (row: { key: string }) => row.key };
const keys = ["a", "b", "c", "d", "e"];

describe("state and timers", () => {
  test.each([1, 3])("are seen by key, at parallelism %i", async (parallelism) => {
    await using harness = await testHarness(new Keeper(), { ...keyed, parallelism });
    expect(harness.state(total).get("a")).toBe(0);
    for (const [n, key] of keys.entries()) harness.push({ key, n: n + 20 }, n);
    harness.push({ key: "a", n: 1 }, 11);
    expect(harness.state(total).get("a")).toBe(21);
    expect(harness.state(seen).get("a")).toEqual([20, 1]);
    expect(harness.state(seen).get("nobody")).toEqual([]);
    expect(harness.state(byDigit).get("b")).toEqual([[1, 21]]);
    expect(harness.state(total).keys().sort()).toEqual(keys);
    const timers = harness.timers().map(({ name, key, time }) => `${name} ${key} ${time}`);
    expect(timers.sort()).toEqual([
      "event a 10", "event a 30", ...["b", "c", "d", "e"].map((key) => `event ${key} 20`), ...keys.map((key) => `processing ${key} 1000`),
    ]);
    expect(() => harness.state(valueState("totl"))).toThrow('No operator of the pipeline has declared keyed state named "totl" so far');
  });

  test("of several operators are told apart by uid", async () => {
    await using harness = await testHarness((rows: DataStream<{ key: string; n: number }>) => {
      const first = rows.keyBy(keyed.keyBy).process(new Keeper()).uid("first");
      return first.union(rows.keyBy(() => "all").process(new Keeper()).uid("second"));
    });
    harness.push({ key: "a", n: 7 });
    expect(() => harness.state(total)).toThrow("Several operators have keyed state named \"total\": first, second; write state(descriptor, uid)");
    expect(harness.state(total, "second").get("all")).toBe(7);
    expect(harness.state(total, "first").get("all")).toBe(0);
  });
});

describe("a snapshot", () => {
  test.each([
    [1, 1], [1, 3], [3, 1], [2, 3], [4, 4],
  ])("taken at parallelism %i goes on at parallelism %i", async (before, after) => {
    const first = await testHarness(new Keeper(), { ...keyed, parallelism: before, clock: 500 });
    for (const [n, key] of keys.entries()) first.push({ key, n }, n);
    first.watermark(4);
    first.advanceTo(900);
    first.take();
    const snapshot = first.snapshot();
    expect(snapshot.checkpoint).toBe(1);
    expect(snapshot.bytes).toBeGreaterThan(0);
    await using second = await testHarness(new Keeper(), { ...keyed, parallelism: after, restore: snapshot });
    for (const harness of [first, second]) {
      expect(harness.now).toBe(900);
      harness.push({ key: "a", n: 100 }, 6);
      harness.push({ key: "e", n: 100 }, 7);
      harness.watermark(20);
      harness.advanceTo(2_000);
    }
    expect(second.take().sort()).toEqual(first.take().sort());
    expect(second.state(seen).get("a")).toEqual([0, 100]);
    expect(second.snapshot().checkpoint).toBe(2);
    await first.close();
  });

  test("does not hear of what came after it", async () => {
    await using first = await testHarness(new Keeper(), keyed);
    first.push({ key: "a", n: 1 }, 1);
    const snapshot = first.snapshot();
    first.push({ key: "a", n: 1 }, 1);
    first.push({ key: "b", n: 1 }, 1);
    await using second = await testHarness(new Keeper(), { ...keyed, restore: snapshot });
    expect(second.state(total).get("a")).toBe(1);
    expect(second.state(total).keys()).toEqual(["a"]);
  });

  test("keeps watermarks, ends and windows half full", async () => {
    const windows = (rows: DataStream<string>, others: DataStream<string>): DataStream<number> =>
      rows.union(others).keyBy((row) => row).window(tumbling(milliseconds(10))).aggregate(count());
    const first = await testHarness(windows, { parallelism: 2 });
    first.inputs[1].end();
    first.inputs[0].push("a", 3);
    first.inputs[0].push("a", 12);
    first.inputs[0].watermark(5);
    const snapshot = first.snapshot();
    await first.close();
    await using second = await testHarness(windows, { parallelism: 1, restore: snapshot });
    expect(() => second.inputs[1].push("x", 20)).toThrow("came after the end of input 2");
    expect(() => second.inputs[0].watermark(4)).toThrow("would go back: it is at 5 already");
    second.inputs[0].push("a", 4);
    second.inputs[0].watermark(9);
    expect(second.takeRecords()).toEqual([{ value: 2, timestamp: 9 }]);
    second.end();
    expect(second.takeRecords()).toEqual([{ value: 1, timestamp: 19 }]);
    expect(second.finished).toBe(true);
  });

  test("of another pipeline is refused with the names of what has no place", async () => {
    await using first = await testHarness((rows: DataStream<{ key: string; n: number }>) => rows.keyBy(keyed.keyBy).process(new Keeper()).uid("keeper"));
    first.push({ key: "a", n: 1 });
    const restore = first.snapshot();
    await expect(testHarness((rows: DataStream<{ key: string; n: number }>) => rows.keyBy(keyed.keyBy).process(new Keeper()).uid("kepper"), { restore }))
      .rejects.toThrow(/state of an operator "keeper" \(event, processing, total, seen, by digit\), which the pipeline does not have/);
    class Other extends KeyedProcessFunction<string, unknown, string> {
      override open(context: RuntimeContext): void {
        context.state(listState("total"));
      }
      override processElement(): void {}
    }
    await expect(testHarness((rows: DataStream<{ key: string; n: number }>) => rows.keyBy(keyed.keyBy).process(new Other()).uid("keeper"), { restore }))
      .rejects.toThrow(StateError);
  });

  test("that can't be written is declined, and the pipeline goes on", async () => {
    await using harness = await testHarness((rows: DataStream<string>) => rows.rx((rows$) => rows$, { time: "processing" }));
    harness.push("a");
    expect(() => harness.snapshot()).toThrow(/can't be part of a snapshot/);
  });

  test("lets two-phase sinks commit when it is complete, not before, and a restore commits what it names", async () => {
    const log: string[] = [];
    const sink = () => {
      let rows: number[] = [];
      return twoPhaseSink<number, string>({
        write: (n) => void rows.push(n),
        prepareCommit: () => {
          const committable = rows.join();
          rows = [];
          return committable === "" ? [] : [committable];
        },
        commit: (committable) => void log.push(committable),
      });
    };
    const options = { configuration: { "execution.checkpointing.interval": "10 s" } };
    const pipeline = (numbers: DataStream<number>): DataStreamSink => numbers.sinkTo(sink());
    const first = await testHarness(pipeline, options);
    first.pushAll([1, 2]);
    const snapshot = first.snapshot({ complete: false });
    first.push(3);
    expect(log).toEqual([]);
    first.complete(snapshot);
    expect(log).toEqual(["1,2"]);
    await first.close();
    await using second = await testHarness(pipeline, { ...options, restore: snapshot });
    expect(log).toEqual(["1,2", "1,2"]);
    second.push(4);
    second.abort(second.snapshot({ complete: false }));
    second.push(5);
    second.snapshot();
    expect(log.slice(2).join()).toBe("4,5");
  });
});

test("marbles go on across a restore", async () => {
  const debounced = (rows: DataStream<string>): DataStream<string> => rows.keyBy((row) => row).reduce((a, b) => a + b);
  const first = await testHarness(debounced);
  first.play(marbles("a-b"));
  const snapshot = first.snapshot();
  await using second = await testHarness(debounced, { restore: snapshot, parallelism: 3 });
  second.play(marbles("----a-b|"));
  expectStream(second).toBe("----x-y|", { x: "aa", y: "bb" });
  await first.close();
});
