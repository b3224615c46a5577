/**
 * A job on a cluster of processes and threads: the one whose address is given, else one of its own. Its function captures a variable.
 * Prints what came out as JSON, before it closes its connection (docs/runtimes.md tells why).
 */
import { count, environment, tumbling } from "drey";

const [address] = process.argv.slice(2);
const offset = 7;
const rows = Array.from({ length: 1_000 }, (_, index) => ({ key: index % 3, at: index * 10 }));

const env = environment({ parallelism: 2, ...(address === undefined ? { taskManagers: 2, slots: 1 } : { cluster: address }) });
const counts = await env
  .from(rows)
  .map((row) => ({ key: row.key + offset, at: row.at }))
  .withTimestamps((row) => row.at)
  .keyBy((row) => row.key)
  .window(tumbling("1 s"))
  .aggregate(count(), (records, { key }) => ({ key, records }))
  .collect();
console.log(
  JSON.stringify({
    windows: counts.length,
    records: counts.reduce((total, row) => total + row.records, 0),
    keys: [...new Set(counts.map((row) => row.key))].sort(),
  }),
);
await env.close();
