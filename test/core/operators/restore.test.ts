/** Operators whose state is laid out by hand, stopped and restored in the middle of their input: what leaves must be the same. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { average, session, sliding, StateError, tumbling } from "../../../src/core/index.ts";
import { noClasses } from "../../../src/core/data/classes.ts";
import { keyGroupOf, subtaskOfKeyGroup } from "../../../src/core/data/key-groups.ts";
import { keyToken } from "../../../src/core/data/keys.ts";
import type { ChainCode, Operator, OperatorContext, OperatorKind } from "../../../src/core/operators/operator.ts";
import { processOperator } from "../../../src/core/operators/process.ts";
import { reduceOperator } from "../../../src/core/operators/reduce.ts";
import { windowOperator } from "../../../src/core/operators/window.ts";
import { type CheckpointedStates, SubtaskStates } from "../../../src/core/state/operator-states.ts";
import type { SnapshotInProgress } from "../../../src/core/state/snapshot.ts";
import { Configuration } from "../../../src/core/types/options.ts";
import { restored, stored, StoredFile } from "../state/snapshots.ts";

const MAX_PARALLELISM = 8;

interface Row {
  readonly key: unknown;
  readonly value: number;
}

/** One subtask of an operator, without a task around it. */
class Subtask {
  readonly states: CheckpointedStates;
  readonly operator: Operator;
  readonly #process: (value: unknown, timestamp: number) => void;

  constructor(kind: OperatorKind<never>, spec: unknown, states: CheckpointedStates, out: string[]) {
    this.states = states;
    const context: OperatorContext = {
      operatorId: "op", operatorName: "op", jobName: "job", taskName: "op", subtask: 0, parallelism: 1, maxParallelism: MAX_PARALLELISM, attempt: 1,
      configuration: Configuration.empty, states, now: () => 0,
      emit: (value, timestamp) => void out.push(JSON.stringify([value, timestamp])),
      emitSide: () => undefined, emitWatermark: () => undefined, emitIdle: () => undefined, wake: () => undefined,
      count: (metric) => void (metric === "numLateRecordsDropped" && out.push("late")),
    } as Partial<OperatorContext> as OperatorContext;
    this.operator = kind.create(spec as never, context);
    void this.operator.open?.();
    const inline = this.operator.inline;
    if (inline === undefined) this.#process = (value, timestamp) => this.operator.process?.(value, timestamp);
    else {
      const constants = new Map<string, unknown>();
      let names = 0;
      const code = {
        constant: (hint: string, value: unknown) => {
          constants.set(`${hint}${++names}`, value);
          return `${hint}${names}`;
        },
        name: (hint: string) => `${hint}${++names}`,
      } as Partial<ChainCode> as ChainCode;
      const body = inline.call(this.operator, code, "value", "timestamp", 0);
      this.#process = new Function(...constants.keys(), `return (value, timestamp) => { ${body} };`)(...constants.values()) as (value: unknown, timestamp: number) => void;
    }
  }

  process(row: Row, timestamp: number): void {
    this.#process(row, timestamp);
  }
}

type Event = { readonly row: Row; readonly timestamp: number } | { readonly watermark: number } | "barrier" | "work";

function run(kind: OperatorKind<never>, spec: () => unknown, events: readonly Event[], parallelisms: readonly number[]): string[] {
  const out: string[] = [];
  let at = 0;
  const fresh = (): CheckpointedStates => new SubtaskStates({ stateId: "op", maxParallelism: MAX_PARALLELISM, classes: noClasses, now: () => 0 });
  let subtasks = Array.from({ length: parallelisms[0] as number }, () => new Subtask(kind, spec(), fresh(), out));
  let writing: { snapshots: SnapshotInProgress[]; files: StoredFile[]; out: number; rest: number } | undefined;
  for (let next = 0; next < events.length; next++) {
    const event = events[next] as Event;
    if (event === "barrier") {
      if (parallelisms.length < 2) continue;
      if (writing === undefined) {
        // From here on work goes on while the snapshot is written, until at the next barrier everything fails.
        for (const { operator } of subtasks) operator.prepareSnapshot?.(1);
        writing = { snapshots: subtasks.map(({ states }) => states.freeze(1)), files: subtasks.map(() => new StoredFile()), out: out.length, rest: next };
        continue;
      }
      const from = stored(writing.snapshots, writing.files);
      const parallelism = parallelisms[++at % parallelisms.length] as number;
      subtasks = Array.from({ length: parallelism }, (_, subtask) => new Subtask(kind, spec(), restored(from, subtask, parallelism, MAX_PARALLELISM), out));
      out.length = writing.out;
      next = writing.rest;
      writing = undefined;
      if (at > 20) return out;
      // The barriers passed so far are spent.
      events = events.map((it, index) => (it === "barrier" && index <= next + 1 ? "work" : it));
    } else if (event === "work") {
      for (const [index, snapshot] of writing?.snapshots.entries() ?? []) snapshot.work(0, (writing?.files[index] as StoredFile).write);
    } else if ("watermark" in event) for (const { operator } of subtasks) operator.onWatermark?.(event.watermark);
    else {
      const owner = subtaskOfKeyGroup(keyGroupOf(keyToken(event.row.key), MAX_PARALLELISM), subtasks.length, MAX_PARALLELISM);
      (subtasks[owner] as Subtask).process(structuredClone(event.row), event.timestamp);
    }
  }
  return out;
}

