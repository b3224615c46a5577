/**
 * WindowedStream: a stream cut into windows, and what is to become of each. Nothing is added to the program before a function is given;
 * then the operator is chosen: aligned event-time windows and sessions that aggregate and fire once have a fast one each (`window`),
 * everything else has the general one (`triggeredWindow`).
 */
import type { AggregateFunction } from "../operators/aggregates.ts";
import { type Evictor, checkedEvictor, countEvictor } from "../operators/evictor.ts";
import type { Collector, SideOutput } from "../operators/function.ts";
import {
  type Trigger,
  canMerge,
  checkedTrigger,
  countTrigger,
  endOfStreamTrigger,
  eventTimeTrigger,
  neverTrigger,
  processingTimeTrigger,
  purging,
  usesEventTime,
} from "../operators/trigger.ts";
import type { WindowContext } from "../operators/window.ts";
import type { ProcessWindowContext, ProcessWindowFunction } from "../operators/window-function.ts";
import type { KeySelector, StreamNodeOptions } from "../graph/stream-graph.ts";
import { type WindowDescription, isMerging, sliceLength } from "../time/window.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { DataStream } from "./data-stream.ts";
import type { FieldOf, Summable } from "./sequences.ts";
import { functionOf, specOf } from "./spec.ts";

/** What is known of the windows of a stream. Without the type of its records, which would keep streams of subtypes apart. */
interface WindowSettings {
  readonly window: WindowDescription;
  readonly key: KeySelector;
  readonly hasTimestamps: boolean;
  readonly trigger?: Trigger;
  readonly evictor?: Evictor;
  readonly latenessMs?: number;
  readonly lateOutput?: string;
}

type AddOperator = <Out>(options: Omit<StreamNodeOptions, "inputs">) => DataStream<Out>;

/** A function of a window's records, or of their one aggregate. */
export type WindowFunction<In, Out, K> =
  | ProcessWindowFunction<In, Out, K>
  | ((elements: readonly In[], context: ProcessWindowContext<K>, out: Collector<Out>) => void);

/** A stream cut into windows. Each method that sets something returns a new one. */
export class WindowedStream<T, K> {
  readonly #add: AddOperator;
  readonly #settings: WindowSettings;

  /** @throws GraphError when the windows are none, or of event time and the stream has no timestamps. */
  constructor(add: AddOperator, settings: WindowSettings) {
    this.#add = add;
    this.#settings = settings;
    const { window, hasTimestamps, trigger } = settings;
    if (window === null || typeof window !== "object" || typeof window.kind !== "string") {
      throw new GraphError(`window() got ${describe(window)}; give it tumbling(seconds(10)) or another window.`);
    }
    if (hasTimestamps) return;
    if (window.time === "event") {
      throw new GraphError(
        "window() needs event time, and no operator before it assigns timestamps; write .withTimestamps((record) => …) first.",
      );
    }
    if (trigger !== undefined && usesEventTime(trigger)) {
      throw new GraphError(
        "The trigger goes by event time, and no operator before the window assigns timestamps; write .withTimestamps((record) => …) first.",
      );
    }
  }

