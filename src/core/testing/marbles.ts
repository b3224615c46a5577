/**
 * Marble diagrams (RxJS: TestScheduler) on event time: `--a--b|` is a stream of two records with timestamps 2 and 5 that ends at 6. The
 * letters, groups `(ab)`, spaces and progress `10ms`, `2s`, `1m` mean what they mean in RxJS's run mode; a frame is a millisecond of event
 * time unless `frameMs` says otherwise. After each frame the watermark is the frame's time: nothing in a diagram is late.
 *
 * Streams have neither subscriptions (`^`, `!`) nor error notifications (`#`): an error fails the task.
 */
import { deepStrictEqual } from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { DataStream } from "../api/data-stream.ts";
import type { Environment } from "../api/environment.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { StreamRecord } from "./harness-output.ts";
import type { TestHarness } from "./harness.ts";

/** What letters stand for. Without values, each stands for itself. */
export type MarbleValues<T> = Readonly<Record<string, T>>;

/** How diagrams are read. */
export interface MarbleOptions {
  /** Event time from one character to the next, milliseconds. Default 1. */
  readonly frameMs?: number;
}

/** A stream as a diagram shows it. */
export interface Marbles<T> {
  readonly diagram: string;
  /** In order of time. */
  readonly records: readonly { readonly value: T; readonly timestamp: number }[];
  /** Event time of the end; undefined for a diagram without `|`. */
  readonly endMs: number | undefined;
  /** The records with their timestamps, and a watermark after each, as a source of a program; ends whether the diagram does or not. */
  toStream(environment: Environment): DataStream<T>;
}

/**
 * Reads a diagram: `marbles("--a--b|", { a: 1, b: 2 })`.
 * @throws GraphError for a diagram that no stream can have.
 */
