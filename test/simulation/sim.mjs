// Runs seeds of the simulation: npm run sim -- --seeds 100000 --from 1. A seed that fails prints its trace and can be run alone.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { seeds: { type: "string", default: "1000" }, from: { type: "string", default: "1" } } });
const { status } = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", "test/simulation", "-t", "nothing is lost"], {
  stdio: "inherit",
  env: { ...process.env, DREY_SIM_SEEDS: values.seeds, DREY_SIM_FROM: values.from },
});
process.exit(status ?? 1);
