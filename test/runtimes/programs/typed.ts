/** What a TypeScript program or a notebook cell imports, under every way of finding types; without top-level await. */
import { type DataStream, count, environment, seconds, tumbling } from "drey";
import { localEnvironment } from "drey/core";
import { chart, jobPanel, notebookSession, table } from "drey/notebook";
import { testHarness } from "drey/testing";

interface Ride {
  zone: number;
  at: number;
}

const perZone = environment({ parallelism: 2 })
  .from<Ride>([])
  .withTimestamps((ride) => ride.at, { outOfOrderness: seconds(5) })
  .keyBy((ride) => ride.zone)
  .window(tumbling(seconds(60)))
  .aggregate(count(), (rides, { key }) => ({ zone: key, rides }));

export async function main(): Promise<number> {
  const rows = await perZone.collect();
  // @ts-expect-error A door that fell to `any` would let this pass.
  const text: string = rows[0].zone;
  const zone: number = rows[0].zone;
  const harness = await testHarness((numbers: DataStream<number>) => numbers.map((x) => String(x)));
  const texts: string[] = harness.take();
  void [text, texts, localEnvironment, chart, jobPanel, notebookSession, table];
  return zone;
}
