/**
 * The pipeable operators, for `stream.pipe(map(f), filter(g), keyBy(k))`. Each is the method of the same name: the graph is the same.
 */
import type { AggregateFunction } from "../operators/aggregates.ts";
import type { Collector, KeyedProcessFunction, ProcessContext, ProcessFunction, SideOutput } from "../operators/function.ts";
import type { WindowContext } from "../operators/window.ts";
import type { Evictor } from "../operators/evictor.ts";
import type { Trigger } from "../operators/trigger.ts";
import type { Timestamp } from "../time/watermark.ts";
import type { WindowDescription } from "../time/window.ts";
import type { Duration } from "../types/duration.ts";
import type { BatchSize } from "./batch.ts";
import type { DataStream, KeyedStream } from "./data-stream.ts";
import type { IntervalJoin } from "./interval-join.ts";
import type { JoinedStreams } from "./joined-streams.ts";
import type { Synchronous } from "./misuse.ts";
import type { FieldOf } from "./sequences.ts";
import type { TimestampOptions } from "./timestamps.ts";
import type { WindowFunction, WindowedStream } from "./windowed-stream.ts";

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
  timestamp: (value: T, timestamp: number) => Timestamp,
  options?: TimestampOptions<T>,
): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.withTimestamps(timestamp, options);
}

/** See `DataStream.keyBy`. */
export function keyBy<T, Field extends FieldOf<T>>(field: Field): (stream: DataStream<T>) => KeyedStream<T, T[Field]>;
export function keyBy<T, K>(key: ((value: T) => K) & Synchronous<K, "keyBy()">): (stream: DataStream<T>) => KeyedStream<T, K>;
// oxlint-disable-next-line typescript/no-explicit-any -- as below
export function keyBy(key: any): any {
  return (stream: DataStream<never>) => stream.keyBy(key);
}

/** See `DataStream.scan`. */
export function scan<T>(scan: (accumulated: T, value: T) => T): (stream: DataStream<T>) => DataStream<T>;
export function scan<T, A>(scan: (accumulated: A, value: T) => A, seed: A | (() => A)): (stream: DataStream<T>) => DataStream<A>;
// oxlint-disable-next-line typescript/no-explicit-any -- the overloads above are the types; behind them arguments are only handed on
export function scan(scan: any, ...seed: any[]): any {
  return (stream: DataStream<never>) => stream.scan(scan, ...(seed as [never]));
}

/** See `DataStream.distinct`. */
export function distinct<T>(of?: (value: T) => unknown): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.distinct(of);
}

/** See `DataStream.distinctUntilChanged`. */
export function distinctUntilChanged<T, V = T>(
  same?: (previous: V, current: V) => boolean, of?: (value: T) => V,
): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.distinctUntilChanged(same, of);
}

/** See `DataStream.pairwise`. */
export function pairwise<T>(): (stream: DataStream<T>) => DataStream<[T, T]> {
  return (stream) => stream.pairwise();
}

/** See `DataStream.startWith`. */
export function startWith<T, S>(...values: readonly S[]): (stream: DataStream<T>) => DataStream<T | S> {
  return (stream) => stream.startWith(...values);
}

/** See `DataStream.take`. */
export function take<T>(count: number): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.take(count);
}

/** See `DataStream.skip`. */
export function skip<T>(count: number): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.skip(count);
}

/** See `DataStream.takeWhile`. */
export function takeWhile<T>(during: (value: T, index: number) => unknown, inclusive?: boolean): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.takeWhile(during, inclusive);
}

/** See `DataStream.skipWhile`. */
export function skipWhile<T>(during: (value: T, index: number) => unknown): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.skipWhile(during);
}

/** See `DataStream.takeUntil`. */
export function takeUntil<T>(notifier: DataStream<unknown>): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.takeUntil(notifier);
}

/** See `DataStream.throttle`. */
export function throttle<T>(within: Duration): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.throttle(within);
}

/** See `KeyedStream.dedupe`. */
export function dedupe<T, K>(within: Duration): (stream: KeyedStream<T, K>) => DataStream<T> {
  return (stream) => stream.dedupe(within);
}

/** See `KeyedStream.topN`. */
export function topN<T, K>(count: number, by: (value: T) => number): (stream: KeyedStream<T, K>) => DataStream<readonly T[]> {
  return (stream) => stream.topN(count, by);
}

/** See `KeyedStream.min`. */
export function min<T, K>(field?: FieldOf<T>): (stream: KeyedStream<T, K>) => DataStream<T> {
  return (stream) => stream.min(field);
}

/** See `KeyedStream.max`. */
export function max<T, K>(field?: FieldOf<T>): (stream: KeyedStream<T, K>) => DataStream<T> {
  return (stream) => stream.max(field);
}

