import { describe, expect, test } from "vitest";
import { localEnvironment, seconds } from "../../../src/core/index.ts";
import { type Event, drive } from "../../semantics/drive.ts";

type Row = readonly [key: string, value: number];
const row = (key: string, value: number): Event<Row> => ({ record: [key, value], at: value });

describe("batch", () => {
  test("hands on so many records at a time, and what is left at the end", async () => {
    expect(await localEnvironment().of(1, 2, 3, 4, 5).batch(2).collect()).toEqual([[1, 2], [3, 4], [5]]);
    const keyed = await localEnvironment().of(1, 2, 3, 4, 5, 6, 7).keyBy((x) => x % 2).batch({ count: 3 }).collect();
    expect(keyed).toEqual([[1, 3, 5], [2, 4, 6], [7]]);
    expect(await localEnvironment({ parallelism: 2 }).of(1, 2, 3).batch(5).setParallelism(1).collect()).toEqual([[1, 2, 3]]);
  });

  test.each([true, false])("hands on what it has when time is out, keyed: %s", (keyed) => {
    const env = localEnvironment();
    const stream = env.from<Row>([]).withTimestamps(([, at]) => at);
    const size = { count: 3, within: seconds(1) };
    const driven = drive<Row>(env, keyed ? stream.keyBy(([key]) => key).batch(size) : stream.batch(size));
    const values = (event: Event<Row>): unknown => driven.happen(event).map(({ value, timestamp }) => [(value as Row[]).map(([, x]) => x), timestamp]);
    expect([values(row("a", 1)), values({ clock: 500 }), values(row("a", 2)), values({ clock: 999 })]).toEqual([[], [], [], []]);
    expect(values({ clock: 1000 })).toEqual([[[1, 2], 2]]);
    expect([values(row("a", 3)), values(row("a", 4)), values(row("a", 5))]).toEqual([[], [], [[[3, 4, 5], 5]]]);
    // The time of a batch that was full is over with it.
    expect([values(row("a", 6)), values({ clock: 1999 }), values({ clock: 2000 })]).toEqual([[], [], [[[6], 6]]]);
    expect(values({ clock: 9000 })).toEqual([]);
  });

  test("needs a count or a time", () => {
    expect(() => localEnvironment().of(1).batch({})).toThrow(/needs a count, a time, or both/);
    expect(() => localEnvironment().of(1).batch(0)).toThrow(/got the count 0/);
  });
});
