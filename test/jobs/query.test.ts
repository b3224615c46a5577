/** Asking a running job for its state, on real processes. */
import { KeyedProcessFunction, LocalCluster, NotFoundError, environment, listState, valueState } from "drey";
import type { Collector, ProcessContext } from "drey";
import { afterAll, beforeAll, expect, it, vi } from "vitest";

interface Ride {
  readonly zone: string;
  readonly n: number;
}
const count = valueState<number>("rides", 0);
const latest = listState<number>("latest");

class Counting extends KeyedProcessFunction<string, Ride, number> {
  override processElement(ride: Ride, context: ProcessContext<string>, out: Collector<number>): void {
    const rides = context.state(count);
    rides.update((rides.value() ?? 0) + 1);
    const list = context.state(latest);
    list.add(ride.n);
    if (ride.n >= 10) return;
    out.collect(ride.n);
  }
}

let cluster: LocalCluster;
beforeAll(async () => {
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 1, options: { "heartbeat.timeout": "60 s" } });
});
afterAll(() => cluster.stop());

it("tells what the subtask that owns the key holds for it", { timeout: 30_000 }, async () => {
  const env = environment({ cluster, parallelism: 2, printLogs: false });
  // 40 rides in 4 zones, and then none, while the job goes on.
  env
    .generate((n) => ({ zone: `zone ${n % 4}`, n }), { rowsPerSecond: 4_000 })
    .filter((ride) => ride.n < 40)
    .keyBy((ride) => ride.zone)
    .process(new Counting())
    .sinkTo(() => undefined);
  const job = await env.submit("queried");
  const rides = job.state<number>("rides");
  await vi.waitFor(
    async () => {
      for (const zone of ["zone 0", "zone 1", "zone 2", "zone 3"]) expect(await rides.get(zone)).toBe(10);
    },
    { timeout: 20_000, interval: 100 },
  );
  expect(((await job.state<number[]>("latest").get("zone 2")) ?? []).toSorted((a, b) => a - b)).toEqual([2, 6, 10, 14, 18, 22, 26, 30, 34, 38]);
  expect(await rides.get("nowhere")).toBeOneOf([undefined, 0]);
  await expect(job.state("nonsense").get("zone 0")).rejects.toThrow(NotFoundError);
  await expect(rides.get(() => 1)).rejects.toThrow("a function cannot travel");
  expect((await job.details()).state).toBe("RUNNING");
  await job.cancel();
  await expect(rides.get("zone 0")).rejects.toThrow(/no running task of job "queried" has a keyed state "rides"/);
  await env.close();
});
