/** RxJS pipelines on a cluster of real processes, and threads that do without RxJS. */
import { createRequire } from "node:module";
import { LocalCluster, environment, seconds } from "drey";
import { bufferTime, debounceTime, map, mergeMap, timer } from "rxjs";
import { afterAll, beforeAll, expect, it, vi } from "vitest";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let cluster: LocalCluster;
beforeAll(async () => {
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 1, slots: 2, options: { "heartbeat.timeout": "60 s" } });
});
afterAll(() => cluster.stop());

/** Files of rxjs that this thread has loaded. */
const loaded = (): number => Object.keys(createRequire("/x.js").cache).filter((file) => /[\\/]rxjs[\\/]/.test(file)).length;

it("a thread without a pipeline of RxJS doesn't load RxJS", async () => {
  await using env = environment({ cluster, parallelism: 2 });
  const rows = env.of(1, 2, 3).withTimestamps((n) => n);
  expect(await rows.keyBy((n) => n % 2).reduce((a, b) => a + b).map(() => loaded()).collect()).toEqual([0, 0, 0]);
  const with_ = rows.rx((rows$) => rows$.pipe(map(() => loaded()))).map((files) => files > 0);
  expect(await with_.collect()).toEqual([true, true, true]);
});

it("event time: what is debounced and buffered depends on timestamps alone, at any parallelism", async () => {
  const answers = [];
  for (const parallelism of [1, 2]) {
    await using env = environment({ cluster, parallelism });
    const stream = env
      .generate((i) => ({ key: i % 5, at: i * 100 + (i % 7) * 30 }), { count: 3_000 })
      .withTimestamps((row) => row.at, { outOfOrderness: seconds(1) })
      .keyBy((row) => row.key)
      .rx((rows$, { scheduler, key }) =>
        rows$.pipe(bufferTime(1_000, scheduler), map((rows) => ({ key, n: rows.length })), debounceTime(10, scheduler)))
      .process<string>((row, context, out) => out.collect(`${row.key}: ${row.n} @${context.timestamp}`));
    const rows = await stream.collect();
    // How far time had come when the input ended is each subtask's own.
    answers.push(rows.filter((row) => Number(row.split("@")[1]) < 290_000).sort());
  }
  expect(answers[0]!.length).toBeGreaterThan(1_000);
  expect(answers[1]).toEqual(answers[0]);
});

it("processing time: timers and promises run in the task's thread, and the job waits for them", async () => {
  await using env = environment({ cluster });
  const stream = env.of("a", "b").rx(
    (rows$, { scheduler }) => rows$.pipe(mergeMap((row) => timer(20, scheduler).pipe(mergeMap(async () => `${row}!`)))),
    { time: "processing" },
  );
  expect((await stream.collect()).sort()).toEqual(["a!", "b!"]);
});

it("an error in a pipeline names the operator and the user's file", async () => {
  await using env = environment({ cluster });
  const failing = env.of(1).withTimestamps((n) => n).rx((rows$) => rows$.pipe(map((n): number => {
    throw new RangeError(`no ${n}`);
  }))).name("broken");
  const error = await failing.collect().then(() => undefined, (thrown: unknown) => thrown as Error);
  expect(error?.message).toMatch(/"broken" .*RangeError: no 1/);
  expect(((error?.cause as Error).cause as Error).stack).toContain("rx.test.ts");
});