const key = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constantFrom<unknown>("zone", "a rather long name of a zone", [1, "a"], { b: 1, a: [2] }));
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ row: fc.record({ key, value: fc.integer({ min: 0, max: 9 }) }), timestamp: fc.integer({ min: 0, max: 90 }) }) },
  { weight: 3, arbitrary: fc.record({ watermark: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 2, arbitrary: fc.constant("barrier" as const) },
  { weight: 1, arbitrary: fc.constant("work" as const) },
);
/** Watermarks rise. */
const events = fc.array(event, { maxLength: 80, size: "max" }).map((list): Event[] => {
  let highest = -1;
  return [...list.map((it) => (typeof it === "object" && "watermark" in it ? { watermark: (highest += it.watermark) } : it)), { watermark: 1_000 }];
});

const keyOf = ({ key: of }: Row): unknown => of;
const mean = { ...average<Row>(({ value }) => value), getResult: (it: { sum: number; count: number }) => it };
const usedUp = (it: { sum: number; count: number }): unknown => {
  const result = { ...it };
  it.sum = -1;
  return result;
};
const finish = (result: unknown, context: { key: unknown; window: unknown }): unknown => ({ ...context, result, token: String(keyToken(context.key)) });
/** Keys whose order of fields says nothing. */
const canonical = (rows: readonly string[]): string[] => rows.map((row) => row.replaceAll('"key":{"b":1,"a":[2]}', '"key":{"a":[2],"b":1}')).sort();

const counter = {
  open(this: Record<string, unknown>, context: { state(d: unknown): unknown }): void {
    this["seen"] = context.state({ kind: "value", name: "seen", initial: 0 });
  },
  processElement(this: Record<string, { value(): number; update(n: number): void }>, row: Row, context: { timers: { registerEventTimeTimer(t: number): void } }): void {
    const seen = this["seen"] as { value(): number; update(n: number): void };
    seen.update(seen.value() + row.value);
    context.timers.registerEventTimeTimer(row.value * 7);
  },
  onTimer(this: Record<string, { value(): number }>, time: number, context: { key: unknown }, out: { collect(v: unknown): void }): void {
    out.collect([String(keyToken(context.key)), time, (this["seen"] as { value(): number }).value()]);
  },
};

describe("operators give the same results when they are restored in the middle, at other parallelisms", () => {
  test.each([
    ["tumbling windows", windowOperator, { kind: "window", key: keyOf, window: tumbling(10), aggregate: mean, finish }],
    ["tumbling windows whose results use up the accumulator", windowOperator, { kind: "window", key: keyOf, window: tumbling(10), aggregate: { ...mean, getResult: usedUp }, finish }],
    ["sliding windows", windowOperator, { kind: "window", key: keyOf, window: sliding(20, 5), aggregate: mean, finish }],
    ["session windows", windowOperator, { kind: "window", key: keyOf, window: session(6), aggregate: mean, finish }],
    ["reduce", reduceOperator, { kind: "reduce", key: keyOf, reduce: (a: Row, b: Row) => ({ key: 0, value: a.value + b.value }) }],
    ["a process function with timers", processOperator, { kind: "process", key: keyOf, function: counter }],
  ] as const)("%s", (_name, kind, spec) => {
    const make = (): unknown => ("function" in spec ? { ...spec, function: { ...spec.function } } : spec);
    fc.assert(
      fc.property(events, fc.array(fc.integer({ min: 1, max: MAX_PARALLELISM }), { minLength: 2, maxLength: 4 }), (input, parallelisms) => {
        const expected = run(kind as OperatorKind<never>, make, input, [1]);
        expect(canonical(run(kind as OperatorKind<never>, make, input, parallelisms))).toEqual(canonical(expected));
      }),
      { numRuns: 50 },
    );
  });

  test("windows of another kind than those that were restored are refused", () => {
    const out: string[] = [];
    const spec = { kind: "window", key: keyOf, window: tumbling(10), aggregate: mean } as const;
    const first = new Subtask(windowOperator as OperatorKind<never>, spec, new SubtaskStates(), out);
    first.process({ key: 1, value: 1 }, 5);
    first.operator.prepareSnapshot?.(1);
    const from = stored([first.states.freeze(1)]);
    const again = (): unknown => new Subtask(windowOperator as OperatorKind<never>, { ...spec, window: tumbling(15) }, restored(from, 0, 1, 128), out);
    expect(again).toThrow(StateError);
    expect(again).toThrow(/has windows .*15.* but what was restored for it are windows .*10/);
  });
});
