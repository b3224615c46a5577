/** docs/bad-input.md, line by line. */
import { describe, expect, test } from "vitest";
import {
  ConfigurationError, type Environment, GraphError, RecordError, localEnvironment, seconds, session, sliding, tumbling, valueState,
} from "../../../src/core/index.ts";

const env = (parallelism = 1): Environment => localEnvironment({ parallelism, printLogs: false });
const failure = (rows: Promise<unknown>): Promise<Error> => rows.then(
  () => expect.unreachable() as never,
  (error: Error) => error.cause as Error,
);

describe("bad records", () => {
  test.each([null, undefined])("a key that is %s fails the job, in whatever operator", async (key) => {
    const keyed = env().of({ key, n: 1 }).keyBy("key");
    for (const stream of [keyed.sum("n"), keyed.process(() => undefined), keyed.take(1), keyed.reduce((a) => a)]) {
      const error = await failure(stream.collect());
      expect(error).toBeInstanceOf(RecordError);
      expect(error.message).toContain(`the key is ${key}: records without a key have no place in a keyed stream`);
    }
  });

  test("a key that is an instance of a class names it", async () => {
    class Zone {
      readonly id = 1;
    }
    expect((await failure(env().of(1).keyBy(() => new Zone()).take(1).collect())).message).toMatch(/an instance of Zone, which can't be compared/);
  });

  test("a function that changes its record does not change the key at hand", async () => {
    const rows = await env().of({ k: "a" }, { k: "b" }, { k: "a" }).keyBy("k").process<string>((row, context, out) => {
      row.k = "changed";
      const seen = context.state(valueState("seen", 0));
      seen.update((seen.value() as number) + 1);
      out.collect(`${context.key} ${seen.value()}`);
    }).collect();
    expect(rows).toEqual(["a 1", "b 1", "a 2"]);
  });

  test.each([Number.NaN, Infinity, new Date("never")])("the timestamp %s fails the job and shows the record", async (timestamp) => {
    const error = await failure(env().of({ id: 7 }).withTimestamps(() => timestamp).collect());
    expect(error).toBeInstanceOf(RecordError);
    expect(error.message).toMatch(/The timestamp of record {"id":7} is .*; withTimestamps\(\) needs milliseconds since 1970 or a valid Date/);
  });

  test("a timestamp far in the future is a time like any other, unless bounded", async () => {
    const rows = [{ at: 1 }, { at: Date.UTC(9999, 0) }, { at: 2 }];
    const counted = (options: { maxAhead?: number }) =>
      env().from(rows).withTimestamps((row) => row.at, options).keyBy(() => 0).window(tumbling(seconds(1))).count().map((it) => it.count).collect();
    expect(await counted({})).toEqual([2, 1]);
    expect((await counted({ maxAhead: 60_000 })).reduce((a, b) => a + b)).toBeGreaterThanOrEqual(2);
  });

  test.each([
    ["a function", () => () => 1, /record\.it: a function cannot travel in a record/],
    ["a promise", () => Promise.resolve(1), /record\.it: a Promise cannot travel in a record; await it before, in mapAsync/],
  ])("a record with %s in it fails at the exchange, with the way to it", async (_what, it, message) => {
    const error = await failure(env().of(1, 2).map((k) => ({ k, it: it() })).keyBy("k").take(1).collect());
    expect(error).toBeInstanceOf(RecordError);
    expect(error.message).toMatch(message);
  });

  test("keyed state, keys and timers without keyBy say what to write", async () => {
    const stream = env().of(1);
    for (const bad of [
      stream.process<never>((_value, context) => void context.state(valueState("x"))),
      stream.process<never>((_value, context) => void context.key),
      stream.process<never>((_value, context) => context.timers.registerEventTimeTimer(1)),
    ]) {
      expect((await failure(bad.collect())).message).toMatch(/but its stream is not keyed; write keyBy\(…\) before process/);
    }
  });
});

describe("bad programs", () => {
  test("two operators of one uid are named", async () => {
    const twice = env().of(1).map((x) => x).name("one").uid("u").map((x) => x).name("two").uid("u");
    await expect(twice.collect()).rejects.toThrow(new GraphError('Two operators have the uid "u": "one" and "two". Give each a uid of its own.'));
  });

  test("streams of two environments don't mix", async () => {
    const [one, other] = [env(), env()];
    const [a, b] = [one.of(1), other.of(2)];
    for (const mix of [
      () => a.union(b), () => a.connect(b), () => a.join(b), () => a.takeUntil(b), () => a.keyBy((x) => x).connect(b.keyBy((x) => x)),
      () => a.iterate((loop) => ({ feedback: b, output: loop })),
    ]) {
      expect(mix).toThrow(GraphError);
    }
    await expect(one.submit({ outputs: { b } })).rejects.toThrow(/stream of another environment/);
  });

  test("windows and joins of event time need timestamps", () => {
    const keyed = env().of(1).keyBy((x) => x);
    expect(() => keyed.window(tumbling(1))).toThrow(GraphError);
    expect(() => keyed.intervalJoin(keyed).between(0, 1)).toThrow(GraphError);
  });

  test.each([
    () => tumbling(-1), () => sliding(10, -1), () => session("-1 s"), () => env().of(1).throttle(-1), () => env().of(1).take(-1),
    () => env().of(1).keyBy((x) => x).topN(0, (x) => x), () => env().of(1).setParallelism(0),
  ])("a size that can't be is told when it is written (%#)", (write) => {
    expect(write).toThrow(expect.toSatisfy((error) => error instanceof GraphError || error instanceof ConfigurationError) as Error);
  });
});
