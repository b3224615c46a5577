/**
 * State as the user declares it. A descriptor names a state; the runtime gives each key a value of its own under that name.
 */
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";

/** How long state lives (Flink: StateTtlConfig), on the wall clock. What is over is never given out. */
export interface TimeToLive {
  readonly timeMs: number;
  /** What begins a lifetime anew: writing (Flink: OnCreateAndWrite), or reading as well (OnReadAndWrite). */
  readonly refresh: "on-write" | "on-read";
}

/** Settings of a state. */
export interface StateOptions {
  /**
   * How long a value lives after it was written: of a list each item, of a map each entry for itself. Default: for ever.
   * `{ time, refresh: "on-read" }`: reading it prolongs its life too.
   */
  readonly ttl?: Duration | { readonly time: Duration; readonly refresh?: "on-write" | "on-read" };
}

/** What all descriptors have. */
interface Declared<Kind extends string> {
  readonly kind: Kind;
  readonly name: string;
  /** Absent: for ever. */
  readonly ttl?: TimeToLive;
}

/** One value per key. */
export interface ValueStateDescriptor<T> extends Declared<"value"> {
  /** What `value()` answers before the first `update`. */
  readonly initial: T | undefined;
}

/** A list of values per key. */
export interface ListStateDescriptor<T> extends Declared<"list"> {
  /** Carries the type only; never set. */
  readonly type?: T;
}

/** A map per key. */
export interface MapStateDescriptor<UserKey, T> extends Declared<"map"> {
  /** Carries the types only; never set. */
  readonly type?: readonly [UserKey, T];
}

/** One value per key, into which others are combined. */
export interface ReducingStateDescriptor<T> extends Declared<"reducing"> {
  readonly reduce: (accumulated: T, value: T) => T;
}

/** One accumulator per key, to which values are added. */
export interface AggregatingStateDescriptor<In, Acc, Out> extends Declared<"aggregating"> {
  readonly aggregate: Aggregation<In, Acc, Out>;
}

/** What an aggregating state needs of an AggregateFunction. */
export interface Aggregation<In, Acc, Out> {
  createAccumulator(): Acc;
  add(value: In, accumulator: Acc): Acc;
  getResult(accumulator: Acc): Out;
}

/** Any of them. */
export type StateDescriptor =
  | ValueStateDescriptor<unknown>
  | ListStateDescriptor<unknown>
  | MapStateDescriptor<unknown, unknown>
  // A function of anything takes only `never`.
  | (Declared<"reducing"> & { readonly reduce: (accumulated: never, value: never) => unknown })
  | (Declared<"aggregating"> & {
      readonly aggregate: {
        createAccumulator(): unknown;
        add(value: never, accumulator: never): unknown;
        getResult(accumulator: never): unknown;
      };
    });

/** What a descriptor gives access to. */
export type StateOf<Descriptor> =
  Descriptor extends ValueStateDescriptor<infer T> ? ValueState<T>
  : Descriptor extends ListStateDescriptor<infer T> ? ListState<T>
  : Descriptor extends MapStateDescriptor<infer UserKey, infer T> ? MapState<UserKey, T>
  : Descriptor extends ReducingStateDescriptor<infer T> ? ReducingState<T>
  : Descriptor extends AggregatingStateDescriptor<infer In, infer _Acc, infer Out> ? AggregatingState<In, Out>
  : never;

/**
 * Declares one value per key.
 * @param initial what `value()` answers before the first `update`; a primitive, since every key would share an object.
 * @throws GraphError when the initial value is an object.
 */
export function valueState<T>(name: string, initial?: T, options?: StateOptions): ValueStateDescriptor<T> {
  if (typeof initial === "object" && initial !== null) {
    throw new GraphError(
      `valueState(${describe(name)}) has the object ${describe(initial)} as initial value, which all keys would share; ` +
        `leave it out and write \`state.value() ?? fresh\`.`,
    );
  }
  return { kind: "value", name, initial, ...ttlOf(name, options) };
}

/** Declares a list of values per key. */
export function listState<T>(name: string, options?: StateOptions): ListStateDescriptor<T> {
  return { kind: "list", name, ...ttlOf(name, options) };
}

/** Declares a map per key of the stream, from keys of its own to values. Its keys are compared by structure. */
export function mapState<UserKey, T>(name: string, options?: StateOptions): MapStateDescriptor<UserKey, T> {
  return { kind: "map", name, ...ttlOf(name, options) };
}

/** Declares one value per key that is combined with each value added: `reducingState<number>("max", Math.max)`. */
export function reducingState<T>(
  name: string, reduce: (accumulated: T, value: T) => T, options?: StateOptions,
): ReducingStateDescriptor<T> {
  return { kind: "reducing", name, reduce, ...ttlOf(name, options) };
}

/** Declares one accumulator per key: `aggregatingState("mean", average((ride: Ride) => ride.fare))`. */
export function aggregatingState<In, Acc, Out>(
  name: string, aggregate: Aggregation<In, Acc, Out>, options?: StateOptions,
): AggregatingStateDescriptor<In, Acc, Out> {
  return { kind: "aggregating", name, aggregate, ...ttlOf(name, options) };
}

function ttlOf(name: string, options: StateOptions | undefined): { readonly ttl?: TimeToLive } {
  const ttl = options?.ttl;
  if (ttl === undefined) return {};
  const { time, refresh = "on-write" } = typeof ttl === "object" && "time" in ttl ? ttl : { time: ttl };
  const timeMs = durationMs(time, `the ttl of state ${describe(name)}`);
  if (!(timeMs > 0)) throw new GraphError(`The ttl of state ${describe(name)} is ${describe(time)}; give a duration > 0, e.g. hours(1).`);
  return { ttl: { timeMs, refresh } };
}

/** The value of the current key. Valid inside the functions of its operator only. */
export interface ValueState<T> {
  /** The value, or the descriptor's initial one. */
  value(): T | undefined;
  update(value: T): void;
  clear(): void;
}

/** The list of the current key. */
export interface ListState<T> {
  /** The values in order of addition; empty when there are none. Not to be changed. */
  get(): readonly T[];
  add(value: T): void;
  /** Puts these values in place of the present ones. */
  update(values: readonly T[]): void;
  clear(): void;
}

/** The map of the current key. Iteration is in order of first insertion. */
export interface MapState<UserKey, T> {
  get(key: UserKey): T | undefined;
  put(key: UserKey, value: T): void;
  remove(key: UserKey): void;
  contains(key: UserKey): boolean;
  entries(): IterableIterator<[UserKey, T]>;
  keys(): IterableIterator<UserKey>;
  values(): IterableIterator<T>;
  isEmpty(): boolean;
  clear(): void;
}

/** The combination of all values added for the current key. */
export interface ReducingState<T> {
  /** Undefined when none was added. */
  get(): T | undefined;
  add(value: T): void;
  clear(): void;
}

/** The aggregate of all values added for the current key. */
export interface AggregatingState<In, Out> {
  /** Undefined when none was added. */
  get(): Out | undefined;
  add(value: In): void;
  clear(): void;
}
