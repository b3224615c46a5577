/**
 * Which records of a window its function does not get to see (Flink: Evictor). An evictor looks at all records that a window keeps whenever
 * it fires, before the function runs, after it, or both; what it takes out is gone. A window with an evictor keeps its records, so
 * nothing is aggregated before it fires.
 */
import type { TimeWindow } from "../time/window.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, InvariantError, RecordError, describe } from "../types/errors.ts";

/** A record that a window keeps. */
export interface TimestampedValue<T> {
  readonly value: T;
  /** NaN when the stream has no timestamps. */
  readonly timestamp: number;
}

/** What a custom evictor can know. */
export interface EvictorContext {
  currentWatermark(): number;
  currentProcessingTime(): number;
}

/** An evictor of the user's own. Its functions return the records that stay, and don't change what they are given. */
export interface CustomEvictor<T = never> {
  /** Before the window function runs. */
  evictBefore?(elements: readonly TimestampedValue<T>[], window: TimeWindow, context: EvictorContext): readonly TimestampedValue<T>[];
  /** After the window function has run. */
  evictAfter?(elements: readonly TimestampedValue<T>[], window: TimeWindow, context: EvictorContext): readonly TimestampedValue<T>[];
}

/** An evictor that drey brings, as data. `after`: it works after the window function instead of before. */
export type EvictorDescription<T = never> =
  | { readonly kind: "count"; readonly count: number; readonly after: boolean }
  | { readonly kind: "time"; readonly sizeMs: number; readonly after: boolean }
  | {
      readonly kind: "delta";
      readonly threshold: number;
      distance(record: T, last: T): number;
      readonly after: boolean;
    };

/** Any evictor of windows of records of type T. */
export type Evictor<T = never> = EvictorDescription<T> | CustomEvictor<T>;

/** When an evictor works. */
export interface EvictorOptions {
  /** After the window function, not before. Default false. */
  readonly after?: boolean;
}

/** Keeps the last so many records. @throws GraphError unless the count is an integer ≥ 0. */
export function countEvictor(count: number, { after = false }: EvictorOptions = {}): EvictorDescription<unknown> {
  if (!Number.isInteger(count) || count < 0) throw new GraphError(`countEvictor() got ${describe(count)}; give an integer ≥ 0.`);
  return { kind: "count", count, after };
}

/** Keeps the records that are less than `size` older than the newest one. */
export function timeEvictor(size: Duration, { after = false }: EvictorOptions = {}): EvictorDescription<unknown> {
  return { kind: "time", sizeMs: durationMs(size, "timeEvictor(size)"), after };
}

/** Keeps the records that are less than the threshold from the last one. */
export function deltaEvictor<T>(
  threshold: number, distance: (record: T, last: T) => number, { after = false }: EvictorOptions = {},
): EvictorDescription<T> {
  if (typeof threshold !== "number" || Number.isNaN(threshold)) {
    throw new GraphError(`deltaEvictor() got the threshold ${describe(threshold)}; give a number.`);
  }
  if (typeof distance !== "function") throw new GraphError(`deltaEvictor() got ${describe(distance)} as distance; it takes a function.`);
  return { kind: "delta", threshold, distance, after };
}

/** @throws GraphError unless the value is an evictor. */
export function checkedEvictor<T>(evictor: Evictor<T>): Evictor<T> {
  const given = evictor as { kind?: unknown; evictBefore?: unknown; evictAfter?: unknown } | null | undefined;
  const isOne = typeof given?.kind === "string" || typeof given?.evictBefore === "function" || typeof given?.evictAfter === "function";
  if (isOne) return evictor;
  throw new GraphError(`evictor() got ${describe(evictor)}; it takes an evictor such as countEvictor(10), or an object with evictBefore().`);
}

/** The records that a window keeps: values and their timestamps side by side. */
export interface KeptRows {
  rows: unknown[] | undefined;
  times: number[] | undefined;
}

/** An evictor, running: takes records out of a window. */
export interface RunningEvictor {
  evict(kept: KeptRows, window: TimeWindow, context: EvictorContext, when: "before" | "after"): void;
}

/** What the operator calls for an evictor. */
export function runningEvictor(evictor: Evictor): RunningEvictor {
  if (!("kind" in evictor)) return new UserEvictor(evictor as CustomEvictor<unknown>);
  const { after } = evictor;
  const on = (when: "before" | "after"): boolean => (when === "after") === after;
  switch (evictor.kind) {
    case "count": {
      const { count } = evictor;
      return {
        evict: (kept, _window, _context, when) => {
          const rows = kept.rows as unknown[];
          if (on(when) && rows.length > count) retain(kept, (index) => index >= rows.length - count);
        },
      };
    }
    case "time": {
      const { sizeMs } = evictor;
      return {
        evict: (kept, _window, _context, when) => {
          const times = kept.times as number[];
          if (!on(when) || times.length === 0 || Number.isNaN(times[0])) return;
          const oldest = times.reduce((a, b) => Math.max(a, b)) - sizeMs;
          retain(kept, (index) => (times[index] as number) > oldest);
        },
      };
    }
    case "delta": {
      const { threshold } = evictor;
      const distance = evictor.distance as (record: unknown, last: unknown) => number;
      return {
        evict: (kept, _window, _context, when) => {
          const rows = kept.rows as unknown[];
          if (on(when)) retain(kept, (index) => distance(rows[index], rows.at(-1)) < threshold);
        },
      };
    }
    default:
      throw new InvariantError(`No evictor is of kind ${describe(evictor)}.`);
  }
}

function retain(kept: KeptRows, stays: (index: number) => boolean): void {
  const rows = kept.rows as unknown[];
  const times = kept.times as number[];
  const staying = rows.map((_, index) => stays(index));
  kept.rows = rows.filter((_, index) => staying[index]);
  kept.times = times.filter((_, index) => staying[index]);
}

class UserEvictor implements RunningEvictor {
  readonly #evictor: CustomEvictor<unknown>;

  constructor(evictor: CustomEvictor<unknown>) {
    this.#evictor = evictor;
  }

  evict(kept: KeptRows, window: TimeWindow, context: EvictorContext, when: "before" | "after"): void {
    const elements = (kept.rows as unknown[]).map((value, index) => ({ value, timestamp: (kept.times as number[])[index] as number }));
    const evictor = this.#evictor;
    const stay = when === "before" ? evictor.evictBefore?.(elements, window, context) : evictor.evictAfter?.(elements, window, context);
    if (stay === undefined && (when === "before" ? evictor.evictBefore : evictor.evictAfter) === undefined) return;
    if (!Array.isArray(stay)) {
      throw new RecordError(`An evictor returned ${describe(stay)}; it returns the elements that stay, as an array.`);
    }
    kept.rows = stay.map((element: TimestampedValue<unknown>) => element.value);
    kept.times = stay.map((element: TimestampedValue<unknown>) => element.timestamp);
  }
}
