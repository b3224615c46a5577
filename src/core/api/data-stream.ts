/**
 * DataStream: a stream of records as the user writes it down. Each method adds an operator and
 * returns the stream of its results; nothing runs until somebody subscribes or the environment executes.
 *
 * Functions given to operators are copied to the cluster with what they capture. They are synchronous; they may change neither their
 * records nor variables outside (each subtask has its own copy of those).
 */
import { type Observable, type Observer, type Subscription, observable } from "rxjs";
import type { SinkFunction } from "../connectors/function-sink.ts";
import type { KeySelector, Partitioning, StreamEdge, StreamNode, StreamNodeOptions } from "../graph/stream-graph.ts";
import type {
  Collector,
  KeyedProcessFunction,
  ProcessContext,
  ProcessFunction,
  SideOutput,
} from "../operators/function.ts";
import type { AsyncContext, AsyncFunction } from "../operators/map-async.ts";
import type { RxProject } from "../operators/rx.ts";
import type { MapStateDescriptor } from "../state/descriptors.ts";
import type { Timestamp } from "../time/watermark.ts";
import { type WindowDescription, globalWindow } from "../time/window.ts";
import type { Duration } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import { type MapAsyncOptions, mapAsyncNode } from "./async.ts";
import { type BatchSize, batchOf } from "./batch.ts";
import { BroadcastConnectedStream, BroadcastStream } from "./broadcast.ts";
import { ConnectedStreams } from "./connected-streams.ts";
import type { Environment } from "./environment.ts";
import { IntervalJoin } from "./interval-join.ts";
import { type IterateOptions, type LoopEnds, iterated } from "./iterate.ts";
import { type JoinKind, JoinedStreams } from "./joined-streams.ts";
import type { Synchronous } from "./misuse.ts";
import { DataStreamSink, OperatorSettings } from "./operator-settings.ts";
import { type Literal, nameOf, processOf } from "./process-spec.ts";
import {
  type FieldOf, type Summable, changesOf, rollingOf, scanOf, selectorOf, takeOf, takeWhileOf, throttleOf, topNOf,
} from "./sequences.ts";
import { type RxOptions, rxNode } from "./rx.ts";
import type { Sink } from "./sinks.ts";
import { functionOf, specOf } from "./spec.ts";
import { type TimestampOptions, ingestionStrategy, strategyOf } from "./timestamps.ts";
import { WindowedStream, countWindows } from "./windowed-stream.ts";

/** A place in the program that records come from: an operator's main or side output, with the way they will go. */
type StreamEnd = Omit<StreamEdge, "input">;

/** A stream of records of type T. */
export class DataStream<T> extends OperatorSettings implements AsyncIterable<T> {
  /** The environment this stream belongs to. */
  readonly environment: Environment;
  /** Several for a union. */
  protected readonly ends: readonly StreamEnd[];

  /** Streams are made by environments and by other streams. */
  constructor(environment: Environment, ends: readonly StreamEnd[]) {
    super();
    this.environment = environment;
    this.ends = ends;
  }

  // ---------------------------------------------------------------------------------------------------- transformations

  /** Each record through a function. */
  map<R>(map: ((value: T) => R) & Synchronous<R, "map()">): DataStream<R> {
    return this.transform({ name: "map", spec: specOf("map", { map: functionOf(map, "map()") }) });
  }

  /** The records for which the predicate is truthy. A type guard narrows the stream. */
  filter<S extends T>(predicate: (value: T) => value is S): DataStream<S>;
  filter<R>(predicate: ((value: T) => R) & Synchronous<R, "filter()">): DataStream<T>;
  filter(predicate: (value: T) => unknown): DataStream<T> {
    return this.transform({ name: "filter", spec: specOf("filter", { predicate: functionOf(predicate, "filter()") }) });
  }

  /** Each record to any number of results: an array or another synchronous iterable. */
  flatMap<R>(flatMap: (value: T) => Iterable<R>): DataStream<R> {
    return this.transform({ name: "flatMap", spec: specOf("flatMap", { flatMap: functionOf(flatMap, "flatMap()") }) });
  }

