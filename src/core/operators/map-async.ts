/**
 * `mapAsync`: each record through a function that answers later (Flink: AsyncWaitOperator). Up to `capacity` records are under way at once;
 * when as many wait, the task takes no more input.
 *
 * Invariants: a watermark leaves after the results of all records before it and before those of any record behind it, in either mode;
 * `ordered` hands on results in the order of the records. Answers only mark their record as done, in any turn of the event loop; results
 * leave in the task's own loop. Records under way are state: after a failure they are asked for again, so the function runs at least once.
 *
 * Bound: `capacity`, and the records of the segment at hand, which wait.
 */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorList } from "../state/operator-states.ts";
import { DeadlineError, DreyError, UserFunctionError, describe } from "../types/errors.ts";
import type { RuntimeContext } from "./function.ts";
import { FunctionContext } from "./function-context.ts";
import { type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";

/** What an asynchronous function learns about its record. */
export interface AsyncContext {
  /** Event time of the record, milliseconds since the epoch; undefined when the stream has no timestamps. */
  readonly timestamp: number | undefined;
  /** 1 for the first try. */
  readonly attempt: number;
  /** Aborted when nobody waits for the answer any more: time is up, or the task ends. */
  readonly signal: AbortSignal;
}

/** A function that answers later, with something of its own that is opened before and closed after: a connection, a pool. */
export abstract class AsyncFunction<In, Out> {
  open?(context: RuntimeContext): void | Promise<void>;
  abstract invoke(value: In, context: AsyncContext): PromiseLike<Out> | Out;
  /** Runs once, at the end of the task, also after a failure. */
  close?(): void | Promise<void>;
}

/** When and how often a record is tried again. */
export interface AsyncRetry {
  /** Tries in all, the first one included. */
  readonly attempts: number;
  readonly delayMs: number;
  /** Each delay is so many times the one before. 1: fixed. */
  readonly multiplier: number;
  readonly maxDelayMs: number;
  /** Whether an error is worth another try. Absent: every one. */
  readonly onError?: (error: unknown) => boolean;
  /** Whether a result calls for another try. Absent: none. */
  readonly onResult?: (result: unknown) => boolean;
}

export interface MapAsyncSpec extends OperatorSpec {
  readonly kind: "mapAsync";
  readonly function: Pick<AsyncFunction<never, unknown>, "invoke" | "open" | "close">;
  readonly ordered: boolean;
  readonly capacity: number;
  /** For a record with all its tries; Infinity: none. */
  readonly timeoutMs: number;
  /** The result of a record whose time is up. Absent: the job fails. */
  readonly onTimeout?: (value: never) => unknown;
  readonly retry?: AsyncRetry;
}

export const mapAsyncOperator: OperatorKind<MapAsyncSpec> = {
  kind: "mapAsync",
  inputs: 1,
  fields: ({ function: it, onTimeout }, { of }) => eitherUse(of(it.invoke, 0), onTimeout === undefined ? new Set() : of(onTimeout, 0)),
  create: (spec, context) => new MapAsyncOperator(spec, context),
};

/** A record as it stands in a snapshot. */
interface InFlight {
  readonly value: unknown;
  readonly timestamp: number;
}

class Entry {
  readonly value: unknown;
  readonly timestamp: number;
  attempt = 0;
  deadlineMs = Number.POSITIVE_INFINITY;
  done = false;
  result: unknown;
  abort: AbortController | undefined;

  constructor(value: unknown, timestamp: number) {
    this.value = value;
    this.timestamp = timestamp;
  }
}

/** Records between two watermarks. */
interface Stretch {
  /** Records whose results have not left, in order of arrival. */
  readonly entries: Set<Entry>;
  /** Those of them that are done, in order of completion. */
  readonly done: Set<Entry>;
  /** The watermark behind them, once it has come. */
  watermark: number | undefined;
}

const stretch = (): Stretch => ({ entries: new Set(), done: new Set(), watermark: undefined });

class MapAsyncOperator implements Operator {
  readonly holdsWatermarks = true;
  readonly #spec: MapAsyncSpec;
  readonly #context: OperatorContext;
  readonly #inFlight: OperatorList<InFlight>;
  readonly #functionContext: FunctionContext;
  readonly #stretches: Stretch[] = [stretch()];
  /** Not begun yet: more than the capacity came. */
  readonly #waiting: Entry[] = [];
  /** Begun, in order of their deadlines, since all have the same time. */
  readonly #begun: Entry[] = [];
  readonly #retries: { readonly entry: Entry; readonly atMs: number }[] = [];
  #count = 0;
  #failure: Error | undefined;
  #closed = false;

  constructor(spec: MapAsyncSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
    this.#functionContext = new FunctionContext(context, false);
    this.#inFlight = context.states.list<InFlight>("in flight", "split");
  }

  async open(): Promise<void> {
    await this.#spec.function.open?.(this.#functionContext);
    for (const { value, timestamp } of this.#inFlight.get()) this.process(value, timestamp);
  }

  process(value: unknown, timestamp: number): void {
    const entry = new Entry(value, timestamp);
    (this.#stretches[this.#stretches.length - 1] as Stretch).entries.add(entry);
    this.#count++;
    if (this.#count > this.#spec.capacity) this.#waiting.push(entry);
    else this.#begin(entry);
  }

  onWatermark(watermark: number): void {
    const last = this.#stretches[this.#stretches.length - 1] as Stretch;
    if (last.entries.size === 0 && this.#stretches.length === 1) {
      this.#context.emitWatermark(watermark);
      return;
    }
    // Behind the same records a later watermark says more.
    if (last.entries.size === 0) (this.#stretches[this.#stretches.length - 2] as Stretch).watermark = watermark;
    else {
      last.watermark = watermark;
      this.#stretches.push(stretch());
    }
  }

  full(): boolean {
    return this.#count >= this.#spec.capacity;
  }

  owes(): boolean {
    return this.#count > 0;
  }

  nextProcessingTime(): number {
    if (this.#failure !== undefined || this.#ready()) return Number.NEGATIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const { atMs } of this.#retries) next = Math.min(next, atMs);
    while (this.#begun[0]?.done === true) this.#begun.shift();
    return Math.min(next, this.#begun[0]?.deadlineMs ?? next);
  }

  onProcessingTime(nowMs: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    while ((this.#begun[0]?.deadlineMs ?? Number.POSITIVE_INFINITY) <= nowMs) this.#timeUp(this.#begun.shift() as Entry);
    for (let at = 0; at < this.#retries.length; ) {
      const { entry, atMs } = this.#retries[at] as { entry: Entry; atMs: number };
      if (atMs > nowMs) at++;
      else {
        this.#retries.splice(at, 1);
        if (!entry.done) this.#try(entry);
      }
    }
    this.#handOn();
  }

  prepareSnapshot(): void {
    this.#inFlight.update(
      this.#stretches.flatMap(({ entries }) => Array.from(entries, ({ value, timestamp }): InFlight => ({ value, timestamp }))),
    );
  }

  close(): void | Promise<void> {
    this.#closed = true;
    for (const { entries } of this.#stretches) for (const entry of entries) entry.abort?.abort();
    return this.#spec.function.close?.();
  }

  #ready(): boolean {
    const [first] = this.#stretches as [Stretch];
    if (!this.#spec.ordered) return first.done.size > 0;
    for (const entry of first.entries) return entry.done;
    return false;
  }

  /** Results that may leave now, and watermarks that nothing is before any more. */
  #handOn(): void {
    for (;;) {
      const [first] = this.#stretches as [Stretch];
      for (const entry of this.#spec.ordered ? first.entries : first.done) {
        if (!entry.done) break;
        first.entries.delete(entry);
        first.done.delete(entry);
        this.#count--;
        const next = this.#waiting.shift();
        if (next !== undefined) this.#begin(next);
        this.#context.emit(entry.result, entry.timestamp);
      }
      if (first.entries.size > 0 || first.watermark === undefined) return;
      this.#stretches.shift();
      this.#context.emitWatermark(first.watermark);
    }
  }

  #begin(entry: Entry): void {
    if (Number.isFinite(this.#spec.timeoutMs)) {
      entry.deadlineMs = this.#context.now() + this.#spec.timeoutMs;
      this.#begun.push(entry);
    }
    this.#try(entry);
  }

  #try(entry: Entry): void {
    const attempt = ++entry.attempt;
    const abort = new AbortController();
    entry.abort = abort;
    const { timestamp } = entry;
    const context: AsyncContext = { timestamp: Number.isNaN(timestamp) ? undefined : timestamp, attempt, signal: abort.signal };
    // A function that throws before it returns a promise fails like its promise would.
    Promise.resolve()
      .then(() => this.#spec.function.invoke(entry.value as never, context))
      .then(
        (result) => this.#settled(entry, attempt, undefined, result),
        (error: unknown) => this.#settled(entry, attempt, { error }, undefined),
      );
  }

  #settled(entry: Entry, attempt: number, failed: { readonly error: unknown } | undefined, result: unknown): void {
    if (this.#closed || entry.done || entry.attempt !== attempt) return;
    try {
      const { retry } = this.#spec;
      const again =
        retry !== undefined &&
        attempt < retry.attempts &&
        (failed === undefined ? (retry.onResult?.(result) ?? false) : (retry.onError?.(failed.error) ?? true));
      if (again) {
        const delayMs = Math.min(retry.delayMs * retry.multiplier ** (attempt - 1), retry.maxDelayMs);
        this.#retries.push({ entry, atMs: this.#context.now() + delayMs });
      } else if (failed !== undefined) throw failed.error;
      else this.#complete(entry, result);
    } catch (error) {
      this.#failure ??= this.#explained(error, attempt);
    }
    this.#context.wake();
  }

  #complete(entry: Entry, result: unknown): void {
    entry.done = true;
    entry.result = result;
    for (const it of this.#stretches) if (it.entries.has(entry)) it.done.add(entry);
  }

  #timeUp(entry: Entry): void {
    if (entry.done) return;
    const { onTimeout, timeoutMs } = this.#spec;
    if (onTimeout === undefined) {
      throw new DeadlineError(
        `"${this.#context.operatorName}" had no answer for ${describe(entry.value)} within ${timeoutMs} ms (tries: ${entry.attempt}); ` +
          "give it more time, or say what comes instead: mapAsync(…, { timeout, onTimeout: (record) => … }).",
      );
    }
    this.#complete(entry, (onTimeout as (value: unknown) => unknown)(entry.value));
    entry.abort?.abort();
  }

  #explained(error: unknown, attempts: number): Error {
    if (error instanceof DreyError) return error;
    const what = error instanceof Error ? `${error.name}: ${error.message}` : `a value that is not an Error: ${String(error)}`;
    const tries = attempts > 1 ? ` after ${attempts} tries` : "";
    return new UserFunctionError(`"${this.#context.operatorName}" threw ${what}${tries}`, { cause: error });
  }
}
