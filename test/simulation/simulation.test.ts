/**
 * Seeds through the simulation. DREY_SIM_SEEDS and DREY_SIM_FROM say which (`npm run sim`); a seed that fails prints its trace, and gives the
 * same one whenever it runs again.
 */
import { describe, expect, test } from "vitest";
import { simulate } from "./cluster.ts";
import { MUTANTS, type Mutant } from "./mutants.ts";

const FROM = Number(process.env["DREY_SIM_FROM"] ?? 1);
const SEEDS = Number(process.env["DREY_SIM_SEEDS"] ?? 300);
const LINES = Number(process.env["DREY_SIM_LINES"] ?? 200);
/** Seeds in which a mutant has to be found. */
const MUTANT_SEEDS = 600;
/** Steps of a process, from some moment on, at each of which it dies once: more than a checkpoint has. */
const STEPS = 40;
const MINUTES = 60_000;

test(
  `${SEEDS} seeds: nothing is lost, nothing is doubled, and every job ends`,
  async () => {
    let stale = 0;
    for (let seed = FROM; seed < FROM + SEEDS; seed++) {
      const { failure, trace, refused } = await simulate(seed);
      stale += refused;
      if (failure !== undefined) expect.fail(`seed ${seed}: ${failure}\n${trace.slice(-LINES).join("\n")}`);
    }
    // Messages of sessions that were over did come, and were not heard.
    if (SEEDS >= 100) expect(stale).toBeGreaterThan(SEEDS);
  },
  Math.max(30 * MINUTES, SEEDS * 2_000),
);

test("a seed determines everything that happens", async () => {
  for (const seed of [7, 77]) expect((await simulate(seed)).fingerprint).toBe((await simulate(seed)).fingerprint);
}, 5 * MINUTES);

test.each(["the leader", "a TaskManager"] as const)(
  "%s may die at any step",
  async (who) => {
    for (let step = 1; step <= STEPS; step++) {
      const { failure, trace } = await simulate(FROM, { fate: { who, step } });
      if (failure !== undefined) expect.fail(`seed ${FROM}, ${who} dies at step ${step}: ${failure}\n${trace.slice(-LINES).join("\n")}`);
      if (step === 1) expect(trace.join("\n")).toMatch(/is dead/);
    }
  },
  30 * MINUTES,
);

/** Seeds that show a mistake, so that they need not be looked for: as long as the runs stay what they are. */
const SHOWN_BY: Readonly<Record<Mutant, number>> = {
  "commit early": 11,
  "commit on timeout": 2,
  "torn manifest": 4,
  "no fencing": 98,
  "duplicate trigger": 2,
  "no dedupe": 1,
  "skip alignment": 1,
  "wrong key groups": 2,
  "commit again": 2,
  "end before acknowledgement": 83,
  "no second look at the lead": 84,
};

/** What it has to come to: jobs that hang are the least of what a missing fence does. */
const SHOWS: Readonly<Partial<Record<Mutant, RegExp>>> = { "no fencing": /visible twice/ };

describe("a mistake in the protocol is noticed", () => {
  test.each(MUTANTS)(
    "%s",
    async (mutant) => {
      for (const seed of [SHOWN_BY[mutant], ...Array(MUTANT_SEEDS).keys()]) {
        const { failure } = await simulate(seed, { mutant });
        // It is the mistake that is noticed: without it the same seed passes.
        if (failure === undefined || SHOWS[mutant]?.test(failure) === false || (await simulate(seed)).failure !== undefined) continue;
        console.log(`${mutant}: noticed by seed ${seed}: ${failure}`);
        return;
      }
      expect.fail(`${mutant}: none of ${MUTANT_SEEDS} seeds notices it`);
    },
    30 * MINUTES,
  );
});
