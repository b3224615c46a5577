/**
 * Rows of whatever gives rows over time: a DataStream, any Observable, an async iterable, an array. One way to take them, so that every
 * live view works on all of them.
 */
import { ConfigurationError, describe } from "../core/types/errors.ts";

/** The part of an Observable (RxJS, or any other library's) that is needed. */
export interface Subscribable<Row> {
  subscribe(observer: { next(row: Row): void; error(error: unknown): void; complete(): void }): { unsubscribe(): void };
}

/** What a live view can be made of. A DataStream is one: watching it runs its job, and ending the view cancels it. */
export type RowSource<Row> = Subscribable<Row> | AsyncIterable<Row> | Iterable<Row>;

/**
 * Calls `take` for each row and resolves when there are no more, or when `signal` is aborted (the source is then unsubscribed or returned).
 * @throws the source's own error; ConfigurationError when it gives no rows at all.
 */
export async function readRows<Row>(source: RowSource<Row>, take: (row: Row) => void, signal: AbortSignal): Promise<void> {
  if (typeof source === "object" && source !== null) {
    if ("subscribe" in source) return subscribed(source, take, signal);
    if (Symbol.asyncIterator in source || Symbol.iterator in source) return iterated(source, take, signal);
  }
  throw new ConfigurationError(`${describe(source)} gives no rows; show a DataStream, an Observable, an array or an async iterable.`);
}

function subscribed<Row>(source: Subscribable<Row>, take: (row: Row) => void, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return resolve();
    const subscription = source.subscribe({ next: take, error: reject, complete: resolve });
    const stop = (): void => {
      subscription.unsubscribe();
      resolve();
    };
    // Rows that come while the source is being subscribed to may be enough.
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

async function iterated<Row>(source: AsyncIterable<Row> | Iterable<Row>, take: (row: Row) => void, signal: AbortSignal): Promise<void> {
  const rows = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  const aborted = new Promise<undefined>((resolve) => signal.addEventListener("abort", () => resolve(undefined), { once: true }));
  for (let count = 1; ; count++) {
    // An iterator that never answers must not hold the view after it was stopped.
    const got = signal.aborted ? undefined : await Promise.race([rows.next(), aborted]);
    if (got === undefined) {
      await rows.return?.();
      return;
    }
    if (got.done === true) return;
    take(got.value);
    // Frames are drawn in turns of the event loop, which a source that always has a row would never leave.
    if (count % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}
