import { describe, expect, test } from "vitest";
import { type DataStream, type Environment, localEnvironment } from "../../../src/core/index.ts";
import { compileJob } from "../../../src/core/graph/chaining.ts";
import { streamGraph } from "../../../src/core/graph/stream-graph.ts";
import { WatermarkAlignment } from "../../../src/core/graph/watermark-alignment.ts";

interface Row { readonly from: "slow" | "fast"; readonly at: number }

const aligned = { alignment: { group: "all", maxDrift: 500 }, interval: 10 };

/** A source that takes two seconds for ten seconds of event time, and one that takes a quarter of that. */
function sources(env: Environment, options: object): DataStream<Row> {
  const slow = env.generate((i): Row => ({ from: "slow", at: i * 100 }), { count: 100, rowsPerSecond: 50 });
  const fast = env.generate((i): Row => ({ from: "fast", at: i }), { count: 10_000, rowsPerSecond: 20_000 });
  return slow.withTimestamps((it) => it.at, options).union(fast.withTimestamps((it) => it.at, options));
}

/** How far the fast one came ahead of the slow one, where their rows meet. */
async function lead(options: object): Promise<number> {
  const env = localEnvironment({ configuration: { "metrics.interval": "10 ms" }, bufferTimeout: 0 });
  const at = { slow: 0, fast: 0 };
  let most = 0;
  for await (const row of sources(env, options)) {
    at[row.from] = row.at;
    if (at.slow < 9_800) most = Math.max(most, at.fast - at.slow);
  }
  expect(at).toEqual({ slow: 9_900, fast: 9_999 });
  return most;
}

describe("watermark alignment", () => {
  test("keeps a fast source from running away from a slow one", async () => {
    const [free, held] = [await lead({ interval: 10 }), await lead(aligned)];
    expect(free).toBeGreaterThan(4_000);
    expect(held).toBeLessThan(free / 2);
  });

  test("lets each vertex go as far as the slowest of its group allows; who is idle or has ended holds nobody back", () => {
    const env = localEnvironment({ parallelism: 2 });
    const other = env.generate((i) => i).withTimestamps((it) => it, { alignment: { group: "other", maxDrift: 1 } });
    const graph = env.streamGraph({ outputs: { rows: sources(env, aligned), other } });
    const job = compileJob(graph, { parallelism: 2, maxParallelism: 128, chaining: true, options: {} }).graph;
    const [slow, fast] = job.vertices.filter(({ alignment }) => alignment?.group === "all").map(({ id }) => id);
    if (slow === undefined || fast === undefined) throw new Error("two vertices are aligned");
    const alignment = new WatermarkAlignment(job);
    const of = (vertex: typeof slow, subtask: number, currentOutputWatermark: number, watermarksIdle = 0): object =>
      alignment.reported([{ vertex, subtask, values: { currentOutputWatermark, watermarksIdle } }]);
    expect(alignment.needed).toBe(true);
    const unbounded = { vertex: job.vertices.find((it) => it.alignment?.group === "other")?.id, limit: Infinity };
    expect(of(slow, 0, 100)).toEqual([{ vertex: slow, limit: 600 }, { vertex: fast, limit: 600 }, unbounded].sort(byVertex));
    expect(of(fast, 0, -Infinity)).toEqual([{ vertex: slow, limit: -Infinity }, { vertex: fast, limit: -Infinity }]);
    expect(of(fast, 0, 900)).toEqual([{ vertex: slow, limit: 600 }, { vertex: fast, limit: 600 }]);
    expect(of(fast, 0, 950)).toEqual([]);
    expect(of(slow, 1, 50)).toEqual([{ vertex: slow, limit: 550 }, { vertex: fast, limit: 550 }]);
    expect(of(slow, 1, 50, 1)).toEqual([{ vertex: slow, limit: 600 }, { vertex: fast, limit: 600 }]);
    expect(of(slow, 0, Infinity)).toEqual([{ vertex: slow, limit: 1450 }, { vertex: fast, limit: 1450 }]);
  });

  test("needs a source in the same thread", () => {
    const compile = (stream: DataStream<unknown>): unknown =>
      compileJob(streamGraph("job", stream.environment.streamGraph({ outputs: { stream } }).nodes.slice(-1)), {
        parallelism: 2, maxParallelism: 128, chaining: true, options: {},
      });
    const env = localEnvironment();
    expect(() => compile(env.generate((i) => i).rebalance().withTimestamps((it) => it, aligned))).toThrow(
      /"timestamps" aligns watermarks, but shares no thread with a source that could wait: it begins at "timestamps"/,
    );
    expect(() => compile(env.from(new Set([1])).withTimestamps((it) => it, aligned))).toThrow(/shares no thread with a source/);
    compile(env.generate((i) => i).map((i) => i).withTimestamps((it) => it, aligned));
  });
});

const byVertex = (a: { vertex: unknown }, b: { vertex: unknown }): number => String(a.vertex).localeCompare(String(b.vertex));
