import type { Profiler } from "node:inspector";
import { describe, expect, test } from "vitest";
import type { CodeBundle } from "../../../src/cluster/code/bundle.ts";
import { HEADER_LINES } from "../../../src/cluster/code/revive.ts";
import { ThreadProfiler, framesOf } from "../../../src/cluster/taskmanager/thread-profiler.ts";
import { MOST_FRAMES } from "../../../src/core/graph/task-profile.ts";

/** One function, shipped from line 6 of a file of the user's. */
const bundle = {
  fileName: "drey-1.js",
  map: [
    {
      path: "map",
      firstLine: 0,
      file: "/home/me/rides.ts",
      columns: "exact",
      lines: [[[0, 6, 0]], [[0, 7, 2]]],
      texts: { 6: "(ride) => {", 7: "return tariff(ride);" },
    },
  ],
} as unknown as CodeBundle;

const src = new URL("../../../src/", import.meta.url).href;

interface Seen {
  readonly id: number;
  readonly name: string;
  readonly url?: string;
  readonly line?: number;
  readonly children?: number[];
  readonly ticks?: number;
}

/** A profile of which each node got so many samples, one a millisecond. */
function profileOf(nodes: readonly Seen[], samples: readonly number[]): Profiler.Profile {
  return {
    nodes: nodes.map(({ id, name, url = "", line = 0, children, ticks }) => ({
      id,
      callFrame: { functionName: name, scriptId: "1", url, lineNumber: line, columnNumber: 0 },
      ...(children === undefined ? {} : { children }),
      ...(ticks === undefined ? {} : { positionTicks: [{ line: ticks, ticks: 3 }] }),
    })),
    startTime: 0,
    endTime: samples.length * 1_000,
    samples: [...samples],
    timeDeltas: samples.map(() => 1_000),
  };
}

describe("a profile of a thread", () => {
  test("tells the job's functions by their place in its source, and whose the others are", () => {
    const { frames, samples, durationMs } = framesOf(
      profileOf(
        [
          { id: 1, name: "(root)", children: [2, 7] },
          { id: 2, name: "step", url: `${src}core/runtime/task.js`, line: 269, children: [3, 6] },
          { id: 3, name: "process", url: "drey:chain/v1", line: 24, children: [4] },
          { id: 4, name: "anonymous$1", url: "file:///x/drey-1.js", line: HEADER_LINES, children: [5], ticks: HEADER_LINES + 2 },
          { id: 5, name: "parse", url: "file:///node_modules/csv/index.js", line: 9 },
          { id: 6, name: "park", url: `${src}cluster/exchange/doorbell.js`, line: 65 },
          { id: 7, name: "(garbage collector)", line: -1 },
        ],
        [3, 4, 4, 4, 5, 6, 6, 7],
      ),
      bundle,
    );
    expect(frames.map(({ parent, name, kind, place, selfMs, hottest }) => [parent, name, kind, place, selfMs, hottest])).toEqual([
      [-1, "step", "engine", "drey/core/runtime/task.ts", 0, undefined],
      [0, "the chain v1", "user", undefined, 1, undefined],
      [1, "map", "user", "/home/me/rides.ts:7", 3, "8: return tariff(ride);"],
      [2, "parse", "library", "/node_modules/csv/index.js:10", 1, undefined],
      [0, "park", "waiting", "drey/cluster/exchange/doorbell.ts", 2, undefined],
      [-1, "(garbage collector)", "runtime", undefined, 1, undefined],
    ]);
    expect([samples, durationMs]).toEqual([8, 8]);
  });

  test("has a bound: what took least becomes part of its caller, and no time is lost", () => {
    const many = Array.from({ length: 2 * MOST_FRAMES }, (_, n) => ({ id: n + 2, name: `f${n}` }));
    const seen = many.flatMap(({ id }) => (id % 4 === 0 ? [id, id] : [id]));
    const { frames } = framesOf(profileOf([{ id: 1, name: "(root)", children: [9_999] }, { id: 9_999, name: "all", children: many.map(({ id }) => id) }, ...many], seen), undefined);
    expect(frames.length).toBeLessThanOrEqual(MOST_FRAMES);
    expect(frames.length).toBeGreaterThan(MOST_FRAMES / 5);
    expect(frames.reduce((sum, { selfMs }) => sum + selfMs, 0)).toBeCloseTo(seen.length, 0);
    expect(frames.every(({ parent }, at) => parent < at)).toBe(true);
  });

  test("of this thread shows what it did; it is taken once at a time, and again afterwards", () => {
    const profiler = new ThreadProfiler();
    expect(() => profiler.stop(undefined)).toThrow("has not begun");
    for (let round = 0; round < 2; round++) {
      profiler.start();
      expect(() => profiler.start()).toThrow("being profiled already");
      const end = performance.now() + 100;
      while (performance.now() < end);
      const { frames, durationMs } = profiler.stop(undefined);
      expect(durationMs).toBeGreaterThanOrEqual(100);
      expect(frames.some(({ name }) => name === "start" || name === "ask")).toBe(false);
    }
  });
});
