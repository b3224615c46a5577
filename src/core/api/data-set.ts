/**
 * DataSet: bounded data. A data set is a bounded stream, seen as a whole: its operators may look at all rows before they hand one on, sort
 * them, join them by whatever way is cheapest, and loop. It runs on the same engine; what does not fit into memory goes to disk.
 *
 * Order means nothing in a data set, except within a partition after `sortPartition` and within a group after `sortGroup`.
 */
import type { Observable } from "rxjs";
import type { KeySelector, StreamNodeOptions } from "../graph/stream-graph.ts";
import type { BroadcastVariables, VariableRow } from "../operators/bounded/broadcast-variables.ts";
import type { ReduceGroup } from "../operators/bounded/group-reduce.ts";
import type { MapPartition } from "../operators/bounded/map-partition.ts";
import type { Collector } from "../operators/function.ts";
import type { SinkFunction } from "../connectors/function-sink.ts";
import { GraphError, describe } from "../types/errors.ts";
import { DataStream } from "./data-stream.ts";
import type { Environment } from "./environment.ts";
import { CoGroupedDataSets, JoinedDataSets, type JoinOptions } from "./joined-data-sets.ts";
import { type DeltaStep, type IterationStep, bulkIteration, deltaIteration, persisted } from "./loops.ts";
import type { DataStreamSink } from "./operator-settings.ts";
import type { Sink } from "./sinks.ts";
import { functionOf, specOf } from "./spec.ts";

/** Which part of a row is its key: a function, a field, or several fields. */
export type KeyOf<T> = ((row: T) => unknown) | (keyof T & string) | readonly (keyof T & string)[];

/** A direction of sorting. */
export type Order = "ascending" | "descending";

/** What a function with broadcast variables is given: each data set as an array, by its name. */
export type VariablesOf<Sets> = { readonly [Name in keyof Sets]: Sets[Name] extends DataSet<infer Row> ? readonly Row[] : never };

/** The selector that a key stands for. @throws GraphError unless it is one. */
export function selectorOf(key: unknown, where: string): KeySelector {
  if (typeof key === "function") return key as KeySelector;
  if (typeof key === "string") return ((row: Readonly<Record<string, unknown>>) => row[key]) as KeySelector;
  if (Array.isArray(key) && key.length > 0 && key.every((name) => typeof name === "string")) {
    const names = key as readonly string[];
    return ((row: Readonly<Record<string, unknown>>) => names.map((name) => row[name])) as KeySelector;
  }
  throw new GraphError(`${where} got ${describe(key)}; it takes a function of the row, the name of a field, or several names.`);
}

/** Rows compared by a part of them: numbers by size, texts and all else by `<`. */
function orderOf(key: unknown, order: Order, where: string): (a: unknown, b: unknown) => number {
  const select = selectorOf(key, where) as (row: unknown) => string;
  if (order !== "ascending" && order !== "descending") {
    throw new GraphError(`${where} got the order ${describe(order)}; it is "ascending" or "descending".`);
  }
  const sign = order === "ascending" ? 1 : -1;
  return (a, b) => {
    const [x, y] = [select(a), select(b)];
    return x < y ? -sign : x > y ? sign : 0;
  };
}

/** Bounded data. Made by `environment.dataSet(…)` and by other data sets; nothing runs until it is collected or a sink executes. */
export class DataSet<T> {
  /** The same rows as a stream, for the operators that streams have, and for the settings of the last operator. */
  readonly stream: DataStream<T>;

  constructor(stream: DataStream<T>) {
    this.stream = stream;
  }

  get environment(): Environment {
    return this.stream.environment;
  }

  // ------------------------------------------------------------------------------------------------------- row by row

  /** Each row through a function. */
  map<R>(map: (row: T) => R): DataSet<R> {
    return new DataSet<R>(this.stream.map<R>(map as never));
  }

  filter(predicate: (row: T) => boolean): DataSet<T> {
    return new DataSet<T>(this.stream.filter(predicate as never));
  }

  /** Each row to any number of results. */
  flatMap<R>(flatMap: (row: T) => Iterable<R>): DataSet<R> {
    return new DataSet<R>(this.stream.flatMap(flatMap));
  }

  /** All rows of a subtask through a function, at once. */
  mapPartition<R>(mapPartition: MapPartition<T, R>): DataSet<R> {
    return this.#then("mapPartition", { mapPartition: functionOf(mapPartition, "mapPartition()") });
  }