  /**
   * When windows fire, in place of what is usual for them: at their end, by their clock; a global window never.
   * @throws GraphError when the windows merge and the trigger can't.
   */
  trigger(trigger: Trigger<T>): WindowedStream<T, K> {
    checkedTrigger(trigger as Trigger, "trigger()");
    if (isMerging(this.#settings.window) && !canMerge(trigger as Trigger)) {
      throw new GraphError("The windows merge, and the trigger can't: a delta trigger never can, one of your own needs onMerge().");
    }
    return this.#with({ trigger: trigger as Trigger });
  }

  /** Which of its records a window forgets when it fires. Such a window keeps all its records until then. */
  evictor(evictor: Evictor<T>): WindowedStream<T, K> {
    return this.#with({ evictor: checkedEvictor(evictor as Evictor) });
  }

  /**
   * How much event time windows live on after their end: records that come then are added, and fire the window again. Default 0.
   * @throws GraphError unless the windows are of event time.
   */
  allowedLateness(lateness: Duration): WindowedStream<T, K> {
    const latenessMs = durationMs(lateness, "allowedLateness()");
    if (this.#settings.window.time !== "event") {
      throw new GraphError("allowedLateness() is for windows of event time; no record is late for the wall clock or a global window.");
    }
    return this.#with({ latenessMs });
  }

  /** Records that come after their windows were over go to a side output instead of being dropped. */
  lateTo(tag: SideOutput<T>): WindowedStream<T, K> {
    return this.#with({ lateOutput: tag.id });
  }

  /** The same as `lateTo`, under Flink's name. */
  sideOutputLateData(tag: SideOutput<T>): WindowedStream<T, K> {
    return this.lateTo(tag);
  }

  /**
   * One result per key and window whenever it fires: the aggregate's, or what `finish` makes of it with the key and the window, or what a
   * ProcessWindowFunction does with it. Records are aggregated as they come, unless there is an evictor.
   * @throws GraphError when windows that merge are given an aggregate without `merge`.
   */
  aggregate<Acc, Result>(aggregate: AggregateFunction<T, Acc, Result>): DataStream<Result>;
  aggregate<Acc, Result, Out>(
    aggregate: AggregateFunction<T, Acc, Result>,
    finish: (result: Result, context: WindowContext<K>) => Out,
  ): DataStream<Out>;
  aggregate<Acc, Result, Out>(
    aggregate: AggregateFunction<T, Acc, Result>,
    finish: ProcessWindowFunction<Result, Out, K>,
  ): DataStream<Out>;
  aggregate(
    aggregate: AggregateFunction<T, never, never>,
    finish?: ((result: never, context: WindowContext<K>) => unknown) | ProcessWindowFunction<never, unknown, K>,
  ): DataStream<unknown> {
    for (const name of ["createAccumulator", "add", "getResult"] as const) functionOf(aggregate?.[name], `aggregate(): ${name}`);
    if (aggregate.merge !== undefined) functionOf(aggregate.merge, "aggregate(): merge");
    const { window, key, trigger, evictor, latenessMs = 0, lateOutput } = this.#settings;
    if (aggregate.merge === undefined && isMerging(window) && evictor === undefined) {
      throw new GraphError(
        "The aggregate has no merge(a, b), which sessions need when they join; add one that makes one accumulator of two.",
      );
    }
    // Overlapping windows share their parts in the fast operator, if parts can be put together.
    const shareable = aggregate.merge !== undefined || (window.kind === "aligned" && sliceLength(window) === window.sizeMs);
    const fast =
      window.time === "event" && trigger === undefined && evictor === undefined && latenessMs === 0 &&
      (window.kind === "session" || (window.kind === "aligned" && shareable));
    if (!fast) return this.#general({ aggregate, ...finisher(finish) });
    return this.#add<unknown>({
      name: "window",
      spec: specOf("window", {
        key, window, aggregate,
        ...finisher(finish),
        ...(lateOutput === undefined ? {} : { lateOutput }),
      }),
    });
  }

  /** Per key and window, all records combined two by two, as they come; or what `finish` makes of that. */
  reduce(reduce: (a: T, b: T) => T): DataStream<T>;
  reduce<Out>(reduce: (a: T, b: T) => T, finish: (result: T, context: WindowContext<K>) => Out): DataStream<Out>;
  reduce<Out>(reduce: (a: T, b: T) => T, finish: ProcessWindowFunction<T, Out, K>): DataStream<Out>;
  reduce(
    reduce: (a: T, b: T) => T, finish?: ((result: never, context: WindowContext<K>) => unknown) | ProcessWindowFunction<never, unknown, K>,
  ): DataStream<T> | DataStream<unknown> {
    const combine = functionOf(reduce, "reduce()");
    const { window, trigger, evictor, latenessMs = 0 } = this.#settings;
    const fast = window.time === "event" && (window.kind === "aligned" || window.kind === "session");
    if (!fast || trigger !== undefined || evictor !== undefined || latenessMs > 0) {
      return this.#general({ reduce: combine, ...finisher(finish) });
    }
    const aggregate: AggregateFunction<T, { value: T } | undefined, T> = {
      createAccumulator: () => undefined,
      add: (value, accumulator) => ({ value: accumulator === undefined ? value : combine(accumulator.value, value) }),
      getResult: (accumulator) => (accumulator as { value: T }).value,
      merge: (a, b) => (a === undefined ? b : b === undefined ? a : { value: combine(a.value, b.value) }),
    };
    return finish === undefined ? this.aggregate(aggregate) : this.aggregate(aggregate, finish as never);
  }

  /**
   * Per key and window, a function of all its records, whenever it fires. The records are kept until then; `aggregate(…, finish)` keeps an
   * accumulator only.
   */
  process<Out>(process: WindowFunction<T, Out, K>): DataStream<Out> {
    return this.#general<Out>({ function: windowFunction(process) });
  }

  /** As `process`, for a function that returns its results. */
  apply<Out>(apply: (elements: readonly T[], context: ProcessWindowContext<K>) => Iterable<Out>): DataStream<Out> {
    const results = functionOf(apply, "apply()");
    return this.process<Out>((elements, context, out) => {
      for (const result of results(elements, context)) out.collect(result);
    });
  }

  /** Per key and window, the number of records. */
  count(): DataStream<{ readonly key: K; readonly start: number; readonly end: number; readonly count: number }> {
    const counting: AggregateFunction<T, number, number> = {
      createAccumulator: () => 0,
      add: (_value, accumulator) => accumulator + 1,
      getResult: (accumulator) => accumulator,
      merge: (a, b) => a + b,
    };
    return this.aggregate(counting, (result, { key, window }) => ({ key, start: window.start, end: window.end, count: result }));
  }

  /**
   * Per key and window, the sum of a field; the other fields are those of the window's first record (Flink). With a function, the sum of
   * what it returns, and nothing else.
   */
  sum<Field extends FieldOf<T>>(field: Field & Summable<T[Field]>): DataStream<T>;
  sum(value: (record: T) => number): DataStream<number>;
  sum(value: string | ((record: T) => number)): DataStream<T> | DataStream<number> {
    if (typeof value === "string") {
      return this.reduce((a: T, b: T): T => {
        const total = (a[value as keyof T] as number) + (b[value as keyof T] as number);
        return Object.assign(Object.create(Object.getPrototypeOf(a) as object) as object, a, { [value]: total });
      });
    }
    const select = functionOf(value, "sum()");
    const adding: AggregateFunction<T, number, number> = {
      createAccumulator: () => 0,
      add: (record, sum) => sum + select(record),
      getResult: (sum) => sum,
      merge: (a, b) => a + b,
    };
    return this.aggregate(adding);
  }

  /** Per key and window, the lowest value of a field; the other fields are those of the window's first record (Flink). */
  min(field: FieldOf<T>): DataStream<T> {
    const name = fieldOf<T>(field, "min()");
    return this.reduce((a: T, b: T): T =>
      b[name] < a[name] ? Object.assign(Object.create(Object.getPrototypeOf(a) as object) as object, a, { [name]: b[name] }) : a,
    );
  }

  /** Per key and window, the highest value of a field; the other fields are those of the window's first record (Flink). */
  max(field: FieldOf<T>): DataStream<T> {
    const name = fieldOf<T>(field, "max()");
    return this.reduce((a: T, b: T): T =>
      b[name] > a[name] ? Object.assign(Object.create(Object.getPrototypeOf(a) as object) as object, a, { [name]: b[name] }) : a,
    );
  }

  /** Per key and window, the record with the lowest value; of several, the first. */
  minBy(by: FieldOf<T> | ((record: T) => number | string | bigint | Date)): DataStream<T> {
    const select = valueOf(by, "minBy()");
    return this.reduce((a, b) => (select(b) < select(a) ? b : a));
  }

  /** Per key and window, the record with the highest value; of several, the first. */
  maxBy(by: FieldOf<T> | ((record: T) => number | string | bigint | Date)): DataStream<T> {
    const select = valueOf(by, "maxBy()");
    return this.reduce((a, b) => (select(b) > select(a) ? b : a));
  }

  #general<Out>(parameters: Readonly<Record<string, unknown>>): DataStream<Out> {
    const { window, key, trigger, evictor, latenessMs = 0, lateOutput } = this.#settings;
    return this.#add<Out>({
      name: "window",
      spec: specOf("triggeredWindow", {
        key, window, trigger: trigger ?? usualTrigger(window), latenessMs, ...parameters,
        ...(evictor === undefined ? {} : { evictor }),
        ...(lateOutput === undefined ? {} : { lateOutput }),
      }),
    });
  }

  #with(settings: Partial<WindowSettings>): WindowedStream<T, K> {
    return new WindowedStream(this.#add, { ...this.#settings, ...settings });
  }
}

