import { describe, expect, test } from "vitest";
import {
  type CustomTrigger,
  type DataStream,
  type KeyedStream,
  ProcessWindowFunction,
  type ProcessWindowContext,
  type Collector,
  count,
  countTrigger,
  customWindows,
  cumulative,
  delta,
  eventTimeTrigger,
  globalWindow,
  listState,
  localEnvironment,
  mapState,
  processingTimeout,
  purging,
  session,
  sideOutput,
  sliding,
  tumbling,
  valueState,
} from "../../../src/core/index.ts";
import { testHarness } from "../../../src/core/testing/index.ts";
import { type Driven, type Event, drive } from "../../semantics/drive.ts";

type Row = readonly [key: string, value: number];
const at = (time: number, value = time, key = "k"): Event<Row> => ({ record: [key, value], at: time });
const timed = (): DataStream<Row> => localEnvironment().from<Row>([]).withTimestamps(() => 0);
const of = (stream: DataStream<unknown>): Driven<Row> => drive<Row>(stream.environment, stream);
const values = (driven: Driven<Row>, ...events: Event<Row>[]): unknown[] => events.flatMap((event) => driven.happen(event).map(({ value }) => value));
const all = (rows: readonly Row[], _context: unknown, out: Collector<unknown>): void => out.collect(rows.map(([, value]) => value));

