/** Windows of every kind, with every trigger, evictor and lateness, against a plain reading of what they mean (naive-windows.ts). */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DataStream,
  type Evictor,
  type Trigger,
  type WindowDescription,
  type WindowedStream,
  ProcessWindowFunction,
  continuousEventTime,
  continuousProcessingTime,
  countEvictor,
  countTrigger,
  cumulative,
  delta,
  deltaEvictor,
  globalWindow,
  localEnvironment,
  neverTrigger,
  processingTimeTrigger,
  purging,
  eventTimeTrigger,
  session,
  sideOutput,
  sliding,
  timeEvictor,
  tumbling,
} from "../../src/core/index.ts";
import type { DiskOptions } from "../../src/core/state/disk-tables.ts";
import { type Event, drive } from "./drive.ts";
import { type Firing, type NaiveAssigner, type NaiveEvictor, type NaiveSettings, type NaiveTrigger, type Row, NaiveWindows, gapOf } from "./naive-windows.ts";
import { runs } from "./runs.ts";

const small = (max: number, min = 1): fc.Arbitrary<number> => fc.integer({ min, max });

const assigner: fc.Arbitrary<NaiveAssigner> = fc.oneof(
  fc.record({ kind: fc.constant("tumbling" as const), size: small(12), offset: small(7, -7) }),
  fc.record({ kind: fc.constant("sliding" as const), size: small(15, 2), slide: small(8), offset: small(7, -7) })
    .map((it) => ({ ...it, slide: Math.min(it.slide, it.size) })),
  fc.record({ kind: fc.constant("cumulative" as const), steps: small(4), step: small(5) }),
  fc.record({ kind: fc.constant("session" as const), gap: small(10) }),
  fc.constant({ kind: "dynamicSession" as const }),
  fc.constant({ kind: "global" as const }),
);
const trigger: fc.Arbitrary<NaiveTrigger> = fc.oneof(
  fc.constant({ kind: "usual" as const }),
  fc.record({ kind: fc.constant("count" as const), count: small(4) }),
  fc.record({ kind: fc.constantFrom("continuousEventTime" as const, "continuousProcessingTime" as const), interval: small(8) }),
  fc.record({ kind: fc.constant("delta" as const), threshold: small(4, 0) }),
);
const evictor: fc.Arbitrary<NaiveEvictor> = fc.record({ kind: fc.constantFrom("count", "time", "delta"), limit: small(5, 0), after: fc.boolean() });
const settings: fc.Arbitrary<NaiveSettings> = fc.record({
  assigner, trigger,
  time: fc.constantFrom("event" as const, "processing" as const),
  purging: fc.boolean(),
  lateness: fc.oneof(fc.constant(0), small(10)),
  evictor: fc.option(evictor, { nil: undefined, freq: 2 }),
}).map((it) => {
  const merging = it.assigner.kind === "session" || it.assigner.kind === "dynamicSession";
  const eventTime = it.time === "event" && it.assigner.kind !== "global";
  return {
    ...it,
    time: it.assigner.kind === "global" ? ("event" as const) : it.time,
    // Merging windows have no delta trigger, and their records no order that evictors could go by.
    trigger: (merging && it.trigger.kind === "delta") || (!eventTime && it.assigner.kind !== "global" && it.trigger.kind === "continuousEventTime")
      ? ({ kind: "usual" } as const)
      : it.trigger,
    evictor: merging ? undefined : it.evictor,
    lateness: eventTime ? it.lateness : 0,
  };
});

/** Records in some disorder, watermarks that rise, a clock that goes on; at the end, both pass everything. */
const events: fc.Arbitrary<Event<Row>[]> = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: fc.record({ key: fc.constantFrom("a", "b"), value: small(5, -5), back: small(25, -5) }) },
      { weight: 2, arbitrary: fc.record({ watermark: small(12, 0) }) },
      { weight: 2, arbitrary: fc.record({ clock: small(12) }) },
      { weight: 1, arbitrary: fc.record({ restart: small(4) }) },
    ),
    { maxLength: 40 },
  )
  .map((steps) => {
    let [id, time, watermark, clock] = [0, 30, 0, 0];
    const happening = steps.map((step): Event<Row> => {
      if ("watermark" in step) return { watermark: (watermark += step.watermark) };
      if ("restart" in step) return step;
      if ("clock" in step) return { clock: (clock += step.clock) };
      time += 2;
      return { record: { id: id++, key: step.key, value: step.value }, at: Math.max(0, time - step.back) };
    });
    return [...happening, { clock: clock + 1000 }, { watermark: Infinity }];
  });

