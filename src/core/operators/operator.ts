/**
 * What an operator is to the runtime. The operators of a chain become one generated function (see runtime/operator-chain.ts): an
 * operator either contributes code for a record (`inline`), where a call per record would cost more than the work, or has a
 * `process` method that the generated code calls.
 *
 * An operator lives on one thread, in one subtask. The runtime calls it in this order: `open`, then records, watermarks and timers as
 * they come, `finish` once all input has ended and the last watermark has passed, `close` in any case. It hands records on through
 * its context only.
 */
import type { Configuration } from "../types/options.ts";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { ClassRegistry } from "../data/classes.ts";
import type { MetricGroup } from "./function.ts";
import type { OperatorStates } from "../state/operator-states.ts";

/** One operator in one subtask. */
export interface Operator {
  open?(): void | Promise<void>;
  /** A record of the first input. `timestamp` is NaN for a record without one. */
  process?(value: unknown, timestamp: number): void;
  /** A record of the second input. */
  process2?(value: unknown, timestamp: number): void;
  /**
   * Code for a record of an input. `value` and `timestamp` are names of constants in scope. Undefined: call `process`.
   */
  inline?(code: ChainCode, value: string, timestamp: string, input: 0 | 1): string | undefined;
  /** The watermark rose. Called before consumers hear of it, so that results leave before the watermark that covers them. */
  onWatermark?(watermark: number): void;
  /** Watermarks of the input end here; the operator makes its own with `context.emitWatermark`. The last one passes regardless. */
  readonly makesWatermarks?: boolean;
  /** The wall clock: called about every `tickMs` milliseconds with the present time. */
  onTick?(nowMs: number): void;
  readonly tickMs?: number;
  /** Wall-clock time at which `onProcessingTime` wants to be called next; Infinity: not at all. */
  nextProcessingTime?(): number;
  onProcessingTime?(nowMs: number): void;
  /**
   * A barrier is here, and state is about to be frozen: what lives elsewhere (a position, elements on their way) goes into
   * `context.states` now. Records handed on here belong before the barrier.
   */
  prepareSnapshot?(checkpoint: number): void;
  /**
   * The checkpoint is durable, and so is all before it: what depends on it may happen (a commit). Some are told by a later one only. A task
   * whose operators have this method ends only when a checkpoint that was taken after `finish` is complete.
   */
  checkpointCompleted?(checkpoint: number): void;
  /** The checkpoint will never complete. */
  checkpointAborted?(checkpoint: number): void;
  /** Every watermark of the input stops here, the last one too: the operator hands each on with `context.emitWatermark` when it may. */
  readonly holdsWatermarks?: boolean;
  /**
   * It is the head of a loop: its second input comes back from what it emits. That input is read at any time, and its watermarks and its
   * end are not the task's.
   */
  readonly takesFeedback?: boolean;
  /** The watermark of the second input of such an operator rose. */
  feedbackWatermark?(watermark: number): void;
  /** It takes no records at present: the task reads no input until this is false. The operator calls `context.wake()` when it changes. */
  full?(): boolean;
  /** Results are still to come although all input has ended: the task waits for them. `context.wake()` as above. */
  owes?(): boolean;
  /** All input has ended, and nothing is owed. */
  finish?(): void;
  close?(): void | Promise<void>;
}

/** An operator without input: the runtime pulls rows out of it. */
export interface SourceOperator extends Operator {
  /**
   * Puts up to `max` rows at the beginning of the arrays. All timestamps are NaN (none) when it is first called; a source whose rows
   * have timestamps writes one for each row.
   * @returns how many; 0: none at the moment; -1: never again.
   */
  read(rows: unknown[], timestamps: Float64Array, max: number): number;
  /** After `read` returned 0: wall-clock milliseconds at which to ask again; Infinity: when `context.wake` was called. */
  nextReadMs?(): number;
}

/** What generated code is made of. */
export interface ChainCode {
  /** A name by which the generated code knows a value (a user function, an object). */
  constant(hint: string, value: unknown): string;
  /** A name that nothing else uses. */
  name(hint: string): string;
  /** A statement that runs once, before the first record: a variable of the operator. */
  declare(statement: string): void;
  /** Code that hands a record to the consumers. Use it once per operator, at the place where most records pass. */
  emit(value: string, timestamp: string): string;
  /** A call that hands a record to the consumers; may be used at many places. */
  emitCall(value: string, timestamp: string): string;
}

/** What the runtime gives to one operator of one subtask. */
export interface OperatorContext {
  readonly operatorId: string;
  readonly operatorName: string;
  readonly jobName: string;
  readonly taskName: string;
  readonly subtask: number;
  readonly parallelism: number;
  readonly maxParallelism: number;
  readonly attempt: number;
  readonly configuration: Configuration;
  /** The classes of records, for operators that write rows to disk. */
  readonly classes: ClassRegistry;
  /** Metrics of the operator's user functions. */
  readonly metrics: MetricGroup;
  /** What survives a failure: already restored when the operator is created, written out by the runtime. */
  readonly states: OperatorStates;
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Hands a record to the consumers of the main output. */
  emit(value: unknown, timestamp: number): void;
  /** Hands a record to the consumers of a side output; without consumers it is dropped. */
  emitSide(tag: string, value: unknown, timestamp: number): void;
  /** For operators that make or hold watermarks. Must not go back. */
  emitWatermark(watermark: number): void;
  /** For operators that make watermarks: nothing comes at present. The next record ends the idleness. */
  emitIdle(): void;
  /** Adds to a counter of the task (see runtime/metrics.ts). */
  count(metric: TaskCounter, by?: number): void;
  /** Something happened outside the task's loop (an answer arrived): come round as soon as possible. Any turn of the same thread. */
  wake(): void;
}

/** Counters of a task that operators add to. */
export type TaskCounter = "numLateRecordsDropped" | "numFiredTimers" | "numRecordsSkipped";

/** Names of a record's fields that somebody reads, or the record as a whole. */
export type FieldUse = ReadonlySet<string> | "all";

/** What an operator kind is asked with: which fields of an input's records are needed. */
export interface FieldQuestion {
  readonly input: 0 | 1;
  /** Fields of its argument number `parameter` that a user function reads. */
  of(userFunction: unknown, parameter: number): FieldUse;
  /** Fields that the operator's consumers need of the records that it hands on. */
  readonly consumers: FieldUse;
}

/** The fields that any of several readers needs. */
export function eitherUse(...uses: readonly FieldUse[]): FieldUse {
  return uses.includes("all") ? "all" : new Set(uses.flatMap((use) => [...(use as ReadonlySet<string>)]));
}

/** An entry of the operator registry. */
export interface OperatorKind<Spec extends OperatorSpec = OperatorSpec> {
  readonly kind: Spec["kind"];
  readonly inputs: 0 | 1 | 2;
  create(spec: Spec, context: OperatorContext): Operator | SourceOperator;
  /** Fields of its input's records that the operator and its consumers need; absent: all. What is not named may not cross an exchange. */
  fields?(spec: Spec, question: FieldQuestion): FieldUse;
}
