/**
 * drey and real Apache Flink, one after the other on the same machine: Nexmark queries (Flink's as SQL, in flink/) and DataStream jobs.
 * `npm run bench -- compare --query q0,q5 --job window`
 *
 * Flink is not part of this project: a cluster and its SQL Gateway have to run already, with a jar in lib/ that holds the same event
 * generator as ../nexmark (connectors lab-nexmark and lab-side-input, function lab.nexmark.CountChar, jobs lab.nexmark.DsBench). FLINK_REST
 * and FLINK_SQL_GATEWAY say where, FLINK_HOME where the jar lies. Without a cluster the comparison is skipped, and says why.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { discard } from "drey";
import { jobs } from "../job/jobs.ts";
import { machine, measure, wholeNumber } from "../measure.ts";
import { NexmarkGenerator } from "../nexmark/generator.ts";
import { queries } from "../nexmark/queries/index.ts";
import { nexmarkStreams } from "../nexmark/query.ts";
import { FlinkCluster, type FlinkRun } from "./flink-cluster.ts";

const USAGE = `npm run bench -- compare [options]

  --query <q5,q7>      Nexmark queries (q0,q4,q5,q7,q8,q11,q16,q20)
  --job <window,map>   DataStream jobs (none; window, nexwindow, map, mapnochain)
  --events <n>         per run (2000000)
  --parallelism <p>    subtasks of every operator (1)
  --runs <n>           of each engine, alternating (3)
  --json               one line of JSON per query or job
`;

const DEFAULT_QUERIES = "q0,q4,q5,q7,q8,q11,q16,q20";
const WARM_UP_EVENTS = 500_000;
const EVENT_RATE = 10_000;

/** A pair of programs that do the same. */
interface Contest {
  readonly name: string;
  readonly drey: (events: number) => Promise<Figures>;
  readonly flink: (events: number) => Promise<Figures>;
}

type Figures = Pick<FlinkRun, "eventsPerSecond" | "eventsPerCpuSecond">;

/** Called by `drey run`. */
export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      query: { type: "string" },
      job: { type: "string" },
      events: { type: "string", default: "2000000" },
      parallelism: { type: "string", default: "1" },
      runs: { type: "string", default: "3" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const flink = await FlinkCluster.find({
    rest: process.env["FLINK_REST"] ?? "http://localhost:8081",
    gateway: process.env["FLINK_SQL_GATEWAY"] ?? "http://localhost:8083",
  });
  if (typeof flink === "string") return void process.stdout.write(`skipped: ${flink}\n`);
  const parallelism = wholeNumber("--parallelism", values.parallelism, 1);
  const events = wholeNumber("--events", values.events, 1);
  const runs = wholeNumber("--runs", values.runs, 1);
  const named = (text: string | undefined): string[] => (text ?? "").split(",").filter((it) => it !== "");
  const contests = [
    ...named(values.query ?? (values.job === undefined ? DEFAULT_QUERIES : "")).map((name) => queryContest(name, flink, parallelism)),
    ...named(values.job).map((name) => jobContest(name, flink, parallelism)),
  ];
  const version = await flink.version();
  for (const { name, drey: ofDrey, flink: ofFlink } of contests) {
    await ofFlink(WARM_UP_EVENTS);
    const pairs: { drey: Figures; flink: Figures }[] = [];
    for (let run = 0; run < runs; run++) pairs.push({ drey: await ofDrey(events), flink: await ofFlink(events) });
    const drey = middle(pairs.map((it) => it.drey));
    const other = middle(pairs.map((it) => it.flink));
    const ratio = (of: keyof Figures): number => Math.round(((drey[of] ?? Number.NaN) / (other[of] ?? Number.NaN)) * 100) / 100;
    const ratios = { ratio: ratio("eventsPerSecond"), cpuRatio: ratio("eventsPerCpuSecond") };
    process.stdout.write(
      values.json
        ? `${JSON.stringify({ name, parallelism, events, runs, flink: version, drey, apacheFlink: other, ...ratios, ...machine() })}\n`
        : `${name.padEnd(11)}drey ${inThousands(drey)}; Flink ${version} ${inThousands(other)}; ` +
            `${ratios.ratio} times as fast, ${ratios.cpuRatio} times per CPU-second\n`,
    );
  }
}

function queryContest(name: string, flink: FlinkCluster, parallelism: number): Contest {
  const query = queries[name];
  const file = new URL(`./flink/${name}.sql`, import.meta.url);
  if (query === undefined || !existsSync(file)) {
    throw new Error(`there is no query ${JSON.stringify(name)} that both engines can run as a stream.`);
  }
  const nexmark = new NexmarkGenerator({ rate: EVENT_RATE });
  return {
    name,
    drey: async (events) => {
      const program = (env: Parameters<Parameters<typeof measure>[0]>[0], count: number): void =>
        void query.answer(nexmarkStreams(env, (position) => nexmark.eventAt(position), { count })).sinkTo(discard());
      return (await measure(program, { events, parallelism }))[0] as Figures;
    },
    flink: (events) => flink.runQuery([...tables(events), readFileSync(file, "utf8").trim()], { events, parallelism }),
  };
}

function jobContest(name: string, flink: FlinkCluster, parallelism: number): Contest {
  const job = jobs[name];
  if (job === undefined) throw new Error(`there is no job ${JSON.stringify(name)}; there are ${Object.keys(jobs).join(", ")}.`);
  const jar = join(process.env["FLINK_HOME"] ?? "", "lib/lab-nexmark.jar");
  if (!existsSync(jar)) throw new Error(`jobs need the jar with their Java programs, and there is no ${jar}; set FLINK_HOME.`);
  return {
    name,
    drey: async (events) => {
      const measured = await measure((env, count) => void job(env, { count }).sinkTo(discard()), { events, parallelism });
      return measured[0] as Figures;
    },
    flink: (events) =>
      flink.runJar(jar, "lab.nexmark.DsBench", ["--job", name, "--n", String(events), "--p", String(parallelism)], events),
  };
}

/** The statements that declare what queries read. */
function tables(events: number): string[] {
  const values: Readonly<Record<string, number>> = { EVENTS: events, RATE: EVENT_RATE, BASE: new NexmarkGenerator().baseMs, GROUP: 1 };
  return readFileSync(new URL("./flink/ddl.sql", import.meta.url), "utf8")
    .replaceAll(/\$\{(\w+)\}/g, (_, name: string) => String(values[name]))
    .split(/;\s*(?:\n|$)/)
    .filter((statement) => statement.trim() !== "");
}

/** Each figure's median. */
function middle(runs: readonly Figures[]): Figures {
  const median = (of: keyof Figures): number | undefined =>
    runs.map((it) => it[of]).filter((it) => it !== undefined).toSorted((a, b) => a - b)[Math.floor(runs.length / 2)];
  return { eventsPerSecond: median("eventsPerSecond") as number, eventsPerCpuSecond: median("eventsPerCpuSecond") };
}

function inThousands({ eventsPerSecond, eventsPerCpuSecond }: Figures): string {
  return `${Math.round(eventsPerSecond / 1_000)} k events/s (${Math.round((eventsPerCpuSecond ?? Number.NaN) / 1_000)} k per CPU-second)`;
}