function descriptionOf({ assigner: it, time }: NaiveSettings): WindowDescription<Row> {
  switch (it.kind) {
    case "tumbling":
      return tumbling(it.size, { offset: it.offset, time });
    case "sliding":
      return sliding(it.size, it.slide, { offset: it.offset, time });
    case "cumulative":
      return cumulative(it.step * it.steps, it.step, { time });
    case "session":
      return session(it.gap, { time });
    case "dynamicSession":
      return session(gapOf, { time });
    case "global":
      return globalWindow();
  }
}

function triggerOf({ trigger: it, time, assigner: { kind } }: NaiveSettings): Trigger<Row> {
  switch (it.kind) {
    case "usual":
      return kind === "global" ? neverTrigger() : time === "event" ? eventTimeTrigger() : processingTimeTrigger();
    case "count":
      return countTrigger(it.count);
    case "continuousEventTime":
      return continuousEventTime(it.interval);
    case "continuousProcessingTime":
      return continuousProcessingTime(it.interval);
    case "delta":
      return delta(it.threshold, (a: Row, b: Row) => Math.abs(a.value - b.value));
  }
}

function evictorOf({ kind, limit, after }: NaiveEvictor): Evictor<Row> {
  if (kind === "count") return countEvictor(limit, { after });
  if (kind === "time") return timeEvictor(limit, { after });
  return deltaEvictor(limit, (row: Row, last: Row) => Math.abs(row.value - last.value), { after });
}

const late = sideOutput<Row>("late");

/** The windows of a stream under these settings. */
function windowed(stream: DataStream<Row>, it: NaiveSettings): WindowedStream<Row, string> {
  let windows = stream.keyBy((row) => row.key).window(descriptionOf(it)).lateTo(late);
  if (it.trigger.kind !== "usual" || it.purging) windows = windows.trigger(it.purging ? purging(triggerOf(it)) : triggerOf(it));
  if (it.evictor !== undefined) windows = windows.evictor(evictorOf(it.evictor));
  return it.lateness > 0 ? windows.allowedLateness(it.lateness) : windows;
}

class Ids extends ProcessWindowFunction<Row, Firing, string> {
  override process(elements: readonly Row[], { key, window }: { key: string; window: { start: number; end: number } }, out: { collect(it: Firing): void }): void {
    out.collect({ key, start: window.start, end: window.end, ids: elements.map((row) => row.id).sort((a, b) => a - b) });
  }
}

class Whole extends ProcessWindowFunction<number[], Firing, string> {
  override process([all]: readonly number[][], { key, window }: { key: string; window: { start: number; end: number } }, out: { collect(it: Firing): void }): void {
    out.collect({ key, start: window.start, end: window.end, ids: all as number[] });
  }
}

const ids = {
  createAccumulator: (): number[] => [],
  add: (row: Row, sum: number[]): number[] => [...sum, row.id],
  getResult: (sum: number[]): number[] => [...sum].sort((a, b) => a - b),
  merge: (a: number[], b: number[]): number[] => [...a, ...b],
};

const ways: Readonly<Record<string, (windows: WindowedStream<Row, string>) => DataStream<Firing>>> = {
  process: (windows) => windows.process(new Ids()),
  aggregate: (windows) => windows.aggregate(ids, (result, { key, window }) => ({ key, start: window.start, end: window.end, ids: result })),
  "aggregate, then a window function": (windows) => windows.aggregate(ids, new Whole()),
  "aggregate without merge": (windows) =>
    windows.aggregate({ createAccumulator: ids.createAccumulator, add: ids.add, getResult: ids.getResult }, (result, { key, window }) => ({
      key, start: window.start, end: window.end, ids: result,
    })),
};

