import { describe, expect, test } from "vitest";
import { bytes, duration, moment, percent, shortNumber } from "../../../src/notebook/views/numbers.ts";

describe("numbers", () => {
  test("counts keep three digits that matter", () => {
    expect([0, 7, 999.4, 1_234, 9_999, 12_345, 999_950, 1e6, 8_912_345, -45_678, 0.00012, Number.NaN].map(shortNumber)).toEqual([
      "0",
      "7",
      "999",
      "1,234",
      "9,999",
      "12.3 k",
      "1 M",
      "1 M",
      "8.91 M",
      "-45.7 k",
      "1.2e-4",
      "–",
    ]);
  });

  test("durations never read 60 s or 60 min", () => {
    expect([0, 340, 999.7, 12_340, 59_960, 60_000, 245_000, 3_599_600, 7_800_000, 273_600_000].map(duration)).toEqual([
      "0 ms",
      "340 ms",
      "1 s",
      "12.3 s",
      "1 min 00 s",
      "1 min 00 s",
      "4 min 05 s",
      "1 h 00 min",
      "2 h 10 min",
      "3 d 4 h",
    ]);
  });

  test("a share is 0% only if it is nothing and 100% only if it is all", () => {
    expect([0, 0.001, 0.5, 0.999, 1].map(percent)).toEqual(["0%", "<1%", "50%", "99%", "100%"]);
  });

  test("bytes and moments", () => {
    expect([0, 1_023, 3_500, 6e9].map(bytes)).toEqual(["0 B", "1020 B", "3.42 KiB", "5.59 GiB"]);
    expect(moment(Date.UTC(2026, 10, 22, 20, 37, 39))).toBe("2026-11-22 20:37:39");
    expect(moment(Number.NEGATIVE_INFINITY)).toBe("–");
  });
});
