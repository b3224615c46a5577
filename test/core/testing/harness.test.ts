import { describe, expect, test, vi } from "vitest";
import {
  CoProcessFunction, type Collector, type Counter, type KeyedBroadcastContext, KeyedBroadcastProcessFunction, mapState, type ReadOnlyBroadcastContext,
  type DataStream, GraphError, KeyedProcessFunction, type ProcessContext, type RuntimeContext, RecordError,
  type TimerContext, UserFunctionError, type ValueState, filter, seconds, session, sideOutput, sum, tumbling, valueState,
} from "../../../src/core/index.ts";
import { testHarness } from "../../../src/core/testing/index.ts";

interface Ride {
  readonly zone: string;
  readonly fare: number;
}

const late = sideOutput<Ride>("late");

/** Sums fares per zone; reports a minute after the first ride, by the clock, and at the top of each hour of event time. */
class Totals extends KeyedProcessFunction<string, Ride, string> {
  total!: ValueState<number>;
  override open(context: RuntimeContext): void {
    this.total = context.state(valueState("total", 0));
  }
  override processElement(ride: Ride, context: ProcessContext<string>): void {
    if (context.timestamp !== undefined && context.timestamp <= context.timers.currentWatermark()) return context.output(late, ride);
    if (this.total.value() === 0) context.timers.registerProcessingTimeTimer(context.timers.currentProcessingTime() + 60_000);
    this.total.update((this.total.value() ?? 0) + ride.fare);
    if (context.timestamp !== undefined) context.timers.registerEventTimeTimer(Math.ceil(context.timestamp / 3_600_000) * 3_600_000);
  }
  override onTimer(timestamp: number, context: TimerContext<string>, out: Collector<string>): void {
    out.collect(`${context.key}: ${this.total.value()} at ${context.timeDomain} ${timestamp}, clock ${context.timers.currentProcessingTime()}`);
  }
}

describe("a pipeline under test", () => {
  test("gives its rows as soon as they are pushed", async () => {
    await using harness = await testHarness((numbers: DataStream<number>) => numbers.map((x) => x * 10).filter((x) => x > 10));
    harness.push(1);
    expect(harness.take()).toEqual([]);
    harness.push(2);
    harness.pushAll([3, 4]);
    expect(harness.take()).toEqual([20, 30, 40]);
    expect(harness.take()).toEqual([]);
    expect(harness.output.records.map(({ value }) => value)).toEqual([20, 30, 40]);
  });

  test.each([1, 2, 3])("closes windows when the watermark passes them, at parallelism %i", async (parallelism) => {
    await using harness = await testHarness(
      (rides: DataStream<Ride>) => rides.keyBy((ride) => ride.zone).window(tumbling(seconds(10))).count(),
      { parallelism },
    );
    harness.push({ zone: "a", fare: 1 }, 1_000);
    harness.push({ zone: "b", fare: 1 }, 2_000);
    harness.push({ zone: "a", fare: 1 }, 9_999);
    harness.watermark(9_998);
    expect(harness.takeRecords()).toEqual([]);
    harness.watermark(9_999);
    const rows = harness.takeRecords().sort((x, y) => (x.value.key < y.value.key ? -1 : 1));
    expect(rows).toEqual([
      { value: { key: "a", start: 0, end: 10_000, count: 2 }, timestamp: 9_999 },
      { value: { key: "b", start: 0, end: 10_000, count: 1 }, timestamp: 9_999 },
    ]);
    expect(harness.output.watermark).toBe(9_999);
    harness.push({ zone: "a", fare: 1 }, 5_000);
    harness.end();
    expect(harness.take()).toEqual([]);
    expect(harness.metric("numLateRecordsDropped")).toBe(1);
    expect(harness.finished).toBe(true);
  });

  test("shows watermarks among the records", async () => {
    await using harness = await testHarness((numbers: DataStream<number>) => numbers.map((x) => x));
    harness.push(7, 1);
    harness.watermark(1);
    harness.watermark(new Date(5));
    harness.push(8, 6);
    expect(harness.output.takeElements()).toEqual([{ value: 7, timestamp: 1 }, { watermark: 1 }, { watermark: 5 }, { value: 8, timestamp: 6 }]);
    harness.end();
    expect(harness.output.takeElements()).toEqual([{ watermark: Number.POSITIVE_INFINITY }]);
  });

  test("makes its own watermarks by the injected clock", async () => {
    await using harness = await testHarness((rides: DataStream<{ at: number }>) => rides.withTimestamps((ride) => ride.at, { outOfOrderness: 5 }));
    harness.push({ at: 100 });
    expect(harness.output.watermark).toBe(Number.NEGATIVE_INFINITY);
    harness.advanceBy("1 s");
    expect(harness.output.watermark).toBe(94);
  });

  test("may have several inputs and several outputs", async () => {
    await using harness = await testHarness((numbers: DataStream<number>, words: DataStream<string>) => ({
      all: numbers.map(String).union(words),
      lengths: words.map((word) => word.length),
    }));
    harness.inputs[0].push(1, 10);
    harness.inputs[1].push("one", 20);
    expect(harness.outputs.all.takeRecords()).toEqual([{ value: "1", timestamp: 10 }, { value: "one", timestamp: 20 }]);
    expect(harness.outputs.lengths.take()).toEqual([3]);
    harness.inputs[0].watermark(30);
    expect(harness.outputs.all.watermark).toBe(Number.NEGATIVE_INFINITY);
    harness.inputs[1].idle();
    expect(harness.outputs.all.watermark).toBe(30);
    expect(() => harness.take()).toThrow("returned several streams; take from outputs.all or outputs.lengths");
  });

  test("may end in a sink", async () => {
    const seen: number[] = [];
    await using harness = await testHarness((numbers: DataStream<number>) => numbers.sinkTo((x) => void seen.push(x)));
    harness.push(1);
    expect(seen).toEqual([1]);
    expect(() => harness.output).toThrow("returned no stream");
  });

  test("may be a pipeable operator", async () => {
    await using harness = await testHarness(filter((x: number) => x > 1));
    harness.pushAll([1, 2]);
    expect(harness.take()).toEqual([2]);
  });

  test("takes records that are larger than a segment, and more of them than channels hold", async () => {
    await using harness = await testHarness((texts: DataStream<string>) => texts.rebalance().flatMap((text) => Array.from({ length: 3_000 }, () => text)), {
      parallelism: 2,
    });
    const large = "x".repeat(100_000);
    harness.push(large);
    harness.push("y");
    expect(harness.take().map((text) => text.length).reduce((a, b) => a + b)).toBe(3_000 * 100_001);
  });
});