/** Windows of so many records over a stream's global window. @throws GraphError unless the numbers are positive integers. */
export function countWindows<T, K>(windowed: WindowedStream<T, K>, size: number, slide?: number): WindowedStream<T, K> {
  for (const [name, value] of [["size", size], ["slide", slide ?? 1]] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw new GraphError(`countWindow() got the ${name} ${describe(value)}; give a number of records, an integer ≥ 1.`);
    }
  }
  return slide === undefined
    ? windowed.trigger(purging(countTrigger(size)))
    : windowed.trigger(countTrigger(slide)).evictor(countEvictor(size));
}

/** @throws GraphError unless it is a name. */
function fieldOf<T>(field: FieldOf<T>, where: string): keyof T {
  if (typeof field === "string") return field;
  throw new GraphError(`${where} got ${describe(field)}; it takes the name of a field.`);
}

/** A function that reads what is compared. */
function valueOf<T>(by: FieldOf<T> | ((record: T) => unknown), where: string): (record: T) => number | string {
  if (typeof by === "string") return (record) => record[by] as number;
  return functionOf(by, where) as (record: T) => number;
}

/** When windows fire if nothing else is said. */
function usualTrigger(window: WindowDescription): Trigger {
  if (window.time === "event") return eventTimeTrigger();
  if (window.time === "processing") return processingTimeTrigger();
  return window.kind === "global" && window.atEnd ? endOfStreamTrigger() : neverTrigger();
}

function finisher(finish: unknown): Readonly<Record<string, unknown>> {
  if (finish === undefined) return {};
  return typeof finish === "function" ? { finish } : { function: windowFunction(finish) };
}

/** A window function object as it is; a plain function as one. */
function windowFunction(given: unknown): unknown {
  if (typeof given === "function") return { process: given };
  if (typeof (given as { process?: unknown } | null)?.process === "function") return given;
  throw new GraphError(
    `process() of a window got ${describe(given)}; it takes a ProcessWindowFunction or a function (elements, context, out).`,
  );
}
