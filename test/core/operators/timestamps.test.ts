import { describe, expect, test } from "vitest";
import {
  type WatermarkGenerator,
  type WatermarkOutput,
  hours,
  localEnvironment,
  seconds,
  sideOutput,
  tumbling,
} from "../../../src/core/index.ts";

class AtMarks implements WatermarkGenerator<{ at: number; end?: true }> {
  onEvent(record: { at: number; end?: true }, timestamp: number, output: WatermarkOutput): void {
    if (record.end === true) output.emitWatermark(timestamp);
  }
}

describe("withTimestamps", () => {
  test("a generator of one's own decides when windows are over", async () => {
    const rows = [{ at: 1 }, { at: 25 }, { at: 2 }, { at: 12, end: true as const }, { at: 3 }, { at: 14 }];
    const counts = await localEnvironment().from(rows).withTimestamps((it) => it.at, { generator: () => new AtMarks() })
      .keyBy(() => 0).window(tumbling(10)).count().collect();
    expect(counts.map(({ start, count }) => [start, count])).toEqual([[0, 2], [10, 2], [20, 1]]);
  });

  test("may look at the timestamp that a record has already", async () => {
    const rows = await localEnvironment().of(1, 2).withTimestamps((x) => x * 10).withTimestamps((_x, timestamp) => timestamp + 1)
      .process<number>((_x, { timestamp }, out) => out.collect(timestamp as number)).collect();
    expect(rows).toEqual([11, 21]);
    const none = await localEnvironment().of(5).withTimestamps((x, timestamp) => (Number.isNaN(timestamp) ? x : -1))
      .process<number>((_x, { timestamp }, out) => out.collect(timestamp as number)).collect();
    expect(none).toEqual([5]);
  });

  test("one wrong clock far in the future makes all others late, unless maxAhead is given", async () => {
    const now = Date.now();
    const rows = [now - 20_000, now + hours(9000), ...Array.from({ length: 3_000 }, (_, i) => now - 15_000 + i)].map((at) => ({ at }));
    const run = async (options: { maxAhead?: number }): Promise<[counted: number, late: number]> => {
      const env = localEnvironment();
      const late = sideOutput<{ at: number }>("late");
      const windows = env.from(rows).withTimestamps((it) => it.at, options).keyBy(() => 0).window(tumbling(seconds(5))).lateTo(late).count();
      const job = await env.submit({ outputs: { windows, late: windows.sideOutput(late) } });
      let [counted, lost] = [0, 0];
      await Promise.all([
        new Promise<void>((complete, error) => void job.outputs.windows.subscribe({ next: ({ count }) => void (counted += count), error, complete })),
        new Promise<void>((complete, error) => void job.outputs.late.subscribe({ next: () => void lost++, error, complete })),
      ]);
      return [counted, lost];
    };
    expect(await run({ maxAhead: hours(1) })).toEqual([3_002, 0]);
    const [, lost] = await run({});
    expect(lost).toBeGreaterThan(1_000);
  });

  test("with splits the slowest decides", async () => {
    // Two files one after the other, each in order: without splits, all of the second is late.
    const rows = ["a", "b"].flatMap((file) => Array.from({ length: 5_000 }, (_, at) => ({ file, at })));
    const mixed = Array.from({ length: 10_000 }, (_, i) => rows[(i % 2) * 5_000 + Math.floor(i / 2)] as (typeof rows)[number]);
    const counted = async (input: typeof rows, options: { splitBy?: (row: { file: string }) => string; idleness?: number }): Promise<number> =>
      (await localEnvironment().from(input).withTimestamps((it) => it.at + (it.file === "a" ? 3_000 : 0), options).keyBy(() => 0)
        .window(tumbling(100)).sum(() => 1).collect()).reduce((a, b) => a + b, 0);
    expect(await counted(mixed, {})).toBeLessThan(9_000);
    expect(await counted(mixed, { splitBy: (row) => row.file })).toBe(10_000);
    expect(await counted(rows, { splitBy: (row) => row.file })).toBeLessThan(10_000);
  });

  test("a timestamp beyond what a Date can hold names the record", async () => {
    const stream = localEnvironment().of({ id: 1, at: 1e300 }).withTimestamps((it) => it.at);
    await expect(stream.collect()).rejects.toThrow(/The timestamp of record \{"id":1,"at":1e\+300\} is 1e\+300; .* at most 8.64e15 ms from 1970/);
  });

  test("two ways to make watermarks are one too many", () => {
    const stream = localEnvironment().of(1);
    expect(() => stream.withTimestamps((x) => x, { outOfOrderness: 5, punctuated: (x) => x })).toThrow(/got outOfOrderness and punctuated/);
    expect(() => stream.withTimestamps((x) => x, { generator: () => ({ onEvent: () => undefined }), maxAhead: 5 })).toThrow(/got maxAhead and generator/);
  });
});

test("with ingestion time, records have the time at which they came, and windows follow the clock", async () => {
  const env = localEnvironment();
  const before = Date.now();
  const times = await env.of(1, 2, 3).withIngestionTime().process<number>((_x, { timestamp }, out) => out.collect(timestamp as number)).collect();
  expect(times).toEqual([...times].sort((a, b) => a - b));
  for (const time of times) expect(time >= before && time <= Date.now()).toBe(true);
  // The stream goes on, but the window of its first record ends when its time has passed.
  const endless = env.from(async function* () {
    yield 1;
    await new Promise((resolve) => setTimeout(resolve, 3_000).unref());
  }).withIngestionTime().keyBy(() => 0).window(tumbling(50)).count();
  for await (const { count } of endless) {
    expect(count).toBe(1);
    break;
  }
});