  /**
   * Each row through a function that sees other data sets in full (Flink: broadcast variables). They should be small: every subtask keeps
   * them in memory.
   */
  mapWith<R, Sets extends Readonly<Record<string, DataSet<never> | DataSet<unknown>>>>(
    sets: Sets,
    map: (row: T, variables: VariablesOf<Sets>) => R,
  ): DataSet<R> {
    functionOf(map, "mapWith()");
    return this.flatMapWith(sets, (row, variables, out: Collector<R>) => out.collect(map(row, variables)));
  }

  /** As `mapWith`, with any number of results. */
  flatMapWith<R, Sets extends Readonly<Record<string, DataSet<never> | DataSet<unknown>>>>(
    sets: Sets,
    flatMap: (row: T, variables: VariablesOf<Sets>, out: Collector<R>) => void,
  ): DataSet<R> {
    const names = Object.keys(sets);
    if (names.length === 0) throw new GraphError("mapWith({}) names no data set; without one, map() does the same.");
    const rows = names.map((name) => (sets[name] as DataSet<unknown>).stream.map((row): VariableRow => [name, row]).broadcast());
    return this.#with<R>(
      rows,
      "broadcastVariables",
      "broadcastVariables",
      { names, flatMap: functionOf(flatMap as (row: T, variables: BroadcastVariables, out: Collector<unknown>) => void, "flatMapWith()") },
    );
  }

  // ------------------------------------------------------------------------------------------------------ all together

  /** All rows as one, two at a time; in any order, so the function must not care. An empty data set gives none. */
  reduce(reduce: (a: T, b: T) => T): DataSet<T> {
    return this.groupBy(() => 0).reduce(reduce);
  }

  /** A function of all rows, called once. */
  reduceGroup<R>(reduceGroup: ReduceGroup<T, R>): DataSet<R> {
    return this.groupBy(() => 0).reduceGroup(reduceGroup);
  }

  /** Rows by key. */
  groupBy(key: KeyOf<T>): GroupedDataSet<T> {
    return new GroupedDataSet(this, selectorOf(key, "groupBy()"));
  }

  /** One row of each key, or of each value. */
  distinct(key?: KeyOf<T>): DataSet<T> {
    const select = key === undefined ? (((row: unknown) => row) as KeySelector) : selectorOf(key, "distinct()");
    return new GroupedDataSet(this, select).first(1);
  }

  /** Any `count` rows. */
  first(count: number): DataSet<T> {
    const node = { name: `first ${count}`, spec: specOf("first", { count: countOf(count, "first()") }) };
    const few = new DataSet<T>(this.#next(this.stream, node));
    return new DataSet<T>(this.#next(few.stream.global(), { ...node, parallelismLimit: 1 }));
  }

  /** The rows of all of them. */
  union(...others: readonly DataSet<T>[]): DataSet<T> {
    return new DataSet<T>(this.stream.union(...others.map((other) => other.stream)));
  }

  /** Every row with every row of the other. The other comes to each subtask in full: it should be the smaller one. */
  cross<U>(other: DataSet<U>): DataSet<[T, U]>;
  cross<U, R>(other: DataSet<U>, cross: (a: T, b: U) => R): DataSet<R>;
  cross<U>(other: DataSet<U>, cross: (a: T, b: U) => unknown = (a, b) => [a, b]): DataSet<unknown> {
    return this.#with([other.stream.broadcast()], "cross", "cross", { cross: functionOf(cross, "cross()") });
  }

  // -------------------------------------------------------------------------------------------------------------- joins

  /** `a.join(b).where(key).equalTo(key)`, then `.with(f)`; without it, pairs. */
  join<U>(other: DataSet<U>, options: JoinOptions = {}): JoinedDataSets<T, U, T, U> {
    return new JoinedDataSets(this.stream, other.stream, "inner", options);
  }

  /** Rows of this one without partner come with undefined. */
  leftOuterJoin<U>(other: DataSet<U>, options: JoinOptions = {}): JoinedDataSets<T, U, T, U | undefined> {
    return new JoinedDataSets(this.stream, other.stream, "left", options);
  }

  rightOuterJoin<U>(other: DataSet<U>, options: JoinOptions = {}): JoinedDataSets<T, U, T | undefined, U> {
    return new JoinedDataSets(this.stream, other.stream, "right", options);
  }

  fullOuterJoin<U>(other: DataSet<U>, options: JoinOptions = {}): JoinedDataSets<T, U, T | undefined, U | undefined> {
    return new JoinedDataSets(this.stream, other.stream, "full", options);
  }

  /** The groups of both, by key: `a.coGroup(b).where(key).equalTo(key).with(f)`. */
  coGroup<U>(other: DataSet<U>): CoGroupedDataSets<T, U> {
    return new CoGroupedDataSets(this.stream, other.stream);
  }

  // ------------------------------------------------------------------------------------------------------- partitions

  /** The rows of each subtask in an order. Of one subtask alone (`setParallelism(1)` before it) it is an order of all. */
  sortPartition(key: KeyOf<T>, order: Order = "ascending"): DataSet<T> {
    return this.#then("sortPartition", { order: orderOf(key, order, "sortPartition()") });
  }

  /** Rows of one key to one subtask. */
  partitionByHash(key: KeyOf<T>): DataSet<T> {
    return new DataSet<T>(this.stream.keyBy(selectorOf(key, "partitionByHash()") as never));
  }

  /** Evenly over all subtasks. */
  rebalance(): DataSet<T> {
    return new DataSet<T>(this.stream.rebalance());
  }

  // -------------------------------------------------------------------------------------------------------------- loops

  /**
   * Repeats a step: its result is the data set of the next one (Flink: bulk iteration). Each superstep is a job of its own, between which
   * the rows lie on disk; so this program has to live until the loop has ended.
   * @param most supersteps at the most.
   * @param step what a superstep does; `superstep` counts from 1. With `until`, the loop ends after a superstep for which it is empty;
   *   with `converged`, when that says so of the rows of `aggregate` (small: they come to this program).
   */
  iterate(most: number, step: (rows: DataSet<T>, superstep: number) => DataSet<T> | IterationStep<T>): DataSet<T> {
    return bulkIteration(this, countOf(most, "iterate()"), functionOf(step, "iterate()"));
  }

  /**
   * Repeats a step on what changed last, the workset, until nothing does (Flink: delta iteration). This data set is the solution: each
   * superstep's `delta` replaces the rows of its keys; `workset` is what the next one works on.
   */
  iterateDelta<W>(
    workset: DataSet<W>,
    most: number,
    key: KeyOf<T>,
    step: DeltaStep<T, W>,
  ): DataSet<T> {
    return deltaIteration(
      this,
      workset,
      countOf(most, "iterateDelta()"),
      selectorOf(key, "iterateDelta()"),
      functionOf(step, "iterateDelta()"),
    );
  }

  /** Computes the rows once and keeps them on disk, for programs that read them several times, such as loops. */
  persist(): DataSet<T> {
    return persisted(this);
  }

  // ------------------------------------------------------------------------------------------------------------ results

  /** All rows. They must fit into this program's memory. */
  collect(): Promise<T[]> {
    return this.stream.collect();
  }

  /** How many rows there are. */
  async count(): Promise<number> {
    const counts = await this.mapPartition<number>((rows, out) => {
      let count = 0;
      for (const _ of rows) count++;
      out.collect(count);
    }).collect();
    return counts.reduce((sum, count) => sum + count, 0);
  }

  toObservable(): Observable<T> {
    return this.stream.toObservable();
  }

  /** Declares a sink; it runs when the environment executes. */
  sinkTo(sink: Sink<T> | SinkFunction<T> | ((row: T) => void)): DataStreamSink {
    return this.stream.sinkTo(sink);
  }

  print(label?: string): DataStreamSink {
    return this.stream.print(label);
  }

  /** Parallelism of the last operator. */
  setParallelism(parallelism: number): this {
    this.stream.setParallelism(parallelism);
    return this;
  }

  /** The name of the last operator. */
  name(name: string): this {
    this.stream.name(name);
    return this;
  }

  #then<R>(kind: string, parameters: Readonly<Record<string, unknown>>): DataSet<R> {
    return new DataSet<R>(this.#next<R>(this.stream, { name: kind, spec: specOf(kind, parameters) }));
  }

  #with<R>(others: readonly DataStream<never>[], name: string, kind: string, parameters: Readonly<Record<string, unknown>>): DataSet<R>;
  #with<R>(others: readonly DataStream<unknown>[], name: string, kind: string, parameters: Readonly<Record<string, unknown>>): DataSet<R>;
  #with<R>(
    others: readonly (DataStream<never> | DataStream<unknown>)[],
    name: string,
    kind: string,
    parameters: Readonly<Record<string, unknown>>,
  ): DataSet<R> {
    return new DataSet<R>(
      operatorOn<R>(this.environment, { name, spec: specOf(kind, parameters) }, this.stream, ...(others as DataStream<unknown>[])),
    );
  }

  #next<R>(stream: DataStream<T>, node: Omit<StreamNodeOptions, "inputs">): DataStream<R> {
    return operatorOn<R>(this.environment, node, stream);
  }
}

