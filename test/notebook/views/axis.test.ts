import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { categoryScale, linearScale, timeScale } from "../../../src/notebook/views/axis.ts";

const texts = (scale: { readonly ticks: readonly { readonly text: string }[] }): string[] => scale.ticks.map((tick) => tick.text);

describe("axis", () => {
  test("linear ticks are round numbers that enclose the data", () => {
    expect(texts(linearScale(0.3, 9.7, 0, 100, 5))).toEqual(["0", "2", "4", "6", "8", "10"]);
    expect(texts(linearScale(0.01, 0.04, 0, 100, 3))).toEqual(["0.01", "0.02", "0.03", "0.04"]);
    expect(texts(linearScale(0, 2_500_000, 0, 100, 3))).toEqual(["0", "1 M", "2 M", "3 M"]);
    expect(texts(linearScale(-5, 5, 0, 100, 2))).toEqual(["-5", "0", "5"]);
  });

  test("any range gives few, rising ticks, and its ends are inside", () => {
    const value = fc.double({ min: -1e12, max: 1e12, noNaN: true });
    fc.assert(
      fc.property(value, value, fc.integer({ min: 2, max: 12 }), (a, b, wanted) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        fc.pre(high - low > 1e-6 * Math.max(1, Math.abs(low), Math.abs(high)));
        const scale = linearScale(low, high, 0, 500, wanted);
        const values = scale.ticks.map((tick) => tick.value);
        expect(values.length).toBeGreaterThanOrEqual(2);
        expect(values.length).toBeLessThanOrEqual(wanted * 2 + 3);
        expect(values.every((it, index) => index === 0 || it > (values[index - 1] as number))).toBe(true);
        expect(scale.at(low)).toBeGreaterThanOrEqual(-0.01);
        expect(scale.at(high)).toBeLessThanOrEqual(500.01);
      }),
    );
  });

  test("one value, and none, still make an axis", () => {
    expect(texts(linearScale(5, 5, 0, 100, 5))).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(texts(linearScale(0, 0, 0, 100, 2)).length).toBeGreaterThan(1);
    expect(texts(linearScale(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 100, 2)).length).toBeGreaterThan(1);
    expect(timeScale(0, 0, 0, 100, 5).at(0)).toBe(50);
  });

  test("ticks of time stand on whole units of UTC and tell the date where it changes", () => {
    const at = Date.UTC(2026, 2, 28, 22, 10);
    expect(texts(timeScale(at, at + 4 * 3_600_000, 0, 500, 5))).toEqual(["23:00", "2026-03-29", "01:00", "02:00"]);
    expect(texts(timeScale(at, at + 25_000, 0, 500, 5))).toEqual(["22:10:00", "22:10:05", "22:10:10", "22:10:15", "22:10:20", "22:10:25"]);
    expect(texts(timeScale(at, at + 40, 0, 500, 3))).toEqual(["22:10:00.000", "22:10:00.020", "22:10:00.040"]);
    expect(texts(timeScale(Date.UTC(2000, 0), Date.UTC(2010, 2), 0, 500, 5))).toEqual(["2000", "2005", "2010"]);
    expect(texts(timeScale(Date.UTC(2026, 0, 5), Date.UTC(2026, 5, 1), 0, 500, 6))).toEqual([
      "2026-02",
      "2026-03",
      "2026-04",
      "2026-05",
      "2026-06",
    ]);
  });

  test("categories share the width equally; where names don't fit, some are left out", () => {
    const scale = categoryScale(["a", "b", "c", "d"], 0, 400, 2);
    expect([0, 1, 2, 3].map(scale.at)).toEqual([50, 150, 250, 350]);
    expect(texts(scale)).toEqual(["a", "c"]);
  });
});
