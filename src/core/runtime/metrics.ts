/**
 * Every metric of a subtask: name (Flink's, where Flink has it), unit and kind.
 *
 * A task counts into a Float64Array that its host may read at any time from another thread (a SharedArrayBuffer), so that counting
 * costs one addition and reading costs the task nothing. A reader can see a value that is a few records old, never half a value.
 */
import { USER_METRICS_BYTES, readUserMetrics } from "./user-metrics.ts";

/** counter: only grows while the attempt lives; gauge: the present value. */
export type MetricKind = "counter" | "gauge";

/** A metric, described. */
export interface MetricInfo {
  readonly name: string;
  readonly unit: "records" | "bytes" | "ms" | "ns" | "segments" | "timestamp" | "share" | "count";
  readonly kind: MetricKind;
  readonly description: string;
}

const metric = (name: string, kind: MetricKind, unit: MetricInfo["unit"], description: string): MetricInfo => ({
  name,
  kind,
  unit,
  description,
});

/** The metrics of a subtask, in the order in which they stand in its array. */
export const taskMetrics: readonly MetricInfo[] = [
  metric("numRecordsIn", "counter", "records", "Records read from the inputs; of a source: produced."),
  metric("numRecordsOut", "counter", "records", "Records written to the outputs."),
  metric("numBytesIn", "counter", "bytes", "Bytes of segments read."),
  metric("numBytesOut", "counter", "bytes", "Bytes of segments written."),
  metric("numBuffersIn", "counter", "segments", "Segments read."),
  metric("numBuffersOut", "counter", "segments", "Segments written."),
  metric("accumulateBusyTimeMs", "counter", "ms", "Time spent working."),
  metric("accumulateIdleTimeMs", "counter", "ms", "Time spent waiting for input."),
  metric("accumulateBackPressuredTimeMs", "counter", "ms", "Time spent waiting for room in an output."),
  metric("currentInputWatermark", "gauge", "timestamp", "The combined watermark of the inputs; -Infinity before the first."),
  metric("currentOutputWatermark", "gauge", "timestamp", "The watermark that leaves the task; -Infinity before the first."),
  metric("watermarksIdle", "gauge", "count", "1 while the watermarks that the task makes are idle: nobody waits for them."),
  metric("numLateRecordsDropped", "counter", "records", "Records that came after their window was over."),
  metric("numFiredTimers", "counter", "count", "Timers that fired."),
  metric("numRecordsSkipped", "counter", "records", "Malformed input that the policy `skip` left out."),
  metric("inPoolUsage", "gauge", "share", "How full the input channels are, 0 … 1."),
  metric("outPoolUsage", "gauge", "share", "How full the output channels are, 0 … 1."),
  metric("heapUsed", "gauge", "bytes", "Heap of the task's thread in use."),
  metric("heapLimit", "gauge", "bytes", "Heap that the task's thread may use."),
  metric("checkpointAlignmentTime", "gauge", "ns", "Of the last checkpoint: from its first barrier to its last."),
  metric("checkpointStartDelayNanos", "gauge", "ns", "Of the last checkpoint: from its trigger to its first barrier here."),
  metric("turns", "counter", "count", "Times the task's loop came round; stands still when user code hangs."),
];

const indexOf = new Map(taskMetrics.map((info, index) => [info.name, index]));

/** Position of a metric in a task's array. @throws Error for an unknown name. */
export function metricIndex(name: string): number {
  const index = indexOf.get(name);
  if (index === undefined) throw new Error(`no metric is named ${name}`);
  return index;
}

/** Behind the metrics stands since when the task has been waiting (wall clock, 0: it is not): for input, and for room in an output. */
export const IDLE_SINCE: number = taskMetrics.length;
/** See IDLE_SINCE. */
export const BACK_PRESSURED_SINCE: number = taskMetrics.length + 1;
/** And how far the watermark of a source may be for it to read on; written by the host. See graph/watermark-alignment.ts. */
export const WATERMARK_LIMIT: number = taskMetrics.length + 2;
const ARRAY_LENGTH = taskMetrics.length + 3;

/** Bytes that the metrics of one subtask need. */
export const TASK_METRICS_BYTES: number = ARRAY_LENGTH * 8 + USER_METRICS_BYTES;
/** Where those of user functions begin. */
export const USER_METRICS_OFFSET: number = ARRAY_LENGTH * 8;

/** A fresh array over memory that may be shared. Watermarks start at -Infinity, everything else at 0. */
export function taskMetricsArray(memory: ArrayBufferLike = new ArrayBuffer(TASK_METRICS_BYTES)): Float64Array {
  const values = new Float64Array(memory, 0, ARRAY_LENGTH);
  values[metricIndex("currentInputWatermark")] = Number.NEGATIVE_INFINITY;
  values[metricIndex("currentOutputWatermark")] = Number.NEGATIVE_INFINITY;
  values[WATERMARK_LIMIT] = Number.POSITIVE_INFINITY;
  return values;
}

/**
 * The values by name. A wait that is still going on counts up to now.
 * @param nowMs wall clock of the reader, which is the task's.
 */
export function readTaskMetrics(values: Float64Array, nowMs: number = Date.now()): Record<string, number> {
  const read = Object.fromEntries(taskMetrics.map((info, index) => [info.name, values[index] as number]));
  const waited = (since: number): number => (since === 0 ? 0 : Math.max(0, nowMs - since));
  read["accumulateIdleTimeMs"] = (read["accumulateIdleTimeMs"] as number) + waited(values[IDLE_SINCE] as number);
  read["accumulateBackPressuredTimeMs"] =
    (read["accumulateBackPressuredTimeMs"] as number) + waited(values[BACK_PRESSURED_SINCE] as number);
  return Object.assign(read, readUserMetrics(values.buffer, USER_METRICS_OFFSET));
}

/**
 * The rates between two readings of the same subtask: time shares, records and bytes per second (`numRecordsInPerSecond` …).
 * The three time shares add up to 1000: what was not counted as idle or back-pressured yet (a task in the middle of a long
 * call) counts as busy.
 * @param elapsedMs time between the readings, milliseconds, > 0.
 */
export function metricRates(
  before: Readonly<Record<string, number>>,
  now: Readonly<Record<string, number>>,
  elapsedMs: number,
): Record<string, number> {
  const delta = (name: string): number => Math.max(0, (now[name] ?? 0) - (before[name] ?? 0));
  const perSecond = (name: string): number => (delta(name) * 1_000) / elapsedMs;
  const idle = Math.min(1_000, perSecond("accumulateIdleTimeMs"));
  const backPressured = Math.min(1_000 - idle, perSecond("accumulateBackPressuredTimeMs"));
  return {
    busyTimeMsPerSecond: 1_000 - idle - backPressured,
    idleTimeMsPerSecond: idle,
    backPressuredTimeMsPerSecond: backPressured,
    numRecordsInPerSecond: perSecond("numRecordsIn"),
    numRecordsOutPerSecond: perSecond("numRecordsOut"),
    numBytesInPerSecond: perSecond("numBytesIn"),
    numBytesOutPerSecond: perSecond("numBytesOut"),
  };
}
