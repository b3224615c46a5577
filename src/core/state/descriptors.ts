/**
 * State as the user declares it. A descriptor names a state; the runtime gives each key a value of its own under that name.
 */
import { GraphError, describe } from "../types/errors.ts";

/** One value per key. */
export interface ValueStateDescriptor<T> {
  readonly kind: "value";
  readonly name: string;
  /** What `value()` answers before the first `update`. */
  readonly initial: T | undefined;
}

/** A list of values per key. */
export interface ListStateDescriptor<T> {
  readonly kind: "list";
  readonly name: string;
  /** Carries the type only; never set. */
  readonly type?: T;
}

/** A map per key. */
export interface MapStateDescriptor<UserKey, T> {
  readonly kind: "map";
  readonly name: string;
  /** Carries the types only; never set. */
  readonly type?: readonly [UserKey, T];
}

/** Any of them. */
export type StateDescriptor = ValueStateDescriptor<unknown> | ListStateDescriptor<unknown> | MapStateDescriptor<unknown, unknown>;

/** What a descriptor gives access to. */
export type StateOf<Descriptor> =
  Descriptor extends ValueStateDescriptor<infer T> ? ValueState<T>
  : Descriptor extends ListStateDescriptor<infer T> ? ListState<T>
  : Descriptor extends MapStateDescriptor<infer UserKey, infer T> ? MapState<UserKey, T>
  : never;

/**
 * Declares one value per key.
 * @param initial what `value()` answers before the first `update`; a primitive, since every key would share an object.
 * @throws GraphError when the initial value is an object.
 */
export function valueState<T>(name: string, initial?: T): ValueStateDescriptor<T> {
  if (typeof initial === "object" && initial !== null) {
    throw new GraphError(
      `valueState(${describe(name)}) has the object ${describe(initial)} as initial value, which all keys would share; ` +
        `leave it out and write \`state.value() ?? fresh\`.`,
    );
  }
  return { kind: "value", name, initial };
}

/** Declares a list of values per key. */
export function listState<T>(name: string): ListStateDescriptor<T> {
  return { kind: "list", name };
}

/** Declares a map per key of the stream, from keys of its own to values. Its keys are compared by structure. */
export function mapState<UserKey, T>(name: string): MapStateDescriptor<UserKey, T> {
  return { kind: "map", name };
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