describe("a function under test", () => {
  test("has its key, state, timers and side outputs", async () => {
    await using harness = await testHarness(new Totals(), { keyBy: (ride) => ride.zone, sideOutputs: [late], clock: 1_000 });
    harness.push({ zone: "a", fare: 5 }, 1);
    harness.push({ zone: "b", fare: 7 }, 2);
    harness.push({ zone: "a", fare: 1 }, 3);
    harness.advanceTo(60_999);
    expect(harness.take()).toEqual([]);
    harness.advanceBy("2 min");
    expect(harness.take()).toEqual(["a: 6 at processing 61000, clock 61000", "b: 7 at processing 61000, clock 61000"]);
    harness.watermark(3_600_000);
    expect(harness.take()).toEqual(["a: 6 at event 3600000, clock 180999", "b: 7 at event 3600000, clock 180999"]);
    harness.push({ zone: "c", fare: 1 }, 3);
    expect(harness.sideOutput(late).take()).toEqual([{ zone: "c", fare: 1 }]);
  });

  test("of two streams meets both", async () => {
    class Joined extends CoProcessFunction<Ride, { zone: string; name: string }, string, string> {
      names!: ValueState<string>;
      override open(context: RuntimeContext): void {
        this.names = context.state(valueState<string>("name"));
      }
      override processElement1(ride: Ride, _context: ProcessContext<string>, out: Collector<string>): void {
        out.collect(`${this.names.value()}: ${ride.fare}`);
      }
      override processElement2(zone: { zone: string; name: string }): void {
        this.names.update(zone.name);
      }
    }
    await using harness = await testHarness(new Joined(), { keyBy: [(ride) => ride.zone, (zone) => zone.zone], parallelism: 2 });
    harness.inputs[1].push({ zone: "a", name: "Harbour" });
    harness.inputs[0].push({ zone: "a", fare: 3 });
    harness.inputs[0].push({ zone: "b", fare: 4 });
    expect(harness.take().sort()).toEqual(["Harbour: 3", "undefined: 4"]);
  });

  test.each([1, 3])("has metrics of its own, at parallelism %i", async (parallelism) => {
    class Counting extends KeyedProcessFunction<string, Ride, never> {
      rides!: Counter;
      override open({ metrics }: RuntimeContext): void {
        this.rides = metrics.counter("rides");
      }
      override processElement(): void {
        this.rides.inc();
      }
    }
    await using harness = await testHarness(new Counting(), { keyBy: (ride: Ride) => ride.zone, parallelism });
    for (const zone of "abcde") harness.push({ zone, fare: 1 });
    expect(harness.metric("Counting.rides")).toBe(5);
  });

  test.each([1, 2])("of broadcast records meets them in every subtask, at parallelism %i", async (parallelism) => {
    const rules = mapState<string, number>("rules");
    class Ruled extends KeyedBroadcastProcessFunction<string, Ride, { zone: string; atMost: number }, string> {
      override processElement(ride: Ride, context: ReadOnlyBroadcastContext<string>, out: Collector<string>): void {
        if (ride.fare > (context.broadcastState(rules).get(ride.zone) ?? Infinity)) out.collect(`${context.key} ${ride.fare}`);
      }
      override processBroadcastElement(rule: { zone: string; atMost: number }, context: KeyedBroadcastContext<string>): void {
        context.broadcastState(rules).put(rule.zone, rule.atMost);
      }
    }
    await using harness = await testHarness(new Ruled(), { broadcast: [rules], keyBy: (ride) => ride.zone, parallelism });
    harness.push({ zone: "a", fare: 9 });
    harness.inputs[1].push({ zone: "a", atMost: 5 });
    harness.pushAll([{ zone: "a", fare: 9 }, { zone: "b", fare: 9 }, { zone: "a", fare: 4 }]);
    expect(harness.take()).toEqual(["a 9"]);
    await expect(testHarness(new Ruled() as never)).rejects.toThrow("name their states: testHarness(…, { broadcast: [descriptor] })");
  });

  test("is opened before the first record and closed at the end", async () => {
    const calls: string[] = [];
    const harness = await testHarness({
      async open() {
        await Promise.resolve();
        calls.push("open");
      },
      processElement: (value: number) => void calls.push(`process ${value}`),
      close: () => void calls.push("close"),
    });
    harness.push(1);
    await harness.close();
    await harness.close();
    expect(calls).toEqual(["open", "process 1", "close"]);
  });
});

