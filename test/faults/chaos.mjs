// A rolling mix of faults with a report: npm run chaos -- --minutes 10 --seed 7. Exit code 1: something was lost, doubled, left or grew.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "10" }, seed: { type: "string", default: "1" } } });
const vitest = join(dirname(createRequire(import.meta.url).resolve("vitest/package.json")), "vitest.mjs");
const { status } = spawnSync(process.execPath, [vitest, "run", "--config", "test/faults/faults.config.ts", "chaos"], {
  stdio: "inherit",
  env: { ...process.env, DREY_CHAOS_MINUTES: values.minutes, DREY_CHAOS_SEED: values.seed },
});
process.exit(status ?? 1);
