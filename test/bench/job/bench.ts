/**
 * Four small jobs, the same as the DataStream programs that Apache Flink is measured with in ../compare:
 * `npm run bench -- job --job window --n 5000000`.
 *
 *   window      1,000 keys counted per second of event time; 100,000 events in it, every tenth filtered out
 *   nexwindow   bids of the Nexmark generator counted per auction and second; 10,000 events in it
 *   map         a number, computed and thrown away
 *   mapnochain  the same with every operator in a thread of its own
 */
import { parseArgs } from "node:util";
import { discard } from "drey";
import { figuresText, machine, measure, measureLatency, median, wholeNumber } from "../measure.ts";
import { jobs, latencies } from "./jobs.ts";

const USAGE = `npm run bench -- job [options]

  --job <name>          window, nexwindow, map or mapnochain (all)
  --n <n>               events (5 million, 3, 50 and 10)
  --parallelism <p>     subtasks of every operator (1)
  --task-managers <n>   processes to run them in (1)
  --runs <n>            measured runs; the middle one is told (1)
  --warm-up <n>         events of the run before (a tenth, at most 200000)
  --latency             instead: how long a result comes after the last record that it waited for
  --rate <n>            with --latency: events per second of the clock (100000)
  --json                one line of JSON per job
`;

/** A second or two of work. */
const defaultEvents: Readonly<Record<string, number>> = {
  window: 5_000_000, nexwindow: 3_000_000, map: 50_000_000, mapnochain: 10_000_000,
};

/** Called by `drey run`. */
export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      job: { type: "string", default: "" },
      n: { type: "string" },
      parallelism: { type: "string", default: "1" },
      "task-managers": { type: "string", default: "1" },
      runs: { type: "string", default: "1" },
      "warm-up": { type: "string" },
      latency: { type: "boolean", default: false },
      rate: { type: "string", default: "100000" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const known = values.latency ? latencies : jobs;
  const rowsPerSecond = wholeNumber("--rate", values.rate, 1);
  const shape = {
    parallelism: wholeNumber("--parallelism", values.parallelism, 1),
    taskManagers: wholeNumber("--task-managers", values["task-managers"], 1),
  };
  const runs = wholeNumber("--runs", values.runs, 1);
  const warmUp = values["warm-up"] === undefined ? {} : { warmUp: wholeNumber("--warm-up", values["warm-up"], 0) };
  for (const name of values.job === "" ? Object.keys(known) : values.job.split(",")) {
    const [job, latency] = [jobs[name], latencies[name]];
    if (job === undefined || (values.latency && latency === undefined)) {
      throw new Error(`there is no job ${JSON.stringify(name)}; there are ${Object.keys(known).join(", ")}.`);
    }
    const events = values.n === undefined ? (defaultEvents[name] as number) : wholeNumber("--n", values.n, 1);
    const figures = values.latency && latency !== undefined
      ? await measureLatency((env) => latency(env, { count: values.n === undefined ? 10 * rowsPerSecond : events, rowsPerSecond }), shape)
      : median(await measure((env, of) => void job(env, { count: of }).sinkTo(discard()), { ...shape, events, runs, ...warmUp }));
    const json = { job: name, ...shape, ...figures, ...machine() };
    process.stdout.write(`${values.json ? JSON.stringify(json) : `${name.padEnd(11)}${figuresText(figures)}`}\n`);
  }
}