  /**
   * Event time: what every record's timestamp is, and how far out of order records come. `timestamp` gets the record, and the timestamp
   * that it has already (NaN: none).
   */
  withTimestamps(timestamp: (value: T, timestamp: number) => Timestamp, options: TimestampOptions<T> = {}): DataStream<T> {
    return this.transform({ name: "timestamps", spec: specOf("timestamps", { strategy: strategyOf(timestamp, options) }) });
  }

  /** Ingestion time: each record's timestamp is the wall clock's when it comes to this operator, and the watermark follows the clock. */
  withIngestionTime(): DataStream<T> {
    return this.transform({ name: "ingestionTime", spec: specOf("timestamps", { strategy: ingestionStrategy }) });
  }

  /** Each record through a ProcessFunction, or a function `(value, context, out)`. */
  process<Out>(process: ProcessFunction<T, Out> | ((value: T, context: ProcessContext, out: Collector<Out>) => void)): DataStream<Out>;
  process<Out>(process: Literal<ProcessFunction<T, Out>>): DataStream<Out>;
  process<Out>(process: ProcessFunction<T, Out> | ((value: T, context: ProcessContext, out: Collector<Out>) => void)): DataStream<Out> {
    return this.transform({ name: nameOf(process, "process"), spec: specOf("process", { function: processOf(process) }) });
  }

  /** Records of several streams of the same type, in any order between them. */
  union(...others: readonly DataStream<T>[]): DataStream<T> {
    for (const other of others) this.#sameEnvironment(other, "union()");
    return new DataStream(this.environment, [this, ...others].flatMap((stream) => stream.ends));
  }

  /** Windows over all records, whatever their key: in one subtask. In their functions, the key is "all". */
  windowAll(window: WindowDescription<T>): WindowedStream<T, "all"> {
    return new WindowedStream((options) => this.transform({ ...options, parallelismLimit: 1 }), {
      window: window as WindowDescription, key: () => "all", hasTimestamps: this.hasTimestamps(),
    });
  }

  /** Windows of so many records, whatever their key: in one subtask. See `KeyedStream.countWindow`. */
  countWindowAll(size: number, slide?: number): WindowedStream<T, "all"> {
    return countWindows(this.windowAll(globalWindow()), size, slide);
  }

  /**
   * Records gathered into arrays, each handed on when it has `count` of them or `within` after its first came, whichever is first. Per
   * subtask; on a keyed stream, per key. What is left at the end of the input is handed on then.
   * @throws GraphError when neither is given.
   */
  batch(size: number | BatchSize): DataStream<T[]> {
    return this.transform(batchOf(size));
  }

  /** This stream and another one as the two inputs of one operator. */
  connect<U>(other: BroadcastStream<U>): BroadcastConnectedStream<T, U, never>;
  connect<U>(other: DataStream<U>): ConnectedStreams<T, U>;
  connect<U>(other: BroadcastStream<U> | DataStream<U>): BroadcastConnectedStream<T, U, never> | ConnectedStreams<T, U> {
    this.#sameEnvironment(other instanceof BroadcastStream ? other.stream : other, "connect()");
    return other instanceof BroadcastStream ? new BroadcastConnectedStream(this, other) : new ConnectedStreams(this, other);
  }

  /** Pairs of records of this stream and another one with the same key in the same window; see `JoinedStreams`. */
  join<U>(other: DataStream<U>): JoinedStreams<T, U, "inner"> {
    return this.#joined(other, "inner");
  }

  /** `join`, and the records of this stream without a partner. */
  leftJoin<U>(other: DataStream<U>): JoinedStreams<T, U, "left"> {
    return this.#joined(other, "left");
  }

  /** `join`, and the records of the other stream without a partner. */
  rightJoin<U>(other: DataStream<U>): JoinedStreams<T, U, "right"> {
    return this.#joined(other, "right");
  }

  /** `join`, and the records of both streams without a partner. */
  fullJoin<U>(other: DataStream<U>): JoinedStreams<T, U, "full"> {
    return this.#joined(other, "full");
  }

