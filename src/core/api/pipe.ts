/**
 * The pipeable operators, for `stream.pipe(map(f), filter(g), keyBy(k))`. Each is the method of the same name: the graph is the same.
 */
import type { AggregateFunction } from "../operators/aggregates.ts";
import type { Collector, KeyedProcessFunction, ProcessContext, ProcessFunction } from "../operators/function.ts";
import type { WindowContext } from "../operators/window.ts";
import type { Timestamp } from "../time/watermark.ts";
import type { WindowDescription } from "../time/window.ts";
import type { DataStream, KeyedStream, TimestampOptions, WindowedStream } from "./data-stream.ts";
import type { Synchronous } from "./misuse.ts";

/** See `DataStream.map`. */
export function map<T, R>(map: ((value: T) => R) & Synchronous<R, "map()">): (stream: DataStream<T>) => DataStream<R> {
  return (stream) => stream.map<R>(map);
}

/** See `DataStream.filter`. */
export function filter<T, S extends T>(predicate: (value: T) => value is S): (stream: DataStream<T>) => DataStream<S>;
export function filter<T, R>(predicate: ((value: T) => R) & Synchronous<R, "filter()">): (stream: DataStream<T>) => DataStream<T>;
export function filter<T, R>(predicate: ((value: T) => R) & Synchronous<R, "filter()">): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.filter<R>(predicate);
}

/** See `DataStream.flatMap`. */
export function flatMap<T, R>(flatMap: (value: T) => Iterable<R>): (stream: DataStream<T>) => DataStream<R> {
  return (stream) => stream.flatMap(flatMap);
}

/** See `DataStream.withTimestamps`. */
export function withTimestamps<T>(
  timestamp: (value: T) => Timestamp,
  options?: TimestampOptions<T>,
): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.withTimestamps(timestamp, options);
}

/** See `DataStream.keyBy`. */
export function keyBy<T, K>(key: ((value: T) => K) & Synchronous<K, "keyBy()">): (stream: DataStream<T>) => KeyedStream<T, K> {
  return (stream) => stream.keyBy<K>(key);
}

/** See `KeyedStream.reduce`. */
export function reduce<T, K>(reduce: (accumulated: T, value: T) => T): (stream: KeyedStream<T, K>) => DataStream<T> {
  return (stream) => stream.reduce(reduce);
}

/** See `KeyedStream.window`. */
export function window<T, K>(window: WindowDescription): (stream: KeyedStream<T, K>) => WindowedStream<T, K> {
  return (stream) => stream.window(window);
}

/** See `WindowedStream.aggregate`. */
export function aggregate<T, K, Acc, Result>(
  aggregate: AggregateFunction<T, Acc, Result>,
): (stream: WindowedStream<T, K>) => DataStream<Result>;
export function aggregate<T, K, Acc, Result, Out>(
  aggregate: AggregateFunction<T, Acc, Result>, finish: (result: Result, context: WindowContext<K>) => Out,
): (stream: WindowedStream<T, K>) => DataStream<Out>;
// oxlint-disable-next-line typescript/no-explicit-any -- the overloads above are the types; behind them arguments are only handed on
export function aggregate(aggregate: any, finish?: any): any {
  return (stream: WindowedStream<never, never>) =>
    finish === undefined ? stream.aggregate(aggregate) : stream.aggregate(aggregate, finish);
}

/** See `DataStream.process` and `KeyedStream.process`. */
export function process<T, K, Out>(process: KeyedProcessFunction<K, T, Out>): (stream: KeyedStream<T, K>) => DataStream<Out>;
export function process<T, Out>(
  process: ProcessFunction<T, Out> | ((value: T, context: ProcessContext, out: Collector<Out>) => void),
): (stream: DataStream<T>) => DataStream<Out>;
// oxlint-disable-next-line typescript/no-explicit-any -- as above
export function process(process: any): any {
  return (stream: DataStream<never>) => stream.process(process);
}

/** See `DataStream.union`. */
export function union<T>(...others: readonly DataStream<T>[]): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.union(...others);
}
