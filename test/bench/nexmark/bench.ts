/**
 * How fast the Nexmark queries are: `npm run bench -- nexmark --query q5 --events 2000000 --parallelism 2`.
 * One line per query; with `--json`, one line of JSON.
 */
import { parseArgs } from "node:util";
import { type Environment, discard } from "drey";
import { type Latency, figuresText, machine, measure, measureLatency, median, preciseNow, wholeNumber } from "../measure.ts";
import { NexmarkGenerator } from "./generator.ts";
import { queries } from "./queries/index.ts";
import { type AnyQuery, nexmarkStreams } from "./query.ts";

const USAGE = `npm run bench -- nexmark [options]

  --query <q5,q7>       which queries (all)
  --events <n>          events to generate (1000000)
  --event-rate <n>      events per second of event time (10000)
  --parallelism <p>     subtasks of every operator (1)
  --task-managers <n>   processes to run them in (1)
  --runs <n>            measured runs; the middle one is told (1)
  --warm-up <n>         events of the run before (a tenth, at most 200000)
  --latency             instead: how old rows are when they arrive; for queries whose rows have the time of a bid
  --rate <n>            with --latency: events per second of the clock (10000)
  --json                one line of JSON per query
`;

/** Called by `drey run`. */
export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      query: { type: "string", default: Object.keys(queries).join(",") },
      events: { type: "string", default: "1000000" },
      "event-rate": { type: "string", default: "10000" },
      parallelism: { type: "string", default: "1" },
      "task-managers": { type: "string", default: "1" },
      runs: { type: "string", default: "1" },
      "warm-up": { type: "string" },
      latency: { type: "boolean", default: false },
      rate: { type: "string", default: "10000" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const events = wholeNumber("--events", values.events, 1);
  const nexmark = new NexmarkGenerator({ rate: wholeNumber("--event-rate", values["event-rate"], 1) });
  const shape = {
    parallelism: wholeNumber("--parallelism", values.parallelism, 1),
    taskManagers: wholeNumber("--task-managers", values["task-managers"], 1),
  };
  const measuring = {
    runs: wholeNumber("--runs", values.runs, 1),
    ...(values["warm-up"] === undefined ? {} : { warmUp: wholeNumber("--warm-up", values["warm-up"], 0) }),
  };
  const rowsPerSecond = wholeNumber("--rate", values.rate, 1);
  for (const name of values.query.split(",")) {
    const query = queries[name];
    if (query === undefined) {
      throw new Error(`there is no query ${JSON.stringify(name)}; the queries are ${Object.keys(queries).join(", ")}.`);
    }
    const program = (env: Environment, count: number): void =>
      void query.answer(nexmarkStreams(env, (position) => nexmark.eventAt(position), { count })).sinkTo(discard());
    const figures = values.latency
      ? await latencyOf(name, query, nexmark, { count: events, rowsPerSecond }, shape)
      : median(await measure(program, { ...shape, ...measuring, events }));
    const json = { query: name, ...shape, ...figures, ...machine() };
    process.stdout.write(`${values.json ? JSON.stringify(json) : `${name.padEnd(5)}${figuresText(figures)}`}\n`);
  }
}

/** Event time is the time at which an event is made, so that a row's age can be told from it. */
function latencyOf(
  name: string, query: AnyQuery, nexmark: NexmarkGenerator, generate: { count: number; rowsPerSecond: number },
  shape: { parallelism: number; taskManagers: number },
): Promise<Latency> {
  if (query.columns["dateTime"] === undefined) {
    throw new Error(`rows of ${name} have no time of a bid; ask for the latency of another query, or of a job.`);
  }
  return measureLatency((env) => {
    const streams = nexmarkStreams(env, (position) => ({ ...nexmark.eventAt(position), dateTime: preciseNow() }), generate);
    return query.answer(streams).map((row) => preciseNow() - (row["dateTime"] as number));
  }, shape);
}
