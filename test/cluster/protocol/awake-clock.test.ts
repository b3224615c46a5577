import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AwakeClock } from "../../../src/cluster/protocol/awake-clock.ts";

describe("an awake clock", () => {
  it("runs as the clock beneath it while it is read often enough", () => {
    let now = 1_000;
    const clock = new AwakeClock(() => now, 100);
    for (let i = 0; i < 50; i++) {
      now += 90;
      clock.read();
    }
    expect(clock.read()).toBe(4_500);
  });

  it("counts one longest step for a night's sleep", () => {
    let now = 0;
    const clock = new AwakeClock(() => now, 100);
    now += 8 * 3_600_000;
    expect(clock.read()).toBe(100);
  });

  it("never goes back, and never gains more than a step per reading", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1_000, max: 10_000 })), (steps) => {
        let now = 0;
        let before = 0;
        const clock = new AwakeClock(() => now, 100);
        for (const step of steps) {
          now += step;
          const after = clock.read();
          expect(after).toBeGreaterThanOrEqual(before);
          expect(after - before).toBeLessThanOrEqual(100);
          before = after;
        }
      }),
    );
  });
});