describe("a trigger of one's own", () => {
  /** Fires at each second record, and when the window is over; counts in its state; asks for a timer in the middle. */
  const pairs: CustomTrigger<Row> = {
    onElement(_row, _timestamp, window, context) {
      const seen = context.state(listState<number>("seen"));
      seen.add(1);
      context.registerEventTimeTimer(window.start + 5);
      context.registerEventTimeTimer(window.end - 1);
      return seen.get().length % 2 === 0 ? "fire" : "continue";
    },
    onEventTime(time, window) {
      return time === window.end - 1 ? "fire-and-purge" : "fire";
    },
    onMerge(window, context) {
      context.registerEventTimeTimer(window.end - 1);
    },
    clear(window, context) {
      context.deleteEventTimeTimer(window.start + 5);
      context.state(listState<number>("seen")).clear();
    },
  };

  test("says when its window fires", () => {
    const driven = of(timed().keyBy(([key]) => key).window(tumbling(10)).trigger(pairs).process(all));
    expect(values(driven, at(1), at(2), at(3))).toEqual([[1, 2]]);
    expect(values(driven, { watermark: 6 })).toEqual([[1, 2, 3]]);
    expect(values(driven, { watermark: 20 })).toEqual([[1, 2, 3]]);
    expect(values(driven, { watermark: Infinity })).toEqual([]);
  });

  test("keeps its lists when windows merge, and the timers of the parts go", () => {
    const driven = of(timed().keyBy(([key]) => key).window(session(10)).trigger(pairs).process(all));
    // [0, 10) and [15, 25) become one with [8, 18): the third record is not a second one, the fourth is.
    expect(values(driven, at(0), at(15), at(8), at(9))).toEqual([[0, 15, 8, 9]]);
    // Of the timers at 5, 9, 20 and 24, those at 9 and 20 belonged to the parts.
    expect(values(driven, { watermark: 23 })).toEqual([[0, 15, 8, 9]]);
    expect(values(driven, { watermark: 30 })).toEqual([[0, 15, 8, 9]]);
  });

  test("that answers nonsense is told so", () => {
    const driven = of(timed().keyBy(([key]) => key).window(tumbling(10)).trigger({ onElement: () => "now" as never }).process(all));
    expect(() => driven.happen(at(1))).toThrow(/onElement\(\) returned "now"; it returns "continue", "fire"/);
  });

  test("can't merge single values", () => {
    const last: CustomTrigger<Row> = {
      onElement: (_row, timestamp, _window, context) => {
        context.state(valueState<number>("last")).update(timestamp);
        return "continue";
      },
      onMerge: () => undefined,
    };
    const driven = of(timed().keyBy(([key]) => key).window(session(10)).trigger(last).process(all));
    values(driven, at(0), at(20));
    expect(() => driven.happen(at(10))).toThrow(/the state "last" is a single value, which can't; keep a list or a map/);
  });
});

describe("a window function", () => {
  class Changes extends ProcessWindowFunction<number, string, string> {
    override process([total]: readonly number[], context: ProcessWindowContext<string>, out: Collector<string>): void {
      const fired = context.windowState(valueState("fired", 0));
      const windows = context.globalState(mapState<number, number>("windows"));
      fired.update((fired.value() as number) + 1);
      windows.put(context.window.start, fired.value() as number);
      context.output(side, [...windows.entries()]);
      out.collect(`${context.key} [${context.window.start}, ${context.window.end}) ${total} at ${context.currentWatermark()}, time ${fired.value()}`);
    }
    override clear({ window }: ProcessWindowContext<string>): void {
      cleared.push(window.start);
    }
  }
  const side = sideOutput<unknown>("windows");
  const cleared: number[] = [];

  test("gets the aggregate with window, watermark, state of the window and of the key, and side outputs", () => {
    const windowed = timed().keyBy(([key]) => key).window(tumbling(10)).allowedLateness(10).aggregate(count(), new Changes());
    const driven = of(windowed);
    const told = (event: Event<Row>): unknown => driven.happen(event).map((it) => [it.side ?? "main", it.value, it.timestamp]);
    expect(told(at(3))).toEqual([]);
    expect(told({ watermark: 12 })).toEqual([["windows", [[0, 1]], 9], ["main", "k [0, 10) 1 at 12, time 1", 9]]);
    expect(told(at(5))).toEqual([["windows", [[0, 2]], 9], ["main", "k [0, 10) 2 at 12, time 2", 9]]);
    expect(told(at(13))).toEqual([]);
    expect(told({ watermark: 18 })).toEqual([]);
    expect(cleared).toEqual([]);
    expect(told({ watermark: 19 })).toEqual([["windows", [[0, 2], [10, 1]], 19], ["main", "k [10, 20) 1 at 19, time 1", 19]]);
    expect(cleared).toEqual([0]);
    expect([told(at(8)), driven.dropped]).toEqual([[], 1]);
  });

  test("has no state per window where windows merge", () => {
    const driven = of(timed().keyBy(([key]) => key).window(session(10)).trigger(countTrigger(1)).aggregate(count(), new Changes()));
    expect(() => driven.happen(at(1))).toThrow(/keeps the state "fired" per window, but its windows merge; use globalState/);
  });

  test("may return its results instead", async () => {
    const rows = await localEnvironment().of(1, 2, 13).withTimestamps((x) => x).keyBy(() => "k").window(tumbling(10))
      .apply((elements, { window }) => elements.map((x) => [window.start, x])).collect();
    expect(rows).toEqual([[0, 1], [0, 2], [10, 13]]);
  });
});

describe("count windows", () => {
  test("are full after so many records of a key; with a slide they overlap", async () => {
    const keyed = localEnvironment().of(1, 2, 3, 4, 5, 6, 7).keyBy((x) => (x === 7 ? "b" : "a"));
    expect(await keyed.countWindow(3).sum((x) => x).collect()).toEqual([6, 15]);
    expect(await keyed.countWindow(3, 2).process<number[]>((rows, _context, out) => out.collect([...rows])).collect()).toEqual([[1, 2], [2, 3, 4], [4, 5, 6]]);
    expect(await localEnvironment({ parallelism: 3 }).of(1, 2, 3, 4).countWindowAll(2).maxBy((x) => x).collect()).toEqual([2, 4]);
  });

  test("keep nothing of a key whose window was full, and need positive integers", () => {
    expect(() => localEnvironment().of(1).keyBy((x) => x).countWindow(0)).toThrow(/countWindow\(\) got the size 0/);
    expect(() => localEnvironment().of(1).keyBy((x) => x).countWindow(2, 1.5)).toThrow(/got the slide 1.5/);
  });
});

test("fields of the records of a window are added up and compared by name", async () => {
  const rows = [{ id: 1, fare: 5n, at: 1 }, { id: 2, fare: 3n, at: 2 }, { id: 3, fare: 9n, at: 3 }];
  const windows = localEnvironment().from(rows).withTimestamps((row) => row.at).keyBy(() => 0).window(tumbling(10));
  expect(await windows.sum("fare").collect()).toEqual([{ id: 1, fare: 17n, at: 1 }]);
  expect(await windows.min("fare").collect()).toEqual([{ id: 1, fare: 3n, at: 1 }]);
  expect(await windows.max("fare").collect()).toEqual([{ id: 1, fare: 9n, at: 1 }]);
  expect(await windows.minBy("fare").collect()).toEqual([rows[1]]);
  expect(await windows.maxBy("fare").collect()).toEqual([rows[2]]);
  expect(() => windows.min(5 as never)).toThrow(/min\(\) got 5; it takes the name of a field/);
});

describe("windows of other kinds", () => {
  test("windowAll has one key, in one subtask", async () => {
    const rows = await localEnvironment({ parallelism: 4 }).of(1, 2, 13).withTimestamps((x) => x).windowAll(tumbling(10)).count().collect();
    expect(rows).toEqual([{ key: "all", start: 0, end: 10, count: 2 }, { key: "all", start: 10, end: 20, count: 1 }]);
  });

  test("a function may assign them, and they may merge", async () => {
    const days = customWindows((x: number) => (x < 0 ? [] : [{ start: 0, end: 100 }, { start: x, end: x + 1 }]));
    const rows = await localEnvironment().of(-5, 3, 5).withTimestamps((x) => x).keyBy(() => 0).window(days).sum((x) => x).collect();
    expect(rows.sort((a, b) => a - b)).toEqual([3, 5, 8]);
    const runs = customWindows((x: number) => [{ start: x, end: x + 2 }], { merging: true });
    const merged = await localEnvironment().of(1, 3, 10, 5).withTimestamps((x) => x, { outOfOrderness: 20 }).keyBy(() => 0).window(runs).count().collect();
    expect(merged.map(({ start, end, count: n }) => [start, end, n])).toEqual([[1, 7, 3], [10, 12, 1]]);
    const wrong = of(timed().keyBy(([key]) => key).window(customWindows(() => [{ start: 5, end: 5 }])).count());
    expect(() => wrong.happen(at(1))).toThrow(/assigned the window \[5, 5\) to \["k",1\]/);
  });

  test("a global window fires at the end of the input if told so; then its results have no time", async () => {
    const keyed = localEnvironment().of(1, 2, 3).keyBy((x) => x % 2);
    expect(await keyed.window(globalWindow()).sum((x) => x).collect()).toEqual([]);
    expect((await keyed.window(globalWindow({ atEnd: true })).sum((x) => x).collect()).sort()).toEqual([2, 4]);
  });

  test("a result of a global window has the time of what made it fire", () => {
    const driven = of(timed().keyBy(([key]) => key).window(globalWindow()).trigger(purging(countTrigger(2))).process(all));
    expect([...driven.happen(at(5)), ...driven.happen(at(7)), ...driven.happen({ watermark: Infinity })].map((it) => it.timestamp)).toEqual([7]);
  });

  test("cumulative windows tell how it stands after each step", async () => {
    const rows = await localEnvironment().of(1, 6, 12, 21).withTimestamps((x) => x).keyBy(() => 0).window(cumulative(20, 10)).count().collect();
    expect(rows.map(({ start, end, count: n }) => [start, end, n])).toEqual([[0, 10, 2], [0, 20, 3], [20, 30, 1], [20, 40, 1]]);
  });

  test("processing time decides where the clock is asked", () => {
    const driven = of(localEnvironment().from<Row>([]).keyBy(([key]) => key).window(sliding(10, 5, { time: "processing" })).process(all));
    expect(values(driven, { clock: 7 }, at(Number.NaN, 1), { clock: 8 }, { clock: 9 }, { clock: 12 }, at(Number.NaN, 2), { clock: 14 }, { clock: 30 }))
      .toEqual([[1], [1, 2], [2]]);
  });

  test("a timeout fires a window that waits too long for what it counts", () => {
    const counted = processingTimeout(countTrigger(3), 100);
    const driven = of(timed().keyBy(([key]) => key).window(globalWindow()).trigger(purging(counted)).process(all));
    expect(values(driven, at(1), at(2), { clock: 99 })).toEqual([]);
    expect(values(driven, { clock: 100 })).toEqual([[1, 2]]);
    expect(values(driven, at(3), at(4), at(5), { clock: 300 })).toEqual([[3, 4, 5]]);
  });
});

test("windows that are laid out in another way than before are not taken for new ones", async () => {
  const keyed = (it: DataStream<Row>): KeyedStream<Row, string> => it.keyBy(([key]) => key);
  await using before = await testHarness((it: DataStream<Row>) => keyed(it).window(tumbling(10)).count().uid("w"));
  before.push(["k", 1], 1);
  const snapshot = before.snapshot();
  const restored = testHarness((it: DataStream<Row>) => keyed(it).window(tumbling(10)).allowedLateness(5).count().uid("w"), { restore: snapshot });
  await expect(restored).rejects.toThrow(/keeps its windows as panes, but what was restored for it are slices: a trigger, an evictor/);
  const shifted = testHarness((it: DataStream<Row>) => keyed(it).window(tumbling(20)).count().uid("w"), { restore: snapshot });
  await expect(shifted).rejects.toThrow(/but what was restored for it are windows/);
});

describe("what can't be", () => {
  const keyed = localEnvironment().of(1).withTimestamps((x) => x).keyBy((x) => x);
  const untimed = localEnvironment().of(1).keyBy((x) => x);

  test("is refused while the program is written", () => {
    expect(() => untimed.window(tumbling(5))).toThrow(/window\(\) needs event time/);
    expect(() => untimed.window(globalWindow()).trigger(eventTimeTrigger())).toThrow(/The trigger goes by event time/);
    untimed.window(tumbling(5, { time: "processing" })).count();
    untimed.window(globalWindow()).trigger(countTrigger(2)).count();
    expect(() => keyed.window("1 min" as never)).toThrow(/window\(\) got "1 min"/);
    expect(() => tumbling(5, { time: "often" as never })).toThrow(/tumbling\(\) got \{ time: "often" \}/);
    expect(() => tumbling(5, { offset: 0.5 })).toThrow(/offset is 0.5/);
    expect(() => cumulative(10, 3)).toThrow(/not a multiple of the step/);
    expect(() => session(0)).toThrow(/session\(gap\) is 0/);
    expect(() => countTrigger(0)).toThrow(/countTrigger\(\) got 0/);
    expect(() => customWindows(5 as never)).toThrow(/customWindows\(\) got 5/);
    expect(() => keyed.window(session(5)).trigger(delta(1, (a: number, b) => b - a))).toThrow(/a delta trigger never can/);
    expect(() => keyed.window(session(5)).trigger({ onElement: () => "fire" })).toThrow(/one of your own needs onMerge/);
    expect(() => keyed.window(tumbling(5)).trigger({} as never)).toThrow(/trigger\(\) got \{\}; it takes a trigger/);
    expect(() => keyed.window(tumbling(5)).evictor({} as never)).toThrow(/evictor\(\) got \{\}/);
    expect(() => keyed.window(tumbling(5, { time: "processing" })).allowedLateness(5)).toThrow(/is for windows of event time/);
    expect(() => keyed.window(tumbling(5)).allowedLateness(-1)).toThrow(/allowedLateness\(\) is -1/);
    expect(() => keyed.window(tumbling(5)).process({} as never)).toThrow(/process\(\) of a window got \{\}/);
  });

  test("a dynamic gap that is none names the record", () => {
    const driven = of(timed().keyBy(([key]) => key).window(session(([, value]: Row) => value)).count());
    expect(() => driven.happen(at(1, 0))).toThrow(/The gap of a session is 0 ms|the gap of a session is 0/i);
  });
});