export function marbles(diagram: string, values?: undefined, options?: MarbleOptions): Marbles<string>;
export function marbles<T>(diagram: string, values: MarbleValues<T>, options?: MarbleOptions): Marbles<T>;
export function marbles(diagram: string, values?: MarbleValues<unknown>, { frameMs = 1 }: MarbleOptions = {}): Marbles<unknown> {
  const bad = (why: string): GraphError => new GraphError(`The diagram ${describe(diagram)} ${why}.`);
  if (!(frameMs > 0)) throw new GraphError(`marbles(…, { frameMs }) is ${describe(frameMs)}; give a number > 0.`);
  const records: { value: unknown; timestamp: number }[] = [];
  let frame = 0;
  let group: number | undefined;
  let endMs: number | undefined;
  for (let at = 0; at < diagram.length; at++) {
    const character = diagram[at] as string;
    if (character === " ") continue;
    const progress = (at === 0 || diagram[at - 1] === " ") ? /^(\d+(?:\.\d+)?)(ms|s|m)(?= )/.exec(diagram.slice(at)) : null;
    if (progress !== null) {
      const [text, amount, unit] = progress as unknown as [string, string, "ms" | "s" | "m"];
      if (group !== undefined) throw bad(`lets time pass inside of a group, by ${text}`);
      frame += (Number(amount) * { ms: 1, s: 1_000, m: 60_000 }[unit]) / frameMs;
      at += text.length - 1;
      continue;
    }
    if (/[#^!]/.test(character)) {
      throw bad(`has a ${character}, which streams don't: an error fails the task, so expect(() => harness.play(…)).toThrow(…)`);
    }
    if (endMs !== undefined && character !== ")" && character !== "-") throw bad("goes on after its end");
    const here = (group ?? frame) * frameMs;
    if (character === "(") {
      if (group !== undefined) throw bad("opens a group inside of a group");
      group = frame;
    } else if (character === ")") {
      if (group === undefined) throw bad("closes a group that it has not opened");
      group = undefined;
    } else if (character === "|") endMs = here;
    else if (character !== "-") {
      if (values !== undefined && !Object.hasOwn(values, character)) throw bad(`has the letter ${character}, which the values don't have`);
      records.push({ value: values === undefined ? character : values[character], timestamp: here });
    } else if (group !== undefined) throw bad("lets time pass inside of a group");
    frame++;
  }
  if (group !== undefined) throw bad("opens a group and does not close it");
  return {
    diagram,
    records,
    endMs,
    toStream: (environment) =>
      environment
        .from(records)
        .name(`Source: ${diagram}`)
        .withTimestamps((record) => record.timestamp, { punctuated: (_record, timestamp) => timestamp - 1 })
        .map((record) => record.value),
  };
}

/** A diagram of records, for messages. Values that no letter stands for are `?`; `@7ms` says a time that the group before it covers. */
export function diagramOf(
  records: readonly StreamRecord<unknown>[], endMs: number | undefined, values: MarbleValues<unknown>, frameMs = 1,
): string {
  const letterOf = (value: unknown): string =>
    Object.keys(values).find((letter) => isDeepStrictEqual(values[letter], value)) ??
    (typeof value === "string" && value.length === 1 && !Object.hasOwn(values, value) ? value : "?");
  const groups = new Map<number, string>();
  for (const { value, timestamp = Number.NaN } of records) {
    const frame = timestamp / frameMs;
    groups.set(frame, (groups.get(frame) ?? "") + letterOf(value));
  }
  if (endMs !== undefined) groups.set(endMs / frameMs, `${groups.get(endMs / frameMs) ?? ""}|`);
  let text = "";
  let frame = 0;
  for (const [at, letters] of [...groups].sort(([a], [b]) => a - b)) {
    const gap = at - frame;
    if (gap < 0) text += ` @${at * frameMs}ms `;
    else if (!Number.isInteger(gap) || gap > 20) text += ` ${gap * frameMs}ms `;
    else text += "-".repeat(gap);
    const shown = letters.length > 1 ? `(${letters})` : letters;
    text += shown;
    frame = at + shown.length;
  }
  return text;
}

/** What a diagram is compared to. Made by `expectStream`. */
export interface StreamExpectation<Result> {
  /**
   * Compares records and their event times with a diagram. Records stand at their timestamps, those of one timestamp in the order in which
   * they left. The end stands where the input ended, or at the last record if that is later.
   * @throws AssertionError (with both diagrams) when they differ.
   */
  toBe(diagram: string, values?: MarbleValues<unknown>, options?: MarbleOptions): Result;
}

/**
 * Expects a stream to be as a diagram shows it.
 * - Of a harness: what its `output` has given so far, taken or not: `harness.play(marbles("a-b|")); expectStream(harness).toBe("a-b|")`.
 * - Of a stream of a program: runs a job of it, and resolves when it agrees: `await expectStream(stream).toBe("a-b-(c|)")`. When a
 *   job's input ended is not known afterwards, so the `|` may stand anywhere behind the last record.
 */
export function expectStream(harness: TestHarness<never[], { output: unknown }>): StreamExpectation<void>;
export function expectStream(stream: DataStream<never> | DataStream<unknown>): StreamExpectation<Promise<void>>;
export function expectStream(
  tested: TestHarness<never[], { output: unknown }> | DataStream<never> | DataStream<unknown>,
): StreamExpectation<void | Promise<void>> {
  return {
    toBe(diagram, values, options = {}) {
      const expected = marbles<unknown>(diagram, values as MarbleValues<unknown>, options);
      if (tested instanceof DataStream) {
        const timed = (tested as DataStream<unknown>).process<StreamRecord<unknown>>((value, context, out) =>
          out.collect({ value, timestamp: context.timestamp }),
        );
        return timed.collect().then((records) => compare(records, expected.endMs, expected, values, options));
      }
      const { output } = tested;
      const lastMs = output.records.reduce((latest, { timestamp = latest }) => Math.max(latest, timestamp), tested.endedAtMs ?? 0);
      compare(output.records, output.ended ? lastMs : undefined, expected, values, options);
    },
  };
}

function compare(
  records: readonly StreamRecord<unknown>[],
  endMs: number | undefined,
  expected: Marbles<unknown>,
  values: MarbleValues<unknown> = {},
  { frameMs }: MarbleOptions,
): void {
  // Stable: records of one time stay in the order in which they left.
  const sorted = [...records].sort((a, b) => (a.timestamp ?? Number.NaN) - (b.timestamp ?? Number.NaN));
  const untimed = sorted.find(({ timestamp }) => timestamp === undefined);
  if (untimed !== undefined) {
    throw new GraphError(`The record ${describe(untimed.value)} has no timestamp, so it stands nowhere in a diagram; compare take() instead.`);
  }
  const actual = diagramOf(sorted, endMs, values, frameMs);
  try {
    deepStrictEqual({ records: sorted, endMs }, { records: expected.records, endMs: expected.endMs });
  } catch (error) {
    const failure = error as Error;
    failure.message = `The stream is not as drawn.\n  drawn:  ${expected.diagram.trim()}\n  stream: ${actual}\n${failure.message}`;
    throw failure;
  }
}