/** See `KeyedStream.minBy`. */
export function minBy<T, K>(
  by: FieldOf<T> | ((value: T) => number | bigint | string | Date),
): (stream: KeyedStream<T, K>) => DataStream<T> {
  return (stream) => stream.minBy(by);
}

/** See `KeyedStream.maxBy`. */
export function maxBy<T, K>(
  by: FieldOf<T> | ((value: T) => number | bigint | string | Date),
): (stream: KeyedStream<T, K>) => DataStream<T> {
  return (stream) => stream.maxBy(by);
}

/** See `KeyedStream.reduce`. */
export function reduce<T, K>(reduce: (accumulated: T, value: T) => T): (stream: KeyedStream<T, K>) => DataStream<T> {
  return (stream) => stream.reduce(reduce);
}

/** See `KeyedStream.window`. */
export function window<T, K>(window: WindowDescription<T>): (stream: KeyedStream<T, K>) => WindowedStream<T, K> {
  return (stream) => stream.window(window);
}

/** See `DataStream.windowAll`. */
export function windowAll<T>(window: WindowDescription<T>): (stream: DataStream<T>) => WindowedStream<T, "all"> {
  return (stream) => stream.windowAll(window);
}

/** See `KeyedStream.countWindow`. */
export function countWindow<T, K>(size: number, slide?: number): (stream: KeyedStream<T, K>) => WindowedStream<T, K> {
  return (stream) => stream.countWindow(size, slide);
}

/** See `DataStream.countWindowAll`. */
export function countWindowAll<T>(size: number, slide?: number): (stream: DataStream<T>) => WindowedStream<T, "all"> {
  return (stream) => stream.countWindowAll(size, slide);
}

/** See `DataStream.batch`. */
export function batch<T>(size: number | BatchSize): (stream: DataStream<T>) => DataStream<T[]> {
  return (stream) => stream.batch(size);
}

/** See `DataStream.withIngestionTime`. */
export function withIngestionTime<T>(): (stream: DataStream<T>) => DataStream<T> {
  return (stream) => stream.withIngestionTime();
}

/** See `WindowedStream.trigger`. Functions in it say the type of their records themselves. */
export function trigger<T, K>(trigger: Trigger): (stream: WindowedStream<T, K>) => WindowedStream<T, K> {
  return (stream) => stream.trigger(trigger as Trigger<T>);
}

/** See `WindowedStream.evictor`. Functions in it say the type of their records themselves. */
export function evictor<T, K>(evictor: Evictor): (stream: WindowedStream<T, K>) => WindowedStream<T, K> {
  return (stream) => stream.evictor(evictor as Evictor<T>);
}

/** See `WindowedStream.allowedLateness`. */
export function allowedLateness<T, K>(lateness: Duration): (stream: WindowedStream<T, K>) => WindowedStream<T, K> {
  return (stream) => stream.allowedLateness(lateness);
}

/** See `WindowedStream.lateTo`. */
export function lateTo<T, K>(tag: SideOutput<T>): (stream: WindowedStream<T, K>) => WindowedStream<T, K> {
  return (stream) => stream.lateTo(tag);
}

/** See `WindowedStream.process`. */
export function processWindow<T, K, Out>(process: WindowFunction<T, Out, K>): (stream: WindowedStream<T, K>) => DataStream<Out> {
  return (stream) => stream.process(process);
}

/** See `WindowedStream.reduce`. */
export function reduceWindow<T, K>(reduce: (a: T, b: T) => T): (stream: WindowedStream<T, K>) => DataStream<T> {
  return (stream) => stream.reduce(reduce);
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

/** See `DataStream.join`. */
export function join<T, U>(other: DataStream<U>): (stream: DataStream<T>) => JoinedStreams<T, U, "inner"> {
  return (stream) => stream.join(other);
}

/** See `DataStream.leftJoin`. */
export function leftJoin<T, U>(other: DataStream<U>): (stream: DataStream<T>) => JoinedStreams<T, U, "left"> {
  return (stream) => stream.leftJoin(other);
}

/** See `DataStream.rightJoin`. */
export function rightJoin<T, U>(other: DataStream<U>): (stream: DataStream<T>) => JoinedStreams<T, U, "right"> {
  return (stream) => stream.rightJoin(other);
}

/** See `DataStream.fullJoin`. */
export function fullJoin<T, U>(other: DataStream<U>): (stream: DataStream<T>) => JoinedStreams<T, U, "full"> {
  return (stream) => stream.fullJoin(other);
}

/** See `DataStream.coGroup`. */
export function coGroup<T, U>(other: DataStream<U>): (stream: DataStream<T>) => JoinedStreams<T, U, "coGroup"> {
  return (stream) => stream.coGroup(other);
}

/** See `KeyedStream.intervalJoin`. */
export function intervalJoin<T, U, K>(other: KeyedStream<U, K>): (stream: KeyedStream<T, K>) => IntervalJoin<T, U, K> {
  return (stream) => stream.intervalJoin(other);
}
