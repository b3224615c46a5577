import fc from "fast-check";
import {
  type Observable, type SchedulerLike, auditTime, bufferCount, bufferTime, count as rxCount, debounceTime, delay, distinctUntilChanged,
  interval, last, map as rxMap, merge, mergeMap, of, pairwise, reduce as rxReduce, sampleTime, scan, startWith, switchMap, take, takeUntil,
  Subject, NEVER, throttleTime, timeout, timer, toArray, VirtualTimeScheduler, windowTime, withLatestFrom, zip,
} from "rxjs";
import { describe, expect, test } from "vitest";
import { type DataStream, GraphError, UserFunctionError, localEnvironment, rx } from "../../../src/core/index.ts";
import { expectStream, marbles, testHarness } from "../../../src/core/testing/index.ts";

interface Row {
  readonly key: string;
  readonly n: number;
}
type Pipeline = (rows$: Observable<string>, scheduler: SchedulerLike) => Observable<unknown>;

/** Pipelines in which time matters, each for any rows. */
const pipelines: Readonly<Record<string, Pipeline>> = {
  debounceTime: (rows$, scheduler) => rows$.pipe(debounceTime(3, scheduler)),
  throttleTime: (rows$, scheduler) => rows$.pipe(throttleTime(4, scheduler, { leading: true, trailing: true })),
  auditTime: (rows$, scheduler) => rows$.pipe(auditTime(3, scheduler)),
  sampleTime: (rows$, scheduler) => rows$.pipe(sampleTime(4, scheduler)),
  delay: (rows$, scheduler) => rows$.pipe(delay(5, scheduler)),
  bufferTime: (rows$, scheduler) => rows$.pipe(bufferTime(4, scheduler)),
  "bufferTime that overlaps": (rows$, scheduler) => rows$.pipe(bufferTime(6, 4, scheduler)),
  bufferCount: (rows$) => rows$.pipe(bufferCount(3)),
  windowTime: (rows$, scheduler) => rows$.pipe(windowTime(4, scheduler), mergeMap((rows) => rows.pipe(toArray()))),
  timeout: (rows$, scheduler) => rows$.pipe(timeout({ each: 5, with: () => of("slow"), scheduler })),
  switchMap: (rows$, scheduler) => rows$.pipe(switchMap((row) => timer(2, 3, scheduler).pipe(take(2), rxMap((i) => `${row}${i}`)))),
  scan: (rows$) => rows$.pipe(scan((all, row) => all + row, ""), startWith("begin"), distinctUntilChanged()),
  zip: (rows$, scheduler) => zip(rows$, rows$.pipe(delay(2, scheduler))),
  withLatestFrom: (rows$, scheduler) => rows$.pipe(delay(1, scheduler), withLatestFrom(rows$.pipe(pairwise(), startWith(null)))),
  last: (rows$) => rows$.pipe(last(undefined, "none")),
  "take and go on": (rows$, scheduler) => merge(rows$.pipe(take(2)), rows$.pipe(delay(3, scheduler), rxReduce((a, b) => a + b, ""))),
};

/** What RxJS itself gives on its own virtual time. Subscribed with the first row; rows of a time come before what is due then. */
function oracle(diagram: string, pipeline: Pipeline): { value: unknown; timestamp: number }[] {
  const scheduler = new VirtualTimeScheduler();
  const seen: { value: unknown; timestamp: number }[] = [];
  const rows$ = new Subject<string>();
  let subscribed = false;
  const subscribe = (): void => {
    if (subscribed) return;
    subscribed = true;
    pipeline(rows$, scheduler).subscribe((value) => seen.push({ value, timestamp: scheduler.now() }));
  };
  const { records, endMs = 0 } = marbles(diagram);
  for (const { value, timestamp } of records) {
    scheduler.schedule(() => {
      subscribe();
      rows$.next(value);
    }, timestamp);
  }
  // The end comes behind what is due at its time: scheduled when that has been reached.
  scheduler.schedule(() => {
    subscribe();
    scheduler.schedule(() => rows$.complete());
  }, endMs);
  scheduler.flush();
  return seen;
}

const diagrams = fc
  .array(fc.constantFrom("a", "b", "c", "-", "-", "--", "---", " 7ms ", "(xy)"), { maxLength: 14 })
  .map((parts) => `${parts.join("")}|`);

const underTest = (pipeline: Pipeline) => testHarness((rows: DataStream<string>) => rows.rx((rows$, { scheduler }) => pipeline(rows$, scheduler)));

