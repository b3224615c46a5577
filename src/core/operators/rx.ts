/**
 * `rx`: an RxJS pipeline inside a subtask. Without keys there is one pipeline, in one subtask; on a keyed stream one per key.
 *
 * Event time: rows wait until the watermark passes them, and then go through in order of their timestamps, as if the pipeline had lived
 * when they arose: the scheduler stands at a row's timestamp while the row goes through, and actions (`debounceTime`, `bufferTime`,
 * `delay`) run between rows at their own times. Of one time, rows come before actions. So results depend on timestamps alone, never on
 * arrival, parallelism or speed. A row at or behind the watermark is late: it is counted and dropped.
 *
 * Processing time: rows go through as they come, actions run by the task's clock.
 *
 * What leaves has the scheduler's time as its timestamp under event time. Under processing time it has the timestamp of the row at hand,
 * and none when no row is.
 *
 * A failure: rows that wait are state and come back. What RxJS keeps inside can't be written; with `state: "replay"` the rows that a
 * pipeline got since it was subscribed are state too, and go through a new one, whose first emissions, as many as were made before,
 * are left out. Trusts the pipeline to be deterministic then.
 */
import type { Observable, SchedulerLike } from "rxjs";
import { type KeyToken, keyToken } from "../data/keys.ts";
import { MAX_WATERMARK, MIN_WATERMARK } from "../data/element.ts";
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import { type ListState, type MapState, type ValueState, listState, mapState, valueState } from "../state/descriptors.ts";
import type { TimerQueue } from "../state/timers.ts";
import { DreyError, GraphError, RecordError, UserFunctionError, describe } from "../types/errors.ts";
import type { Operator, OperatorContext, OperatorKind } from "./operator.ts";
import type { RxPipeline, withoutClock } from "./rx-pipeline.ts";
import type { TimeScheduler } from "./rx-scheduler.ts";

/** Which clock a pipeline follows. */
export type RxTime = "event" | "processing";

/** What becomes of a pipeline in a failure: it begins anew, or the rows that it got go through a new one. */
export type RxState = "none" | "replay";

/** What a pipeline's function is given besides the rows. */
export interface RxContext<Key = unknown> {
  /** For every operator that takes one: time as the stream has it. */
  readonly scheduler: SchedulerLike;
  /** The key of the pipeline's rows; undefined on streams without keys. */
  readonly key: Key;
}

/** Makes a pipeline of the rows. Called once per subscription, in the subtask. */
export type RxProject<T, R, Key = unknown> = (rows$: Observable<T>, context: RxContext<Key>) => Observable<R>;

export interface RxSpec extends OperatorSpec {
  readonly kind: "rx";
  readonly project: (rows$: never, context: RxContext) => unknown;
  /** Absent: one pipeline for all rows. */
  readonly key?: KeySelector;
  readonly time: RxTime;
  /** A pipeline without rows for so long is completed; the next row subscribes a new one. Infinity: never. */
  readonly ttlMs: number;
  /** Absent: the user has not said; a checkpoint is then refused. */
  readonly state?: RxState;
  /** Rows of one pipeline that are logged for a replay at the most. */
  readonly replayLimit: number;
}

/** Timer actions that may run after the end of the input. */
const MAX_ACTIONS_AFTER_END = 100_000;
/** All rows of a stream without keys have this one. */
const NO_KEY = 0;
const LOG = "rx log";

export const rxOperator: OperatorKind<RxSpec> = {
  kind: "rx",
  inputs: 1,
  create: (spec, context) => new RxOperator(spec, context),
};

