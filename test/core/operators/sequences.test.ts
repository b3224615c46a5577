import { describe, expect, test } from "vitest";
import { dedupe, distinct, distinctUntilChanged, keyBy, localEnvironment, map, maxBy, min, pairwise, scan, skip, startWith, take, takeWhile, throttle, top, topN, session, sliding, tumbling } from "../../../src/core/index.ts";

const env = (parallelism = 1): ReturnType<typeof localEnvironment> => localEnvironment({ parallelism, printLogs: false });
const sales = [
  { shop: "a", item: "x", price: 5, at: 10 },
  { shop: "b", item: "y", price: 7, at: 20 },
  { shop: "a", item: "z", price: 3, at: 30 },
  { shop: "a", item: "w", price: 9, at: 15 },
];

describe("rolling aggregations", () => {
  test("sum, min and max change one field of the key's first record", async () => {
    const byShop = env().from(sales).keyBy("shop");
    const told = (rows: readonly { shop: string; item: string; price: number }[]): string[] => rows.map((row) => `${row.shop}${row.item}${row.price}`);
    expect(told(await byShop.sum("price").collect())).toEqual(["ax5", "by7", "ax8", "ax17"]);
    expect(told(await byShop.min("price").collect())).toEqual(["ax5", "by7", "ax3", "ax3"]);
    expect(told(await byShop.max("price").collect())).toEqual(["ax5", "by7", "ax5", "ax9"]);
  });

  test("minBy and maxBy keep the whole record, of equal ones the first", async () => {
    const byShop = env().from([...sales, { shop: "a", item: "later", price: 9, at: 50 }]).keyBy((sale) => sale.shop);
    expect((await byShop.minBy("price").collect()).map((row) => row.item)).toEqual(["x", "y", "z", "z", "z"]);
    expect((await byShop.maxBy((sale) => sale.price).collect()).map((row) => row.item)).toEqual(["x", "y", "x", "w", "w"]);
  });

  test("numbers are their own values, and records are not changed", async () => {
    expect(await env().of(1, 2, 3, 4).keyBy((x) => x % 2).sum().collect()).toEqual([1, 2, 4, 6]);
    const mine = { key: "k", n: 1 };
    await env().from([mine, { key: "k", n: 2 }]).keyBy("key").sum("n").collect();
    expect(mine).toEqual({ key: "k", n: 1 });
  });

  test("a field that is no number says so", async () => {
    await expect(env().from([{ k: 1, n: null as unknown as number }]).keyBy("k").sum("n").collect()).rejects.toThrow(
      /"sum: n" got null in the field "n" of .*; sum\(\) needs a number in every record/,
    );
  });

  test("the class of a record stays", async () => {
    class Money {
      readonly currency: string;
      readonly amount: number;
      constructor(currency: string, amount: number) {
        this.currency = currency;
        this.amount = amount;
      }
      get text(): string {
        return `${this.amount} ${this.currency}`;
      }
    }
    const stream = env().registerClass(Money).from([new Money("€", 1), new Money("€", 2)]);
    expect((await stream.keyBy("currency").sum("amount").map((it) => it.text).collect())).toEqual(["1 €", "3 €"]);
  });

  test("topN tells the best whenever they change", async () => {
    const rows = await env().from([["a", 1], ["a", 5], ["b", 2], ["a", 0], ["a", 3]] as const).keyBy(([key]) => key).topN(2, ([, x]) => x).collect();
    expect(rows.map((best) => best.map(([key, x]) => `${key}${x}`).join(" "))).toEqual(["a1", "a5 a1", "b2", "a5 a3"]);
  });
});

describe("the top of a window", () => {
  test.each([["tumbling", tumbling(20)], ["sliding", sliding(20, 10)], ["session", session(15)]] as const)("in %s windows", async (_kind, windows) => {
    const rows = [5, 9, 1, 7, 3, 8].map((n, at) => ({ n, at: at * 4 }));
    const best = await env().from(rows).withTimestamps((row) => row.at).keyBy(() => 0).window(windows)
      .aggregate(top(2, (row) => row.n), (rows, { window: { start, end } }) => ({ start, end, best: rows.map((row) => row.n) })).collect();
    const expected = (start: number, end: number): number[] =>
      rows.filter((row) => row.at >= start && row.at < end).map((row) => row.n).sort((a, b) => b - a).slice(0, 2);
    for (const it of best) expect(it.best).toEqual(expected(it.start, it.end));
    expect(best.length).toBeGreaterThan(0);
  });
});

