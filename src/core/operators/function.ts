/**
 * The lowest layer of the API: functions that see each record with its time, its key, keyed state and timers (Flink: ProcessFunction,
 * KeyedProcessFunction, CoProcessFunction).
 *
 * An instance is copied to every subtask when the job starts; fields set in `open` belong to that subtask alone. All methods run on
 * the subtask's thread, one at a time. They are synchronous, except `open` and `close`, which may return a promise.
 */
import type { StateDescriptor, StateOf } from "../state/descriptors.ts";
import type { OperatorList } from "../state/operator-states.ts";

/** Hands results on. */
export interface Collector<Out> {
  /** A result with the timestamp of the record or timer at hand. */
  collect(value: Out): void;
}

/** A named second output. Made with `sideOutput`. */
export interface SideOutput<T> {
  readonly id: string;
  /** Carries the type only; never set. */
  readonly type?: T;
}

/** Declares a side output: `const late = sideOutput<Ride>("late")`. */
export function sideOutput<T>(id: string): SideOutput<T> {
  return { id };
}

/** Counts up and down. */
export interface Counter {
  inc(by?: number): void;
  dec(by?: number): void;
  readonly count: number;
}

/** A present value. */
export interface Gauge {
  set(value: number): void;
}

/** How values are spread: seen as `.count`, and over the last 512 values `.min`, `.max`, `.mean`, `.p50`, `.p95`, `.p99`. */
export interface Histogram {
  update(value: number): void;
}

/** How often something happens: seen as the number of times, and `.perSecond`. */
export interface Meter {
  mark(by?: number): void;
}

/**
 * Metrics of a function's own, seen among those of its subtask (`job.metrics$`) as `<operator>.<name>`. Ask for them in `open`: the same
 * name gives the same metric. A subtask has room for 256 numbers.
 */
export interface MetricGroup {
  counter(name: string): Counter;
  /** @param read asked for the value now and then; absent: it is `set`. */
  gauge(name: string, read?: () => number): Gauge;
  histogram(name: string): Histogram;
  meter(name: string): Meter;
}

/** Where a function runs; given to `open`. */
export interface RuntimeContext {
  readonly jobName: string;
  readonly taskName: string;
  /** 0 … parallelism − 1. */
  readonly subtask: number;
  readonly parallelism: number;
  readonly attempt: number;
  readonly metrics: MetricGroup;
  /** Keyed state by its descriptor. On keyed streams only; what it holds is that of the key at hand. */
  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor>;
  /**
   * Items that belong to the subtask and not to a key, as the last checkpoint had them (Flink: operator list state). At another parallelism
   * each subtask gets its share of all items. Ask for it in `open`; keep to thousands of items.
   */
  listState<T>(name: string): OperatorList<T>;
  /** The same, but after a restore each subtask gets the items of all. */
  unionListState<T>(name: string): OperatorList<T>;
}

/** Methods that any process function and sink may have, to take part in checkpoints (Flink: CheckpointedFunction, CheckpointListener). */
export interface CheckpointedFunction {
  /** State is about to be frozen: puts what the function keeps in fields into `listState`. Called between two records. */
  snapshotState?(checkpoint: number): void;
  /**
   * The checkpoint is complete, and so is all before it. Some are told by a later one only. A bounded job with such a function ends with a
   * checkpoint of its end.
   */
  notifyCheckpointComplete?(checkpoint: number): void;
  /** The checkpoint will never be complete. */
  notifyCheckpointAborted?(checkpoint: number): void;
}

/** Time, and timers on keyed streams. */
export interface TimerService {
  /** Wall clock, milliseconds since the epoch. */
  currentProcessingTime(): number;
  /** No record with a timestamp up to this is expected any more; -Infinity before the first watermark. */
  currentWatermark(): number;
  /** Calls `onTimer` for the key at hand once the watermark reaches `time`. Registering the same time again changes nothing. */
  registerEventTimeTimer(time: number): void;
  /** Calls `onTimer` for the key at hand once the clock reaches `time`. */
  registerProcessingTimeTimer(time: number): void;
  deleteEventTimeTimer(time: number): void;
  deleteProcessingTimeTimer(time: number): void;
}

/** What a function can reach while it handles a record. Valid during the call only. */
export interface ProcessContext<Key = unknown> extends RuntimeContext {
  /** Event time of the record, milliseconds since the epoch; undefined when the stream has no timestamps. */
  readonly timestamp: number | undefined;
  /** The record's key. On keyed streams only. */
  readonly key: Key;
  readonly timers: TimerService;
  /** Sends a record to a side output. */
  output<T>(tag: SideOutput<T>, value: T): void;
}

/** What a function can reach while a timer fires. */
export interface TimerContext<Key = unknown> extends ProcessContext<Key> {
  readonly timeDomain: "event" | "processing";
}

/** A function of single records. */
export abstract class ProcessFunction<In, Out> implements CheckpointedFunction {
  snapshotState?(checkpoint: number): void;
  notifyCheckpointComplete?(checkpoint: number): void;
  notifyCheckpointAborted?(checkpoint: number): void;
  open?(context: RuntimeContext): void | Promise<void>;
  abstract processElement(value: In, context: ProcessContext, out: Collector<Out>): void;
  /** Runs once, at the end of the task, also after a failure. */
  close?(): void | Promise<void>;
}

/** A function of records of one key at a time, with state and timers per key. */
export abstract class KeyedProcessFunction<Key, In, Out> implements CheckpointedFunction {
  snapshotState?(checkpoint: number): void;
  notifyCheckpointComplete?(checkpoint: number): void;
  notifyCheckpointAborted?(checkpoint: number): void;
  open?(context: RuntimeContext): void | Promise<void>;
  abstract processElement(value: In, context: ProcessContext<Key>, out: Collector<Out>): void;
  onTimer?(timestamp: number, context: TimerContext<Key>, out: Collector<Out>): void;
  close?(): void | Promise<void>;
}

/** A function of two connected streams. On keyed streams both inputs share state and timers per key. */
export abstract class CoProcessFunction<In1, In2, Out, Key = unknown> implements CheckpointedFunction {
  snapshotState?(checkpoint: number): void;
  notifyCheckpointComplete?(checkpoint: number): void;
  notifyCheckpointAborted?(checkpoint: number): void;
  open?(context: RuntimeContext): void | Promise<void>;
  abstract processElement1(value: In1, context: ProcessContext<Key>, out: Collector<Out>): void;
  abstract processElement2(value: In2, context: ProcessContext<Key>, out: Collector<Out>): void;
  onTimer?(timestamp: number, context: TimerContext<Key>, out: Collector<Out>): void;
  close?(): void | Promise<void>;
}
