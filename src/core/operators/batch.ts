/**
 * `batch`: records gathered into arrays, each handed on when it has so many of them, or so long after its first one came (RxJS:
 * bufferTime with a count). Per key on keyed streams, else per subtask. What is left at the end of input is handed on then.
 *
 * A batch has the timestamp of its last record, and may be behind a watermark that passed while it was gathered.
 */
import { flattenKept } from "../data/text.ts";
import { MAX_WATERMARK } from "../data/element.ts";
import type { KeyedBackend } from "../state/backend.ts";
import { type ListState, type ValueState, listState, valueState } from "../state/descriptors.ts";
import type { OperatorList } from "../state/operator-states.ts";
import type { TimerQueue } from "../state/timers.ts";
import type { KeyedStepSpec } from "./keyed-step.ts";
import type { Operator, OperatorContext, OperatorKind } from "./operator.ts";

export interface BatchSpec extends KeyedStepSpec {
  readonly kind: "batch";
  /** Records in a batch; Infinity: only time ends it. */
  readonly count: number;
  /** Wall clock from the first record of a batch to its end; Infinity: only the count ends it. */
  readonly withinMs: number;
}

export const batchOperator: OperatorKind<BatchSpec> = {
  kind: "batch",
  inputs: 1,
  create: (spec, context) => (spec.key === undefined ? new SubtaskBatch(spec, context) : new KeyedBatch(spec, context)),
};

/** One batch at a time, of all records of the subtask. */
class SubtaskBatch implements Operator {
  readonly #spec: BatchSpec;
  readonly #context: OperatorContext;
  readonly #kept: OperatorList<{ readonly rows: readonly unknown[]; readonly timestamp: number }>;
  #rows: unknown[] = [];
  #timestamp = Number.NaN;
  #deadlineMs = Number.POSITIVE_INFINITY;

  constructor(spec: BatchSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
    this.#kept = context.states.list("batch", "split");
  }

  /** Batches of several subtasks may have come to this one. */
  open(): void {
    for (const { rows, timestamp } of this.#kept.get()) for (const row of rows) this.process(row, timestamp);
  }

  process(value: unknown, timestamp: number): void {
    if (this.#rows.length === 0) this.#deadlineMs = this.#context.now() + this.#spec.withinMs;
    this.#rows.push(flattenKept(value));
    this.#timestamp = timestamp;
    if (this.#rows.length >= this.#spec.count) this.#emit();
  }

  nextProcessingTime(): number {
    return this.#deadlineMs;
  }

  onProcessingTime(nowMs: number): void {
    if (nowMs >= this.#deadlineMs) this.#emit();
  }

  prepareSnapshot(): void {
    this.#kept.update(this.#rows.length === 0 ? [] : [{ rows: [...this.#rows], timestamp: this.#timestamp }]);
  }

  finish(): void {
    this.#emit();
  }

  #emit(): void {
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    const rows = this.#rows;
    this.#rows = [];
    if (rows.length > 0) this.#context.emit(rows, this.#timestamp);
  }
}

/** One batch at a time per key. */
class KeyedBatch implements Operator {
  readonly #spec: BatchSpec;
  readonly #key: (value: unknown) => unknown;
  readonly #context: OperatorContext;
  readonly #keyed: KeyedBackend;
  readonly #rows: ListState<unknown>;
  /** Of the batch that is gathered: number of records, timestamp of the last, and when time is out. */
  readonly #batch: ValueState<readonly [count: number, timestamp: number, deadlineMs: number]>;
  readonly #deadlines: TimerQueue;
  /** A timer at the end of input per key with a batch. */
  readonly #ends: TimerQueue;

  constructor(spec: BatchSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#key = spec.key as (value: unknown) => unknown;
    this.#context = context;
    this.#keyed = context.states.keyed;
    this.#rows = this.#keyed.state(listState("rows"));
    this.#batch = this.#keyed.state(valueState<readonly [number, number, number]>("batch"));
    this.#deadlines = context.states.timers("processing");
    this.#ends = context.states.timers("event");
  }

  process(value: unknown, timestamp: number): void {
    this.#keyed.setCurrentKey(this.#key(value));
    const [count, , deadlineMs] = this.#batch.value() ?? [0, timestamp, this.#context.now() + this.#spec.withinMs];
    if (count === 0) {
      if (deadlineMs !== Number.POSITIVE_INFINITY) this.#deadlines.register(deadlineMs, this.#keyed.currentToken, this.#keyed.currentKey);
      this.#ends.register(MAX_WATERMARK, this.#keyed.currentToken, this.#keyed.currentKey);
    }
    this.#rows.add(value);
    this.#batch.update([count + 1, timestamp, deadlineMs]);
    if (count + 1 >= this.#spec.count) this.#emit();
  }

  onWatermark(watermark: number): void {
    if (watermark !== MAX_WATERMARK) return;
    this.#ends.advance(watermark, (_time, key) => {
      this.#keyed.setCurrentKey(key);
      this.#emit();
    });
  }

  nextProcessingTime(): number {
    return this.#deadlines.nextTime;
  }

  onProcessingTime(nowMs: number): void {
    this.#deadlines.advance(nowMs, (_time, key) => {
      this.#keyed.setCurrentKey(key);
      this.#emit();
    });
  }

  /** Hands on the batch of the current key. */
  #emit(): void {
    const batch = this.#batch.value();
    if (batch === undefined) return;
    const [, timestamp, deadlineMs] = batch;
    const rows = [...this.#rows.get()];
    this.#rows.clear();
    this.#batch.clear();
    this.#deadlines.delete(deadlineMs, this.#keyed.currentToken);
    this.#ends.delete(MAX_WATERMARK, this.#keyed.currentToken);
    this.#context.emit(rows, timestamp);
  }
}
