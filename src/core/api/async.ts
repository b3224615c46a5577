/** `mapAsync` as users write it: its options, checked. */
import type { StreamNodeOptions } from "../graph/stream-graph.ts";
import type { AsyncContext, AsyncFunction } from "../operators/map-async.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { DataStream } from "./data-stream.ts";
import { nameOf } from "./process-spec.ts";
import { functionOf, specOf } from "./spec.ts";

/** How often and when a record is tried again. */
export interface RetryOptions<R> {
  /** Tries in all, the first one included: an integer ≥ 1. */
  readonly attempts: number;
  /** From a failure to the next try. Default "100 ms". */
  readonly delay?: Duration;
  /** Each delay is so many times the one before. Default 1: always the same; 2: exponential backoff. */
  readonly multiplier?: number;
  /** Default "1 min". */
  readonly maxDelay?: Duration;
  /** Whether an error is worth another try. Default: every one. */
  readonly onError?: (error: unknown) => boolean;
  /** Whether a result calls for another try. Default: none. */
  readonly onResult?: (result: R) => boolean;
}

/** How `mapAsync` works on several records at once. */
export interface MapAsyncOptions<T, R> {
  /** Results leave in the order of their records. With false, as they come, but never across a watermark. Default true. */
  readonly ordered?: boolean;
  /** Records under way at once, per subtask. Default 100. */
  readonly capacity?: number;
  /** For a record, with all its tries. Default: none. */
  readonly timeout?: Duration;
  /** The result of a record whose time is up. Without it the job fails. */
  readonly onTimeout?: (value: T) => R;
  /** Default: a record is tried once, and an error fails the job. */
  readonly retry?: RetryOptions<R>;
}

/** The operator of `DataStream.mapAsync`. @throws GraphError for options that cannot be. */
export function mapAsyncNode<T, R>(
  map: AsyncFunction<T, R> | ((value: T, context: AsyncContext) => PromiseLike<R> | R), options: MapAsyncOptions<T, R>,
): Omit<StreamNodeOptions, "inputs"> {
  const { ordered = true, capacity = 100, timeout, onTimeout, retry } = options;
  if (!Number.isInteger(capacity) || capacity < 1) {
    throw new GraphError(`mapAsync(…, { capacity }) is ${describe(capacity)}; give an integer ≥ 1.`);
  }
  return {
    name: typeof map === "function" ? "mapAsync" : nameOf(map, "mapAsync"),
    asynchronous: true,
    spec: specOf("mapAsync", {
      function: asyncFunction(map), ordered, capacity,
      timeoutMs: timeout === undefined ? Number.POSITIVE_INFINITY : durationMs(timeout, "mapAsync(…, { timeout })"),
      ...(onTimeout === undefined ? {} : { onTimeout: functionOf(onTimeout, "mapAsync(…, { onTimeout })") }),
      ...(retry === undefined ? {} : { retry: checkedRetry(retry) }),
    }),
  };
}

function asyncFunction(map: unknown): unknown {
  if (typeof map === "function") return { invoke: map };
  functionOf((map as { readonly invoke?: unknown } | null)?.invoke, "mapAsync(): invoke");
  return map;
}

function checkedRetry<R>({ attempts, delay = 100, multiplier = 1, maxDelay = 60_000, onError, onResult }: RetryOptions<R>): object {
  if (!Number.isInteger(attempts) || attempts < 1) {
    throw new GraphError(`mapAsync(…, { retry: { attempts } }) is ${describe(attempts)}; give an integer ≥ 1.`);
  }
  if (!(multiplier >= 1)) throw new GraphError(`mapAsync(…, { retry: { multiplier } }) is ${describe(multiplier)}; give a number ≥ 1.`);
  return {
    attempts, multiplier,
    delayMs: durationMs(delay, "mapAsync(…, { retry: { delay } })"),
    maxDelayMs: durationMs(maxDelay, "mapAsync(…, { retry: { maxDelay } })"),
    ...(onError === undefined ? {} : { onError: functionOf(onError, "mapAsync(…, { retry: { onError } })") }),
    ...(onResult === undefined ? {} : { onResult: functionOf(onResult, "mapAsync(…, { retry: { onResult } })") }),
  };
}

/** See `DataStream.mapAsync`. */
export function mapAsync<T, R>(
  map: AsyncFunction<T, R> | ((value: T, context: AsyncContext) => PromiseLike<R> | R), options?: MapAsyncOptions<T, R>,
): (stream: DataStream<T>) => DataStream<R> {
  return (stream) => stream.mapAsync(map, options);
}
