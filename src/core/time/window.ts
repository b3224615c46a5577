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

/** Windows of one length that begin at regular times, whatever the records are. */
export interface AlignedWindows {
  readonly kind: "aligned";
  readonly sizeMs: number;
  /** A window begins every so often. Tumbling: the size. */
  readonly slideMs: number;
  readonly offsetMs: number;
}

/** Windows per key that last as long as records follow each other closely enough. */
export interface SessionWindows {
  readonly kind: "session";
  readonly gapMs: number;
}

export type WindowDescription = AlignedWindows | SessionWindows;

export interface WindowOptions {
  /** Shifts where windows begin: `hours(-9)` gives days of UTC+9. Default 0: aligned to the epoch. */
  readonly offset?: Duration;
}

/**
 * Windows of one length, one after the other (Flink: TumblingEventTimeWindows).
 * @throws GraphError when the size is not a positive duration.
 */
export function tumbling(size: Duration, options: WindowOptions = {}): AlignedWindows {
  const sizeMs = positive(size, "tumbling(size)");
  return { kind: "aligned", sizeMs, slideMs: sizeMs, offsetMs: offsetMs(options.offset) };
}

/**
 * Windows of one length that overlap: one begins every `slide` (Flink: SlidingEventTimeWindows).
 * @throws GraphError when size or slide is not a positive duration, or the slide is longer than the size (records would fall between).
 */
export function sliding(size: Duration, slide: Duration, options: WindowOptions = {}): AlignedWindows {
  const sizeMs = positive(size, "sliding(size, …)");
  const slideMs = positive(slide, "sliding(…, slide)");
  if (slideMs > sizeMs) {
    throw new GraphError(
      `sliding(${describe(size)}, ${describe(slide)}): the slide is longer than the window, so records would fall between windows.`,
    );
  }
  return { kind: "aligned", sizeMs, slideMs, offsetMs: offsetMs(options.offset) };
}

/**
 * Per key, a window from a record to `gap` after the last one that came less than (or exactly) `gap` after the one before it
 * (Flink: EventTimeSessionWindows).
 * @throws GraphError when the gap is not a positive duration.
 */
export function session(gap: Duration): SessionWindows {
  return { kind: "session", gapMs: positive(gap, "session(gap)") };
}

/** The end of the aligned stretch of length `lengthMs` that holds a timestamp. */
export function stretchEnd(timestamp: number, lengthMs: number, offset: number): number {
  return Math.floor((timestamp - offset) / lengthMs) * lengthMs + offset + lengthMs;
}

/** The longest stretch that every window is made of: the greatest common divisor of size and slide. */
export function sliceLength({ sizeMs, slideMs }: AlignedWindows): number {
  let [a, b] = [sizeMs, slideMs];
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

function positive(value: Duration, what: string): number {
  const ms = durationMs(value, what);
  if (ms <= 0 || !Number.isInteger(ms))
    throw new GraphError(`${what} is ${describe(value)}; give a whole number of milliseconds > 0, e.g. seconds(10).`);
  return ms;
}

/** An offset may be negative, which durations may not. */
function offsetMs(value: Duration | undefined): number {
  if (value === undefined) return 0;
  return typeof value === "number" ? value : durationMs(value, "the window's offset");
}
