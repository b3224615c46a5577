/** A job that fails at random places and goes back to its last checkpoint gives what it gives without failures. */
import { inspect } from "node:util";
import { localEnvironment } from "drey";
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { type Pipeline, type Row, build, pipelines, rows } from "./pipelines.ts";

/** DREY_RUNS=2000 looks longer. A failure prints its seed and is shrunk to a short pipeline with few rows. */
const runs = process.env["DREY_RUNS"];
vi.setConfig({ testTimeout: runs === undefined ? 120_000 : 3_600_000 });

/** Throws once at each of these calls. */
class Faults {
  readonly thrown = new Set<number>();
  readonly #at: ReadonlySet<number>;
  #calls = 0;

  constructor(at: readonly number[]) {
    this.#at = new Set(at);
  }

  readonly pass = (): void => {
    const call = this.#calls++;
    if (!this.#at.has(call) || this.thrown.has(call)) return;
    this.thrown.add(call);
    throw new Error(`fault at call ${call}`);
  };
}

interface Checkpointing {
  readonly unaligned: boolean;
  /** Rows that travel together; few make many places for a barrier. */
  readonly batch: number;
}

const told = (row: unknown): string =>
  inspect(row, { depth: Infinity, maxArrayLength: null, maxStringLength: null, breakLength: Infinity, compact: true });

/** The rows of a pipeline by key: in their order where a key has one, else sorted. */
async function answer(pipeline: Pipeline, input: readonly Row[], faults: Faults, checkpointing?: Checkpointing): Promise<Record<string, string[]>> {
  const env = localEnvironment({
    chaining: pipeline.chaining,
    configuration: {
      "pipeline.auto-watermark-interval": "0 ms",
      ...(checkpointing === undefined
        ? {}
        : {
            "execution.checkpointing.interval": "1 ms",
            "execution.checkpointing.unaligned.enabled": checkpointing.unaligned,
            "taskmanager.network.batch-rows": checkpointing.batch,
            "restart-strategy.exponential-delay.initial-backoff": "0 ms",
          }),
    },
  });
  const { stream, order } = build(env, pipeline, input, faults.pass);
  const byKey = new Map<string, string[]>();
  for (const row of await stream.collect()) byKey.set(row.key, [...(byKey.get(row.key) ?? []), told(row)]);
  await env.close();
  if (order === "none") for (const of of byKey.values()) of.sort();
  return Object.fromEntries([...byKey].sort(([a], [b]) => (a < b ? -1 : 1)));
}

it("whatever the pipeline, and wherever it fails", async () => {
  let failures = 0;
  let pipelinesRun = 0;
  await fc.assert(
    fc.asyncProperty(
      pipelines.filter(({ source }) => source !== "async iterable"),
      rows,
      fc.array(fc.nat(3_000), { maxLength: 4 }),
      fc.record({ unaligned: fc.boolean(), batch: fc.constantFrom(1, 7, 64) }),
      async (pipeline, input, at, checkpointing) => {
        const faults = new Faults(at);
        const recovered = await answer(pipeline, input, faults, checkpointing);
        failures += faults.thrown.size;
        pipelinesRun++;
        expect(recovered).toEqual(await answer(pipeline, input, new Faults([])));
      },
    ),
    { numRuns: Number(runs ?? 60), ...(runs === undefined ? { interruptAfterTimeLimit: 20_000 } : {}) },
  );
  // A slow machine does not come to many within its time.
  expect(failures).toBeGreaterThanOrEqual(Math.min(4, Math.floor(pipelinesRun / 10)));
});
