/**
 * Keyed state in memory: per declared state a Map from key token to value. Which key group an entry belongs to is worked out when a
 * snapshot is taken, not at each access.
 *
 * Invariant: state is reached only while a key is current; the operator sets it before it calls user code.
 */
import { type KeyToken, keyToken } from "../data/keys.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { ValueState, ValueStateDescriptor } from "./descriptors.ts";

/** The keyed state of one operator in one subtask. */
export class HeapBackend {
  #token: KeyToken | undefined;
  #key: unknown;
  readonly #states = new Map<string, ValueTable<unknown>>();

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
      throw new GraphError("Keyed state was used outside a record or timer; use it in processElement() or onTimer(), not in open() or close().");
    }
    return this.#token;
  }

  /**
   * The value state of a descriptor; the same one for the same name.
   * @throws GraphError when the name is taken by a different declaration.
   */
  value<T>(descriptor: ValueStateDescriptor<T>): ValueState<T> {
    const existing = this.#states.get(descriptor.name);
    if (existing !== undefined) {
      if (!Object.is(existing.initial, descriptor.initial)) {
        throw new GraphError(`State ${describe(descriptor.name)} is declared twice with different initial values.`);
      }
      return existing as ValueTable<unknown> as ValueState<T>;
    }
    const table = new ValueTable<T>(this, descriptor.initial);
    this.#states.set(descriptor.name, table as ValueTable<unknown>);
    return table;
  }

  /** Number of entries over all states. */
  get entries(): number {
    let total = 0;
    for (const table of this.#states.values()) total += table.size;
    return total;
  }
}

class ValueTable<T> implements ValueState<T> {
  readonly #backend: HeapBackend;
  readonly initial: T | undefined;
  readonly #values = new Map<KeyToken, T>();

  constructor(backend: HeapBackend, initial: T | undefined) {
    this.#backend = backend;
    this.initial = initial;
  }

  get size(): number {
    return this.#values.size;
  }

  value(): T | undefined {
    const value = this.#values.get(this.#backend.currentToken);
    return value === undefined ? this.initial : value;
  }

  update(value: T): void {
    this.#values.set(this.#backend.currentToken, value);
  }

  clear(): void {
    this.#values.delete(this.#backend.currentToken);
  }
}