class RxOperator implements Operator {
  readonly #spec: RxSpec;
  readonly #context: OperatorContext;
  readonly #keyOf: (value: unknown) => unknown;
  readonly #eventTime: boolean;
  readonly #replays: boolean;
  readonly #pipelines = new Map<KeyToken, RxPipeline>();
  /** Event time: rows that the watermark has not passed, by timestamp. */
  readonly #waiting: MapState<number, readonly unknown[]>;
  readonly #rowTimers: TimerQueue;
  /** Replay: what the current pipeline got (time and row), and how many rows it gave. */
  readonly #log: ListState<readonly [number, unknown]>;
  readonly #emitted: ValueState<number>;
  readonly #lengths = new Map<KeyToken, number>();
  /** Rows that a pipeline gave while no row and no action was at hand (promises), with the pipeline's key. */
  readonly #strays: unknown[] = [];
  #Pipeline!: typeof RxPipeline;
  #withoutClock!: typeof withoutClock;
  #scheduler!: TimeScheduler;
  #watermark: number = MIN_WATERMARK;
  /** Timestamp of what is emitted under processing time. */
  #rowTimestamp = Number.NaN;
  #inside = false;
  /** The first failure of a pipeline, until it leaves. */
  #failure: { readonly error: unknown } | undefined;
  /** Pipelines that have not completed. */
  #open = 0;
  #ended = false;

  constructor(spec: RxSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
    this.#keyOf = (spec.key as ((value: unknown) => unknown) | undefined) ?? ((): unknown => NO_KEY);
    this.#eventTime = spec.time === "event";
    this.#replays = spec.state === "replay";
    const { keyed } = context.states;
    this.#waiting = keyed.state(mapState<number, readonly unknown[]>("rx waiting"));
    this.#rowTimers = context.states.timers("rx rows");
    this.#log = keyed.state(listState<readonly [number, unknown]>(LOG));
    this.#emitted = keyed.state(valueState<number>("rx emitted"));
  }

