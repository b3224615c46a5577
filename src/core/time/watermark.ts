/**
 * Event time. A watermark W on a stream says: no record with a timestamp ≤ W follows (Flink: Timely Stream Processing). Watermarks
 * are made where timestamps are assigned, travel between records, and are combined where streams meet: the slowest input decides.
 *
 * Where a watermark stands between records depends on the records alone as long as they come fast: one is made after every
 * WATERMARK_EVERY_RECORDS records. When they come slowly, the clock adds one per auto-watermark interval.
 */
import { RecordError, describe } from "../types/errors.ts";
import { MAX_WATERMARK, MIN_WATERMARK } from "../data/element.ts";

/** A point of time as users give it: milliseconds since the epoch, or a Date. */
export type Timestamp = number | Date;

/**
 * The user's function that reads a record's event time (Flink: TimestampAssigner). Called once per record, on the task's thread.
 * `timestamp` is the one that the record has already, from its source or an operator before; NaN when it has none.
 */
export type TimestampSelector<T = never> = (record: T, timestamp: number) => Timestamp;

/** The farthest point of time, before or after 1970, that a timestamp may name: that of a Date. Beyond it, sums of milliseconds blur. */
export const FARTHEST_TIMESTAMP = 8.64e15;

/** Where a generator puts its watermarks. */
export interface WatermarkOutput {
  /** No record with a timestamp up to this will follow. A watermark below the last one is ignored. */
  emitWatermark(watermark: Timestamp): void;
  /** Nothing comes at present: the stream holds back no watermark until the next record. */
  markIdle(): void;
}

/** A way of one's own to make watermarks (Flink: WatermarkGenerator). One per subtask; its methods run on the task's thread. */
export interface WatermarkGenerator<T = never> {
  /** A record was handed on. */
  onEvent(record: T, timestamp: number, output: WatermarkOutput): void;
  /** Called per auto-watermark interval of the wall clock. */
  onPeriodicEmit?(output: WatermarkOutput): void;
}

/** A watermark after so many records at the latest: rare enough to cost nothing, frequent enough that windows close in step. */
export const WATERMARK_EVERY_RECORDS = 1_024;

/** How timestamps and watermarks are made. Plain data apart from the functions. */
export interface WatermarkStrategy<T = never> {
  readonly timestamp: TimestampSelector<T>;
  /** A record may come so much later (in event time) than one with a higher timestamp. Milliseconds, default 0. */
  readonly outOfOrdernessMs: number;
  /** Without records for so long, the stream holds back no watermark. Milliseconds of wall time; 0: never idle. */
  readonly idlenessMs: number;
  /** The wall clock adds a watermark per so many milliseconds; 0: never. Absent: the job's `pipeline.auto-watermark-interval`. */
  readonly intervalMs?: number;
  /** Punctuated: after each record, the watermark that this record proves, or undefined. Replaces the bound on disorder. */
  readonly punctuated?: (record: T, timestamp: number) => Timestamp | undefined | null;
  /**
   * The split of its source that a record comes from: records are in order within a split, not between them, and the slowest split decides
   * (Flink: watermarks per split). Absent: all records of a subtask are one split.
   */
  readonly splitBy?: (record: T) => unknown;
  /** Makes the generator of a subtask. Replaces the bound on disorder. */
  readonly generator?: () => WatermarkGenerator<T>;
  /** A record whose timestamp is farther ahead of the wall clock does not raise the watermark. Milliseconds; absent: any does. */
  readonly maxAheadMs?: number;
  /** The source does not read on while its watermark is farther than `maxDriftMs` ahead of the slowest source of its group. */
  readonly alignment?: { readonly group: string; readonly maxDriftMs: number };
  /** A record's time is when it came here, and `timestamp` is not asked (Flink: ingestion time). */
  readonly ingestion?: true;
}

/** @returns milliseconds. @throws RecordError when it is no point of time, or farther from 1970 than a Date can be. */
export function timestampMs(value: unknown, record: unknown): number {
  const ms = value instanceof Date ? value.getTime() : value;
  if (typeof ms === "number" && Math.abs(ms) <= FARTHEST_TIMESTAMP) return ms;
  throw new RecordError(
    `The timestamp of record ${describe(record)} is ${describe(value)}; withTimestamps() needs milliseconds since 1970 or a valid Date, ` +
      "at most 8.64e15 ms from 1970.",
  );
}