/** A new operator: the first stream is its first input, the others are the second. */
export function operatorOn<R>(
  environment: Environment,
  node: Omit<StreamNodeOptions, "inputs">,
  first: DataStream<never> | DataStream<unknown>,
  ...second: readonly (DataStream<never> | DataStream<unknown>)[]
): DataStream<R> {
  for (const stream of [first, ...second]) {
    if (stream.environment !== environment) throw new GraphError(`"${node.name}" joins data sets of two environments; make both from one.`);
  }
  const inputs = [...first.edges(0), ...second.flatMap((stream) => stream.edges(1))];
  const from = environment.add({ ...node, spec: { ...node.spec, bounded: true } as StreamNodeOptions["spec"], inputs });
  return new DataStream<R>(environment, [{ from, partitioning: undefined, sideOutput: undefined }]);
}

function countOf(count: number, where: string): number {
  if (!Number.isInteger(count) || count < 1) throw new GraphError(`${where} got ${describe(count)}; give a positive whole number.`);
  return count;
}

/** A data set whose rows are grouped by key. */
export class GroupedDataSet<T> {
  readonly #rows: DataSet<T>;
  readonly #key: KeySelector;
  readonly #order: ((a: unknown, b: unknown) => number) | undefined;

  constructor(rows: DataSet<T>, key: KeySelector, order?: (a: unknown, b: unknown) => number) {
    this.#rows = rows;
    this.#key = key;
    this.#order = order;
  }

