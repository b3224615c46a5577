import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { average, count, localEnvironment, seconds, sideOutput, sum, tumbling } from "../../../src/core/index.ts";

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
    const row = fc.record({ key: fc.constantFrom("a", "b", "c"), at: fc.integer({ min: -40, max: 60 }), value: fc.integer({ min: -5, max: 5 }) });
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
      await new Promise((resolve) => setTimeout(resolve, 700));
    }).withTimestamps((it) => it.at);
    const silent = env.from(async function* () {
      yield { key: "b", at: 1 };
      await new Promise((resolve) => setTimeout(resolve, 900));
    }).withTimestamps((it) => it.at, { idleness: 50 });
    const started = Date.now();
    for await (const row of busy.union(silent).keyBy((it) => it.key).window(tumbling(1_000)).count()) {
      expect(row.count).toBe(1);
      // The silent source would hold the window back for its whole life.
      expect(Date.now() - started).toBeLessThan(850);
      break;
    }
  });
});

async function collect<T>(rows: { subscribe(observer: { next(row: T): void; error(error: unknown): void; complete(): void }): unknown }): Promise<T[]> {
  return new Promise((resolve, reject) => {
    const all: T[] = [];
    rows.subscribe({ next: (row) => void all.push(row), error: reject, complete: () => resolve(all) });
  });
}