const sorted = (firings: readonly unknown[]): string[] => firings.map((it) => JSON.stringify(it)).sort();

describe("windows, step by step", () => {
  const check = (way: string, it: NaiveSettings, happening: readonly Event<Row>[], disk?: DiskOptions): void => {
    const env = localEnvironment();
    const stream = env.from<Row>([]).withTimestamps(() => 0);
    const driven = drive<Row>(env, (ways[way] as (typeof ways)[string])(windowed(stream, it)), disk);
    const naive = new NaiveWindows(it);
    const lateIds: number[] = [];
    for (const [index, event] of happening.entries()) {
      const expected = naive.happen(event);
      const emitted = driven.happen(event);
      lateIds.push(...emitted.filter(({ side }) => side === "late").map(({ value }) => (value as Row).id));
      const main = emitted.filter(({ side }) => side === undefined);
      expect([index, ...sorted(main.map(({ value }) => value))]).toEqual([index, ...sorted(expected)]);
      for (const { value, timestamp } of main) if ((value as Firing).end !== Infinity) expect(timestamp).toBe((value as Firing).end - 1);
    }
    expect(lateIds).toEqual(naive.late);
    driven.close();
  };

  test.each(Object.keys(ways))("fire what they should when they should, and know what is late, through failures too: %s", (way) => {
    fc.assert(
      fc.property(settings, events, (it, happening) => {
        fc.pre(way !== "aggregate without merge" || (it.assigner.kind !== "session" && it.assigner.kind !== "dynamicSession"));
        check(way, it, happening);
      }),
      runs(150),
    );
  });

  test("and with their state on disk", () => {
    const folder = mkdtempSync(path.join(tmpdir(), "drey-test-"));
    try {
      fc.assert(fc.property(settings, events, (it, happening) => check("process", it, happening, { folder, cachedEntries: 1, incremental: true })), runs(15, 20));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("windows in a job", () => {
  test("give the same at any parallelism, in any number of records per batch", async () => {
    await fc.assert(
      fc.asyncProperty(settings, events, small(4), fc.boolean(), async (it, happening, parallelism, chaining) => {
        // The clock is not in a test's hands here.
        fc.pre(it.time === "event" && it.trigger.kind !== "continuousProcessingTime");
        const naive = new NaiveWindows(it);
        const expected: Firing[] = [];
        const rows: { readonly row: Row; readonly at: number; mark?: number }[] = [];
        for (const event of happening) {
          if ("clock" in event || "restart" in event) continue;
          // A watermark comes after a record: those before the first one are left out.
          if ("watermark" in event && event.watermark !== Infinity) {
            const before = rows.at(-1);
            if (before === undefined) continue;
            before.mark = event.watermark;
          }
          if ("record" in event) rows.push({ row: event.record, at: event.at });
          expected.push(...naive.happen(event));
        }
        const env = localEnvironment({ parallelism, chaining });
        const stream = env.from(rows).withTimestamps((one) => one.at, { punctuated: (one) => one.mark }).setParallelism(1)
          .map((one) => one.row).setParallelism(1);
        const result = (ways["process"] as (typeof ways)[string])(windowed(stream, it));
        const job = await env.submit({ outputs: { result, late: result.sideOutput(late) } });
        const [fired, lateRows] = await Promise.all([collect(job.outputs.result), collect<Row>(job.outputs.late)]);
        expect(sorted(fired)).toEqual(sorted(expected));
        expect(lateRows.map((row) => row.id).sort((a, b) => a - b)).toEqual(naive.late);
      }),
      runs(60, 10),
    );
  });
});

async function collect<T>(rows: { subscribe(observer: { next(row: T): void; error(error: unknown): void; complete(): void }): unknown }): Promise<T[]> {
  return new Promise((resolve, reject) => {
    const all: T[] = [];
    rows.subscribe({ next: (row) => void all.push(row), error: reject, complete: () => resolve(all) });
  });
}