describe("keys by name", () => {
  test("one field is the key itself, several make an array", async () => {
    const stream = env(2).from(sales);
    const one = await stream.keyBy("shop").process<string>((_sale, { key }, out) => out.collect(key)).collect();
    expect(one.sort()).toEqual(["a", "a", "a", "b"]);
    const two = await stream.keyBy("shop", "item").process<string>((_sale, { key: [shop, item] }, out) => out.collect(`${shop}/${item}`)).collect();
    expect(two.sort()).toEqual(["a/w", "a/x", "a/z", "b/y"]);
  });
});

describe("sequences", () => {
  test("scan tells every accumulation, of all records or per key", async () => {
    expect(await env(3).from([1, 2, 3]).setParallelism(1).scan((sum, x) => sum + x).collect()).toEqual([1, 3, 6]);
    expect(await env().of(1, 2, 3).scan((all, x) => [...all, x], [] as number[]).collect()).toEqual([[1], [1, 2], [1, 2, 3]]);
    const counted = await env().of("a", "b", "a").keyBy((x) => x).scan((seen, x) => ({ x, n: seen.n + 1 }), { x: "", n: 0 }).collect();
    expect(counted.map(({ x, n }) => `${x}${n}`)).toEqual(["a1", "b1", "a2"]);
  });

  test("a seed that is an object is each key's own", async () => {
    const pushed = await env().of("a", "b", "a").keyBy((x) => x).scan((list, x) => (list.push(x), list), [] as string[]).map((list) => list.join("")).collect();
    expect(pushed).toEqual(["a", "b", "aa"]);
    class Counter {
      #n = 0;
      add(): number {
        return ++this.#n;
      }
    }
    expect(() => env().of(1).scan((it) => it, new Counter())).toThrow(/scan\(…, seed\) got Counter .*; give a function that makes the seed/);
  });

  test("distinct passes each value once, in whatever subtask", async () => {
    expect((await env(3).from([{ a: 1 }, { a: 2 }, { a: 1 }, { a: 2 }]).rebalance().distinct().map((x) => x.a).collect()).sort()).toEqual([1, 2]);
    expect((await env(2).from(sales).distinct((sale) => sale.shop).map((sale) => sale.item).collect()).sort()).toEqual(["x", "y"]);
    expect((await env(2).from([...sales, ...sales]).keyBy("shop").distinct((sale) => sale.price > 4).map((sale) => sale.item).collect()).sort()).toEqual(["x", "y", "z"]);
  });

  test("distinctUntilChanged compares with the record before it, by structure", async () => {
    const rows = [{ a: 1, b: [1] }, { b: [1], a: 1 }, { a: 2, b: [1] }, { a: 1, b: [1] }];
    expect(await env().from(rows).distinctUntilChanged().map((row) => row.a).collect()).toEqual([1, 2, 1]);
    expect(await env().of(1, 1.2, 2, 2.1, 1).distinctUntilChanged((p, c) => Math.floor(p) === Math.floor(c)).collect()).toEqual([1, 2, 1]);
    expect(await env().of(null, null, 1, undefined, undefined).distinctUntilChanged().collect()).toEqual([null, 1, undefined]);
    const perKey = await env().of("a1", "b1", "a1", "b2").keyBy((x) => x[0] as string).distinctUntilChanged(undefined, (x) => x[1]).collect();
    expect(perKey).toEqual(["a1", "b1", "b2"]);
  });

  test("pairwise gives neighbours, per key on a keyed stream", async () => {
    expect(await env().of(1, 2, 3).pairwise().collect()).toEqual([[1, 2], [2, 3]]);
    expect(await env().of(1, 2, 3, 4).keyBy((x) => x % 2).pairwise().collect()).toEqual([[1, 3], [2, 4]]);
  });

  test("startWith comes first, also when nothing else does", async () => {
    expect(await env().of(1, 2).startWith("begin", "again").collect()).toEqual(["begin", "again", 1, 2]);
    expect(await env().from<number>([]).startWith(0).collect()).toEqual([0]);
    expect(await env().of(1, 2, 3).keyBy((x) => x % 2).startWith(0).collect()).toEqual([0, 1, 0, 2, 3]);
  });

  test("take and skip, takeWhile and skipWhile part a sequence in two", async () => {
    const numbers = env().of(1, 2, 3, 1);
    expect(await numbers.take(2).collect()).toEqual([1, 2]);
    expect(await numbers.skip(2).collect()).toEqual([3, 1]);
    expect(await numbers.takeWhile((x) => x < 3).collect()).toEqual([1, 2]);
    expect(await numbers.takeWhile((x) => x < 3, true).collect()).toEqual([1, 2, 3]);
    expect(await numbers.skipWhile((x, index) => x < 3 && index < 5).collect()).toEqual([3, 1]);
    expect(await numbers.keyBy((x) => x % 2).take(1).collect()).toEqual([1, 2]);
    expect(await numbers.take(0).collect()).toEqual([]);
  });

  test("take ends a job without end for whoever reads its rows", async () => {
    expect(await env().generate((index) => index).take(3).map((x) => x * 2).collect()).toEqual([0, 2, 4]);
    const seen: number[] = [];
    await env().generate((index) => index).take(2).toObservable().forEach((x) => void seen.push(x));
    expect(seen).toEqual([0, 1]);
  });

  test("takeUntil passes records until the other stream has one", async () => {
    const program = env();
    const never = program.from<number>([]);
    expect(await program.of(1, 2).takeUntil(never).collect()).toEqual([1, 2]);
    const late = program.from(async function* () {
      yield 1;
      await new Promise((resolve) => setTimeout(resolve, 150));
      yield 2;
    });
    const stop = program.from(async function* () {
      await new Promise((resolve) => setTimeout(resolve, 40));
      yield "stop";
    });
    expect(await late.takeUntil(stop).collect()).toEqual([1]);
  });

  test("throttle and dedupe pass one record and drop those close behind it, in event time", async () => {
    const rows = [{ k: "a", at: 0 }, { k: "a", at: 99 }, { k: "b", at: 99 }, { k: "a", at: 100 }, { k: "a", at: 150 }, { k: "a", at: 400 }];
    const timed = env().from(rows).withTimestamps((row) => row.at);
    expect((await timed.throttle(100).collect()).map((row) => row.at)).toEqual([0, 100, 400]);
    expect((await timed.keyBy("k").dedupe("100 ms").collect()).map((row) => `${row.k}${row.at}`)).toEqual(["a0", "b99", "a100", "a400"]);
  });

  test("what dedupe keeps is given up when the watermark has passed, and not before", async () => {
    const rows = [0, 1_000, 5, 1_050].map((at) => ({ at }));
    const timed = env().from(rows).withTimestamps((row) => row.at, { punctuated: (_row, at) => at - 1 });
    // The record of time 5 is late by more than the time: what was known of time 0 is gone, and 1000 lies far away.
    expect((await timed.throttle(100).collect()).map((row) => row.at)).toEqual([0, 1_000, 5]);
  });

  test("the pipeable words are the methods", async () => {
    const stream = env().of(3, 1, 2, 2);
    expect(await stream.pipe(distinct(), scan((a, b) => a + b)).collect()).toEqual([3, 4, 6]);
    expect(await stream.pipe(distinctUntilChanged(), pairwise()).collect()).toEqual([[3, 1], [1, 2]]);
    expect(await stream.pipe(skip(1), takeWhile((x) => x < 3), startWith(9), take(2), map((x) => -x)).collect()).toEqual([-9, -1]);
    expect(await env().from(sales).pipe(keyBy("shop"), min("price")).map((row) => row.price).collect()).toEqual([5, 7, 3, 3]);
    expect(await env().from(sales).pipe(keyBy("shop"), maxBy("price")).map((row) => row.price).collect()).toEqual([5, 7, 5, 9]);
    expect(await env().from(sales).pipe(keyBy("shop"), topN(1, (sale) => sale.price)).collect()).toHaveLength(3);
    expect(await env().from(sales).pipe(keyBy("shop"), dedupe("1 h")).collect()).toHaveLength(2);
    expect(await env().from(sales).pipe(throttle("1 h")).collect()).toHaveLength(1);
  });
});
