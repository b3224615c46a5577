/**
 * A source that runs the user's iterator inside the task: `fromIterable(function* () { … })`. Synchronous or asynchronous; one subtask.
 * Rows of an asynchronous iterator are awaited one by one, at most PREFETCH ahead of the task.
 *
 * Its place in a checkpoint is the number of rows that were taken: after a failure the function is called again, and so many rows are left
 * out. That is exact if it gives the same rows each time.
 */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorContext, OperatorKind, SourceOperator } from "../operators/operator.ts";
import { OwnItems } from "../operators/own-items.ts";
import { Pace } from "./pace.ts";
import { RecordError, describe } from "../types/errors.ts";

export interface IterableSpec extends OperatorSpec {
  readonly kind: "iterable";
  readonly open: () => Iterable<unknown> | AsyncIterable<unknown>;
  /** Of a synchronous iterable; Infinity: as fast as possible. */
  readonly rowsPerSecond: number;
}

const PREFETCH = 256;
/** Rows of a former attempt that are left out per turn of the task. */
const SKIP_AT_ONCE = 10_000;

export const iterableSource: OperatorKind<IterableSpec> = {
  kind: "iterable",
  inputs: 0,
  create: (spec, context) => new IterableSource(spec, context),
};

class IterableSource implements SourceOperator {
  readonly #spec: IterableSpec;
  readonly #context: OperatorContext;
  readonly #positions: OwnItems<number>;
  #rows: SourceOperator | undefined;
  #taken = 0;

  constructor(spec: IterableSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
    this.#positions = new OwnItems(context, "positions");
  }

  prepareSnapshot(): void {
    this.#positions.keep([this.#taken]);
  }

  open(): void {
    this.#taken = this.#positions.restored?.[0] ?? 0;
    const rows: unknown = this.#spec.open();
    const iterable = rows === null || rows === undefined ? {} : (Object(rows) as object);
    if (Symbol.asyncIterator in iterable) this.#rows = new AsyncIteration(iterable as AsyncIterable<unknown>, this.#context, this.#taken);
    else if (Symbol.iterator in iterable)
      this.#rows = new Iteration(iterable as Iterable<unknown>, new Pace(this.#spec.rowsPerSecond, this.#context), this.#taken);
    else {
      throw new RecordError(
        `The function of "${this.#context.operatorName}" returned ${describe(rows)}; from() needs a function that returns an iterable.`,
      );
    }
  }

  read(rows: unknown[], timestamps: Float64Array, max: number): number {
    const count = (this.#rows as SourceOperator).read(rows, timestamps, max);
    if (count > 0) this.#taken += count;
    return count;
  }

  nextReadMs(): number {
    return this.#rows?.nextReadMs?.() ?? 0;
  }

  close(): void | Promise<void> {
    return this.#rows?.close?.();
  }
}

class Iteration implements SourceOperator {
  readonly #iterator: Iterator<unknown>;
  readonly #pace: Pace;
  #skip: number;

  constructor(rows: Iterable<unknown>, pace: Pace, skip: number) {
    this.#iterator = rows[Symbol.iterator]();
    this.#pace = pace;
    this.#skip = skip;
  }

  read(rows: unknown[], _timestamps: Float64Array, max: number): number {
    for (let left = SKIP_AT_ONCE; this.#skip > 0; left--, this.#skip--) {
      if (left === 0) return 0;
      if (this.#iterator.next().done === true) return -1;
    }
    const due = Math.min(max, this.#pace.due());
    let count = 0;
    while (count < due) {
      const next = this.#iterator.next();
      if (next.done === true) return count === 0 ? -1 : count;
      rows[count++] = next.value;
    }
    this.#pace.made += count;
    return count;
  }

  nextReadMs(): number {
    return this.#skip > 0 ? 0 : this.#pace.nextMs();
  }

  close(): void {
    this.#iterator.return?.();
  }
}

class AsyncIteration implements SourceOperator {
  readonly #iterator: AsyncIterator<unknown>;
  readonly #context: OperatorContext;
  #ready: unknown[] = [];
  #pulling = false;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #skip: number;

  constructor(rows: AsyncIterable<unknown>, context: OperatorContext, skip: number) {
    this.#iterator = rows[Symbol.asyncIterator]();
    this.#context = context;
    this.#skip = skip;
  }

  read(rows: unknown[], _timestamps: Float64Array, max: number): number {
    const count = Math.min(max, this.#ready.length);
    for (let i = 0; i < count; i++) rows[i] = this.#ready[i];
    this.#ready.splice(0, count);
    if (count === 0 && this.#failure !== undefined) throw this.#failure.error;
    if (count === 0 && this.#ended) return -1;
    if (!this.#pulling && !this.#ended) void this.#pull();
    return count;
  }

  nextReadMs(): number {
    return Number.POSITIVE_INFINITY;
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#iterator.return?.();
  }

  async #pull(): Promise<void> {
    this.#pulling = true;
    try {
      while (!this.#ended && this.#ready.length < PREFETCH) {
        const next = await this.#iterator.next();
        if (next.done === true) this.#ended = true;
        else if (this.#skip > 0) {
          this.#skip--;
          continue;
        } else this.#ready.push(next.value);
        this.#context.wake();
      }
    } catch (error) {
      this.#failure = { error };
      this.#ended = true;
      this.#context.wake();
    } finally {
      this.#pulling = false;
    }
  }
}
