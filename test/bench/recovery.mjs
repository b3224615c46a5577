// How long a job stands still when a TaskManager is killed with -9: from the kill to the failure seen, to all tasks RUNNING again, and to
// the next completed checkpoint. All settings are the defaults, but for checkpoints every second.
// Run: npm run bench -- recovery [--runs 5] [--json]        (about half a minute)
//
// free slots: 2 TaskManagers of 2 slots, a job of 4 tasks at parallelism 2, which sits on one of them; it goes on on the other.
// no free slots: 1 TaskManager of 2 slots; the job waits for the process that the local cluster starts in its place.
//
// Apache Flink 2.1 (the same scenario: 2 TaskManagers of 2 slots, checkpoints every second; 2 cores): 14.3 to 21.2 s by default, 1.09 s
// with heartbeats and restart delays tuned.
// Last: see docs/recovery.md.
import { parseArgs } from "node:util";
import { LocalCluster, discard, environment } from "drey";

const { values } = parseArgs({ options: { runs: { type: "string", default: "5" }, json: { type: "boolean" } } });
const DEADLINE_MS = 60_000;

const scenarios = { "free slots": 2, "no free slots": 1 };
const figures = {};
for (const [name, taskManagers] of Object.entries(scenarios)) {
  for (let run = 0; run < Number(values.runs); run++) {
    for (const [figure, ms] of Object.entries(await recovered(taskManagers))) ((figures[`${name}: ${figure}`] ??= []).push(ms));
  }
}
if (values.json) console.log(JSON.stringify(figures));
else for (const [name, all] of Object.entries(figures)) console.log(`${name.padEnd(48)} ${line(all)}`);

/** One kill, on a cluster of its own. */
async function recovered(taskManagers) {
  const cluster = await LocalCluster.start({ taskManagers, slots: 2 });
  const env = environment({ cluster, parallelism: 2, printLogs: false }).enableCheckpointing("1 s");
  try {
    env.generate((n) => n, { rowsPerSecond: 50_000 }).keyBy((n) => n % 1_000).reduce((a, b) => a + b).sinkTo(discard());
    const job = await env.submit("recovery");
    await reached(job.checkpoints$, ({ completed }) => completed >= 2);
    const { executions } = await job.details();
    const [{ taskManager }] = executions;
    const victim = cluster.processes.taskManagers.findIndex((_, index) => taskManager.startsWith(`tm-${index}-`));
    const before = await job.checkpoints();
    const killedAtMs = Date.now();
    process.kill(cluster.processes.taskManagers[victim], "SIGKILL");
    const details = await reached(job.status$, ({ state, executions: all }) => {
      return state === "RUNNING" && all.every((it) => it.state === "RUNNING" && it.attempt > 0);
    });
    await reached(job.checkpoints$, ({ completed }) => completed > before.completed);
    const overview = await job.checkpoints();
    const next = overview.latest.find(({ id, state }) => state === "COMPLETED" && id > (before.latest.at(-1)?.id ?? 0));
    await job.cancel();
    return {
      "kill → failure seen, ms": details.timestamps.RESTARTING - killedAtMs,
      "kill → all tasks RUNNING, ms": Math.max(...details.executions.map(({ timestamps }) => timestamps.RUNNING)) - killedAtMs,
      ...(next === undefined ? {} : { "kill → next completed checkpoint, ms": next.triggeredAtMs + next.durationMs - killedAtMs }),
    };
  } finally {
    await env.close();
    await cluster.stop();
  }
}

/** The first value for which something is so. */
function reached(values$, condition) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("what was waited for did not come")), DEADLINE_MS);
    const subscription = values$.subscribe({
      next: (value) => {
        if (!condition(value)) return;
        clearTimeout(timer);
        queueMicrotask(() => subscription.unsubscribe());
        resolve(value);
      },
      error: reject,
      complete: () => reject(new Error("the job has ended")),
    });
  });
}

function line(all) {
  const sorted = [...all].sort((a, b) => a - b);
  const text = (ms) => String(Math.round(ms)).padStart(6);
  return `median ${text(sorted[sorted.length >> 1])}   ${text(sorted[0])} to ${text(sorted.at(-1))}`;
}
