/**
 * Windows: which stretches of time a record belongs to. A window [start, end) holds the records with start ≤ timestamp < end and is
 * complete when the watermark reaches end − 1. Window descriptions are plain data.
 */
import { GraphError, describe } from "../types/errors.ts";
import { type Duration, durationMs } from "../types/duration.ts";

/** A stretch of time: start included, end excluded. Milliseconds since the epoch. */
export interface TimeWindow {
  readonly start: number;
  readonly end: number;
}

/** Windows of one length, one after the other. */
export interface TumblingWindows {
  readonly kind: "tumbling";
  readonly sizeMs: number;
  readonly offsetMs: number;
}

export type WindowDescription = TumblingWindows;

export interface WindowOptions {
  /** Shifts where windows begin: `hours(-9)` gives days of UTC+9. Default 0: aligned to the epoch. */
  readonly offset?: Duration;
}

/**
 * Tumbling event-time windows (Flink: TumblingEventTimeWindows).
 * @throws GraphError when the size is not a positive duration.
 */
export function tumbling(size: Duration, options: WindowOptions = {}): TumblingWindows {
  const sizeMs = positive(size, "tumbling(size)");
  return { kind: "tumbling", sizeMs, offsetMs: offsetMs(options.offset) };
}

/** The end of the aligned window of length `sizeMs` that holds a timestamp. */
export function windowEnd(timestamp: number, sizeMs: number, offset: number): number {
  return Math.floor((timestamp - offset) / sizeMs) * sizeMs + offset + sizeMs;
}

function positive(value: Duration, what: string): number {
  const ms = durationMs(value, what);
  if (ms <= 0 || !Number.isInteger(ms)) throw new GraphError(`${what} is ${describe(value)}; give a whole number of milliseconds > 0, e.g. seconds(10).`);
  return ms;
}

/** An offset may be negative, which durations may not. */
function offsetMs(value: Duration | undefined): number {
  if (value === undefined) return 0;
  return typeof value === "number" ? value : durationMs(value, "the window's offset");
}
