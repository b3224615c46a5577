import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { average, count, localEnvironment, seconds, session, sideOutput, sliding, sum, tumbling } from "../../../src/core/index.ts";

interface Row { readonly key: string; readonly at: number; readonly value: number }

/** Watermarks after every record, so that what is late depends on the records alone. */
const punctuated = (delay: number): { punctuated: (row: Row, timestamp: number) => number } => ({ punctuated: (_row, timestamp) => timestamp - delay - 1 });

/** What windows must give, record by record, with a watermark after each. */
function reference(rows: readonly Row[], size: number, offset: number, delay: number): { fired: string[]; late: Row[] } {
  const panes = new Map<number, Map<string, number>>();
  const fired: string[] = [];
  const late: Row[] = [];
  let watermark = -Infinity;
  const fire = (until: number): void => {
    for (const [start, pane] of [...panes].sort(([a], [b]) => a - b)) {
      if (start + size - 1 > until) continue;
      panes.delete(start);
      for (const [key, total] of pane) fired.push(`${key} [${start},${start + size}) ${total}`);
    }
  };
  for (const row of rows) {
    const start = Math.floor((row.at - offset) / size) * size + offset;
    if (start + size - 1 <= watermark) late.push(row);
    else {
      const pane = panes.get(start) ?? new Map<string, number>();
      panes.set(start, pane);
      pane.set(row.key, (pane.get(row.key) ?? 0) + row.value);
    }
    watermark = Math.max(watermark, row.at - delay - 1);
    fire(watermark);
  }
  fire(Infinity);
  return { fired, late };
}

describe("tumbling event-time windows", () => {
  test("give what a plain loop gives, late records included, for any records", async () => {
    const row: fc.Arbitrary<Row> = fc.record({ key: fc.constantFrom("a", "b", "c"), at: fc.integer({ min: -40, max: 60 }), value: fc.integer({ min: -5, max: 5 }) });
    const late = sideOutput<Row>("late");
    await fc.assert(
      fc.asyncProperty(
        fc.array(row, { maxLength: 50 }), fc.integer({ min: 1, max: 20 }), fc.integer({ min: -7, max: 7 }), fc.integer({ min: 0, max: 15 }),
        async (rows, size, offset, delay) => {
          const env = localEnvironment();
          const windows = env.from(rows).withTimestamps((it) => it.at, punctuated(delay)).keyBy((it) => it.key)
            .window(tumbling(size, { offset })).lateTo(late)
            .aggregate(sum((it) => it.value), (total, { key, window }) => `${key} [${window.start},${window.end}) ${total}`);
          const job = await env.submit({ outputs: { windows, late: windows.sideOutput(late) } });
          const [got, gotLate] = await Promise.all([collect(job.outputs.windows), collect(job.outputs.late)]);
          const expected = reference(rows, size, offset, delay);
          expect(got).toEqual(expected.fired);
          expect(gotLate).toEqual(expected.late);
        },
      ),
      { numRuns: 100 },
    );
  });

  test("one thread or four subtasks, chained or not: the same rows", async () => {
    const rows = Array.from({ length: 5_000 }, (_, i) => ({ key: `k${(i * 7) % 23}`, at: i * 10 + ((i * 37) % 100), value: i % 11 }));
    const run = async (parallelism: number, chaining: boolean): Promise<string[]> => {
      const env = localEnvironment({ parallelism, chaining });
      const stream = env.from(rows).withTimestamps((it) => it.at, { outOfOrderness: 100 }).keyBy((it) => it.key).window(tumbling(seconds(1)))
        .aggregate(average((it) => it.value), (mean, { key, window }) => `${key} ${window.end} ${mean.toFixed(6)}`);
      return (await stream.collect()).sort();
    };
    const expected = await run(1, true);
    expect(expected.length).toBeGreaterThan(500);
    for (const [parallelism, chaining] of [[1, false], [2, true], [3, false], [4, true]] as const) expect(await run(parallelism, chaining)).toEqual(expected);
  });

  test("late records are dropped and counted", async () => {
    const env = localEnvironment();
    const stream = env.from([{ at: 0 }, { at: 100 }, { at: 5 }]).withTimestamps((it) => it.at, { punctuated: (_it, timestamp) => timestamp })
      .keyBy(() => "all").window(tumbling(10)).aggregate(count());
    const job = await env.submit({ outputs: { stream } });
    expect(await collect(job.outputs.stream)).toEqual([1, 1]);
    await job.result();
    const values = (await job.metricsHistory()).at(-1)?.subtasks.map((it) => it.values["numLateRecordsDropped"] as number) ?? [];
    expect(values.reduce((a, b) => a + b, 0)).toBe(1);
  });

  test("structured keys come back as they were", async () => {
    const stream = localEnvironment().of({ k: [1, "x"], at: 1 }, { k: [1, "x"], at: 2 }).withTimestamps((it) => it.at).keyBy((it) => it.k).window(tumbling(10)).count();
    expect(await stream.collect()).toEqual([{ key: [1, "x"], start: 0, end: 10, count: 2 }]);
  });

  test("reduce combines the records of a window", async () => {
    const stream = localEnvironment().of(5, 1, 9, 13).withTimestamps((x) => x).keyBy(() => 0).window(tumbling(10)).reduce((a, b) => Math.max(a, b));
    expect(await stream.collect()).toEqual([9, 13]);
  });

  test("without timestamps the program is refused while it is written", () => {
    expect(() => localEnvironment().of(1).keyBy((x) => x).window(tumbling(10))).toThrow(/no operator before it assigns timestamps; write .withTimestamps/);
  });

  test.each([0, -5, 1.5, Number.NaN])("a window of %d ms is refused", (size) => {
    expect(() => tumbling(size)).toThrow(/tumbling\(size\) is/);
  });

  test("a timestamp that is none names the record", async () => {
    const stream = localEnvironment().of({ id: 1, at: "soon" }).withTimestamps((it) => it.at as never).keyBy((it) => it.id).window(tumbling(10)).count();
    await expect(stream.collect()).rejects.toThrow(/The timestamp of record \{"id":1,"at":"soon"\} is "soon"/);
  });

  test("an idle input does not hold back the windows of the others", async () => {
    const env = localEnvironment();
    const busy = env.from(async function* () {
      yield { key: "a", at: 1 };
      yield { key: "a", at: 5_000 };
      await new Promise((resolve) => setTimeout(resolve, 30_000).unref());
    }).withTimestamps((it) => it.at);
    const silent = env.from(async function* () {
      yield { key: "b", at: 1 };
      await new Promise((resolve) => setTimeout(resolve, 30_000).unref());
    }).withTimestamps((it) => it.at, { idleness: 50 });
    const started = Date.now();
    for await (const row of busy.union(silent).keyBy((it) => it.key).window(tumbling(1_000)).count()) {
      expect(row.count).toBe(1);
      // The silent source would hold the window back for its whole life.
      expect(Date.now() - started).toBeLessThan(25_000);
      break;
    }
  });
});

