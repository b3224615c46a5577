/**
 * Windows: which stretches of time a record belongs to. A window [start, end) holds the records with start ≤ timestamp < end and is
 * complete when its clock reaches end − 1: the watermark for event time, the wall clock for processing time. Descriptions are plain data.
 */
import { GraphError, describe } from "../types/errors.ts";
import { type Duration, durationMs } from "../types/duration.ts";

/** A stretch of time: start included, end excluded. Milliseconds since the epoch. */
export interface TimeWindow {
  readonly start: number;
  readonly end: number;
}

/** Which clock windows go by: that of the records, or the wall clock of the machine that handles them. */
export type WindowTime = "event" | "processing";

/** Windows of one length that begin at regular times, whatever the records are. */
export interface AlignedWindows {
  readonly kind: "aligned";
  readonly sizeMs: number;
  /** A window begins every so often. Tumbling: the size. */
  readonly slideMs: number;
  readonly offsetMs: number;
  readonly time: WindowTime;
}

/** Windows that begin at regular times and are told several times while they grow. */
export interface CumulativeWindows {
  readonly kind: "cumulative";
  readonly sizeMs: number;
  /** The first of the windows is as long as this, each other one longer by it. Divides the size. */
  readonly stepMs: number;
  readonly offsetMs: number;
  readonly time: WindowTime;
}

/** Windows per key that last as long as records follow each other closely enough. */
export interface SessionWindows {
  readonly kind: "session";
  readonly gapMs: number;
  readonly time: WindowTime;
}

/** Sessions in which each record says how long after it the next one may come. */
export interface DynamicSessionWindows<T = never> {
  readonly kind: "dynamicSession";
  readonly gap: (record: T) => Duration;
  readonly time: WindowTime;
}

/** One window per key that never ends. Its bounds are -Infinity and Infinity. */
export interface GlobalWindows {
  readonly kind: "global";
  /** It fires at the end of a bounded stream. */
  readonly atEnd: boolean;
  /** Neither clock: such windows need no timestamps, and no record is late for them. */
  readonly time: "none";
}

/** Windows that a function of the user's assigns. */
export interface CustomWindows<T = never> {
  readonly kind: "custom";
  readonly assign: (record: T, timestamp: number, processingTime: number) => readonly TimeWindow[];
  /** Windows of one key that overlap or touch become one. */
  readonly merging: boolean;
  readonly time: WindowTime;
}

/** Any of them. Plain data, apart from the functions of records of type T. */
export type WindowDescription<T = never> =
  | AlignedWindows
  | CumulativeWindows
  | SessionWindows
  | DynamicSessionWindows<T>
  | GlobalWindows
  | CustomWindows<T>;

/** What windows that begin at regular times can be given. */
export interface WindowOptions {
  /** Shifts where windows begin: `hours(-9)` gives days of UTC+9. Default 0: aligned to the epoch. */
  readonly offset?: Duration;
  /**
   * Default "event". With "processing", a record belongs to the windows of the moment at which it is handled; windows that are open when
   * the input ends are not told, as in Flink: their time does not come.
   */
  readonly time?: WindowTime;
}

/**
 * Windows of one length, one after the other (Flink: TumblingEventTimeWindows, TumblingProcessingTimeWindows).
 * @throws GraphError when the size is not a positive duration.
 */
export function tumbling(size: Duration, options: WindowOptions = {}): AlignedWindows {
  const sizeMs = positive(size, "tumbling(size)");
  return { kind: "aligned", sizeMs, slideMs: sizeMs, offsetMs: offsetMs(options.offset), time: timeOf(options.time, "tumbling()") };
}

/**
 * Windows of one length that overlap: one begins every `slide` (Flink: SlidingEventTimeWindows, SlidingProcessingTimeWindows).
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
  return { kind: "aligned", sizeMs, slideMs, offsetMs: offsetMs(options.offset), time: timeOf(options.time, "sliding()") };
}

/**
 * Windows that all begin with a stretch of `size` and end after each `step` in it: the day so far, hour by hour (Flink SQL: CUMULATE).
 * @throws GraphError when size or step is not a positive duration, or the step does not divide the size.
 */
