/**
 * How speed changes as work grows: `npm run bench -- scale`. Events per second and per CPU-second against the number of keys, the size of
 * a record, the number of subtasks, and the number of operators in a chain. With `--draw`, the curves are drawn for docs/scale.md.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type DataStream, type Environment, discard } from "drey";
import { chart } from "drey/notebook";
import { type Measurement, figuresText, machine, measure, median, wholeNumber } from "../measure.ts";

const USAGE = `npm run bench -- scale [options]

  --curve <name>   keys, size, parallelism or operators (all)
  --runs <n>       measured runs per point; the middle one is told (1)
  --json           one line of JSON per point
  --draw           draw the curves into docs/pictures/
`;

interface Curve {
  readonly title: string;
  readonly xTitle: string;
  readonly points: readonly number[];
  /** Events of a point: a second or so of work. */
  readonly events: (x: number) => number;
  readonly parallelism?: (x: number) => number;
  readonly job: (env: Environment, events: number, x: number) => DataStream<unknown>;
}

/** Numbers in no order, the same in every run. */
function scattered(i: number): number {
  let bits = i ^ (i >>> 16);
  bits = Math.imul(bits, 0x7feb352d);
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b);
  return (bits ^ (bits >>> 16)) >>> 0;
}

const curves: Readonly<Record<string, Curve>> = {
  keys: {
    title: "A running count per key, by the number of keys",
    xTitle: "keys",
    points: [1e3, 1e4, 1e5, 1e6, 1e7],
    events: (keys) => (keys < 1e6 ? 5e6 : keys < 1e7 ? 4e6 : 1.2e7),
    job: (env, count, keys) =>
      env
        .generate((i) => ({ key: scattered(i) % keys, count: 1 }), { count })
        .keyBy((row) => row.key)
        .reduce((a, b) => ({ key: a.key, count: a.count + b.count })),
  },
  size: {
    title: "Rows that cross an exchange, by the size of their text",
    xTitle: "characters",
    points: [0, 16, 64, 256, 1_024, 4_096],
    events: (size) => Math.round(6e6 / (1 + size / 64)),
    job: (env, count, size) => {
      const text = "x".repeat(size);
      return env.generate((i) => ({ i, text: text.slice(1) + (i % 10) }), { count }).rebalance().filter((row) => row.text.length >= 0).map((row) => row);
    },
  },
  parallelism: {
    title: "A count per key, by the number of subtasks",
    xTitle: "parallelism",
    points: [1, 2, 3, 4, 6, 8],
    events: () => 5e6,
    parallelism: (parallelism) => parallelism,
    job: (env, count) =>
      env
        .generate((i) => ({ key: scattered(i) % 10_000, count: 1 }), { count })
        .keyBy((row) => row.key)
        .reduce((a, b) => ({ key: a.key, count: a.count + b.count })),
  },
  operators: {
    title: "A chain, by the number of its operators",
    xTitle: "operators",
    points: [1, 2, 4, 8, 16, 32],
    events: () => 2e7,
    job: (env, count, operators) => {
      let stream: DataStream<{ i: number; sum: number }> = env.generate((i) => ({ i, sum: 0 }), { count });
      for (let n = 0; n < operators; n++) stream = n % 2 === 0 ? stream.map((row) => ({ i: row.i, sum: row.sum + row.i })) : stream.filter((row) => row.i >= 0);
      // What is counted in the end can't be optimised away.
      return stream.process((row, _context, out) => (row.i === count - 1 ? out.collect(row) : undefined));
    },
  },
};

/** Called by `drey run`. */
export default async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      curve: { type: "string", default: Object.keys(curves).join() },
      runs: { type: "string", default: "1" },
      json: { type: "boolean", default: false },
      draw: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const runs = wholeNumber("--runs", values.runs, 1);
  for (const name of values.curve.split(",")) {
    const curve = curves[name];
    if (curve === undefined) throw new Error(`there is no curve ${JSON.stringify(name)}; there are ${Object.keys(curves).join(", ")}.`);
    const measured: { readonly x: number; readonly figures: Measurement }[] = [];
    for (const x of curve.points) {
      const shape = { parallelism: curve.parallelism?.(x) ?? 1, events: curve.events(x), runs };
      const figures = median(await measure((env, events) => void curve.job(env, events, x).sinkTo(discard()), shape));
      measured.push({ x, figures });
      const line = values.json ? JSON.stringify({ curve: name, x, ...figures, ...machine() }) : `${name.padEnd(12)}${String(x).padStart(9)}  ${figuresText(figures)}`;
      process.stdout.write(`${line}\n`);
    }
    if (values.draw) draw(name, curve, measured);
  }
}

function draw(name: string, { title, xTitle }: Curve, measured: readonly { readonly x: number; readonly figures: Measurement }[]): void {
  const series = (label: string, of: (figures: Measurement) => number | undefined): { name: string; x: string[]; y: (number | null)[] } => ({
    name: label,
    x: measured.map(({ x }) => x.toLocaleString("en-US")),
    y: measured.map(({ figures }) => (of(figures) ?? 0) / 1e6),
  });
  const picture = chart({
    kind: "line",
    title,
    x: { title: xTitle },
    y: { title: "million events" },
    width: 640,
    height: 300,
    series: [series("per second", (it) => it.eventsPerSecond), series("per CPU-second", (it) => it.eventsPerCpuSecond)],
  });
  writeFileSync(new URL(`../../../docs/pictures/scale-${name}.svg`, import.meta.url), `${picture.drawing?.markup ?? ""}\n`);
}