const anyRow = fc.record({ key: fc.constantFrom("a", "b", "c"), at: fc.integer({ min: -40, max: 60 }), value: fc.integer({ min: -5, max: 5 }) });

describe("sliding event-time windows", () => {
  test("give what a plain loop gives, window by window, for any records, sizes and slides", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyRow, { maxLength: 50 }), fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: -7, max: 7 }), fc.integer({ min: 0, max: 15 }),
        async (rows, slide, times, extra, offset, delay) => {
          const size = slide * times + Math.min(extra, slide - 1);
          const stream = localEnvironment().from(rows).withTimestamps((it) => it.at, punctuated(delay)).keyBy((it) => it.key)
            .window(sliding(size, slide, { offset }))
            .aggregate(sum((it) => it.value), (total, { key, window }) => `${key} [${window.start},${window.end}) ${total}`);
          const panes = new Map<number, Map<string, number>>();
          const expected: string[] = [];
          let watermark = -Infinity;
          const fire = (until: number): void => {
            for (const [start, pane] of [...panes].sort(([a], [b]) => a - b)) {
              if (start + size - 1 > until) continue;
              panes.delete(start);
              for (const [key, total] of [...pane].sort()) expected.push(`${key} [${start},${start + size}) ${total}`);
            }
          };
          for (const row of rows) {
            const last = Math.floor((row.at - offset) / slide) * slide + offset;
            for (let start = last; start > row.at - size; start -= slide) {
              if (start + size - 1 <= watermark) continue;
              const pane = panes.get(start) ?? new Map<string, number>();
              panes.set(start, pane);
              pane.set(row.key, (pane.get(row.key) ?? 0) + row.value);
            }
            watermark = Math.max(watermark, row.at - delay - 1);
            fire(watermark);
          }
          fire(Infinity);
          const got = await stream.collect();
          const byWindow = (text: string): number => Number(/\[(-?\d+),/.exec(text)?.[1]);
          expect(got.map(byWindow)).toEqual(got.map(byWindow).sort((a, b) => a - b));
          // Within one window the order of keys is free.
          expect([...got].sort()).toEqual([...expected].sort());
        },
      ),
      { numRuns: 200 },
    );
  });

  test("need a slide no longer than the size, and sessions an aggregate that can merge", () => {
    expect(() => sliding(10, 11)).toThrow(/slide is longer than the window/);
    const keyed = localEnvironment().of(1).withTimestamps((x) => x).keyBy((x) => x);
    const counting = { createAccumulator: () => 0, add: (_x: number, n: number) => n + 1, getResult: (n: number) => n };
    expect(() => keyed.window(session(10)).aggregate(counting)).toThrow(/no merge\(a, b\), which sessions need/);
    keyed.window(sliding(10, 10)).aggregate(counting);
    keyed.window(sliding(10, 5)).aggregate(counting);
  });

  test("count and reduce as tumbling ones and sessions do", async () => {
    const keyed = localEnvironment().of(1, 3, 6, 30).withTimestamps((x) => x).keyBy(() => "k");
    expect((await keyed.window(sliding(10, 5)).count().collect()).map(({ start, count }) => [start, count])).toEqual([[-5, 2], [0, 3], [5, 1], [25, 1], [30, 1]]);
    expect(await keyed.window(sliding(10, 5)).reduce((a, b) => a + b).collect()).toEqual([4, 10, 6, 30, 30]);
    expect((await keyed.window(session(5)).count().collect()).map(({ start, end, count }) => [start, end, count])).toEqual([[1, 11, 3], [30, 35, 1]]);
    expect(await keyed.window(session(5)).reduce((a, b) => a + b).collect()).toEqual([10, 30]);
  });

  test("an accumulator that is an object is not shared between windows", async () => {
    const rows = Array.from({ length: 40 }, (_, at) => ({ key: "k", at, value: 1 }));
    const counts = await localEnvironment().from(rows).withTimestamps((it) => it.at).keyBy((it) => it.key).window(sliding(20, 5))
      .aggregate(average((it) => it.value), (mean, { window }) => [window.end, mean]).collect();
    expect(counts).toEqual([5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55].map((end) => [end, 1]));
  });
});

