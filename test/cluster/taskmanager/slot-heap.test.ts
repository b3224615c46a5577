import { describe, expect, test } from "vitest";
import { SlotHeap, createSlotHeap } from "../../../src/cluster/taskmanager/slot-heap.ts";

/** Two threads of one slot of 100 bytes, with heaps and a clock that the test sets. */
function slot() {
  const uses = createSlotHeap();
  const clock = { ms: 0 };
  const heaps = [10, 10];
  const threads = heaps.map(
    (_, place) =>
      new SlotHeap(
        { limitBytes: 100, uses, place },
        () => clock.ms,
        () => heaps[place] as number,
      ),
  );
  return { clock, heaps, threads: threads as [SlotHeap, SlotHeap] };
}

describe("the heap of a slot", () => {
  test("is all one thread's while the others hold nothing", () => {
    const {
      threads: [first],
    } = slot();
    first.usedBytes();
    expect(first.limitBytes).toBe(100);
  });

  test("shrinks for a thread by what the others keep", () => {
    const {
      heaps,
      threads: [first, second],
    } = slot();
    heaps[1] = 30;
    second.usedBytes();
    first.usedBytes();
    expect(first.limitBytes).toBe(70);
    expect(second.limitBytes).toBe(90);
  });

  test("counts of the others only what survives: the lowest reading of the last seconds", () => {
    const {
      clock,
      heaps,
      threads: [first, second],
    } = slot();
    for (const [ms, bytes] of [
      [0, 20],
      [1_000, 60],
      [2_000, 25],
      [3_000, 70],
    ] as const) {
      clock.ms = ms;
      heaps[1] = bytes;
      second.usedBytes();
    }
    expect(first.limitBytes).toBe(80);
    // What was low long ago is forgotten.
    for (clock.ms = 4_000; clock.ms < 20_000; clock.ms += 1_000) second.usedBytes();
    expect(first.limitBytes).toBe(30);
  });

  test("is never less than nothing", () => {
    const {
      heaps,
      threads: [first, second],
    } = slot();
    heaps[1] = 500;
    second.usedBytes();
    expect(first.limitBytes).toBe(1);
  });

  test("without a limit stays without", () => {
    const heap = new SlotHeap({ limitBytes: 0, uses: createSlotHeap(), place: 0 });
    expect(heap.usedBytes()).toBeGreaterThan(1e6);
    expect(heap.limitBytes).toBe(0);
  });

  test("is not collected again and again: right after a collection the survivors count", () => {
    const {
      clock,
      heaps,
      threads: [first],
    } = slot();
    heaps[0] = 90;
    expect(first.usedBytes()).toBe(90);
    heaps[0] = 80;
    first.collectGarbage();
    heaps[0] = 81;
    expect(first.usedBytes()).toBe(80);
    heaps[0] = 85;
    expect(first.usedBytes()).toBe(85);
    heaps[0] = 81;
    clock.ms = 2_000;
    expect(first.usedBytes()).toBe(81);
  });

  test("of a real thread shrinks when garbage is collected, and leaves no gc() behind", () => {
    const heap = new SlotHeap({ limitBytes: 1e9, uses: createSlotHeap(), place: 0 });
    const usedWithGarbage = (): number => {
      const garbage = Array.from({ length: 300_000 }, (_, index) => ({ index }));
      return heap.usedBytes() + Math.min(0, garbage.length);
    };
    const before = usedWithGarbage();
    heap.collectGarbage();
    expect(heap.usedBytes()).toBeLessThan(before - 5e6);
    expect("gc" in globalThis).toBe(false);
  });
});
