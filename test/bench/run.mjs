/**
 * Runs a benchmark by name: `npm run bench -- <name> [its options]`; without a name, lists them.
 * A benchmark is `<name>.mjs`, `<name>/bench.ts` (a program for `drey run`), or `micro/<name>.mjs`; `micro` runs all of those.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import path from "node:path";

const here = import.meta.dirname;
const command = path.resolve(here, "../../dist/cluster/cli.js");
const [name, ...options] = process.argv.slice(2);

const micro = namesIn("micro");
const whole = [...namesIn("."), ...readdirSync(here).filter((folder) => existsSync(path.join(here, folder, "bench.ts")))];

if (name === "micro") for (const one of micro) run([path.join(here, "micro", `${one}.mjs`), ...options]);
else if (micro.includes(name)) run([path.join(here, "micro", `${name}.mjs`), ...options]);
else if (!whole.includes(name)) {
  console.error(`${name === undefined ? "" : `There is no benchmark "${name}". `}npm run bench -- <name>: ${[...whole, "micro", ...micro].join(", ")}`);
  process.exitCode = name === undefined ? 0 : 1;
} else if (existsSync(path.join(here, `${name}.mjs`))) run([path.join(here, `${name}.mjs`), ...options]);
else run([command, "run", "--quiet", path.join(here, name, "bench.ts"), ...options]);

function namesIn(folder) {
  return readdirSync(path.join(here, folder))
    .filter((file) => file.endsWith(".mjs") && file !== "run.mjs")
    .map((file) => file.slice(0, -".mjs".length));
}

function run(args) {
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit" });
  if (status !== 0) process.exitCode = status ?? 1;
}
