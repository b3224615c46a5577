/** A job in this thread, through the door `drey/core`. Prints what came out as JSON. */
import { count, localEnvironment, tumbling } from "drey/core";

const offset = 7;
const rows = Array.from({ length: 1_000 }, (_, index) => ({ key: index % 3, at: index * 10 }));

const env = localEnvironment();
const counts = await env
  .from(rows)
  .map((row) => ({ key: row.key + offset, at: row.at }))
  .withTimestamps((row) => row.at)
  .keyBy((row) => row.key)
  .window(tumbling("1 s"))
  .aggregate(count(), (records, { key }) => ({ key, records }))
  .collect();
await env.close();

console.log(
  JSON.stringify({
    windows: counts.length,
    records: counts.reduce((total, row) => total + row.records, 0),
    keys: [...new Set(counts.map((row) => row.key))].sort(),
  }),
);
