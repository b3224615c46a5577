/** What operators with state give when they are interrupted in the middle: the same as when they are not. */
import { describe, expect, test } from "vitest";
import {
  type Collector, type DataStream, KeyedBroadcastProcessFunction, type KeyedBroadcastContext, type ReadOnlyBroadcastContext, localEnvironment,
  mapState, valueState,
} from "../../../src/core/index.ts";
import { testHarness } from "../../../src/core/testing/index.ts";

interface Row {
  readonly k: string;
  readonly n: number;
}
const rows = Array.from({ length: 24 }, (_, n): Row => ({ k: "abcde"[n % 5] as string, n: (n * 7) % 11 }));

/** The outputs of a pipeline whose second half runs elsewhere, at another parallelism. */
async function interrupted<Out>(pipeline: (rows: DataStream<Row>) => DataStream<Out>, from: number, to: number): Promise<Out[]> {
  await using before = await testHarness(pipeline, { parallelism: from });
  for (const [at, row] of rows.slice(0, 11).entries()) before.push(row, at);
  before.watermark(10);
  const first = before.take();
  await using after = await testHarness(pipeline, { parallelism: to, restore: before.snapshot() });
  for (const [at, row] of rows.slice(11).entries()) after.push(row, at + 11);
  after.end();
  return [...first, ...after.take()];
}

async function uninterrupted<Out>(pipeline: (rows: DataStream<Row>) => DataStream<Out>): Promise<Out[]> {
  await using harness = await testHarness(pipeline);
  for (const [at, row] of rows.entries()) {
    harness.push(row, at);
    if (at === 10) harness.watermark(10);
  }
  harness.end();
  return harness.take();
}

const pipelines: Readonly<Record<string, (rows: DataStream<Row>) => DataStream<unknown>>> = {
  scan: (all) => all.keyBy("k").scan((seen, { n }) => [...seen, n], [] as number[]),
  sum: (all) => all.keyBy("k").sum("n"),
  maxBy: (all) => all.keyBy("k").maxBy("n"),
  distinct: (all) => all.distinct(({ n }) => n),
  distinctUntilChanged: (all) => all.keyBy("k").distinctUntilChanged(undefined, ({ n }) => n > 5),
  pairwise: (all) => all.keyBy("k").pairwise(),
  take: (all) => all.keyBy("k").take(3),
  startWith: (all) => all.keyBy("k").startWith({ k: "first", n: 0 }),
  dedupe: (all) => all.keyBy("k").dedupe(7),
  topN: (all) => all.keyBy("k").topN(2, ({ n }) => n),
  "take of all": (all) => all.take(15),
  "interval join": (all) => all.keyBy("k").intervalJoin(all.map((row) => ({ ...row, n: -row.n })).keyBy("k")).between(-6, 6).apply((a, b) => [a.n, b.n]),
  "loop": (all) =>
    all.iterate((loop) => {
      const stepped = loop.rebalance().map((row) => ({ ...row, n: row.n - 1 }));
      return { feedback: stepped.filter(({ n }) => n > 0), output: stepped.filter(({ n }) => n <= 0) };
    }, { maxWait: 0 }),
};

describe("interrupted and gone on with elsewhere", () => {
  test.each(Object.entries(pipelines))("%s gives what it gives uninterrupted", async (_name, pipeline) => {
    const texts = (values: readonly unknown[]): string[] => values.map((value) => JSON.stringify(value)).sort();
    const expected = texts(await uninterrupted(pipeline));
    expect(texts(await interrupted(pipeline, 1, 3))).toEqual(expected);
    expect(texts(await interrupted(pipeline, 3, 2))).toEqual(expected);
  });

  test("mapAsync asks again for what was under way", async () => {
    const asked: string[] = [];
    const pipeline = (all: DataStream<Row>): DataStream<string> =>
      all.mapAsync(({ k, n }) => {
        asked.push(k + n);
        return k === "slow" && asked.length < 4 ? new Promise<string>(() => undefined) : Promise.resolve(`${k}${n}`);
      });
    await using before = await testHarness(pipeline);
    before.push({ k: "quick", n: 1 });
    before.push({ k: "slow", n: 2 });
    before.push({ k: "quick", n: 3 });
    await before.until(() => before.output.size > 0);
    const got = before.take();
    await using after = await testHarness(pipeline, { restore: before.snapshot() });
    after.end();
    await after.until(() => after.finished);
    expect([got, after.take()]).toEqual([["quick1"], ["slow2", "quick3"]]);
    expect(asked.slice(3)).toEqual(["slow2", "quick3"]);
  });

  test("broadcast state is the same in every subtask of the next run, however many", async () => {
    const rule = mapState<string, number>("rule");
    class Above extends KeyedBroadcastProcessFunction<string, Row, number, string> {
      readonly seen = valueState("seen", 0);
      override processElement({ k, n }: Row, context: ReadOnlyBroadcastContext<string>, out: Collector<string>): void {
        const seen = context.state(this.seen);
        seen.update((seen.value() as number) + 1);
        if (n > (context.broadcastState(rule).get("above") ?? 0)) out.collect(`${k}${n} (${seen.value()})`);
      }
      override processBroadcastElement(above: number, context: KeyedBroadcastContext<string>): void {
        context.broadcastState(rule).put("above", above);
      }
    }
    const pipeline = (all: DataStream<Row>, limits: DataStream<number>): DataStream<string> =>
      all.keyBy("k").connect(limits.broadcast(rule)).process(new Above());
    await using before = await testHarness(pipeline, { parallelism: 1 });
    before.inputs[1].push(5);
    before.push({ k: "a", n: 6 });
    before.push({ k: "b", n: 4 });
    expect(before.take()).toEqual(["a6 (1)"]);
    await using after = await testHarness(pipeline, { parallelism: 4, restore: before.snapshot() });
    for (const k of "abcdefgh") after.push({ k, n: 6 });
    expect(after.take().sort()).toEqual(["a6 (2)", "b6 (2)", ..."cdefgh"].map((it) => (it.length === 1 ? `${it}6 (1)` : it)));
  });

  test("a loop goes on after a failure, and each record leaves it once", async () => {
    const env = localEnvironment({ parallelism: 2, printLogs: false, configuration: { "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.delay": 1 } });
    env.enableCheckpointing("10 ms");
    const failed = { times: 0 };
    const countdown = env.generate((index) => ({ id: index, left: index % 17 }), { count: 600, rowsPerSecond: 2_000 }).iterate((loop) => {
      const stepped = loop.rebalance().map((row) => {
        if (row.id === 400 && failed.times++ === 0) throw new Error("once");
        return { ...row, left: row.left - 1 };
      });
      return { feedback: stepped.filter(({ left }) => left > 0), output: stepped.filter(({ left }) => left <= 0) };
    }, { maxWait: 0 });
    const ids = (await countdown.collect()).map(({ id }) => id).sort((a, b) => a - b);
    expect(ids).toEqual(Array.from({ length: 600 }, (_, id) => id));
    expect(failed.times).toBeGreaterThan(1);
  });
});
