/** Rows of the client as feeds of a job: iterables are pulled as the job has room, Observables are buffered up to a bound. */
import type { Observable, Subscription } from "rxjs";
import type { RowFeed } from "../runtime/executor.ts";
import { GraphError } from "../types/errors.ts";

/** A feed that pulls from an iterable. */
export function iterableFeed(rows: Iterable<unknown> | AsyncIterable<unknown>): RowFeed {
  let iterator: Iterator<unknown> | AsyncIterator<unknown> | undefined;
  return {
    async next(max) {
      iterator ??= Symbol.asyncIterator in rows ? rows[Symbol.asyncIterator]() : rows[Symbol.iterator]();
      const batch: unknown[] = [];
      while (batch.length < max) {
        const pending = iterator.next();
        // An asynchronous iterator may be slow: its rows go one by one rather than wait for a full batch.
        const next = pending instanceof Promise ? await pending : (pending as IteratorResult<unknown>);
        if (next.done === true) return batch.length === 0 ? null : batch;
        batch.push(next.value);
        if (pending instanceof Promise) return batch;
      }
      return batch;
    },
    close: () => void iterator?.return?.(),
  };
}

/** Rows that an Observable may be ahead of the job. */
export const OBSERVABLE_BUFFER_ROWS = 1_000_000;

/**
 * A feed that subscribes to an Observable when the job asks for the first row.
 * @param limit rows that may wait; one more fails the job, since an Observable cannot be told to wait.
 */
export function observableFeed(rows$: Observable<unknown>, limit: number = OBSERVABLE_BUFFER_ROWS): RowFeed {
  const waiting: unknown[] = [];
  let head = 0;
  let subscription: Subscription | undefined;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  const change = (): void => {
    wake?.();
    wake = undefined;
  };
  const subscribe = (): Subscription =>
    rows$.subscribe({
      next: (row) => {
        if (waiting.length - head >= limit) {
          failure = {
            error: new GraphError(
              `The Observable is ${limit} rows ahead of the job. Give fromObservable() a larger { buffer }, thin the rows out before ` +
                `(sampleTime, throttleTime …), or pass an iterable, which waits for the job.`,
            ),
          };
          subscription?.unsubscribe();
        } else waiting.push(row);
        change();
      },
      error: (error: unknown) => {
        failure = { error };
        change();
      },
      complete: () => {
        ended = true;
        change();
      },
    });
  return {
    async next(max) {
      subscription ??= subscribe();
      while (head === waiting.length && !ended && failure === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (head < waiting.length) {
        const batch = waiting.slice(head, head + max);
        head += batch.length;
        if (head === waiting.length || head > 65_536) {
          waiting.splice(0, head);
          head = 0;
        }
        return batch;
      }
      if (failure !== undefined) throw failure.error;
      return null;
    },
    close() {
      ended = true;
      subscription?.unsubscribe();
      change();
    },
  };
}
