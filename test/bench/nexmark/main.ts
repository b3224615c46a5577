/**
 * Runs a query over generated events on a local cluster, and writes its answer as canonical rows:
 * `npm run nexmark -- q5 --events 200000 --rate 1000 --seed 42 --parallelism 2 --out rows.csv`
 */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { environment } from "drey";
import { wholeNumber } from "../measure.ts";
import { NexmarkGenerator } from "./generator.ts";
import { queries } from "./queries/index.ts";
import { answerOf } from "./query.ts";

const USAGE = `npm run nexmark -- <query> [options]

  --events <n>               events to generate (200000)
  --rate <n>                 events per second of event time (1000)
  --seed <n>                 of the generator (42)
  --base <ms>                event time of the first event, milliseconds since the epoch (1436918340000)
  --out-of-order-group <g>   events come out of order within groups of g, coprime to 953, at most 4 · rate (1: in order)
  --parallelism <p>          subtasks of every operator (1)
  --task-managers <n>        processes to run them in (1)
  --out <file>               where to write the rows; "-" is the standard output; without it only their number and hash are told
`;

/** Called by `drey run`. */
export default async function main(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      events: { type: "string", default: "200000" },
      rate: { type: "string", default: "1000" },
      seed: { type: "string", default: "42" },
      base: { type: "string", default: "1436918340000" },
      "out-of-order-group": { type: "string", default: "1" },
      parallelism: { type: "string", default: "1" },
      "task-managers": { type: "string", default: "1" },
      out: { type: "string" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [name = ""] = positionals;
  const query = queries[name];
  if (values.help || query === undefined) {
    process.stderr.write(`${USAGE}\n${Object.entries(queries).map(([it, { asks }]) => `  ${it.padEnd(6)}${asks}`).join("\n")}\n`);
    if (!values.help) throw new Error(`there is no query ${JSON.stringify(name)}; the queries are ${Object.keys(queries).join(", ")}.`);
    return;
  }
  const parallelism = wholeNumber("--parallelism", values.parallelism, 1);
  const taskManagers = wholeNumber("--task-managers", values["task-managers"], 1);
  const rate = wholeNumber("--rate", values.rate, 1);
  const outOfOrderGroup = wholeNumber("--out-of-order-group", values["out-of-order-group"], 1);
  if (outOfOrderGroup % 953 === 0 || outOfOrderGroup > 4 * rate) {
    const most = `at most 4 · rate (${4 * rate}), or events come too late`;
    throw new Error(`--out-of-order-group is ${outOfOrderGroup}; it must not be a multiple of 953, and ${most}.`);
  }
  const [seed, baseMs] = [wholeNumber("--seed", values.seed, 0), wholeNumber("--base", values.base, 0)];
  const nexmark = new NexmarkGenerator({ seed, baseMs, rate, outOfOrderGroup });
  const count = wholeNumber("--events", values.events, 0);
  const env = environment({ parallelism, taskManagers, slots: Math.ceil(parallelism / taskManagers) });
  const lines = await answerOf(env, query, (position) => nexmark.eventAt(position), count).finally(() => env.close());
  const text = lines.map((line) => `${line}\n`).join("");
  if (values.out === "-") process.stdout.write(text);
  else if (values.out !== undefined) await writeFile(values.out, text);
  process.stderr.write(`${name}: ${lines.length} rows, sha256 ${createHash("sha256").update(text).digest("hex")}\n`);
}