describe("mistakes", () => {
  test("a function that throws fails the push, and everything after it, with the operator's name and the user's line", async () => {
    await using harness = await testHarness((numbers: DataStream<number>) =>
      numbers.map((x) => {
        if (x === 2) throw new RangeError("two");
        return x;
      }).name("picky"),
    );
    harness.push(1);
    const failing = (): void => harness.push(2);
    expect(failing).toThrow(UserFunctionError);
    expect(failing).toThrow('"picky" (subtask 1 of 1) threw RangeError: two');
    expect(() => harness.advanceTo(7)).toThrow("RangeError: two");
    try {
      harness.push(3);
    } catch (error) {
      expect(((error as Error).cause as Error).stack).toContain("harness.test.ts");
    }
    expect(harness.take()).toEqual([1]);
  });

  test("watermarks and the clock don't go back, and nothing comes after the end", async () => {
    await using harness = await testHarness((numbers: DataStream<number>) => numbers);
    harness.watermark(5);
    expect(() => harness.watermark(4)).toThrow("watermark(4) of input 1 would go back: it is at 5 already");
    expect(() => harness.watermark("5" as never)).toThrow('got "5"');
    expect(() => harness.advanceTo(-1)).toThrow("the clock is at 0 and goes forward only");
    expect(() => harness.push(1, Number.NaN)).toThrow(RecordError);
    harness.end();
    harness.end();
    expect(() => harness.push(1)).toThrow("push() came after the end of input 1");
  });

  test("what can't be tested is told so", async () => {
    await expect(testHarness(7 as never)).rejects.toThrow("testHarness() got 7; it takes a function of streams, or a process function");
    await expect(testHarness((() => undefined) as never)).rejects.toThrow("returned nothing and has no sink");
    await expect(testHarness((() => 7) as never)).rejects.toThrow("The pipeline under test returned 7");
    await expect(testHarness((s: DataStream<number>) => s.keyBy((x) => x).window(session(3)).aggregate({ ...sum(Number), merge: undefined } as never)))
      .rejects.toThrow(GraphError);
    await expect(testHarness((s: DataStream<number>) => s.union(s.environment.from(new Set([1]))))).rejects.toThrow(
      "brings rows from this program; take them as an argument",
    );
    await using harness = await testHarness((numbers: DataStream<number>) => numbers);
    expect(() => harness.sideOutput(late)).toThrow("sideOutputs: [tag]");
    expect(() => harness.metric("numRidesIn")).toThrow('No metric of a task is named "numRidesIn"');
  });

  test("an instance of a class that is not registered is a RecordError, as on a cluster", async () => {
    class Point {
      x = 1;
    }
    await using strict = await testHarness((points: DataStream<Point>) => points.map((p) => p.x));
    expect(() => strict.push(new Point())).toThrow(/Point/);
    await using harness = await testHarness((points: DataStream<Point>) => points.filter((p) => p instanceof Point), { classes: [Point] });
    harness.push(new Point());
    expect(harness.take()).toEqual([new Point()]);
  });

  test("the wall clock plays no part", async () => {
    const now = vi.spyOn(Date, "now");
    try {
      await using harness = await testHarness(new Totals(), { keyBy: (ride) => ride.zone });
      now.mockClear();
      harness.push({ zone: "a", fare: 1 }, 1);
      harness.advanceBy("1 h");
      expect(harness.take()).toEqual(["a: 1 at processing 60000, clock 60000"]);
      expect(now).not.toHaveBeenCalled();
    } finally {
      now.mockRestore();
    }
  });

  test("asynchronous sources are waited for, with a deadline", async () => {
    await using harness = await testHarness((numbers: DataStream<number>) =>
      numbers.union(numbers.environment.from(async function* () {
        yield 1;
        await new Promise((resolve) => setImmediate(resolve));
        yield 2;
      })),
    );
    await harness.until(() => harness.output.size === 2);
    expect(harness.take()).toEqual([1, 2]);
    await expect(harness.until(() => false, { timeout: 30 })).rejects.toThrow("the condition did not come true within 30");
  });
});
