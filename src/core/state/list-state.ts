/**
 * A list per key: list state over a table. A list is kept and written as a whole, so adding is cheap, and a list of very many items makes a
 * long entry.
 */
import { flattenKept, flattenStrings } from "../data/text.ts";
import type { KeyedBackend } from "./backend.ts";
import type { ListState } from "./descriptors.ts";
import type { Lifetime } from "./lifetime.ts";
import { STAMPED, type Table, type TableCodec } from "./table.ts";
import type { Stamped } from "./value-state.ts";

/** How lists stand in a snapshot: an array, or one of times and items in turn. */
export const listCodec: TableCodec<unknown[]> = {
  type: "list",
  write: (to, list) => to.write(list),
  read: (first, _from, type) => {
    const items = flattenStrings(first) as unknown[];
    return type.endsWith(STAMPED) ? items.filter((_item, index) => index % 2 === 1) : items;
  },
};

/** The same for lists whose items have a lifetime. */
export function stampedListCodec(lifetime: Lifetime): TableCodec<Stamped[]> {
  return {
    type: `list${STAMPED}`,
    // The last item is the youngest, so when it is over, the list is.
    isOver: (list) => lifetime.isOver((list[list.length - 1] as Stamped).stampMs),
    write: (to, list) => {
      to.write(list.filter(({ stampMs }) => !lifetime.isOver(stampMs)).flatMap(({ value, stampMs }) => [stampMs, value]));
    },
    read: (first, _from, type) => {
      const stamped = type.endsWith(STAMPED);
      const read = flattenStrings(first) as unknown[];
      const items: Stamped[] = [];
      for (let at = 0; at < read.length; at += stamped ? 2 : 1) {
        const item = stamped ? { stampMs: read[at] as number, value: read[at + 1] } : { stampMs: lifetime.now(), value: read[at] };
        if (!lifetime.isOver(item.stampMs)) items.push(item);
      }
      return items.length === 0 ? undefined : items;
    },
  };
}

const NOTHING: readonly unknown[] = Object.freeze([]);

/** The lists of all keys of one state. */
export class TabledList implements ListState<unknown> {
  readonly #backend: KeyedBackend;
  readonly #lists: Table<unknown[]>;

  constructor(backend: KeyedBackend, lists: Table<unknown[]>) {
    this.#backend = backend;
    this.#lists = lists;
  }

  get(): readonly unknown[] {
    return this.#lists.get(this.#backend.currentToken) ?? NOTHING;
  }

  add(value: unknown): void {
    const token = this.#backend.currentToken;
    const list = this.#lists.edit(token);
    if (list === undefined) this.#lists.set(token, [flattenKept(value)]);
    else list.push(flattenKept(value));
  }

  update(values: readonly unknown[]): void {
    if (values.length === 0) this.clear();
    else this.#lists.set(this.#backend.currentToken, values.map((value) => flattenKept(value)));
  }

  clear(): void {
    this.#lists.delete(this.#backend.currentToken);
  }
}

/** The same for a state whose items have a lifetime. */
export class ExpiringList implements ListState<unknown> {
  readonly #backend: KeyedBackend;
  readonly #lists: Table<Stamped[]>;
  readonly #lifetime: Lifetime;

  constructor(backend: KeyedBackend, lists: Table<Stamped[]>, lifetime: Lifetime) {
    this.#backend = backend;
    this.#lists = lists;
    this.#lifetime = lifetime;
  }

  get(): readonly unknown[] {
    const token = this.#backend.currentToken;
    const list = this.#lists.get(token);
    if (list === undefined) return NOTHING;
    const alive = list.filter(({ stampMs }) => !this.#lifetime.isOver(stampMs));
    if (alive.length === 0) this.#lists.delete(token);
    else if (this.#lifetime.refreshedByReads) this.#lists.set(token, alive.map(({ value }) => ({ value, stampMs: this.#lifetime.now() })));
    else if (alive.length < list.length) this.#lists.set(token, alive);
    return alive.map(({ value }) => value);
  }

  add(value: unknown): void {
    const token = this.#backend.currentToken;
    const item = { value: flattenKept(value), stampMs: this.#lifetime.now() };
    const list = this.#lists.edit(token);
    if (list === undefined) this.#lists.set(token, [item]);
    else list.push(item);
    this.#sweep();
  }

  update(values: readonly unknown[]): void {
    const stampMs = this.#lifetime.now();
    if (values.length === 0) return this.clear();
    this.#lists.set(this.#backend.currentToken, values.map((value) => ({ value: flattenKept(value), stampMs })));
    this.#sweep();
  }

  clear(): void {
    this.#lists.delete(this.#backend.currentToken);
  }

  /** As for the codec, the last item tells. */
  #sweep(): void {
    this.#lists.sweep((list) => this.#lifetime.isOver((list[list.length - 1] as Stamped).stampMs));
  }
}
