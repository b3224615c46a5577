// What checkpoints cost a running job: `npm run bench -- checkpoints` (about 6 minutes; `--case heap` alone about 3).
//
//   heap   100 MB of keyed state in the heap, all of it written every 10 s
//   disk   1 GB of keyed state in lmdb, of which about 1 % changes per second; every second that is written (incremental checkpoints)
//
// One job each, on a local cluster: a source, and a process function with a value per key, each in its own thread. When the state is filled,
// windows without and with checkpoints take turns in the same job, so that both sides have the same state, the same compiled code and the
// same neighbours. Checkpoints are asked for, as the JobManager's clock would ask for them. Figures of a window: rows per second of the
// process function, and per CPU-second of the TaskManager (its threads, its main thread, its writing).
//
// A pause is a time of 1 ms or more in which the process function saw no row. Without checkpoints there are such times too (garbage, other
// programs on the same cores): the first line of pauses is what the second is to be compared with.
//
// `--plot file.svg` draws instead what incremental checkpoints write against the share of keys that changed (about a minute).
// Other options: --rounds 3, --heap-keys 1100000, --disk-keys 1200000, --json. Figures: docs/recovery.md.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { KeyedProcessFunction, LocalCluster, discard, environment, valueState } from "drey";

const { values: flags } = parseArgs({
  options: {
    case: { type: "string", default: "both" },
    rounds: { type: "string", default: "3" },
    "heap-keys": { type: "string", default: "1100000" },
    "disk-keys": { type: "string", default: "1200000" },
    plot: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const ROUNDS = Number(flags.rounds);
/** Rows between two looks at the clock. */
const SAMPLED = 16;
const PAUSE_MS = 1;
const TICKS_PER_SECOND = 100;

const folder = mkdtempSync(path.join(tmpdir(), "drey-bench-"));
const cases = {
  heap: { backend: "heap", keys: Number(flags["heap-keys"]), intervalMs: 10_000, windowMs: 20_000, filler: 0, hot: 1 },
  disk: { backend: "lmdb", keys: Number(flags["disk-keys"]), intervalMs: 1_000, windowMs: 15_000, filler: 800, hot: 0.01 },
};

/** Changes what it keeps for a row's key, and notes when it saw no rows. */
class Orders extends KeyedProcessFunction {
  constructor(pausesFile, filler) {
    super();
    this.pausesFile = pausesFile;
    this.filler = filler;
  }

  open(context) {
    this.state = context.state(valueState("orders"));
    this.append = process.getBuiltinModule("node:fs").appendFileSync;
    this.rows = 0;
    this.lastMs = performance.now();
  }

  processElement({ key, amount }) {
    let order = this.state.value();
    if (order === undefined) {
      const address = this.filler === 0 ? `${key} Long Street, a town of middling size` : `${key} `.padEnd(this.filler, "x");
      order = { count: 0, sum: 0, name: `customer number ${key}`, address, last: 0 };
    }
    order.count++;
    order.sum += amount;
    order.last = this.rows;
    this.state.update(order);
    if (++this.rows % SAMPLED !== 0) return;
    const nowMs = performance.now();
    if (nowMs - this.lastMs >= PAUSE_MS) this.append(this.pausesFile, `${performance.timeOrigin + nowMs} ${nowMs - this.lastMs}\n`);
    this.lastMs = performance.now();
  }
}

try {
  if (flags.plot !== undefined) await plot(flags.plot);
  else {
    const all = {};
    for (const [name, settings] of Object.entries(cases)) {
      if (flags.case === "both" || flags.case === name) all[name] = await cost(name, settings);
    }
    if (flags.json) console.log(JSON.stringify(all));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** One case: windows without and with checkpoints in turns, and the table. */
async function cost(name, settings) {
  say(`${name}: fills ${settings.keys} keys …`);
  return withJob(name, settings, async ({ job, rows, cpuSeconds, pausesFile }) => {
    const filled = settings.keys * (settings.backend === "heap" ? 2 : 1.2);
    await until(async () => (await rows()).at(-1)?.count >= filled);
    say(`${name}: a first checkpoint, which writes everything …`);
    await job.checkpoint();
    const sides = { without: [], with: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const side of round % 2 === 0 ? ["without", "with"] : ["with", "without"]) {
        say(`${name}: round ${round + 1} of ${ROUNDS}, ${side} checkpoints …`);
        // What changed in the window before is not this one's matter.
        if (settings.backend === "lmdb") await job.checkpoint();
        const [fromMs, cpu] = [Date.now(), cpuSeconds()];
        let taken = 0;
        while (Date.now() < fromMs + settings.windowMs) {
          const begunMs = Date.now();
          if (side === "with") {
            await job.checkpoint();
            taken++;
          }
          const nextMs = Math.min(fromMs + settings.windowMs, begunMs + settings.intervalMs);
          await new Promise((resolve) => setTimeout(resolve, Math.max(0, nextMs - Date.now())));
        }
        const [toMs, cpuTo] = [Date.now(), cpuSeconds()];
        // The report of the window's end is still to come.
        await until(async () => (await rows()).at(-1)?.atMs >= toMs);
        const inside = (await rows()).filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
        const [first, last] = [inside[0], inside.at(-1)];
        const perSecond = ((last.count - first.count) * 1_000) / (last.atMs - first.atMs);
        const { latest } = await job.checkpoints();
        const done = latest.filter(({ state, triggeredAtMs }) => state === "COMPLETED" && triggeredAtMs >= fromMs);
        sides[side].push({
          perSecond,
          perCpuSecond: (perSecond * (toMs - fromMs)) / 1_000 / (cpuTo - cpu),
          pauses: pausesBetween(pausesFile, fromMs, toMs),
          taken,
          bytes: done.at(-1)?.bytes ?? 0,
          written: median(done.map(({ writtenBytes }) => writtenBytes ?? 0)) ?? 0,
          durationMs: median(done.map(({ durationMs }) => durationMs ?? 0)) ?? 0,
        });
      }
    }
    return table(name, settings, sides);
  });
}

function table(name, { intervalMs }, sides) {
  const figures = {};
  for (const [side, windows] of Object.entries(sides)) {
    const pauses = windows.flatMap((it) => it.pauses).sort((a, b) => a - b);
    const at = (share) => pauses[Math.min(pauses.length - 1, Math.floor(pauses.length * share))] ?? 0;
    figures[side] = {
      perSecond: windows.map((it) => it.perSecond),
      perCpuSecond: windows.map((it) => it.perCpuSecond),
      pauses: { count: pauses.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: pauses.at(-1) ?? 0 },
    };
  }
  const share = (figure) => (100 * median(figures.with[figure])) / median(figures.without[figure]);
  const [shareOfRows, sharePerCpu] = [share("perSecond"), share("perCpuSecond")];
  const of = (figure) => median(sides.with.map((it) => it[figure]));
  const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  if (!flags.json) {
    console.log(
      `${name}: ${mb(of("bytes"))} of state, every ${intervalMs / 1_000} s ${mb(of("written"))} written within ${(of("durationMs") / 1_000).toFixed(2)} s, ` +
        `${sides.with.reduce((sum, { taken }) => sum + taken, 0)} checkpoints`,
    );
    for (const side of ["without", "with"]) {
      const { perSecond, perCpuSecond, pauses } = figures[side];
      console.log(
        `  ${side.padEnd(8)} M rows/s ${spread(perSecond)}   per CPU-second ${spread(perCpuSecond)}   ` +
          `pauses ≥ 1 ms: ${pauses.count}, p50 ${pauses.p50Ms.toFixed(1)}, p99 ${pauses.p99Ms.toFixed(1)}, longest ${pauses.maxMs.toFixed(1)} ms`,
      );
    }
    console.log(`  with checkpoints ${shareOfRows.toFixed(1)} % of the rows per second, ${sharePerCpu.toFixed(1)} % per CPU-second (medians)`);
  }
  return { ...figures, shareOfRows, sharePerCpu, bytes: of("bytes"), written: of("written") };
}

/** Runs a case's job on a cluster of its own. */
async function withJob(name, settings, use) {
  const cluster = await LocalCluster.start({
    taskManagers: 1, slots: 1, options: { "metrics.interval": 250, "taskmanager.memory.task.heap.size": "3 gb" },
  });
  const env = environment({
    cluster, parallelism: 1, printLogs: false,
    configuration: {
      "state.backend.type": settings.backend, "state.backend.lmdb.localdir": path.join(folder, "lmdb"),
      "execution.checkpointing.dir": path.join(folder, "checkpoints"), "execution.checkpointing.timeout": "5 min", "metrics.history": 4_000,
    },
  });
  try {
    const pausesFile = path.join(folder, `${name}.pauses`);
    writeFileSync(pausesFile, "");
    const { keys, hot } = settings;
    env
      .generate((i) => {
        if (i < keys) return { key: i, amount: i % 10 };
        if (hot === 1) return { key: (i * 7_919) % keys, amount: i % 10 };
        // Between two checkpoints the keys move on once: so half of the share at a time.
        const many = Math.round((keys * hot) / 2);
        return { key: (Math.floor(Date.now() / 1_000) % Math.floor(keys / many)) * many + (i % many), amount: i % 10 };
      })
      .keyBy((row) => row.key)
      .process(new Orders(pausesFile, settings.filler))
      .sinkTo(discard());
    const job = await env.submit(`checkpoint cost: ${name}`);
    const { graph } = await job.details();
    const vertex = graph.vertices.at(-1).id;
    const pid = cluster.processes.taskManagers[0];
    const result = await use({
      job,
      pausesFile,
      /** Rows that the process function has taken, as the reports say. */
      rows: async () =>
        (await job.metricsHistory()).flatMap(({ atMs, subtasks }) =>
          subtasks.filter((it) => it.vertex === vertex).map((it) => ({ atMs, count: it.values.numRecordsIn })),
        ),
      cpuSeconds: () => {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
      },
    });
    await job.cancel();
    return result;
  } finally {
    await env.close();
    await cluster.stop();
  }
}

/** Lengths of the pauses that ended within a window, milliseconds. */
function pausesBetween(file, fromMs, toMs) {
  return readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.split(" ").map(Number))
    .filter(([endMs, ms]) => ms > 0 && endMs >= fromMs && endMs <= toMs)
    .map(([, ms]) => ms);
}

async function until(condition) {
  const deadline = Date.now() + 240_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("what was waited for did not come within four minutes");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** What a snapshot writes after a share of the keys has changed, in the heap and incrementally on disk. */
async function plot(file) {
  const { SubtaskStates } = await import("../../dist/core/state/operator-states.js");
  const { noClasses } = await import("../../dist/core/data/classes.js");
  const { chart } = await import("drey/notebook");
  const keys = 100_000;
  const points = [];
  for (const changed of [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1]) {
    for (const backend of ["heap", "lmdb"]) {
      const disk = { folder: path.join(folder, "lmdb"), cachedEntries: 10_000, incremental: true };
      const states = new SubtaskStates({
        stateId: "orders", maxParallelism: 128, classes: noClasses, now: () => 0, ...(backend === "heap" ? {} : { disk }),
      });
      const state = states.keyed.state(valueState("orders"));
      const change = (key, count) => {
        states.keyed.setCurrentKey(key);
        state.update({ count, name: `customer number ${key}`, address: `${key} `.padEnd(200, "x") });
      };
      const taken = (checkpoint) => {
        const snapshot = states.freeze(checkpoint);
        while (!snapshot.work(100, () => true));
        snapshot.finish("file", 0);
        states.completed(checkpoint);
        return snapshot.bytes;
      };
      for (let key = 0; key < keys; key++) change(key, 0);
      taken(1);
      for (let key = 0; key < keys * changed; key++) change(Math.floor(key / changed), 1);
      const megabytes = taken(2) / 1e6;
      points.push({ changed: changed * 100, megabytes, state: backend === "heap" ? "in the heap" : "on disk, incremental" });
      console.log(`${(100 * changed).toFixed(0).padStart(4)} % of ${keys} keys changed, ${backend.padEnd(4)}: ${megabytes.toFixed(2).padStart(6)} MB written`);
      states.close();
    }
  }
  const picture = chart(points, {
    kind: "line", x: "changed", y: "megabytes", by: "state", xTitle: "keys changed since the last checkpoint, %", yTitle: "MB written",
    title: "What a checkpoint writes",
  });
  writeFileSync(file, `${picture.drawing?.markup ?? ""}\n`);
}

function median(all) {
  return [...all].sort((a, b) => a - b)[all.length >> 1];
}

function spread(all) {
  const text = (rows) => (rows / 1e6).toFixed(2);
  return `${text(median(all))} (${text(Math.min(...all))}–${text(Math.max(...all))})`;
}

function say(text) {
  console.error(text);
}