/** Sends the rows of a diagram in any order that watermarks allow, with watermarks anywhere between them. */
function shuffled(diagram: string, seed: readonly number[]): { readonly rows: readonly { value: string; timestamp: number }[]; readonly cuts: ReadonlySet<number> } {
  const { records } = marbles(diagram);
  const cuts = new Set(seed.map((x) => x % (records.length + 1)));
  const rows = [...records];
  // Within what two watermarks enclose, rows of different times may change places.
  for (let at = 1; at < rows.length; at++) {
    if (cuts.has(at) || rows[at - 1]!.timestamp === rows[at]!.timestamp || (seed[at % seed.length]! & 1) === 0) continue;
    if (at + 1 < rows.length && rows[at]!.timestamp === rows[at + 1]!.timestamp) continue;
    if (at > 1 && rows[at - 2]!.timestamp === rows[at - 1]!.timestamp) continue;
    [rows[at - 1], rows[at]] = [rows[at]!, rows[at - 1]!];
  }
  return { rows, cuts };
}

describe("under event time", () => {
  test("debounceTime, delay and bufferTime follow the watermark", async () => {
    await using debounced = await underTest((rows$, scheduler) => rows$.pipe(debounceTime(3, scheduler)));
    debounced.play(marbles("ab-c-----d-e---|"));
    expectStream(debounced).toBe("------c-------e|");
    await using delayed = await underTest((rows$, scheduler) => rows$.pipe(delay(2, scheduler)));
    delayed.play(marbles("ab-c|"));
    expectStream(delayed).toBe("--ab-(c|)");
    await using buffered = await underTest((rows$, scheduler) => rows$.pipe(bufferTime(4, scheduler)));
    buffered.play(marbles("ab-c-d---|"));
    expectStream(buffered).toBe("----x---y(z|)", { x: ["a", "b", "c"], y: ["d"], z: [] });
  });

  test("nothing leaves before the watermark has come by, however late the clock is", async () => {
    await using harness = await underTest((rows$, scheduler) => rows$.pipe(debounceTime(10, scheduler)));
    harness.push("a", 100);
    harness.advanceBy("1 h");
    harness.watermark(109);
    expect(harness.takeRecords()).toEqual([]);
    harness.watermark(110);
    expect(harness.takeRecords()).toEqual([{ value: "a", timestamp: 110 }]);
  });

  describe.each(Object.entries(pipelines))("%s", (_name, pipeline) => {
    test("gives what RxJS gives on virtual time", async () => {
      await fc.assert(
        fc.asyncProperty(diagrams, async (diagram) => {
          await using harness = await underTest(pipeline);
          harness.play(marbles(diagram));
          expect(harness.takeRecords()).toEqual(oracle(diagram, pipeline));
        }),
        { numRuns: 30 },
      );
    });

    test("gives the same whatever the order of arrival and wherever watermarks stand", async () => {
      await fc.assert(
        fc.asyncProperty(diagrams, fc.array(fc.nat(20), { minLength: 1, maxLength: 6 }), async (diagram, seed) => {
          await using harness = await underTest(pipeline);
          const { rows, cuts } = shuffled(diagram, seed);
          for (const [at, { value, timestamp }] of rows.entries()) {
            if (cuts.has(at) && at > 0) harness.watermark(Math.min(...rows.slice(at).map((row) => row.timestamp)) - 1);
            harness.push(value, timestamp);
          }
          harness.watermark(marbles(diagram).endMs!);
          harness.end();
          expect(harness.takeRecords()).toEqual(oracle(diagram, pipeline));
        }),
        { numRuns: 20 },
      );
    });
  });

  test("a row that comes after the watermark is counted and dropped", async () => {
    await using harness = await underTest((rows$) => rows$);
    harness.push("a", 5);
    harness.watermark(5);
    harness.push("late", 5);
    harness.push("b", 6);
    harness.watermark(6);
    expect(harness.take()).toEqual(["a", "b"]);
    expect(harness.metric("numLateRecordsDropped")).toBe(1);
  });

  test("a pipeline answers for no rows at all, as in RxJS", async () => {
    await using harness = await underTest((rows$) => rows$.pipe(rxCount()));
    harness.end();
    expect(harness.takeRecords()).toEqual([{ value: 0, timestamp: undefined }]);
  });
});