/** What a combiner knew. Plain data. */
export interface WatermarkMemory {
  readonly current: number;
  readonly inputs: readonly number[];
}

/**
 * The watermark of several inputs: the lowest among those that are neither idle nor ended; it never goes back. An input that was idle and
 * has fallen behind holds nobody back until it has caught up (Flink: StatusWatermarkValve, an input that is not aligned). When all are
 * idle, nothing more is to be waited for, and the highest of their watermarks holds.
 */
export class WatermarkCombiner {
  readonly #watermarks: Float64Array;
  readonly #state: Uint8Array;
  #current: number = MIN_WATERMARK;

  /** @param inputs number of inputs, at least 1. */
  constructor(inputs: number) {
    this.#watermarks = new Float64Array(inputs).fill(MIN_WATERMARK);
    this.#state = new Uint8Array(inputs);
  }

  /** The combined watermark. */
  get current(): number {
    return this.#current;
  }

  /** To be restored by `restore`. */
  get memory(): WatermarkMemory {
    return { current: this.#current, inputs: [...this.#watermarks] };
  }

  /** Begins where another one was: with its watermarks input by input if it had as many, else with the combined one. */
  restore({ current, inputs }: WatermarkMemory): void {
    if (inputs.length === this.#watermarks.length) this.#watermarks.set(inputs);
    this.#current = current;
  }

  /** Every input is idle, or ended while the others are idle. */
  get idle(): boolean {
    return this.#state.every((state) => state === IDLE || state === ENDED) && this.#state.includes(IDLE);
  }

  get ended(): boolean {
    return this.#state.every((state) => state === ENDED);
  }

  /** An input's watermark rose. @returns true when the combined one rose too. */
  advance(input: number, watermark: number): boolean {
    if (watermark <= (this.#watermarks[input] as number)) return false;
    this.#watermarks[input] = watermark;
    if (this.#state[input] === BEHIND && watermark >= this.#current) this.#state[input] = ACTIVE;
    return this.#combine();
  }

  /** Rows came on an input: it counts again, once it has caught up. */
  active(input: number): void {
    if (this.#state[input] === IDLE) this.#state[input] = (this.#watermarks[input] as number) >= this.#current ? ACTIVE : BEHIND;
  }

  /** An input went idle. @returns true when the combined watermark rose. */
  setIdle(input: number): boolean {
    if (this.#state[input] !== ACTIVE && this.#state[input] !== BEHIND) return false;
    const heldBack = this.#state[input] === ACTIVE && this.#watermarks[input] === this.#current;
    this.#state[input] = IDLE;
    return heldBack && this.#state.every((state) => state === IDLE) ? this.#raise(this.#highest()) : this.#combine();
  }

  /** An input ended. @returns true when the combined watermark rose. */
  end(input: number): boolean {
    this.#state[input] = ENDED;
    this.#watermarks[input] = MAX_WATERMARK;
    return this.#combine();
  }

  /** The highest watermark of an idle input. */
  #highest(): number {
    let highest = MIN_WATERMARK;
    for (let input = 0; input < this.#watermarks.length; input++) {
      if (this.#state[input] === IDLE) highest = Math.max(highest, this.#watermarks[input] as number);
    }
    return highest;
  }

  #combine(): boolean {
    let lowest = MAX_WATERMARK;
    let counts = false;
    for (let input = 0; input < this.#watermarks.length; input++) {
      const state = this.#state[input];
      if (state === IDLE || state === BEHIND) continue;
      counts = true;
      const watermark = this.#watermarks[input] as number;
      if (watermark < lowest) lowest = watermark;
    }
    return counts && this.#raise(lowest);
  }

  #raise(watermark: number): boolean {
    if (watermark <= this.#current) return false;
    this.#current = watermark;
    return true;
  }
}

const ACTIVE = 0;
const IDLE = 1;
const ENDED = 2;
/** Active again, with a watermark below the combined one. */
const BEHIND = 3;
