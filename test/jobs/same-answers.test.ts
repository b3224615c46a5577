/** A cluster of real processes gives what one thread gives, whatever the pipeline and its rows are. */
import { inspect } from "node:util";
import { type Environment, LocalCluster, environment, localEnvironment } from "drey";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { type Pipeline, type Row, build, pipelines, rows } from "./pipelines.ts";

/** DREY_RUNS=500 looks longer. A failure prints its seed and its pipeline; it is not shrunk, since jobs on a cluster take their time. */
const runs = process.env["DREY_RUNS"];
vi.setConfig({ testTimeout: runs === undefined ? 120_000 : 3_600_000, hookTimeout: 60_000 });

let cluster: LocalCluster;
beforeAll(async () => {
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "heartbeat.timeout": "60 s" } });
});
afterAll(() => cluster.stop());

it("two TaskManagers give the rows of one thread, and those of a key in the same order", async () => {
  await fc.assert(
    fc.asyncProperty(pipelines, rows, async (pipeline, input) => {
      const { parallelism, chaining } = pipeline;
      const oneThread = await answer(localEnvironment(), pipeline, input);
      const onCluster = await answer(environment({ cluster, parallelism, chaining }), pipeline, input);
      expect(differences(onCluster, oneThread), `seed and pipeline above; ${JSON.stringify(pipeline)}`).toEqual([]);
    }),
    { numRuns: Number(runs ?? 25), endOnFailure: true, ...(runs === undefined ? { interruptAfterTimeLimit: 20_000 } : {}) },
  );
});

/** A row as text that tells everything: classes, undefined fields, -0, the order of fields. */
const told = (row: unknown): string =>
  inspect(row, { depth: Infinity, maxArrayLength: null, maxStringLength: null, breakLength: Infinity, compact: true });

type Answer = ReadonlyMap<string, readonly string[]>;

/** The rows of a pipeline by key: in their order where a key has one, else sorted. */
async function answer(env: Environment, pipeline: Pipeline, input: readonly Row[]): Promise<Answer> {
  const { stream, order } = build(env, pipeline, input);
  const answer = new Map<string, string[]>();
  for (const row of await stream.collect()) {
    const rows = answer.get(row.key) ?? [];
    answer.set(row.key, rows);
    rows.push(told(row));
  }
  await env.close();
  if (order === "none") for (const rows of answer.values()) rows.sort();
  return answer;
}

/** The first differences per key. */
function differences(got: Answer, expected: Answer): string[] {
  return [...new Set([...got.keys(), ...expected.keys()])].flatMap((key) => {
    const [a, b] = [got.get(key) ?? [], expected.get(key) ?? []];
    const found = a.findIndex((row, index) => row !== b[index]);
    if (found < 0 && a.length === b.length) return [];
    const at = found < 0 ? a.length : found;
    return [`key ${JSON.stringify(key)}, row ${at}: ${a[at]} instead of ${b[at]} (${a.length} rows, not ${b.length})`];
  });
}
