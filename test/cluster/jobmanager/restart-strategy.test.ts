import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Configuration } from "../../../src/core/types/options.ts";
import { type Recovery, exponentialDelay, failureRate, fixedDelay, restartStrategy } from "../../../src/cluster/jobmanager/restart-strategy.ts";

const delays = (recoveries: readonly Recovery[]): readonly (number | string)[] =>
  recoveries.map((recovery) => (recovery.kind === "restart" ? recovery.afterMs : recovery.kind));

describe("restart strategies", () => {
  test("fixed-delay restarts so many times, and no more", () => {
    const strategy = fixedDelay(2, 500);
    expect(delays([0, 1, 2].map((nowMs) => strategy.failed(nowMs)))).toEqual([500, 500, "failJob"]);
  });

  test("failure-rate counts only the failures of the last interval", () => {
    const strategy = failureRate(2, 1_000, 10);
    expect(delays([0, 500, 1_000, 1_600, 1_700].map((nowMs) => strategy.failed(nowMs)))).toEqual([10, 10, 10, 10, "failJob"]);
  });

  test("exponential-delay grows up to its bound, and begins anew after a time without failures", () => {
    const settings = { initialMs: 100, maxMs: 500, multiplier: 2, resetMs: 10_000, jitter: 0, attempts: 0, random: () => 0 };
    const strategy = exponentialDelay(settings);
    expect(delays([0, 1, 2, 3, 10_000, 30_000].map((nowMs) => strategy.failed(nowMs)))).toEqual([100, 200, 400, 500, 500, 100]);
  });

  test("exponential-delay gives up after its attempts, unless there was peace between them", () => {
    const settings = { initialMs: 1, maxMs: 1, multiplier: 1, resetMs: 100, jitter: 0, attempts: 2, random: () => 0 };
    const strategy = exponentialDelay(settings);
    expect(delays([0, 10, 200, 210, 220].map((nowMs) => strategy.failed(nowMs)))).toEqual([1, 1, 1, 1, "failJob"]);
  });

  test("chance moves a delay within its part, and never beyond the bound", () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.999, noNaN: true }), fc.integer({ min: 1, max: 10 }), (chance, failures) => {
        const strategy = exponentialDelay({ initialMs: 100, maxMs: 800, multiplier: 2, resetMs: 1e9, jitter: 0.1, attempts: 0, random: () => chance });
        const last = Array.from({ length: failures }, (_, nowMs) => strategy.failed(nowMs)).at(-1) as { afterMs: number };
        const plain = Math.min(100 * 2 ** (failures - 1), 800);
        expect(last.afterMs).toBeGreaterThanOrEqual(plain * 0.9 - 1e-9);
        expect(last.afterMs).toBeLessThanOrEqual(Math.min(plain * 1.1 + 1e-9, 800));
      }),
    );
  });

  test("jobs with checkpoints restart by default, others don't, and either can be told otherwise", () => {
    const kind = (raw: Record<string, unknown>): string => restartStrategy(Configuration.of(raw), () => 0.5).failed(0).kind;
    expect(kind({})).toBe("failJob");
    expect(kind({ "execution.checkpointing.interval": "1 s" })).toBe("restart");
    expect(kind({ "execution.checkpointing.interval": "1 s", "restart-strategy.type": "none" })).toBe("failJob");
    expect(kind({ "restart-strategy.type": "fixed-delay" })).toBe("restart");
    expect(() => kind({ "restart-strategy.type": "sometimes" })).toThrow(/restart-strategy\.type is "sometimes"/);
  });
});
