import { describe, expect, test } from "vitest";
import {
  CoProcessFunction, KeyedProcessFunction, type Collector, type ProcessContext, type RuntimeContext, type TimerContext, type ValueState, localEnvironment, sideOutput, valueState,
} from "../../../src/core/index.ts";

const env = (parallelism = 1): ReturnType<typeof localEnvironment> => localEnvironment({ parallelism, printLogs: false });

describe("map, filter, flatMap", () => {
  test("run one after the other on each record", async () => {
    const rows = await env().of(1, 2, 3, 4).map((x) => x * 10).filter((x) => x > 10).flatMap((x) => [x, x + 1]).collect();
    expect(rows).toEqual([20, 21, 30, 31, 40, 41]);
  });

  test("flatMap takes any iterable, and says what it got when it is none", async () => {
    expect(await env().of("ab", "c").flatMap(function* (text) { yield* text; }).collect()).toEqual(["a", "b", "c"]);
    await expect(env().of(1).flatMap((() => 7) as never).collect()).rejects.toThrow(/"flatMap" returned 7; flatMap needs an array/);
  });

  test("several consumers of one operator each get every record", async () => {
    const program = env();
    const source = program.of(1, 2, 3);
    const both = source.map((x) => `a${x}`).union(source.map((x) => `b${x}`));
    expect((await both.collect()).sort()).toEqual(["a1", "a2", "a3", "b1", "b2", "b3"]);
  });
});

describe("reduce on a keyed stream", () => {
  test("emits the running combination after each record, per key", async () => {
    const rows = await env().of(["a", 1], ["b", 5], ["a", 2], ["a", 3]).keyBy(([key]) => key).reduce(([key, x], [, y]) => [key as string, (x as number) + (y as number)]).collect();
    expect(rows).toEqual([["a", 1], ["b", 5], ["a", 3], ["a", 6]]);
  });

  test("compares keys by structure", async () => {
    const rows = await env(2)
      .of({ k: { a: 1, b: [2] }, n: 1 }, { k: { b: [2], a: 1 }, n: 1 }, { k: { a: 1, b: [3] }, n: 1 })
      .keyBy((row) => row.k).reduce((x, y) => ({ ...x, n: x.n + y.n })).map((row) => row.n).collect();
    expect(rows.sort()).toEqual([1, 1, 2]);
  });

  test("a null key fails with a sentence", async () => {
    await expect(env().of({ k: null }).keyBy((row) => row.k).reduce((x) => x).collect()).rejects.toThrow(/the key is null/);
  });
});

describe("process functions", () => {
  test("state and timers belong to the key", async () => {
    class Seen extends KeyedProcessFunction<string, unknown, string> {
      seen!: ValueState<number>;
      override open(context: RuntimeContext): void {
        this.seen = context.state(valueState("seen", 0));
      }
      override processElement(_value: unknown, context: ProcessContext<string>, out: Collector<string>): void {
        this.seen.update((this.seen.value() as number) + 1);
        context.timers.registerEventTimeTimer(100);
        out.collect(`${context.key}:${this.seen.value()}@${context.timestamp}`);
      }
      override onTimer(timestamp: number, context: TimerContext<string>, out: Collector<string>): void {
        out.collect(`${context.key} ${context.timeDomain} timer ${timestamp}, ${this.seen.value()} seen`);
      }
    }
    const rows = await env()
      .of({ key: "a", at: 1 }, { key: "b", at: 2 }, { key: "a", at: 3 })
      .withTimestamps((row) => row.at)
      .keyBy((row) => row.key)
      .process(new Seen())
      .collect();
    expect(rows).toEqual(["a:1@1", "b:1@2", "a:2@3", "a event timer 100, 2 seen", "b event timer 100, 1 seen"]);
  });

  test("processing-time timers fire by the wall clock", async () => {
    let fired = false;
    const stream = env().from(async function* () {
      yield "x";
      while (!fired) await new Promise((resolve) => setTimeout(resolve, 5));
    }).keyBy((x) => x).process({
      processElement(_value: string, context: ProcessContext<string>) {
        context.timers.registerProcessingTimeTimer(context.timers.currentProcessingTime() + 10);
      },
      onTimer(_timestamp: number, context: TimerContext<string>, out: Collector<string>) {
        out.collect(`${context.key} ${context.timeDomain}`);
        fired = true;
      },
    } as never);
    expect(await stream.collect()).toEqual(["x processing"]);
  });

  test("a side output reaches its stream and no other", async () => {
    const odd = sideOutput<number>("odd");
    const program = env();
    const even = program.of(1, 2, 3).process<number>((value, context, out) => (value % 2 === 0 ? out.collect(value) : context.output(odd, value)));
    expect(await even.collect()).toEqual([2]);
    expect(await even.sideOutput(odd).map((x) => -x).collect()).toEqual([-1, -3]);
  });

  test("keyed state on a stream without key says what to write", async () => {
    const stream = env().of(1).process((_value, context) => void context.state(valueState("n")));
    await expect(stream.collect()).rejects.toThrow(/uses the keyed state "n", but its stream is not keyed; write keyBy/);
  });

  test("connected streams meet in one function, by key where both are keyed", async () => {
    class Join extends CoProcessFunction<{ id: number; name: string }, { id: number; price: number }, string, number> {
      name: ValueState<string> | undefined;
      override open(context: RuntimeContext): void { this.name = context.state(valueState<string>("name")); }
      processElement1(value: { id: number; name: string }): void { this.name?.update(value.name); }
      processElement2(value: { id: number; price: number }, _context: ProcessContext<number>, out: Collector<string>): void {
        out.collect(`${this.name?.value() ?? "?"} ${value.price}`);
      }
    }
    const program = env(2);
    const names = program.of({ id: 1, name: "one" }, { id: 2, name: "two" });
    const prices = program.from(async function* () {
      await new Promise((resolve) => setTimeout(resolve, 30));
      yield { id: 2, price: 20 };
      yield { id: 1, price: 10 };
      yield { id: 3, price: 30 };
    });
    const rows = await names.connect(prices).keyBy((x) => x.id, (x) => x.id).process(new Join()).collect();
    expect(rows.sort()).toEqual(["? 30", "one 10", "two 20"]);
  });
});
