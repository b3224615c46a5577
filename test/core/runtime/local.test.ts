import { describe, expect, test } from "vitest";
import {
  KeyedProcessFunction,
  type ProcessContext,
  type RuntimeContext,
  type ValueState,
  type Collector,
  localEnvironment,
  valueState,
} from "../../../src/core/index.ts";

/** Counts in every kind of field. */
class Counts extends KeyedProcessFunction<number, number, string> {
  readonly list: number[] = [];
  readonly byKey = new Map<number, { count: number }>();
  readonly seen = new Set<number>();
  readonly bytes = new Uint8Array(8);
  readonly since = new Date(7);
  same = this.byKey;

  override processElement(value: number, _context: ProcessContext<number>, out: Collector<string>): void {
    this.list.push(value);
    this.seen.add(value);
    this.bytes[0]!++;
    const entry = this.byKey.get(value % 4) ?? { count: 0 };
    this.byKey.set(value % 4, { count: entry.count + 1 });
    out.collect([this.list.length, this.seen.size, this.bytes[0], this.same.size, this.since.getTime()].join());
  }
}

class Private extends KeyedProcessFunction<number, number, number> {
  #count!: ValueState<number>;
  override open(context: RuntimeContext): void {
    this.#count = context.state(valueState("count", 0));
  }
  override processElement(_value: number, _context: ProcessContext<number>, out: Collector<number>): void {
    this.#count.update(this.#count.value()! + 1);
    out.collect(this.#count.value()!);
  }
}

describe("in one thread", () => {
  test("each subtask has a process function of its own, whatever its fields are", async () => {
    const counts = new Counts();
    const rows = await localEnvironment()
      .of(0, 1, 2, 3, 4, 5, 6, 7)
      .keyBy((x) => x % 4)
      .process(counts)
      .setParallelism(4)
      .collect();
    // 8 records of 4 keys: if the subtasks shared one list, somebody would have counted to 8.
    const longest = Math.max(...rows.map((row) => Number(row.split(",")[0])));
    expect(longest).toBeLessThan(8);
    for (const row of rows) {
      const [list, seen, bytes, keys, since] = row.split(",").map(Number);
      expect([seen, bytes, since]).toEqual([list, list, 7]);
      expect(keys).toBeLessThanOrEqual(list!);
    }
    expect(counts.list).toEqual([]);
    expect(counts.byKey.size).toBe(0);
  });

  test("a process function with #private fields works with one subtask, and is refused for several", async () => {
    const counted = (parallelism: number): Promise<number[]> =>
      localEnvironment()
        .of(1, 2, 1, 1)
        .keyBy((x) => x)
        .process(new Private())
        .setParallelism(parallelism)
        .collect();
    expect(await counted(1)).toEqual([1, 1, 2, 3]);
    await expect(counted(2)).rejects.toThrow(
      /"Private" has parallelism 2 and an object with #private fields, .* \(class Private\); let it have parallelism 1 here/,
    );
  });
});
