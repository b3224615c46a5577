// Runs seeds of the simulation. A seed that fails prints its trace, and gives the same one whenever it runs again.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";

const USAGE = `npm run sim -- [--seeds <n>] [--from <n>] [--seed <n>] [--lines <n>]

Runs the control plane (JobManagers, TaskManagers, checkpoints, sinks) on a simulated clock, network and storage, with faults that each seed
chooses, and looks whether every row is counted and committed once and whether the job ends.

  --seeds <n>   how many seeds (1000)
  --from <n>    the first one (1)
  --seed <n>    this one only; the same as --from <n> --seeds 1
  --lines <n>   lines of the trace that are printed of a seed that fails (200; 0: all)

How to read a trace: docs/recovery.md, "When the simulation finds something".`;

/** @returns a whole number, or ends with a sentence. */
function numberOf(name, text, least) {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= least) return number;
  console.error(`--${name} takes a whole number from ${least} on, not "${text}".\n\n${USAGE}`);
  process.exit(2);
}

let values;
try {
  const text = (value) => ({ type: "string", default: value });
  const options = { seeds: text("1000"), from: text("1"), seed: { type: "string" }, lines: text("200"), help: { type: "boolean", short: "h" } };
  ({ values } = parseArgs({ options }));
} catch (error) {
  console.error(`${error.message}\n\n${USAGE}`);
  process.exit(2);
}
if (values.help) {
  console.log(USAGE);
  process.exit(0);
}
const from = numberOf("from", values.seed ?? values.from, 0);
const seeds = values.seed === undefined ? numberOf("seeds", values.seeds, 1) : 1;
const lines = numberOf("lines", values.lines, 0);
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const { status } = spawnSync(process.execPath, [vitest, "run", "test/simulation", "-t", "nothing is lost"], {
  stdio: "inherit",
  env: { ...process.env, DREY_SIM_SEEDS: String(seeds), DREY_SIM_FROM: String(from), DREY_SIM_LINES: String(lines) },
});
process.exit(status ?? 1);