describe("per key", () => {
  test.each([1, 2, 3])("each key has a pipeline of its own, at parallelism %i", async (parallelism) => {
    await using harness = await testHarness(
      (rows: DataStream<Row>) =>
        rows.keyBy((row) => row.key).rx((rows$, { scheduler, key }) => rows$.pipe(rxMap(({ n }) => n), bufferTime(10, scheduler), rxMap((ns) => `${key}: ${ns}`))),
      { parallelism },
    );
    for (let n = 0; n < 6; n++) harness.push({ key: "abc"[n % 3]!, n }, n * 3);
    harness.watermark(9);
    expect(harness.take()).toEqual([]);
    harness.watermark(16);
    const rows = harness.takeRecords().map(({ value, timestamp }) => `${value}@${timestamp}`).sort();
    expect(rows).toEqual(["a: 0,3@10", "b: 1,4@13", "c: 2,5@16"]);
  });

  test("a key without rows for its ttl completes, and begins anew with the next row", async () => {
    await using harness = await testHarness((rows: DataStream<string>) =>
      rows.keyBy((row) => row.toLowerCase()).rx((rows$) => rows$.pipe(toArray(), rxMap((all) => all.join(""))), { ttl: 5 }),
    );
    harness.play(marbles("aA--b-A-----b--a----|"));
    expectStream(harness).toBe("---------y-x-----y--(z|)", { x: "aAA", y: "b", z: "a" });
  });
});

describe("under processing time", () => {
  const underClock = (pipeline: Pipeline, options = {}) =>
    testHarness((rows: DataStream<string>) => rows.rx((rows$, { scheduler }) => pipeline(rows$, scheduler), { time: "processing", ...options }));

  test("rows go through as they come, and actions run by the clock; a row's timestamp stays with what it causes", async () => {
    await using harness = await underClock((rows$, scheduler) => merge(rows$, rows$.pipe(debounceTime(1_000, scheduler), rxMap((row) => row.toUpperCase()))));
    harness.push("a", 7);
    harness.advanceBy(500);
    harness.push("b");
    expect(harness.takeRecords()).toEqual([{ value: "a", timestamp: 7 }, { value: "b", timestamp: undefined }]);
    harness.advanceBy(999);
    expect(harness.take()).toEqual([]);
    harness.advanceBy(1);
    expect(harness.takeRecords()).toEqual([{ value: "B", timestamp: undefined }]);
  });

  test("promises are waited for, and so is the pipeline at the end of its input", async () => {
    await using harness = await underClock((rows$) => rows$.pipe(mergeMap((row) => Promise.resolve(row + row))));
    harness.push("a");
    harness.push("b");
    expect(harness.take()).toEqual([]);
    harness.end();
    expect(harness.finished).toBe(false);
    await harness.until(() => harness.finished);
    expect(harness.take()).toEqual(["aa", "bb"]);
  });

  test("what is still scheduled at the end of the input holds it open", async () => {
    await using harness = await underClock((rows$, scheduler) => rows$.pipe(delay(100, scheduler)));
    harness.push("a");
    harness.end();
    expect(harness.finished).toBe(false);
    harness.advanceBy(100);
    expect(harness.take()).toEqual(["a"]);
    expect(harness.finished).toBe(true);
  });

  test("a promise that is rejected fails the job", async () => {
    await using harness = await underClock((rows$) => rows$.pipe(mergeMap(async () => Promise.reject(new RangeError("no such row")))));
    harness.push("a");
    await expect(harness.until(() => false)).rejects.toThrow('"rx" (subtask 1 of 1) threw RangeError: no such row');
  });
});