  /** The rows of each group in an order. A second call orders what the first left equal. */
  sortGroup(key: KeyOf<T>, order: Order = "ascending"): GroupedDataSet<T> {
    const next = orderOf(key, order, "sortGroup()");
    const before = this.#order;
    return new GroupedDataSet(this.#rows, this.#key, before === undefined ? next : (a, b) => before(a, b) || next(a, b));
  }

  /** A function of all rows of a group, called once for each. */
  reduceGroup<R>(reduceGroup: ReduceGroup<T, R>): DataSet<R> {
    return this.#grouped("reduceGroup", this.#rows.stream.keyBy(this.#key as never), functionOf(reduceGroup, "reduceGroup()"), false);
  }

  /** As `reduceGroup`, before rows travel: called for the part of a group that is in one subtask, or for less. */
  combineGroup<R>(combineGroup: ReduceGroup<T, R>): DataSet<R> {
    return this.#grouped("combineGroup", this.#rows.stream, functionOf(combineGroup, "combineGroup()"), true);
  }

  /** Each group as one row. Rows are combined before they travel. */
  reduce(reduce: (a: T, b: T) => T): DataSet<T> {
    functionOf(reduce, "reduce()");
    const one: ReduceGroup<T, T> = (rows, out) => {
      let reduced: T | undefined;
      let first = true;
      for (const row of rows) {
        reduced = first ? row : reduce(reduced as T, row);
        first = false;
      }
      if (!first) out.collect(reduced as T);
    };
    return new GroupedDataSet(this.combineGroup(one).name("combine"), this.#key).reduceGroup(one).name("reduce");
  }

  /** The first `count` rows of each group, in the order of `sortGroup`. */
  first(count: number): DataSet<T> {
    countOf(count, "first()");
    const few: ReduceGroup<T, T> = (rows, out) => {
      let left = count;
      for (const row of rows) {
        if (left-- <= 0) return;
        out.collect(row);
      }
    };
    const some = this.combineGroup(few).name(`first ${count}`);
    return new GroupedDataSet(some, this.#key, this.#order).reduceGroup(few).name(`first ${count} of each`);
  }

  /** Rows that have, of each group, the sum of a field; their other fields are those of any of its rows. */
  sum(field: keyof T & string): DataSet<T> {
    return this.reduce((a, b) => ({ ...a, [field]: (a[field] as number) + (b[field] as number) })).name(`sum: ${field}`);
  }

  /** The row of each group that has the least value of a field. */
  minBy(field: keyof T & string): DataSet<T> {
    return this.reduce((a, b) => (b[field] < a[field] ? b : a)).name(`minBy: ${field}`);
  }

  /** The row of each group that has the greatest value of a field. */
  maxBy(field: keyof T & string): DataSet<T> {
    return this.reduce((a, b) => (b[field] > a[field] ? b : a)).name(`maxBy: ${field}`);
  }

  #grouped<R>(name: string, stream: DataStream<T>, reduceGroup: ReduceGroup<T, R>, partial: boolean): DataSet<R> {
    const order = this.#order;
    const spec = specOf("groupReduce", { key: this.#key, reduceGroup, partial, ...(order === undefined ? {} : { order }) });
    return new DataSet<R>(operatorOn<R>(this.#rows.environment, { name, spec }, stream));
  }
}