describe("session windows", () => {
  test("give what joining neighbours by hand gives, for any records", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyRow, { maxLength: 40 }), fc.integer({ min: 1, max: 12 }), async (rows, gap) => {
        const got = await localEnvironment().from(rows).withTimestamps((it) => it.at, { outOfOrderness: 200 }).keyBy((it) => it.key).window(session(gap))
          .aggregate(sum((it) => it.value), (total, { key, window }) => `${key} [${window.start},${window.end}) ${total}`).collect();
        const expected: string[] = [];
        for (const key of ["a", "b", "c"]) {
          let open: { start: number; end: number; total: number } | undefined;
          for (const row of rows.filter((it) => it.key === key).sort((a, b) => a.at - b.at)) {
            if (open !== undefined && row.at <= open.end) {
              open.end = row.at + gap;
              open.total += row.value;
              continue;
            }
            if (open !== undefined) expected.push(`${key} [${open.start},${open.end}) ${open.total}`);
            open = { start: row.at, end: row.at + gap, total: row.value };
          }
          if (open !== undefined) expected.push(`${key} [${open.start},${open.end}) ${open.total}`);
        }
        expect(got.sort()).toEqual(expected.sort());
      }),
      { numRuns: 150 },
    );
  });

  test("a session ends when the watermark passes its gap, and a later record opens the next or is late", async () => {
    const env = localEnvironment();
    const lateRows = sideOutput<{ at: number }>("late");
    const sessions = env.from([{ at: 0 }, { at: 5 }, { at: 40 }, { at: 6 }, { at: 45 }]).withTimestamps((it) => it.at, { punctuated: (_it, at) => at })
      .keyBy(() => "k").window(session(10)).lateTo(lateRows).aggregate(count(), (n, { window }) => [window.start, window.end, n]);
    const job = await env.submit({ outputs: { sessions, late: sessions.sideOutput(lateRows) } });
    const [got, gotLate] = await Promise.all([collect(job.outputs.sessions), collect(job.outputs.late)]);
    expect(got).toEqual([[0, 15, 2], [40, 55, 2]]);
    expect(gotLate).toEqual([{ at: 6 }]);
  });
});

async function collect<T>(rows: { subscribe(observer: { next(row: T): void; error(error: unknown): void; complete(): void }): unknown }): Promise<T[]> {
  return new Promise((resolve, reject) => {
    const all: T[] = [];
    rows.subscribe({ next: (row) => void all.push(row), error: reject, complete: () => resolve(all) });
  });
}
