/**
 * A value that can't travel, told to the user: what it is, where in the record it stands, and what to do. The writer finds the value
 * deep in a record and knows only what it is; the way that leads to it is searched afterwards, so that writing pays nothing for it.
 */
import { describe, RecordError } from "../types/errors.ts";

/** Raised where a value can't travel; whoever knows the row turns it into a RecordError by `refusal`. */
export class Unshippable extends Error {
  readonly target: unknown;

  constructor(target: unknown, sentence: string) {
    super(sentence);
    this.target = target;
  }
}

/** The RecordError for a value that could not be written: with the path that leads to it from the record. */
export function refusal(refused: Unshippable, record: unknown, name = "record"): RecordError {
  const path = pathTo(record, refused.target, name);
  return new RecordError(`${path}: ${refused.message}`, { details: { path } });
}

function pathTo(record: unknown, target: unknown, name: string): string {
  const seen = new Set<unknown>();
  // Breadth first, so that the shortest of several ways is named; bounded, because it only serves a message.
  let level: { value: unknown; path: string }[] = [{ value: record, path: name }];
  while (level.length > 0 && seen.size < 100_000) {
    const next: { value: unknown; path: string }[] = [];
    for (const { value, path } of level) {
      if (Object.is(value, target)) return path;
      if (typeof value !== "object" || value === null || seen.has(value)) continue;
      seen.add(value);
      if (value instanceof Map) {
        for (const [key, item] of value) {
          next.push({ value: key, path: `${path}.keys()` }, { value: item, path: `${path}.get(${describe(key, 40)})` });
        }
      } else if (value instanceof Set) for (const item of value) next.push({ value: item, path: `${path}.values()` });
      else if (!ArrayBuffer.isView(value)) {
        for (const key of Object.keys(value)) next.push({ value: (value as Record<string, unknown>)[key], path: path + step(key) });
        if (value instanceof Error) next.push({ value: value.cause, path: `${path}.cause` });
      }
    }
    level = next;
  }
  return name;
}

/** One field in a path, as one would write it. */
function step(name: string): string {
  if (isIndex(name)) return `[${name}]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
}

/** Whether a field name is an index of an array. */
export const isIndex = (name: string): boolean => String(Number(name) >>> 0) === name;
