// A program with a cluster of its own and a client that reads its rows, which a test puts to sleep: prints the cluster's process ids when
// rows come, and at the end what came of it.
import { LocalCluster, environment } from "drey";

const ROWS = 12_000;
const cluster = await LocalCluster.start({
  taskManagers: 2,
  options: { "heartbeat.interval": "150 ms", "heartbeat.timeout": "3 s", "taskmanager.numberOfTaskSlots": 2 },
});
const client = await cluster.connect();
const env = environment({ cluster: client, parallelism: 3, printLogs: false });
env.enableCheckpointing(150, { tolerableFailures: 1_000 });
const counts = env
  .generate((i) => ({ key: i % 7, i }), { count: ROWS, rowsPerSecond: 3_000 })
  .keyBy((row) => row.key)
  .reduce((a, b) => ({ key: a.key, i: b.i }));
const job = await env.submit({ name: "sleeper", outputs: { counts } });
let restored = 0;
job.checkpoints$.subscribe({ next: (overview) => (restored = overview.restored), error: () => undefined });
const seen = new Map();
await new Promise((complete, error) =>
  job.outputs.counts.subscribe({
    next({ i }) {
      seen.set(i, (seen.get(i) ?? 0) + 1);
      if (seen.size === 1_000) console.log(JSON.stringify([cluster.processes.jobManager, ...cluster.processes.taskManagers]));
    },
    complete,
    error,
  }),
);
const { executions } = await job.details();
console.log(
  JSON.stringify({
    rows: seen.size,
    twice: [...seen.values()].filter((times) => times > 1).length,
    attempts: Math.max(...executions.map(({ attempt }) => attempt)),
    restored,
    restarts: cluster.restarts,
  }),
);
await client.close();
await cluster.stop();