  async open(): Promise<void> {
    // Threads without such a pipeline don't load rxjs.
    const [pipeline, scheduler] = await Promise.all([import("./rx-pipeline.ts"), import("./rx-scheduler.ts")]);
    this.#Pipeline = pipeline.RxPipeline;
    this.#withoutClock = pipeline.withoutClock;
    this.#scheduler = new scheduler.TimeScheduler();
    if (this.#replays) this.#replay();
  }

  process(value: unknown, timestamp: number): void {
    const key = this.#keyOf(value);
    if (!this.#eventTime) {
      this.#rowTimestamp = timestamp;
      this.#run(() => this.#play(key, value, this.#context.now()));
      this.#rowTimestamp = Number.NaN;
      return;
    }
    if (Number.isNaN(timestamp)) {
      throw new RecordError(
        `"${this.#context.operatorName}" follows event time and got a record without a timestamp: ${describe(value)}; ` +
          `write withTimestamps(…) before it, or rx(…, { time: "processing" }).`,
      );
    }
    if (timestamp <= this.#watermark) return this.#context.count("numLateRecordsDropped");
    const { keyed } = this.#context.states;
    keyed.setCurrentKey(key);
    const same = this.#waiting.get(timestamp);
    this.#waiting.put(timestamp, same === undefined ? [value] : [...same, value]);
    this.#rowTimers.register(timestamp, keyed.currentToken, key);
  }

  onWatermark(watermark: number): void {
    this.#watermark = watermark;
    this.#run(() => {
      if (this.#eventTime) {
        this.#rowTimers.advance(watermark, (time, key) => {
          this.#context.states.keyed.setCurrentKey(key);
          const rows = this.#waiting.get(time) ?? [];
          this.#waiting.remove(time);
          for (const row of rows) this.#play(key, row, time);
        });
        if (watermark !== MAX_WATERMARK) this.#scheduler.runTo(watermark);
      }
      if (watermark === MAX_WATERMARK) this.#end();
    });
  }

  nextProcessingTime(): number {
    if (this.#strays.length > 0 || this.#failure !== undefined) return Number.NEGATIVE_INFINITY;
    return this.#eventTime ? Number.POSITIVE_INFINITY : this.#scheduler.nextTime;
  }

  onProcessingTime(nowMs: number): void {
    for (const value of this.#strays.splice(0)) this.#context.emit(value, Number.NaN);
    this.#run(() => {
      if (!this.#eventTime) this.#scheduler.runTo(nowMs);
    });
  }

  /** Under processing time the pipelines are waited for after the end of the input, as RxJS does. */
  owes(): boolean {
    if (this.#eventTime || !this.#ended) return false;
    return this.#strays.length > 0 || this.#open > 0;
  }

  prepareSnapshot(): void {
    if (this.#spec.state !== undefined) return;
    throw new GraphError(
      `"${this.#context.operatorName}" can't be part of a snapshot, since nothing says what becomes of what RxJS keeps inside; write ` +
        `rx(…, { state: "none" }) (it begins anew after a failure) or { state: "replay" } (the rows it got go through again).`,
    );
  }

  close(): void {
    for (const pipeline of this.#pipelines.values()) pipeline.dispose();
    this.#pipelines.clear();
  }

  // --------------------------------------------------------------------------------------------------------- internals

  /** Calls into RxJS. What a pipeline emits now belongs to the row or action at hand; what it throws leaves here. */
  #run(work: () => void): void {
    this.#inside = true;
    try {
      if (this.#eventTime) this.#withoutClock(work);
      else work();
      this.#check();
    } catch (error) {
      throw this.#explained(error);
    } finally {
      this.#inside = false;
    }
  }

  #play(key: unknown, value: unknown, time: number): void {
    const token = keyToken(key);
    this.#scheduler.moveTo(time);
    const pipeline = this.#pipelines.get(token) ?? this.#subscribe(token, key, 0);
    if (pipeline.completed) return;
    pipeline.lastMs = time;
    if (this.#replays) this.#record(token, key, time, value);
    pipeline.next(value);
    this.#check();
  }

  #subscribe(token: KeyToken, key: unknown, suppress: number): RxPipeline {
    const context: RxContext = { scheduler: this.#scheduler, key: this.#spec.key === undefined ? undefined : key };
    this.#open++;
    const pipeline = new this.#Pipeline(this.#spec.project, context, key, this.#scheduler.now(), suppress, {
      emit: (value) => this.#emit(key, value),
      failed: (error) => {
        this.#failure ??= { error };
        if (!this.#inside) this.#context.wake();
      },
      completed: () => {
        this.#open--;
        if (!this.#inside) this.#context.wake();
      },
    });
    this.#pipelines.set(token, pipeline);
    const { ttlMs } = this.#spec;
    if (ttlMs !== Number.POSITIVE_INFINITY) {
      const scheduler = this.#scheduler;
      const expire = (): void => {
        if (this.#pipelines.get(token) !== pipeline) return;
        const leftMs = pipeline.lastMs + ttlMs - scheduler.now();
        if (leftMs > 0) scheduler.schedule(expire, leftMs);
        else this.#finish(token, pipeline);
      };
      scheduler.schedule(expire, ttlMs);
    }
    this.#check();
    return pipeline;
  }

  /** The pipeline of a key is completed and forgotten. */
  #finish(token: KeyToken, pipeline: RxPipeline): void {
    pipeline.complete();
    this.#check();
    // With a ttl above its own delays it has completed by now.
    if (!pipeline.completed) this.#open--;
    pipeline.dispose();
    this.#pipelines.delete(token);
    if (!this.#replays) return;
    this.#context.states.keyed.setCurrentKey(pipeline.key);
    this.#log.clear();
    this.#emitted.clear();
    this.#lengths.delete(token);
  }

  #emit(key: unknown, value: unknown): void {
    if (!this.#inside) {
      if (this.#eventTime) {
        throw new GraphError(
          `"${this.#context.operatorName}" gave ${describe(value)} at no time of the stream: something in it is asynchronous. Under event time ` +
            `a pipeline may only wait with the scheduler; write rx(…, { time: "processing" }).`,
        );
      }
      this.#strays.push(value);
      this.#context.wake();
    } else this.#handOn(value);
    if (this.#replays) {
      this.#context.states.keyed.setCurrentKey(key);
      this.#emitted.update((this.#emitted.value() ?? 0) + 1);
    }
  }

  /** To the consumers. What they throw is theirs. */
  #handOn(value: unknown): void {
    const now = this.#scheduler.now();
    const timestamp = this.#eventTime ? (Number.isFinite(now) ? now : Number.NaN) : this.#rowTimestamp;
    try {
      this.#context.emit(value, timestamp);
    } catch (error) {
      throw new FromConsumer(error);
    }
  }

  /** All input has ended: pipelines complete, and what they scheduled runs. */
  #end(): void {
    this.#ended = true;
    // RxJS's words for empty streams (count, defaultIfEmpty) answer too.
    if (this.#spec.key === undefined && this.#pipelines.size === 0) this.#subscribe(NO_KEY, NO_KEY, 0);
    for (const pipeline of this.#pipelines.values()) {
      pipeline.complete();
      this.#check();
    }
    if (!this.#eventTime) return;
    const limit = MAX_ACTIONS_AFTER_END * Math.max(1, this.#open);
    for (let actions = 0; this.#open > 0 && this.#scheduler.runNext(); actions++) {
      this.#check();
      if (actions < limit) continue;
      throw new GraphError(
        `The pipeline of "${this.#context.operatorName}" goes on after the end of its input (${limit} timer actions, up to the event time ` +
          `${this.#scheduler.now()}); let what repeats end with the rows: interval(…).pipe(takeUntil(rows$.pipe(last(undefined, 0)))).`,
      );
    }
    if (this.#open > 0) {
      throw new GraphError(
        `The pipeline of "${this.#context.operatorName}" has not completed although its input has ended and nothing is scheduled: it waits for ` +
          `something outside of the stream's time. For promises write rx(…, { time: "processing" }); end what never ends with the rows (takeUntil).`,
      );
    }
    for (const pipeline of this.#pipelines.values()) pipeline.dispose();
  }

  /** @throws what a pipeline failed with. Inside of `#run`, which explains it. */
  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** A pipeline's error, with the operator's name: RxJS stands between the operator and the throw, too deep for a stack. */
  #explained(error: unknown): unknown {
    if (error instanceof FromConsumer) return error.error;
    if (error instanceof DreyError || typeof error === "symbol") return error;
    const { operatorName: operator, operatorId, subtask, parallelism } = this.#context;
    const what = error instanceof Error ? `${error.name}: ${error.message}` : `a value that is not an Error: ${String(error)}`;
    return new UserFunctionError(`"${operator}" (subtask ${subtask + 1} of ${parallelism}) threw ${what}`, {
      cause: error, details: { operator, operatorId },
    });
  }

  // ------------------------------------------------------------------------------------------------------------- replay

  #record(token: KeyToken, key: unknown, time: number, value: unknown): void {
    const length = (this.#lengths.get(token) ?? 0) + 1;
    if (length > this.#spec.replayLimit) {
      throw new GraphError(
        `A pipeline of "${this.#context.operatorName}" has got ${length} rows since it was subscribed, and { state: "replay" } keeps them all; ` +
          `give it a { ttl } after which it is completed and forgotten, or a larger { replayLimit }.`,
      );
    }
    this.#lengths.set(token, length);
    this.#context.states.keyed.setCurrentKey(key);
    this.#log.add([time, value]);
  }

  /** New pipelines get what those before the failure had got, all in order of time, and leave out what those gave. */
  #replay(): void {
    const { keyed } = this.#context.states;
    const rows: { readonly token: KeyToken; readonly key: unknown; readonly time: number; readonly value: unknown }[] = [];
    for (const key of keyed.keys(LOG)) {
      keyed.setCurrentKey(key);
      const token = keyed.currentToken;
      const log = this.#log.get();
      this.#lengths.set(token, log.length);
      for (const [time, value] of log) rows.push({ token, key, time, value });
    }
    rows.sort((a, b) => a.time - b.time);
    this.#run(() => {
      for (const { token, key, time, value } of rows) {
        this.#scheduler.moveTo(time);
        let pipeline = this.#pipelines.get(token);
        if (pipeline === undefined) {
          keyed.setCurrentKey(key);
          pipeline = this.#subscribe(token, key, this.#emitted.value() ?? 0);
        }
        pipeline.lastMs = time;
        if (!pipeline.completed) pipeline.next(value);
        this.#check();
      }
    });
  }
}

/** What a consumer threw, on its way through RxJS. */
class FromConsumer {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}
