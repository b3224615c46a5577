// What checkpoints cost: rows per second of a job with 100 MB of state in the heap, with a full checkpoint every 10 s and without, in turns;
// and how long the checkpoints made its tasks stand still.
// Run: npm run bench -- checkpoints [--runs 3] [--seconds 25] [--keys 700000] [--backend heap|lmdb] [--interval 10000] [--json]
import { parseArgs } from "node:util";
import { LocalCluster, discard, environment } from "drey";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "3" },
    seconds: { type: "string", default: "25" },
    keys: { type: "string", default: "700000" },
    backend: { type: "string", default: "heap" },
    interval: { type: "string", default: "10000" },
    json: { type: "boolean" },
  },
});
const KEYS = Number(values.keys);
const SECONDS = Number(values.seconds);

const with_ = [];
const without = [];
for (let run = 0; run < Number(values.runs); run++) {
  without.push(await measured(0));
  with_.push(await measured(Number(values.interval)));
}
const median = (all) => [...all].sort((a, b) => a - b)[all.length >> 1];
const rates = (all) => all.map(({ rowsPerSecond }) => rowsPerSecond);
const share = median(rates(with_)) / median(rates(without));
if (values.json) console.log(JSON.stringify({ with: with_, without, share }));
else {
  console.log(`without checkpoints ${rates(without).map(text).join(", ")} rows/s`);
  console.log(`with checkpoints    ${rates(with_).map(text).join(", ")} rows/s: ${(100 * share).toFixed(0)} % by the medians`);
  for (const { checkpoints, bytes, written, standStillMs } of with_) {
    console.log(
      `  ${checkpoints} checkpoints, ${(bytes / 2 ** 20).toFixed(0)} MiB (${(written / 2 ** 20).toFixed(1)} MiB written by the last), ` +
        `tasks stood still at a barrier for at most ${standStillMs.toFixed(1)} ms`,
    );
  }
}

/** One run: fills the state, then counts rows for so many seconds. */
async function measured(intervalMs) {
  const cluster = await LocalCluster.start({ taskManagers: 1, slots: 1, options: { "metrics.interval": 500, "state.backend.type": values.backend } });
  const env = environment({ cluster, parallelism: 1, printLogs: false, configuration: { "state.backend.type": values.backend } });
  if (intervalMs > 0) env.enableCheckpointing(intervalMs);
  try {
    env
      .generate((i) => ({ key: (i * 7_919) % KEYS, amount: i % 10, note: `row ${i % 1_000}` }))
      .keyBy((row) => row.key)
      .reduce((a, b) => ({ key: a.key, amount: a.amount + b.amount, note: b.note }))
      .sinkTo(discard());
    const job = await env.submit("checkpoint cost");
    const counted = () => reducerRows(job);
    while ((await counted()) < 2 * KEYS) await new Promise((resolve) => setTimeout(resolve, 250));
    const [rows, from] = [await counted(), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, SECONDS * 1_000));
    const rowsPerSecond = ((await counted()) - rows) / ((performance.now() - from) / 1_000);
    const overview = intervalMs > 0 ? await job.checkpoints() : { completed: 0, latest: [] };
    const done = overview.latest.filter(({ state }) => state === "COMPLETED");
    await job.cancel();
    return {
      rowsPerSecond,
      checkpoints: overview.completed,
      bytes: done.at(-1)?.bytes ?? 0,
      written: done.at(-1)?.writtenBytes ?? 0,
      standStillMs: Math.max(0, ...done.flatMap(({ subtasks }) => subtasks.map(({ syncMs }) => syncMs))),
    };
  } finally {
    await env.close();
    await cluster.stop();
  }
}

/** Rows that the reducer has taken, as its last report says. */
async function reducerRows(job) {
  const { graph } = await job.details();
  const { id } = graph.vertices.at(-1);
  const values = (await job.metricsHistory()).flatMap(({ subtasks }) => subtasks.filter(({ vertex }) => vertex === id));
  return values.at(-1)?.values.numRecordsIn ?? 0;
}

function text(rowsPerSecond) {
  return `${(rowsPerSecond / 1e6).toFixed(2)} M`;
}
