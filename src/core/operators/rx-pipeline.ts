/**
 * One RxJS pipeline, from its subscription to its end: rows go into a Subject, what comes out is emitted. Errors don't leave through RxJS,
 * which would report them to nobody in particular: whoever puts a row in asks for them afterwards.
 *
 * This is the only file of the runtime that loads rxjs, besides the scheduler. It is loaded where a pipeline runs.
 */
import { type Subscription, Subject, asyncScheduler, isObservable } from "rxjs";
import { GraphError, describe } from "../types/errors.ts";
import type { RxContext } from "./rx.ts";

/** What a pipeline tells its operator. */
export interface RxListener {
  /** A row came out. What this throws, `failed` is told. */
  emit(value: unknown): void;
  /** It failed, once. Nothing comes out afterwards. */
  failed(error: unknown): void;
  /** It has completed, by itself or because `complete` was called. */
  completed(): void;
}

/** A pipeline that is subscribed. Used by the subtask's thread. */
export class RxPipeline {
  readonly key: unknown;
  /** Time of the last row. */
  lastMs: number;
  readonly #rows = new Subject<unknown>();
  readonly #listener: RxListener;
  #subscription: Subscription | undefined;
  #toSuppress: number;
  #failed = false;
  #completed = false;

  /**
   * Subscribes. Anything may come out at once (`startWith`).
   * @param toSuppress so many rows that come out first are left out: they came out before a failure.
   */
  constructor(
    project: (rows$: never, context: RxContext) => unknown, context: RxContext, key: unknown, nowMs: number, toSuppress: number,
    listener: RxListener,
  ) {
    this.key = key;
    this.lastMs = nowMs;
    this.#toSuppress = toSuppress;
    this.#listener = listener;
    try {
      const output = project(this.#rows.asObservable() as never, context);
      if (!isObservable(output)) {
        throw new GraphError(`The function of rx() returned ${describe(output)}; it returns an Observable: rx((rows$) => rows$.pipe(…)).`);
      }
      this.#subscription = output.subscribe({
        next: (value) => this.#out(value),
        error: (error: unknown) => this.#fail(error),
        complete: () => {
          this.#completed = true;
          listener.completed();
        },
      });
    } catch (error) {
      this.#fail(error);
    }
  }

  /** It wants no more rows. */
  get completed(): boolean {
    return this.#completed;
  }

  next(value: unknown): void {
    this.#rows.next(value);
  }

  /** No row follows. */
  complete(): void {
    this.#rows.complete();
  }

  dispose(): void {
    this.#subscription?.unsubscribe();
  }

  #out(value: unknown): void {
    if (this.#failed) return;
    if (this.#toSuppress > 0) {
      this.#toSuppress--;
      return;
    }
    // RxJS would report what its subscriber throws to nobody.
    try {
      this.#listener.emit(value);
    } catch (error) {
      this.#fail(error);
      this.dispose();
    }
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#listener.failed(error);
  }
}

/**
 * Calls a function during which nobody may use the machine's clock through RxJS's default scheduler: a pipeline that follows event time
 * would give other results on every run.
 */
export function withoutClock(work: () => void): void {
  const guarded = asyncScheduler as { schedule?: unknown };
  guarded.schedule = (): never => {
    throw new GraphError(
      "An operator in rx() follows the machine's clock although the pipeline follows event time; hand it the scheduler: " +
        "rx((rows$, { scheduler }) => rows$.pipe(debounceTime(1_000, scheduler))), or write rx(…, { time: \"processing\" }).",
    );
  };
  try {
    work();
  } finally {
    delete guarded.schedule;
  }
}
