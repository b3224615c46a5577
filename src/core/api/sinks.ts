/** Sinks that come with drey, for `stream.sinkTo(…)`. */
import type { TwoPhaseWriter } from "../connectors/two-phase.ts";
import type { StreamNodeOptions } from "../graph/stream-graph.ts";
import { absolute, specOf } from "./spec.ts";

/** A sink operator that can be put at the end of a stream of T. */
export interface Sink<T> {
  readonly node: Omit<StreamNodeOptions, "inputs">;
  /** Carries the type only; never set. */
  readonly type?: (value: T) => void;
}

/** Throws every record away. For measuring. */
export function discard(): Sink<unknown> {
  return { node: { name: "discard", spec: specOf("discard", {}) } };
}

/**
 * A sink of your own whose results become visible exactly once: rows are written into transactions, and a transaction is committed when the
 * checkpoint that covers it is complete. See TwoPhaseWriter.
 * @param settings asynchronous: `open`, `commit` or `close` return promises.
 */
export function twoPhaseSink<T, Committable>(
  writer: TwoPhaseWriter<T, Committable>, settings: { readonly asynchronous?: boolean } = {},
): Sink<T> {
  return {
    node: {
      name: "twoPhaseSink",
      spec: specOf("twoPhaseSink", { sink: writer }),
      ...(settings.asynchronous === true ? { asynchronous: true } : {}),
    },
  };
}

/**
 * Writes each record as a line of JSON. The folder gets one file per subtask, `part-0.jsonl` …, replaced if it is there. In a job with
 * checkpoints it gets one per subtask and checkpoint, `part-0-0.jsonl`, `part-0-1.jsonl` …, which is there once that is complete.
 */
export function jsonLines(folder: string): Sink<unknown> {
  return {
    node: {
      name: `jsonLines: ${folder}`,
      spec: specOf("fileSink", { folder: absolute(folder, "jsonLines()"), format: { lines: "JSON" } }),
    },
  };
}

/** Writes each record as a line of text: strings as they are, anything else as JSON. Files as with `jsonLines`, `part-0.txt` … */
export function textLines(folder: string): Sink<unknown> {
  return {
    node: {
      name: `textLines: ${folder}`,
      spec: specOf("fileSink", { folder: absolute(folder, "textLines()"), format: { lines: "text" } }),
    },
  };
}
