// A rolling mix of faults with a report: npm run chaos -- --minutes 10 --seed 7.
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "10" }, seed: { type: "string", default: "1" } } });
const { status } = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", "--config", "test/faults/faults.config.ts", "chaos"], {
  stdio: "inherit",
  env: { ...process.env, DREY_CHAOS_MINUTES: values.minutes, DREY_CHAOS_SEED: values.seed },
});
process.exit(status ?? 1);
