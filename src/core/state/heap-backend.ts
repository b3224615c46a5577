/**
 * Keyed state in memory: per declared state a table from key token to what the key has. Which key group an entry belongs to is worked out
 * when a snapshot is taken, not at each access.
 *
 * Invariant: state is reached only while a key is current; the operator sets it before it calls user code.
 */
import { type KeyToken, keyToken } from "../data/keys.ts";
import { flattenKept, flattenString } from "../data/text.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { KeyedBackend } from "./backend.ts";
import type { ListState, MapState, StateDescriptor, StateOf, ValueState } from "./descriptors.ts";
import { KeyTable } from "./key-table.ts";

/** The keyed state of one operator in one subtask. */
export class HeapBackend implements KeyedBackend {
  #token: KeyToken | undefined;
  #key: unknown;
  readonly #states = new Map<string, { readonly descriptor: StateDescriptor; readonly table: Table }>();

  /** The key whose state is reached now. @throws RecordError for a key that cannot be one. */
  setCurrentKey(key: unknown): void {
    this.#token = keyToken(key);
    this.#key = key;
  }

  /** The current key, as the user's key selector gave it. */
  get currentKey(): unknown {
    return this.#key;
  }

  get currentToken(): KeyToken {
    if (this.#token === undefined) {
      throw new GraphError(
        "Keyed state was used outside a record or timer; use it in processElement() or onTimer(), not in open() or close().",
      );
    }
    return this.#token;
  }

  /**
   * The state of a descriptor; the same one for the same name.
   * @throws GraphError when the name is taken by a different declaration.
   */
  state<Descriptor extends StateDescriptor>(descriptor: Descriptor): StateOf<Descriptor> {
    const existing = this.#states.get(descriptor.name);
    if (existing !== undefined) {
      if (existing.descriptor.kind !== descriptor.kind || !Object.is(initialOf(existing.descriptor), initialOf(descriptor))) {
        throw new GraphError(`State ${describe(descriptor.name)} is declared twice, in different ways.`);
      }
      return existing.table as unknown as StateOf<Descriptor>;
    }
    const table =
      descriptor.kind === "value"
        ? new ValueTable(this, descriptor.initial)
        : descriptor.kind === "list"
          ? new ListTable(this)
          : new MapTable(this);
    this.#states.set(descriptor.name, { descriptor, table });
    return table as unknown as StateOf<Descriptor>;
  }

  /** Number of keys over all states. */
  get entries(): number {
    let total = 0;
    for (const { table } of this.#states.values()) total += table.size;
    return total;
  }
}

const initialOf = (descriptor: StateDescriptor): unknown => (descriptor.kind === "value" ? descriptor.initial : undefined);

interface Table {
  /** Number of keys that have something. */
  readonly size: number;
}

class ValueTable implements Table, ValueState<unknown> {
  readonly #backend: HeapBackend;
  readonly #initial: unknown;
  readonly #values = new KeyTable<unknown>();

  constructor(backend: HeapBackend, initial: unknown) {
    this.#backend = backend;
    this.#initial = initial;
  }

  get size(): number {
    return this.#values.size;
  }

  value(): unknown {
    const value = this.#values.get(this.#backend.currentToken);
    return value === undefined ? this.#initial : value;
  }

  update(value: unknown): void {
    if (value === undefined) this.clear();
    else this.#values.set(kept(this.#values, this.#backend.currentToken), flattenKept(value));
  }

  clear(): void {
    this.#values.delete(this.#backend.currentToken);
  }
}

/**
 * A token to put into a map for good. A string out of a segment is a slice that keeps the whole batch alive (2,000 kept strings held
 * 120 MB), so what state keeps is flattened.
 */
function kept(map: { get(token: KeyToken): unknown }, token: KeyToken): KeyToken {
  return typeof token === "string" && map.get(token) === undefined ? flattenString(token) : token;
}

const NOTHING: readonly unknown[] = Object.freeze([]);

class ListTable implements Table, ListState<unknown> {
  readonly #backend: HeapBackend;
  readonly #lists = new KeyTable<unknown[]>();

  constructor(backend: HeapBackend) {
    this.#backend = backend;
  }

  get size(): number {
    return this.#lists.size;
  }

  get(): readonly unknown[] {
    return this.#lists.get(this.#backend.currentToken) ?? NOTHING;
  }

  add(value: unknown): void {
    const token = this.#backend.currentToken;
    const list = this.#lists.get(token);
    if (list === undefined) this.#lists.set(kept(this.#lists, token), [flattenKept(value)]);
    else list.push(flattenKept(value));
  }

  update(values: readonly unknown[]): void {
    if (values.length === 0) this.clear();
    else this.#lists.set(kept(this.#lists, this.#backend.currentToken), values.map((value) => flattenKept(value)));
  }

  clear(): void {
    this.#lists.delete(this.#backend.currentToken);
  }
}

class MapTable implements Table, MapState<unknown, unknown> {
  readonly #backend: HeapBackend;
  /** Per key of the stream: token of the user's key to the key itself and its value. */
  readonly #maps = new KeyTable<Map<KeyToken, [unknown, unknown]>>();

  constructor(backend: HeapBackend) {
    this.#backend = backend;
  }

  get size(): number {
    return this.#maps.size;
  }

  get(key: unknown): unknown {
    return this.#current()?.get(keyToken(key))?.[1];
  }

  put(key: unknown, value: unknown): void {
    const token = this.#backend.currentToken;
    let map = this.#maps.get(token);
    if (map === undefined) this.#maps.set(kept(this.#maps, token), (map = new Map()));
    const userToken = keyToken(key);
    const entry = map.get(userToken);
    if (entry === undefined) map.set(kept(map, userToken), [flattenKept(key), flattenKept(value)]);
    else entry[1] = flattenKept(value);
  }

  remove(key: unknown): void {
    const map = this.#current();
    if (map?.delete(keyToken(key)) === true && map.size === 0) this.clear();
  }

  contains(key: unknown): boolean {
    return this.#current()?.has(keyToken(key)) ?? false;
  }

  *entries(): IterableIterator<[unknown, unknown]> {
    for (const [key, value] of this.#current()?.values() ?? []) yield [key, value];
  }

  *keys(): IterableIterator<unknown> {
    for (const [key] of this.#current()?.values() ?? []) yield key;
  }

  *values(): IterableIterator<unknown> {
    for (const [, value] of this.#current()?.values() ?? []) yield value;
  }

  isEmpty(): boolean {
    return this.#current() === undefined;
  }

  clear(): void {
    this.#maps.delete(this.#backend.currentToken);
  }

  #current(): Map<KeyToken, [unknown, unknown]> | undefined {
    return this.#maps.get(this.#backend.currentToken);
  }
}
