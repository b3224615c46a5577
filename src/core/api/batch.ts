/** How large batches are. */
import type { KeySelector, StreamNodeOptions } from "../graph/stream-graph.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import { specOf } from "./spec.ts";

/** When a batch is complete: whichever comes first. */
export interface BatchSize {
  /** It has so many records. */
  readonly count?: number;
  /** So much time of the wall clock has passed since its first record. */
  readonly within?: Duration;
}

/** A batching operator. @throws GraphError, ConfigurationError when the size is none. */
export function batchOf(size: number | BatchSize, key?: KeySelector): Omit<StreamNodeOptions, "inputs"> {
  const { count, within } = typeof size === "number" ? { count: size } : (size ?? {});
  if (count === undefined && within === undefined) throw new GraphError("batch() needs a count, a time, or both: batch({ count, within }).");
  if (count !== undefined && !(Number.isInteger(count) && count >= 1)) {
    throw new GraphError(`batch() got the count ${describe(count)}; give an integer ≥ 1.`);
  }
  return {
    name: "batch",
    spec: specOf("batch", {
      ...(key === undefined ? {} : { key }),
      count: count ?? Number.POSITIVE_INFINITY,
      withinMs: within === undefined ? Number.POSITIVE_INFINITY : durationMs(within, "batch({ within })"),
    }),
  };
}