describe("errors", () => {
  test("an error in the pipeline fails the task with the operator's name and the user's line", async () => {
    await using harness = await testHarness((rows: DataStream<string>) =>
      rows.rx((rows$) => rows$.pipe(rxMap((row): string => {
        if (row === "b") throw new RangeError("a b");
        return row;
      }))).name("letters"),
    );
    harness.play(marbles("a"));
    let thrown: unknown;
    try {
      harness.play(marbles("-b"));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(UserFunctionError);
    expect((thrown as Error).message).toBe('"letters" (subtask 1 of 1) threw RangeError: a b');
    expect((thrown as UserFunctionError).details).toMatchObject({ operator: "letters", subtask: 0 });
    expect(((thrown as Error).cause as Error).stack).toContain("rx.test.ts");
    expect(harness.take()).toEqual(["a"]);
  });

  test("an error behind the pipeline keeps its own operator", async () => {
    await using harness = await testHarness((rows: DataStream<string>) =>
      rows.rx((rows$) => rows$).map((): string => {
        throw new RangeError("behind");
      }).name("picky"),
    );
    expect(() => harness.play(marbles("a"))).toThrow('"picky" (subtask 1 of 1) threw RangeError: behind');
  });

  test.each([
    ["a pipeline that is none", () => 7 as never, "The function of rx() returned 7; it returns an Observable"],
    ["an operator on the machine's clock", (rows$: Observable<string>) => rows$.pipe(debounceTime(5)), "follows the machine's clock although the pipeline follows event time; hand it the scheduler"],
    ["a promise", (rows$: Observable<string>) => rows$.pipe(mergeMap(async (row) => row)), "it waits for something outside of the stream's time. For promises"],
    ["what never ends", (rows$: Observable<string>) => merge(rows$, NEVER), "end what never ends with the rows"],
    ["a timer without end", (rows$: Observable<string>, scheduler: SchedulerLike) => merge(rows$, interval(1, scheduler)), "goes on after the end of its input"],
    ["a loop at one point of time", (rows$: Observable<string>, scheduler: SchedulerLike) => rows$.pipe(switchMap(() => interval(0, scheduler))), "schedules without end at one point of time"],
  ] satisfies [string, Pipeline, string][])("%s is told as a sentence", async (_title, pipeline, says) => {
    await using harness = await underTest(pipeline);
    expect(() => harness.play(marbles("a-b|"))).toThrow(says);
  });

  test("a promise that comes in the middle of event time fails the job", async () => {
    await using harness = await underTest((rows$) => rows$.pipe(mergeMap(async (row) => row)));
    harness.play(marbles("a"));
    await expect(harness.until(() => false)).rejects.toThrow('gave "a" at no time of the stream: something in it is asynchronous');
  });

  test("a timer that ends with the rows is fine", async () => {
    await using harness = await underTest((rows$, scheduler) => merge(rows$, interval(2, scheduler).pipe(takeUntil(rows$.pipe(last(undefined, 0))))));
    harness.play(marbles("a-b-|"));
    expect(harness.takeRecords()).toEqual([
      { value: "a", timestamp: 0 }, { value: "b", timestamp: 2 }, { value: 0, timestamp: 2 }, { value: 1, timestamp: 4 },
    ]);
  });

  test("options and streams that can't be are refused when the graph is built", () => {
    const stream = localEnvironment().of("a");
    const timed = stream.withTimestamps(() => 0);
    expect(() => stream.rx((rows$) => rows$)).toThrow("rx() follows event time, and no operator before it assigns timestamps");
    expect(() => timed.rx(7 as never)).toThrow("rx() got 7; it takes a function");
    expect(() => timed.rx((rows$) => rows$, { time: "evnt" as never })).toThrow('write "event" or "processing"');
    expect(() => timed.rx((rows$) => rows$, { state: "keep" as never })).toThrow('write "none" or "replay"');
    expect(() => timed.rx((rows$) => rows$, { ttl: 0 })).toThrow("give a duration above 0");
    expect(() => timed.rx((rows$) => rows$, { replayLimit: 0.5 })).toThrow("give a whole number of rows");
    expect(() => timed.rx((rows$) => rows$).setParallelism(2)).toThrow("cannot be split");
    const checkpointed = localEnvironment({ configuration: { "execution.checkpointing.interval": "10 s" } }).of("a").withTimestamps(() => 0);
    expect(() => checkpointed.rx((rows$) => rows$)).toThrow(GraphError);
    expect(() => checkpointed.rx((rows$) => rows$)).toThrow('write rx(…, { state: "none" })');
    expect(checkpointed.rx((rows$) => rows$, { state: "replay" })).toBeDefined();
  });
});

test("a job runs it, fluent or piped", async () => {
  const env = localEnvironment({ parallelism: 2 });
  const rows = env.of(3, 1, 2, 5, 4).withTimestamps((n) => n, { outOfOrderness: 3 });
  expect(await rows.rx((n$) => n$.pipe(pairwise(), rxMap(([a, b]) => `${a}${b}`))).collect()).toEqual(["12", "23", "34", "45"]);
  const evens = rows.pipe((stream) => stream.keyBy((n) => n % 2), rx((n$, { key }) => n$.pipe(toArray(), rxMap((all) => `${key}: ${all}`))));
  expect((await evens.collect()).sort()).toEqual(["0: 2,4", "1: 1,3,5"]);
});

describe("a failure", () => {
  /** Pipelines that remember, and so would give something else if they began anew. */
  const remembering: Readonly<Record<string, Pipeline>> = {
    ...pipelines,
    "scan with time": (rows$, scheduler) => rows$.pipe(scan((all, row) => all + row, ""), delay(3, scheduler)),
    "begins with something": (rows$) => rows$.pipe(startWith("first"), bufferCount(2)),
  };

  test.each(Object.entries(remembering))("state: replay goes on exactly where it was: %s", async (_name, pipeline) => {
    await fc.assert(
      fc.asyncProperty(diagrams, fc.nat(30), async (diagram, cut) => {
        const rx = (rows: DataStream<string>): DataStream<unknown> => rows.rx((rows$, { scheduler }) => pipeline(rows$, scheduler), { state: "replay" });
        const { records, endMs = 0 } = marbles(diagram);
        const watermark = Math.min(cut, endMs);
        const first = await testHarness(rx);
        // Rows beyond the watermark wait in the operator; those before it have gone through.
        for (const { value, timestamp } of records.filter((record) => record.timestamp <= cut + 2)) first.push(value, timestamp);
        first.watermark(watermark);
        const before = first.takeRecords();
        const restore = first.snapshot();
        await first.close();
        await using second = await testHarness(rx, { restore });
        for (const { value, timestamp } of records.filter((record) => record.timestamp > cut + 2)) second.push(value, timestamp);
        second.watermark(endMs);
        second.end();
        expect([...before, ...second.takeRecords()]).toEqual(oracle(diagram, pipeline));
      }),
      { numRuns: 15 },
    );
  });

  test.each([[1, 3], [3, 2]])("state: replay per key, from parallelism %i to %i", async (before, after) => {
    const rx = (rows: DataStream<Row>): DataStream<string> =>
      rows.keyBy((row) => row.key).rx((rows$, { scheduler, key }) =>
        rows$.pipe(scan((sum, { n }) => sum + n, 0), debounceTime(5, scheduler), rxMap((sum) => `${key} ${sum}`)), { state: "replay", ttl: 100 });
    const letters = [..."abcdefgh"];
    const first = await testHarness(rx, { parallelism: before });
    for (const [n, key] of letters.entries()) first.push({ key, n }, n * 2);
    first.watermark(12);
    expect(first.take().sort()).toEqual(["a 0", "b 1", "c 2", "d 3"]);
    const restore = first.snapshot();
    await using second = await testHarness(rx, { parallelism: after, restore });
    for (const harness of [first, second]) {
      for (const [n, key] of letters.entries()) harness.push({ key, n: n * 10 }, 13 + n * 2);
      harness.watermark(50);
    }
    expect(second.take().sort()).toEqual(first.take().sort());
    await first.close();
  });

  test("state: none begins anew, and loses no row that waits", async () => {
    const rx = (rows: DataStream<string>): DataStream<string> => rows.rx((rows$) => rows$.pipe(scan((all, row) => all + row, "")), { state: "none" });
    const first = await testHarness(rx);
    first.push("a", 1);
    first.watermark(1);
    first.push("b", 5);
    const restore = first.snapshot();
    await first.close();
    await using second = await testHarness(rx, { restore });
    second.push("late", 1);
    second.watermark(5);
    expect(first.take()).toEqual(["a"]);
    expect(second.take()).toEqual(["b"]);
    expect(second.metric("numLateRecordsDropped")).toBe(1);
  });

  test("under processing time, what was scheduled is due when its time comes", async () => {
    const rx = (rows: DataStream<string>): DataStream<string> => rows.rx((rows$, { scheduler }) => rows$.pipe(delay(100, scheduler)), { time: "processing", state: "replay" });
    const first = await testHarness(rx);
    first.push("a");
    first.advanceBy(60);
    first.push("b");
    first.advanceBy(60);
    expect(first.take()).toEqual(["a"]);
    const restore = first.snapshot();
    await first.close();
    await using second = await testHarness(rx, { restore });
    second.advanceBy(39);
    expect(second.take()).toEqual([]);
    second.advanceBy(1);
    expect(second.take()).toEqual(["b"]);
  });

  test("a log that grows beyond its limit says what helps", async () => {
    await using harness = await testHarness((rows: DataStream<string>) => rows.rx((rows$) => rows$, { state: "replay", replayLimit: 3 }));
    expect(() => harness.play(marbles("abcd"))).toThrow(/has got 4 rows since it was subscribed.*give it a \{ ttl \}/);
    await using forgetting = await testHarness((rows: DataStream<string>) => rows.rx((rows$) => rows$, { state: "replay", replayLimit: 3, ttl: 5 }));
    forgetting.play(marbles("abc------def|"));
    expect(forgetting.take()).toHaveLength(6);
  });

  test("without saying what becomes of it, a snapshot is refused with a sentence", async () => {
    await using harness = await testHarness((rows: DataStream<string>) => rows.rx((rows$) => rows$));
    expect(() => harness.snapshot()).toThrow('write rx(…, { state: "none" })');
  });
});
