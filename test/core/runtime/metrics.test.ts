import { describe, expect, test } from "vitest";
import { BACK_PRESSURED_SINCE, IDLE_SINCE, metricIndex, metricRates, readTaskMetrics, taskMetricsArray } from "../../../src/core/runtime/metrics.ts";

describe("the metrics of a subtask", () => {
  test("a wait counts while it goes on, so that a task that waits is not taken for busy", () => {
    const values = taskMetricsArray();
    const before = readTaskMetrics(values, 10_000);
    values[IDLE_SINCE] = 10_000;
    const waiting = readTaskMetrics(values, 10_500);
    expect(metricRates(before, waiting, 500)).toMatchObject({ idleTimeMsPerSecond: 1_000, busyTimeMsPerSecond: 0, backPressuredTimeMsPerSecond: 0 });
    // The wait ends: what was counted ahead is now in the counter.
    values[IDLE_SINCE] = 0;
    values[metricIndex("accumulateIdleTimeMs")] = 600;
    values[BACK_PRESSURED_SINCE] = 10_600;
    const full = readTaskMetrics(values, 11_000);
    expect(metricRates(waiting, full, 500)).toMatchObject({ idleTimeMsPerSecond: 200, backPressuredTimeMsPerSecond: 800, busyTimeMsPerSecond: 0 });
  });

  test("the three shares of time add up to a second, whatever was counted", () => {
    for (const [idle, pressured] of [[0, 0], [900, 300], [2_000, 5], [3, 2_000]] as const) {
      const rates = metricRates({}, { accumulateIdleTimeMs: idle, accumulateBackPressuredTimeMs: pressured }, 1_000);
      const shares = ["busyTimeMsPerSecond", "idleTimeMsPerSecond", "backPressuredTimeMsPerSecond"].map((name) => rates[name] as number);
      expect(shares.every((share) => share >= 0)).toBe(true);
      expect(shares.reduce((a, b) => a + b)).toBe(1_000);
    }
  });
});
