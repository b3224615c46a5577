// How long a newcomer waits: from the start of a program to its first job running on a local cluster of processes; on a running cluster
// from submit() to RUNNING; and what an idle cluster holds in memory.
// Run: npm run bench -- startup [--runs 5] [--json]        (about a minute)
//
// The job has a source, a map whose function captures a variable, a keyBy and a sink, at parallelism 2: 4 tasks on 2 TaskManagers of 2 slots.
// Each run is a program of its own, so that nothing is warm; only the files are in the system's cache.
import { spawnSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { LocalCluster, discard, environment } from "drey";

const { values } = parseArgs({ options: { runs: { type: "string", default: "5" }, json: { type: "boolean" }, once: { type: "boolean" } } });
const SUBMISSIONS = 10;
/** Long enough for TaskManagers to start threads ahead for the next job. */
const PAUSE_MS = 500;
const IDLE_MS = 2_000;

if (values.once) await runOnce();
else runAll(Number(values.runs));

async function runOnce() {
  const loaded = performance.now();
  const cluster = await LocalCluster.start({ taskManagers: 2, slots: 2 });
  const client = await cluster.connect();
  const ready = performance.now();
  const env = environment({ cluster: client, parallelism: 2, printLogs: false });
  const first = await submit(env);
  const toFirst = performance.now();
  await first.cancel();
  const submissions = async (pauseMs) => {
    const measured = [];
    for (let i = 0; i < SUBMISSIONS; i++) {
      await pause(pauseMs);
      const began = performance.now();
      const job = await submit(env);
      measured.push(performance.now() - began);
      await job.cancel();
    }
    return measured;
  };
  const backToBack = await submissions(0);
  const calm = await submissions(PAUSE_MS);
  await pause(IDLE_MS);
  const { jobManager, taskManagers } = cluster.processes;
  const figures = {
    "program start → drey loaded, ms": [loaded],
    "drey loaded → cluster ready, ms": [ready - loaded],
    "cluster ready → first job RUNNING, ms": [toFirst - ready],
    "program start → first job RUNNING, ms": [toFirst],
    "running cluster: submit → RUNNING, ms": calm,
    "the same, jobs back to back, ms": backToBack,
    "idle JobManager, MB": [residentMegabytes(jobManager)],
    "idle TaskManager of 2 slots, MB": taskManagers.map(residentMegabytes),
    "client, MB": [residentMegabytes(process.pid)],
  };
  await client.close();
  await cluster.stop();
  console.log(JSON.stringify(figures));
}

/** Resolves when all tasks of a new job run. */
async function submit(env) {
  const step = 3;
  env
    .generate((index) => ({ key: index % 100, value: index }), { rowsPerSecond: 1_000 })
    .map((row) => ({ key: row.key, value: row.value * step }))
    .keyBy((row) => row.key)
    .sinkTo(discard());
  const job = await env.submit("startup");
  await new Promise((resolve, reject) => {
    const subscription = job.status$.subscribe({
      next: ({ state }) => {
        if (state !== "RUNNING") return;
        resolve();
        queueMicrotask(() => subscription.unsubscribe());
      },
      error: reject,
      complete: () => reject(new Error("the job ended before it was running")),
    });
  });
  return job;
}

function residentMegabytes(pid) {
  return Number(spawnSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }).stdout) / 1_024;
}

function runAll(runs) {
  const figures = new Map();
  for (let run = 0; run < runs; run++) {
    const program = [fileURLToPath(import.meta.url), "--once"];
    const { status, stdout, stderr } = spawnSync(process.execPath, program, { encoding: "utf8", timeout: 120_000 });
    if (status !== 0) throw new Error(`a run ended with ${status}\n${stderr}`);
    for (const [name, measured] of Object.entries(JSON.parse(stdout))) figures.set(name, [...(figures.get(name) ?? []), ...measured]);
  }
  const rows = [...figures].map(([name, measured]) => ({
    name,
    median: quantile(measured, 0.5),
    low: Math.min(...measured),
    high: Math.max(...measured),
    samples: measured.length,
  }));
  if (values.json) {
    console.log(JSON.stringify({ bench: "startup", node: process.version, runs, rows }, null, 2));
    return;
  }
  console.log(`startup, Node ${process.version}, ${runs} runs: median (lowest – highest)\n`);
  for (const { name, median, low, high } of rows) {
    console.log(`  ${name.padEnd(40)}${median.toFixed(0).padStart(6)}   (${low.toFixed(0)} – ${high.toFixed(0)})`);
  }
}

function quantile(measured, at) {
  const sorted = [...measured].sort((a, b) => a - b);
  const place = (sorted.length - 1) * at;
  const below = sorted[Math.floor(place)];
  return below + (sorted[Math.ceil(place)] - below) * (place % 1);
}