export function cumulative(size: Duration, step: Duration, options: WindowOptions = {}): CumulativeWindows {
  const sizeMs = positive(size, "cumulative(size, …)");
  const stepMs = positive(step, "cumulative(…, step)");
  if (sizeMs % stepMs !== 0) {
    throw new GraphError(`cumulative(${describe(size)}, ${describe(step)}): the size is not a multiple of the step.`);
  }
  return { kind: "cumulative", sizeMs, stepMs, offsetMs: offsetMs(options.offset), time: timeOf(options.time, "cumulative()") };
}

/**
 * Per key, a window from a record to `gap` after the last one that came less than (or exactly) `gap` after the one before it
 * (Flink: EventTimeSessionWindows, ProcessingTimeSessionWindows, and their dynamic forms when `gap` is a function of the record).
 * @throws GraphError when the gap is not a positive duration.
 */
export function session(gap: Duration, options?: Pick<WindowOptions, "time">): SessionWindows;
export function session<T>(gap: (record: T) => Duration, options?: Pick<WindowOptions, "time">): DynamicSessionWindows<T>;
export function session(
  gap: Duration | ((record: never) => Duration), options: Pick<WindowOptions, "time"> = {},
): SessionWindows | DynamicSessionWindows {
  const time = timeOf(options.time, "session()");
  if (typeof gap === "function") return { kind: "dynamicSession", gap, time };
  return { kind: "session", gapMs: positive(gap, "session(gap)"), time };
}

/**
 * One window per key that holds everything (Flink: GlobalWindows). It fires when its trigger says so, and else never; with `atEnd`, at
 * the end of a bounded stream.
 */
export function globalWindow({ atEnd = false }: { readonly atEnd?: boolean } = {}): GlobalWindows {
  return { kind: "global", atEnd, time: "none" };
}

/**
 * Windows that a function assigns: none, one or several per record, with whole milliseconds as bounds (Flink: WindowAssigner). It gets
 * the record, its timestamp (NaN without one) and the time of the wall clock, and must be pure.
 * @param options.merging windows of one key that overlap or touch become one, as sessions do. Default false.
 */
export function customWindows<T>(
  assign: (record: T, timestamp: number, processingTime: number) => readonly TimeWindow[],
  options: { readonly merging?: boolean; readonly time?: WindowTime } = {},
): CustomWindows<T> {
  if (typeof assign !== "function") throw new GraphError(`customWindows() got ${describe(assign)}; it takes a function.`);
  return { kind: "custom", assign, merging: options.merging ?? false, time: timeOf(options.time, "customWindows()") };
}

/** Windows of one key may become one. */
export function isMerging(windows: WindowDescription): boolean {
  return windows.kind === "session" || windows.kind === "dynamicSession" || (windows.kind === "custom" && windows.merging);
}

/** The end of the aligned stretch of length `lengthMs` that holds a timestamp. */
export function stretchEnd(timestamp: number, lengthMs: number, offset: number): number {
  return Math.floor((timestamp - offset) / lengthMs) * lengthMs + offset + lengthMs;
}

/** The longest stretch that every window is made of: the greatest common divisor of size and slide. */
export function sliceLength({ sizeMs, slideMs }: Pick<AlignedWindows, "sizeMs" | "slideMs">): number {
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
  const ms = typeof value === "number" ? value : durationMs(value, "the window's offset");
  if (!Number.isInteger(ms)) throw new GraphError(`The window's offset is ${describe(value)}; give a whole number of milliseconds.`);
  return ms;
}

function timeOf(time: WindowTime | undefined, where: string): WindowTime {
  if (time === undefined || time === "event" || time === "processing") return time ?? "event";
  throw new GraphError(`${where} got { time: ${describe(time)} }; it is "event" or "processing".`);
}
