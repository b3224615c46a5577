/**
 * Operators on sequences of records: RxJS's words with RxJS's meaning, and Flink's rolling aggregations. On a keyed stream each key has a
 * sequence of its own; else all records are one, and the operator has one subtask.
 */
import { RESULT_KIND } from "../graph/chaining.ts";
import type { OperatorSpec, StreamNode, StreamNodeOptions } from "../graph/stream-graph.ts";
import { isPlainPrototype } from "../data/plain.ts";
import { withFields } from "../types/selector-fields.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { Misuse } from "./misuse.ts";
import { functionOf, specOf } from "./spec.ts";

/** Names of a record's fields. */
export type FieldOf<T> = keyof T & string;

/** Nothing, or the sentence when a field's values can't be added up. */
export type Summable<Value> = Value extends number | bigint ? unknown : Misuse<"sum() takes the name of a field that holds numbers">;

type Sequence = Omit<StreamNodeOptions, "inputs">;

const sequence = (name: string, kind: string, parameters: Readonly<Record<string, unknown>>): Sequence => ({
  name, spec: specOf(kind, parameters),
});

/** What `scan` adds. @throws GraphError for a seed that keys could not have each for its own. */
export function scanOf(scan: (accumulated: never, value: never) => unknown, seed?: unknown): Sequence {
  return sequence("scan", "scan", { scan: functionOf(scan, "scan()"), ...(seed === undefined ? {} : { seed: seedOf(seed) }) });
}

function seedOf(seed: unknown): () => unknown {
  if (typeof seed === "function") return seed as () => unknown;
  if (typeof seed !== "object" || seed === null) return () => seed;
  const plain = isPlainPrototype(Object.getPrototypeOf(seed) as object | null);
  if (plain || Array.isArray(seed) || seed instanceof Map || seed instanceof Set) return () => structuredClone(seed);
  throw new GraphError(`scan(…, seed) got ${describe(seed)}; give a function that makes the seed, e.g. () => new Counter().`);
}

/** What `sum`, `min`, `max`, `minBy` and `maxBy` add. */
export function rollingOf(how: "sum" | "min" | "max" | "minBy" | "maxBy", field: unknown): Sequence {
  if (typeof field === "function" && (how === "minBy" || how === "maxBy")) return sequence(how, "rolling", { how, by: field });
  if (field !== undefined && typeof field !== "string") {
    throw new GraphError(`${how}() got ${describe(field)}; it takes the name of a field.`);
  }
  return sequence(field === undefined ? how : `${how}: ${field}`, "rolling", { how, ...(field === undefined ? {} : { field }) });
}

/** What `distinctUntilChanged` adds. */
export function changesOf(same: unknown, of: unknown): Sequence {
  return sequence("distinctUntilChanged", "changes", {
    ...(same === undefined ? {} : { same: functionOf(same, "distinctUntilChanged()") }),
    ...(of === undefined ? {} : { of: functionOf(of, "distinctUntilChanged(…, of)") }),
  });
}

/** What `take` and `skip` add. @throws GraphError for a count that is none. */
export function takeOf(name: "take" | "skip", count: number): Sequence {
  if (!Number.isInteger(count) || count < 0) throw new GraphError(`${name}() got ${describe(count)}; give an integer ≥ 0.`);
  return sequence(`${name} ${count}`, "take", { which: name === "take" ? "beginning" : "rest", count });
}

/** What `takeWhile` and `skipWhile` add. */
export function takeWhileOf(name: "takeWhile" | "skipWhile", during: unknown, inclusive: boolean): Sequence {
  return sequence(name, "take", { which: name === "takeWhile" ? "beginning" : "rest", during: functionOf(during, `${name}()`), inclusive });
}

/** What `throttle` and `dedupe` add. */
export function throttleOf(name: "throttle" | "dedupe", within: Duration, timestamps: boolean): Sequence {
  return sequence(name, "throttle", { withinMs: durationMs(within, `${name}()`), time: timestamps ? "event" : "processing" });
}

/** What `topN` adds. @throws GraphError for a count that is none. */
export function topNOf(count: number, by: unknown): Sequence {
  if (!Number.isInteger(count) || count < 1) throw new GraphError(`topN() got ${describe(count)}; give an integer ≥ 1.`);
  return sequence(`top ${count}`, "topN", { count, by: functionOf(by, "topN(…, by)") });
}

/** A key selector made of names of fields: one field's value, or an array of several. @throws GraphError for anything but names. */
export function selectorOf(fields: readonly string[]): (value: never) => unknown {
  for (const field of fields) {
    if (typeof field !== "string") throw new GraphError(`keyBy() got ${describe(field)}; it takes a function, or names of fields.`);
  }
  const [field] = fields as [string];
  const selector =
    fields.length === 1
      ? (value: Record<string, unknown>): unknown => value[field]
      : (value: Record<string, unknown>): unknown => fields.map((name) => value[name]);
  return withFields(selector, fields);
}

/** How many rows can come out of an operator that is a `take`, or maps one row to one behind it; undefined: no bound. */
export function rowsAtMost({ spec, inputs }: StreamNode): number | undefined {
  const { kind, key, which, count } = spec as OperatorSpec & { readonly key?: unknown; readonly which?: string; readonly count?: number };
  if (kind === "take" && key === undefined && which === "beginning") return count;
  const [only, another] = inputs;
  const oneToOne = ["map", "mapAsync", "timestamps", RESULT_KIND].includes(kind) && another === undefined;
  return oneToOne && only !== undefined && only.sideOutput === undefined ? rowsAtMost(only.from) : undefined;
}
