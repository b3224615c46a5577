/**
 * Seeds through the simulation. DREY_SIM_SEEDS and DREY_SIM_FROM say which (`npm run sim`); a seed that fails prints its trace, and gives the
 * same one whenever it runs again.
 */
import { describe, expect, test } from "vitest";
import { simulate } from "./cluster.ts";
import { MUTANTS, RARE_MUTANTS } from "./mutants.ts";

const FROM = Number(process.env["DREY_SIM_FROM"] ?? 1);
const SEEDS = Number(process.env["DREY_SIM_SEEDS"] ?? 300);
/** Seeds in which a mutant has to be found. */
const MUTANT_SEEDS = 100;
const MINUTES = 60_000;

test(
  `${SEEDS} seeds: nothing is lost, nothing is doubled, and every job ends`,
  async () => {
    for (let seed = FROM; seed < FROM + SEEDS; seed++) {
      const { failure, trace } = await simulate(seed);
      if (failure !== undefined) expect.fail(`seed ${seed}: ${failure}\n${trace.slice(-200).join("\n")}`);
    }
  },
  Math.max(10 * MINUTES, SEEDS * 2_000),
);

test("a seed determines everything that happens", async () => {
  for (const seed of [7, 77]) expect((await simulate(seed)).fingerprint).toBe((await simulate(seed)).fingerprint);
});

/** Seeds that once found a mistake. */
const FOUND: Readonly<Record<(typeof RARE_MUTANTS)[number], number>> = { "end before acknowledgement": 355, "no second look at the lead": 221 };

describe("a mistake in the protocol is noticed", () => {
  test.each(RARE_MUTANTS)("%s, by the seed that found it", async (mutant) => {
    expect((await simulate(FOUND[mutant])).failure).toBeUndefined();
    expect((await simulate(FOUND[mutant], mutant)).failure).toBeDefined();
  }, 60_000);

  test.each(MUTANTS)(
    "%s",
    async (mutant) => {
      let seed = 1;
      while (seed <= MUTANT_SEEDS && (await simulate(seed, mutant)).failure === undefined) seed++;
      expect(seed).toBeLessThanOrEqual(MUTANT_SEEDS);
      console.log(`${mutant}: noticed by seed ${seed}`);
    },
    5 * MINUTES,
  );
});
