import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { WatermarkCombiner, timestampMs } from "../../../src/core/time/watermark.ts";

type Step = { readonly input: number; readonly what: "advance" | "idle" | "active" | "end"; readonly watermark: number };

describe("WatermarkCombiner", () => {
  test("the slowest input decides", () => {
    const combiner = new WatermarkCombiner(2);
    expect(combiner.advance(0, 10)).toBe(false);
    expect(combiner.current).toBe(-Infinity);
    expect(combiner.advance(1, 5)).toBe(true);
    expect(combiner.current).toBe(5);
  });

  test("an idle input holds nothing back until it is active again and has caught up", () => {
    const combiner = new WatermarkCombiner(2);
    combiner.advance(0, 10);
    expect(combiner.setIdle(1)).toBe(true);
    expect(combiner.current).toBe(10);
    combiner.active(1);
    expect(combiner.advance(1, 5)).toBe(false);
    expect(combiner.advance(0, 20)).toBe(true);
    expect(combiner.advance(1, 25)).toBe(false);
    expect(combiner.advance(0, 30)).toBe(true);
    expect(combiner.current).toBe(25);
  });

  test("once all are idle, the highest watermark holds", () => {
    const combiner = new WatermarkCombiner(3);
    for (const [input, watermark] of [[0, 10], [1, 30], [2, 20]] as const) combiner.advance(input, watermark);
    expect([combiner.setIdle(1), combiner.current, combiner.idle]).toEqual([false, 10, false]);
    expect([combiner.setIdle(0), combiner.current, combiner.idle]).toEqual([true, 20, false]);
    expect([combiner.setIdle(2), combiner.current, combiner.idle]).toEqual([true, 30, true]);
  });

  test("after all inputs ended the watermark is the last one", () => {
    const combiner = new WatermarkCombiner(2);
    combiner.end(0);
    expect(combiner.ended).toBe(false);
    expect(combiner.end(1)).toBe(true);
    expect([combiner.current, combiner.ended]).toEqual([Infinity, true]);
  });

  test("for any sequence it never goes back, is never above an input that counts, and is not held back by others", () => {
    const step: fc.Arbitrary<Step> = fc.record({
      input: fc.integer({ min: 0, max: 2 }), what: fc.constantFrom("advance", "advance", "advance", "idle", "active", "end"), watermark: fc.integer({ min: 0, max: 50 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const combiner = new WatermarkCombiner(3);
        const model = Array.from({ length: 3 }, () => ({ watermark: -Infinity, state: "active" }));
        let expected = -Infinity;
        for (const { input, what, watermark } of steps) {
          const it = model[input] as (typeof model)[number];
          if (it.state === "ended") continue;
          const wake = (): void => {
            combiner.active(input);
            if (it.state === "idle") it.state = it.watermark >= expected ? "active" : "behind";
          };
          let flush = false;
          if (what === "active") wake();
          else if (what === "advance") {
            wake();
            it.watermark = Math.max(it.watermark, watermark);
            if (it.state === "behind" && it.watermark >= expected) it.state = "active";
            combiner.advance(input, watermark);
          } else if (what === "idle") {
            flush = it.state === "active" && it.watermark === expected;
            it.state = "idle";
            combiner.setIdle(input);
          } else {
            it.state = "ended";
            it.watermark = Infinity;
            combiner.end(input);
          }
          const counting = model.filter(({ state }) => state === "active" || state === "ended");
          const idle = model.filter(({ state }) => state === "idle");
          if (flush && idle.length === 3) {
            expected = Math.max(expected, ...idle.map((one) => one.watermark));
          } else if (what !== "active" && counting.length > 0) expected = Math.max(expected, Math.min(...counting.map((one) => one.watermark)));
          expect(combiner.current).toBe(expected);
        }
      }),
    );
  });
});

test("a timestamp is milliseconds or a valid Date; anything else names the record", () => {
  expect(timestampMs(new Date(5), {})).toBe(5);
  for (const bad of [NaN, Infinity, 1e16, -1e16, "2020", null, undefined, new Date("x")]) expect(() => timestampMs(bad, { id: 7 })).toThrow(/record \{"id":7\}/);
});
