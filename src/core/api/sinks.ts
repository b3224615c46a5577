/** Sinks that come with drey, for `stream.sinkTo(…)`. */
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

/** Writes each record as a line of JSON. The folder gets one file per subtask, `part-0.jsonl` …, replaced if it is there. */
export function jsonLines(folder: string): Sink<unknown> {
  return {
    node: {
      name: `jsonLines: ${folder}`,
      spec: specOf("fileSink", { folder: absolute(folder, "jsonLines()"), format: { lines: "JSON" } }),
    },
  };
}

/** Writes each record as a line of text: strings as they are, anything else as JSON. One file per subtask, `part-0.txt` … */
export function textLines(folder: string): Sink<unknown> {
  return {
    node: {
      name: `textLines: ${folder}`,
      spec: specOf("fileSink", { folder: absolute(folder, "textLines()"), format: { lines: "text" } }),
    },
  };
}
