/** One value per key: value state over a table. */
import { flattenStrings } from "../data/text.ts";
import type { KeyedBackend } from "./backend.ts";
import type { ValueState } from "./descriptors.ts";
import { LentStrings } from "./lent-strings.ts";
import type { Lifetime } from "./lifetime.ts";
import { STAMPED, type Table, type TableCodec } from "./table.ts";

/** A value with the time it was written. */
export interface Stamped {
  value: unknown;
  stampMs: number;
}

/** How single values stand in a snapshot. */
export function valueCodec(kind: string): TableCodec<unknown> {
  return {
    type: kind,
    write: (to, value) => to.write(value),
    // A stamp of a time in which the state still had a lifetime.
    read: (first, from, type) => flattenStrings(type.endsWith(STAMPED) ? from.read() : first),
  };
}

/** The same for values with a lifetime. */
export function stampedCodec(kind: string, lifetime: Lifetime): TableCodec<Stamped> {
  return {
    type: kind + STAMPED,
    isOver: ({ stampMs }) => lifetime.isOver(stampMs),
    write: (to, { value, stampMs }) => {
      to.write(stampMs);
      to.write(value);
    },
    read: (first, from, type) => {
      if (!type.endsWith(STAMPED)) return { value: flattenStrings(first), stampMs: lifetime.now() };
      const value = flattenStrings(from.read());
      return lifetime.isOver(first as number) ? undefined : { value, stampMs: first as number };
    },
  };
}

/** The values of all keys of one state. */
export class TabledValue implements ValueState<unknown> {
  readonly #backend: KeyedBackend;
  readonly #initial: unknown;
  readonly #values: Table<unknown>;
  readonly #strings = new LentStrings();

  constructor(backend: KeyedBackend, values: Table<unknown>, initial: unknown) {
    this.#backend = backend;
    this.#values = values;
    this.#initial = initial;
  }

  value(): unknown {
    const value = this.#values.get(this.#backend.currentToken);
    return value === undefined ? this.#initial : this.#strings.lend(value);
  }

  update(value: unknown): void {
    if (value === undefined) this.clear();
    else this.#values.set(this.#backend.currentToken, this.#strings.keep(value));
  }

  clear(): void {
    this.#values.delete(this.#backend.currentToken);
  }
}

/** The same for a state with a lifetime. */
export class ExpiringValue implements ValueState<unknown> {
  readonly #backend: KeyedBackend;
  readonly #initial: unknown;
  readonly #values: Table<Stamped>;
  readonly #lifetime: Lifetime;
  readonly #strings = new LentStrings();

  constructor(backend: KeyedBackend, values: Table<Stamped>, initial: unknown, lifetime: Lifetime) {
    this.#backend = backend;
    this.#values = values;
    this.#initial = initial;
    this.#lifetime = lifetime;
  }

  value(): unknown {
    const token = this.#backend.currentToken;
    const stamped = this.#values.get(token);
    if (stamped === undefined) return this.#initial;
    if (this.#lifetime.isOver(stamped.stampMs)) {
      this.#values.delete(token);
      return this.#initial;
    }
    if (this.#lifetime.refreshedByReads) this.#values.set(token, { value: stamped.value, stampMs: this.#lifetime.now() });
    return this.#strings.lend(stamped.value);
  }

  update(value: unknown): void {
    if (value === undefined) return this.clear();
    this.#values.set(this.#backend.currentToken, { value: this.#strings.keep(value), stampMs: this.#lifetime.now() });
    this.#values.sweep(({ stampMs }) => this.#lifetime.isOver(stampMs));
  }

  clear(): void {
    this.#values.delete(this.#backend.currentToken);
  }
}