  /** All records of two streams with the same key in the same window, together. */
  coGroup<U>(other: DataStream<U>): JoinedStreams<T, U, "coGroup"> {
    return this.#joined(other, "coGroup");
  }

  #joined<U, Kind extends JoinKind | "coGroup">(other: DataStream<U>, kind: Kind): JoinedStreams<T, U, Kind> {
    this.#sameEnvironment(other, `${kind === "coGroup" ? "coGroup" : kind === "inner" ? "join" : `${kind}Join`}()`);
    return new JoinedStreams(this, other, kind);
  }

  /** The records of a side output of the operator that made this stream. */
  sideOutput<S>(tag: SideOutput<S>): DataStream<S> {
    return new DataStream(this.environment, this.ends.map((end) => ({ ...end, sideOutput: tag.id, partitioning: undefined })));
  }

  /**
   * Each record through a function that answers later: a look-up in another system. Up to `capacity` records are under way at once, per
   * subtask. After a failure those under way are asked for again. An AsyncFunction opens what it needs, and closes it.
   */
  mapAsync<R>(
    map: AsyncFunction<T, R> | ((value: T, context: AsyncContext) => PromiseLike<R> | R), options: MapAsyncOptions<T, R> = {},
  ): DataStream<R> {
    return this.transform(mapAsyncNode(map, options));
  }

  /**
   * An RxJS pipeline in one subtask: `stream.rx((rows$, { scheduler }) => rows$.pipe(debounceTime(1_000, scheduler)))`. What leaves has the
   * scheduler's time as its timestamp. See RxOptions for time, failures and when a pipeline ends.
   */
  rx<R>(project: RxProject<T, R>, options: RxOptions = {}): DataStream<R> {
    return this.transform(rxNode(project as never, options, undefined, this.hasTimestamps(), this.environment.configuration));
  }

  /**
   * A loop: `step` is given the stream of all records that are in it, the new ones and those that come round, and returns what goes round
   * again and what leaves.
   */
  iterate<R>(step: (loop: DataStream<T>) => LoopEnds<T, R>, options: IterateOptions = {}): DataStream<R> {
    return iterated(this, step, options);
  }

  // ---------------------------------------------------------------------------------------------------------- sequences

  /** The running accumulation, after each record (RxJS). A seed that is an object or a function's result is each key's own. */
  scan(scan: (accumulated: T, value: T) => T): DataStream<T>;
  scan<A>(scan: (accumulated: A, value: T) => A, seed: A | (() => A)): DataStream<A>;
  scan(scan: (accumulated: never, value: T) => unknown, seed?: unknown): DataStream<never> {
    return this.sequence(scanOf(scan as never, seed));
  }

  /** The first record of each value, for ever: state grows with the values. `keyBy(…).dedupe(within)` forgets. */
  distinct(of: (value: T) => unknown = (value) => value): DataStream<T> {
    const key = functionOf(of, "distinct()") as unknown as KeySelector;
    return new KeyedStream<T, unknown>(this.environment, this.#partitioned({ kind: "hash", key }), key).distinct(() => true);
  }

  /**
   * A record passes when it differs from the one before it (RxJS).
   * @param same default: equal by structure. @param of what is compared of a record; default: all of it.
   */
  distinctUntilChanged<V = T>(same?: (previous: V, current: V) => boolean, of?: (value: T) => V): DataStream<T> {
    return this.sequence(changesOf(same, of));
  }

  /** Each record with the one before it (RxJS). */
  pairwise(): DataStream<[T, T]> {
    return this.sequence({ name: "pairwise", spec: specOf("pairwise", {}) });
  }

  /** These values before the first record, with its timestamp. */
  startWith<S>(...values: readonly S[]): DataStream<T | S> {
    return this.sequence({ name: "startWith", spec: specOf("startWith", { values }) });
  }

  /** The first `count` records. `collect()`, `subscribe()` and loops end with the last of them; a job that was submitted goes on. */
  take(count: number): DataStream<T> {
    return this.sequence(takeOf("take", count));
  }

  /** All but the first `count` records. */
  skip(count: number): DataStream<T> {
    return this.sequence(takeOf("skip", count));
  }

  /** Records up to the first for which the predicate is falsy; with `inclusive` that one too. */
  takeWhile(during: (value: T, index: number) => unknown, inclusive = false): DataStream<T> {
    return this.sequence(takeWhileOf("takeWhile", during, inclusive));
  }

  /** Records from the first for which the predicate is falsy. */
  skipWhile(during: (value: T, index: number) => unknown): DataStream<T> {
    return this.sequence(takeWhileOf("skipWhile", during, false));
  }

  /** Records until another stream has its first one. */
  takeUntil(notifier: DataStream<unknown>): DataStream<T> {
    this.#sameEnvironment(notifier, "takeUntil()");
    const inputs = [...this.edges(0), ...notifier.broadcast().edges(1)];
    return this.transform({ name: "takeUntil", spec: specOf("takeUntil", {}), inputs });
  }

  /** After a record that passed, drops those that follow it within this time: event time where there are timestamps. */
  throttle(within: Duration): DataStream<T> {
    return this.sequence(throttleOf("throttle", within, this.hasTimestamps()));
  }

  // ----------------------------------------------------------------------------------------------------------------- keys

  /**
   * Groups records by key: all records of one key go to the same subtask, in order. Keys are compared by structure.
   * @param key a pure function of the record: a primitive, a Date, an array or a plain record of such; or names of fields, several of
   *   which make an array.
   */
  keyBy<Field extends FieldOf<T>>(field: Field): KeyedStream<T, T[Field]>;
  keyBy<const Fields extends readonly [FieldOf<T>, FieldOf<T>, ...FieldOf<T>[]]>(
    ...fields: Fields
  ): KeyedStream<T, { -readonly [At in keyof Fields]: T[Fields[At]] }>;
  keyBy<K>(key: ((value: T) => K) & Synchronous<K, "keyBy()">): KeyedStream<T, K>;
  keyBy(...keys: readonly unknown[]): KeyedStream<T, never> {
    const [key] = keys;
    const selector = (typeof key === "string" ? selectorOf(keys as string[]) : functionOf(key, "keyBy()")) as KeySelector<never, never>;
    return new KeyedStream<T, never>(this.environment, this.#partitioned({ kind: "hash", key: selector }), selector);
  }

  // ------------------------------------------------------------------------------------------------------- partitioning

  /** Round robin over all subtasks of the next operator. */
  rebalance(): DataStream<T> {
    return new DataStream(this.environment, this.#partitioned({ kind: "rebalance" }));
  }

  /** Round robin within a local share of the next operator's subtasks. */
  rescale(): DataStream<T> {
    return new DataStream(this.environment, this.#partitioned({ kind: "rescale" }));
  }

  /** To random subtasks. */
  shuffle(): DataStream<T> {
    return new DataStream(this.environment, this.#partitioned({ kind: "shuffle" }));
  }

  /** Every record to every subtask; with states (`mapState(name)`), to be connected to another stream that reads what they keep. */
  broadcast(): DataStream<T>;
  broadcast(...states: readonly MapStateDescriptor<unknown, unknown>[]): BroadcastStream<T>;
  broadcast(...states: readonly MapStateDescriptor<unknown, unknown>[]): DataStream<T> | BroadcastStream<T> {
    const everywhere = new DataStream<T>(this.environment, this.#partitioned({ kind: "broadcast" }));
    return states.length === 0 ? everywhere : new BroadcastStream(everywhere, states);
  }

  /** Everything to subtask 0. */
  global(): DataStream<T> {
    return new DataStream(this.environment, this.#partitioned({ kind: "global" }));
  }

  /** To the subtask of the same index; an error unless both operators have the same parallelism. */
  forward(): DataStream<T> {
    return new DataStream(this.environment, this.#partitioned({ kind: "forward" }));
  }

  /** To the subtask that `partition` returns, 0 … partitions − 1, for a record's key. */
  partitionCustom<K>(partition: (key: K, partitions: number) => number, key: (value: T) => K): DataStream<T> {
    return new DataStream(
      this.environment,
      this.#partitioned({
        kind: "custom",
        partition: functionOf(partition, "partitionCustom()") as never,
        key: functionOf(key, "partitionCustom()") as KeySelector,
      }),
    );
  }

  // ----------------------------------------------------------------------------------------------------------- results

  /** Declares a sink; it runs when the environment executes. */
  sinkTo(sink: Sink<T> | SinkFunction<T> | ((value: T) => void)): DataStreamSink {
    const options: StreamNodeOptions =
      typeof sink === "function"
        ? { name: "sink", spec: specOf("sink", { sink: { write: sink } }) }
        : "node" in sink
          ? sink.node
          : { name: "sink", spec: specOf("sink", { sink }) };
    const node = this.environment.add({ ...options, inputs: this.edges(0) });
    this.environment.declareSink(node);
    return new DataStreamSink(node);
  }

  /** Declares a sink that writes each record to the console, as `label:subtask> record`. */
  print(label = ""): DataStreamSink {
    return this.sinkTo({ node: { name: label === "" ? "print" : `print: ${label}`, spec: specOf("print", { label }) } });
  }

  /** The rows of this stream. Each subscription runs a job of its own, made of this stream's ancestors; unsubscribing cancels it. */
  toObservable(): Observable<T> {
    return this.environment.observe<T>(this);
  }

  /** Runs a job and hands its rows to an observer, as RxJS does; unsubscribing cancels the job. */
  subscribe(observer?: Partial<Observer<T>> | ((value: T) => void)): Subscription {
    return this.toObservable().subscribe(observer as Partial<Observer<T>>);
  }

  /** Runs a job; leaving the loop cancels it. The job waits for a slow loop (back pressure). */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return this.environment.iterate<T>(this);
  }

  /** Runs a job to its end. For bounded streams that fit into memory. */
  async collect(): Promise<T[]> {
    const rows: T[] = [];
    for await (const row of this) rows.push(row);
    return rows;
  }

  /** Through pipeable operators, as in RxJS: `stream.pipe(map(f), filter(g), keyBy(k))`. The same graph as with methods. */
  pipe<A>(a: (stream: this) => A): A;
  pipe<A, B>(a: (stream: this) => A, b: (stream: A) => B): B;
  pipe<A, B, C>(a: (stream: this) => A, b: (stream: A) => B, c: (stream: B) => C): C;
  pipe<A, B, C, D>(a: (stream: this) => A, b: (stream: A) => B, c: (stream: B) => C, d: (stream: C) => D): D;
  pipe<A, B, C, D, E>(a: (stream: this) => A, b: (stream: A) => B, c: (stream: B) => C, d: (stream: C) => D, e: (stream: D) => E): E;
  pipe<A, B, C, D, E, F>(
    a: (stream: this) => A, b: (stream: A) => B, c: (stream: B) => C, d: (stream: C) => D, e: (stream: D) => E, f: (stream: E) => F,
  ): F;
  pipe<A, B, C, D, E, F, G>(
    a: (stream: this) => A,
    b: (stream: A) => B,
    c: (stream: B) => C,
    d: (stream: C) => D,
    e: (stream: D) => E,
    f: (stream: E) => F,
    g: (stream: F) => G,
  ): G;
  pipe<A, B, C, D, E, F, G, H>(
    a: (stream: this) => A,
    b: (stream: A) => B,
    c: (stream: B) => C,
    d: (stream: C) => D,
    e: (stream: D) => E,
    f: (stream: E) => F,
    g: (stream: F) => G,
    h: (stream: G) => H,
  ): H;
  pipe(...operators: readonly ((stream: never) => unknown)[]): unknown {
    return operators.reduce<unknown>((stream, operator) => functionOf(operator, "pipe()")(stream as never), this);
  }

  // ---------------------------------------------------------------------------------------------------------- internals

  /** A stream of the results of a new operator on this one. */
  protected transform<R>(options: StreamNodeOptions): DataStream<R> {
    return new DataStream<R>(this.environment, [
      { from: this.environment.add({ inputs: this.edges(0), ...options }), partitioning: undefined, sideOutput: undefined },
    ]);
  }

  /** The same for an operator on sequences: here all records are one. */
  protected sequence<R>(options: StreamNodeOptions): DataStream<R> {
    return this.transform({ ...options, parallelismLimit: 1 });
  }

  /** This stream as the input of an operator. For the API's own use. */
  edges(input: 0 | 1): StreamEdge[] {
    return this.ends.map((end) => ({ ...end, input }));
  }

  /** Whether every way back from here meets an operator that assigns timestamps. For the API's own use. */
  hasTimestamps(): boolean {
    const timed = (node: StreamNode): boolean =>
      node.spec.kind === "timestamps" ||
      (node.spec as { readonly timestamped?: boolean }).timestamped === true ||
      node.inputs.some((edge) => edge.feedback !== true && timed(edge.from));
    return this.ends.every((end) => timed(end.from));
  }

  #partitioned(partitioning: Partitioning): StreamEnd[] {
    return this.ends.map((end) => ({ ...end, partitioning }));
  }

  /** @throws GraphError for a union, which has no operator of its own. */
  protected override get node(): StreamNode {
    if (this.ends.length > 1) {
      throw new GraphError(
        "A union has no operator of its own to name or set; do so on the streams it is made of, or on the next operator.",
      );
    }
    return (this.ends[0] as StreamEnd).from;
  }

  #sameEnvironment(other: DataStream<never> | DataStream<unknown>, where: string): void {
    if (!(other instanceof DataStream)) throw new GraphError(`${where} got ${describe(other)}; it takes streams.`);
    if (other.environment !== this.environment)
      throw new GraphError(`${where} joins streams of two environments; make both from the same one.`);
  }
}

// rxjs looks for this key in from(stream).
Object.defineProperty(DataStream.prototype, observable, {
  value(this: DataStream<unknown>): Observable<unknown> {
    return this.toObservable();
  },
});
// A stream in a function's closure is a mistake that capture explains.
Object.defineProperty(DataStream.prototype, Symbol.for("drey.notShippable"), {
  value: "(a stream of the program); connect() it instead, or collect() it first",
});

/** A stream grouped by key. */
export class KeyedStream<T, K> extends DataStream<T> {
  readonly #key: KeySelector;

  constructor(environment: Environment, ends: readonly StreamEnd[], key: KeySelector) {
    super(environment, ends);
    this.#key = key;
  }

  /** The key selector. For the API's own use. */
  get key(): KeySelector {
    return this.#key;
  }

  /** An RxJS pipeline per key; see `DataStream.rx`. With a `ttl`, keys that get no more records are forgotten. */
  override rx<R>(project: RxProject<T, R, K>, options: RxOptions = {}): DataStream<R> {
    return this.transform(rxNode(project as never, options, this.#key, this.hasTimestamps(), this.environment.configuration));
  }

  /** Per key the running combination of all records so far, after each record. (Flink's meaning, not RxJS's: nothing waits for the end.) */
  reduce(reduce: (accumulated: T, value: T) => T): DataStream<T> {
    return this.transform({ name: "reduce", spec: specOf("reduce", { key: this.#key, reduce: functionOf(reduce, "reduce()") }) });
  }

  /**
   * Per key the running sum of a field, after each record; the other fields are those of the key's first record
   * (Flink). Without a field the records themselves are the values.
   */
  sum<Field extends FieldOf<T>>(field?: Field & Summable<T[Field]>): DataStream<T> {
    return this.sequence(rollingOf("sum", field));
  }

  /**
   * Per key the lowest value of a field so far, after each record; the other fields are those of the key's first record
   * (Flink). Without a field the records themselves are the values.
   */
  min(field?: FieldOf<T>): DataStream<T> {
    return this.sequence(rollingOf("min", field));
  }

  /**
   * Per key the highest value of a field so far, after each record; the other fields are those of the key's first record
   * (Flink). Without a field the records themselves are the values.
   */
  max(field?: FieldOf<T>): DataStream<T> {
    return this.sequence(rollingOf("max", field));
  }

  /** Per key the record with the lowest value so far, after each record; of equal ones the first (Flink). */
  minBy(by: FieldOf<T> | ((value: T) => number | bigint | string | Date)): DataStream<T> {
    return this.sequence(rollingOf("minBy", by));
  }

  /** Per key the record with the highest value so far, after each record; of equal ones the first (Flink). */
  maxBy(by: FieldOf<T> | ((value: T) => number | bigint | string | Date)): DataStream<T> {
    return this.sequence(rollingOf("maxBy", by));
  }

  /** Per key the `count` highest records so far, best first, whenever they change. */
  topN(count: number, by: (value: T) => number): DataStream<readonly T[]> {
    return this.sequence(topNOf(count, by));
  }

  /** Per key the first record; others pass again once this time has gone by: event time where there are timestamps. */
  dedupe(within: Duration): DataStream<T> {
    return this.sequence(throttleOf("dedupe", within, this.hasTimestamps()));
  }

  override connect<U>(other: BroadcastStream<U>): BroadcastConnectedStream<T, U, K>;
  override connect<U>(other: KeyedStream<U, K>): ConnectedStreams<T, U, K>;
  override connect<U>(other: DataStream<U>): ConnectedStreams<T, U>;
  override connect(other: never): never {
    return super.connect(other) as never;
  }

  /** This stream and another one by key, to be joined by how close the times of their records lie to each other. */
  intervalJoin<U>(other: KeyedStream<U, K>): IntervalJoin<T, U, K> {
    if (!(other instanceof KeyedStream)) throw new GraphError(`intervalJoin() got ${describe(other)}; it takes a keyed stream: write keyBy(…).`);
    return new IntervalJoin(this, other);
  }

  override distinct(of: (value: T) => unknown = (value) => value): DataStream<T> {
    return this.sequence({ name: "distinct", spec: specOf("distinct", { of: functionOf(of, "distinct()") }) });
  }

  protected override sequence<R>(options: StreamNodeOptions): DataStream<R> {
    return this.transform({ ...options, spec: specOf(options.spec.kind, { ...options.spec, key: this.#key }) });
  }

  /** Each record through a KeyedProcessFunction, with state and timers of its key; or a function `(value, context, out)`. */
  override process<Out>(process: Literal<KeyedProcessFunction<K, T, Out>>): DataStream<Out>;
  override process<Out>(
    process:
      | KeyedProcessFunction<K, T, Out>
      | ProcessFunction<T, Out>
      | ((value: T, context: ProcessContext<K>, out: Collector<Out>) => void),
  ): DataStream<Out>;
  override process<Out>(
    process:
      | KeyedProcessFunction<K, T, Out>
      | ProcessFunction<T, Out>
      | ((value: T, context: ProcessContext<K>, out: Collector<Out>) => void),
  ): DataStream<Out> {
    return this.transform({ name: nameOf(process, "process"), spec: specOf("process", { function: processOf(process), key: this.#key }) });
  }

  /**
   * Per key, windows.
   * @throws GraphError when they are windows of event time and no operator before assigns timestamps.
   */
  window(window: WindowDescription<T>): WindowedStream<T, K> {
    return new WindowedStream((options) => this.transform(options), {
      window: window as WindowDescription, key: this.#key, hasTimestamps: this.hasTimestamps(),
    });
  }

  override batch(size: number | BatchSize): DataStream<T[]> {
    return this.transform(batchOf(size, this.#key));
  }

  /**
   * Per key, windows of so many records, in order of their arrival; each when it is full. With `slide`, a window of the last `size` records
   * after every `slide` of them.
   * @throws GraphError unless both are positive integers.
   */
  countWindow(size: number, slide?: number): WindowedStream<T, K> {
    return countWindows(this.window(globalWindow()), size, slide);
  }
}
