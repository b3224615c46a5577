/**
 * Tables that an operator lays out itself: one per namespace, a whole number such as the end of a slice of time. This is how operators
 * that know their access pattern keep keyed state faster than under descriptors: all keys of a slice in one table that is made and dropped
 * as a whole. A table that is dropped while it is being written is written all the same.
 */
import { keyGroupOf } from "../data/key-groups.ts";
import type { KeyToken } from "../data/keys.ts";
import { flattenStrings } from "../data/text.ts";
import type { ValueReader } from "../data/value-reader.ts";
import type { ValueWriter } from "../data/value-writer.ts";
import { KeyTable } from "./key-table.ts";
import type { SnapshotWriter } from "./section-writer.ts";

/** The type of a section that holds such tables. */
export const TABLE = "table";

/** How the values of a table are stored. */
export interface TableLayout<Value> {
  /** What of a value is written: anything that can travel in a record. */
  store(value: Value): unknown;
  /** The value of what was written. */
  load(stored: unknown): Value;
}

/** The tables of one name in one subtask. */
export class TableSet<Value> {
  readonly #layout: TableLayout<Value>;
  readonly #tables = new Map<number, KeyTable<Value>>();

  constructor(layout: TableLayout<Value>) {
    this.#layout = layout;
  }

  /** The tables that there are, in no particular order. */
  entries(): IterableIterator<[number, KeyTable<Value>]> {
    return this.#tables.entries();
  }

  /** The table of a namespace; made when there is none. */
  table(namespace: number): KeyTable<Value> {
    let table = this.#tables.get(namespace);
    if (table === undefined) this.#tables.set(namespace, (table = new KeyTable()));
    return table;
  }

  /** Forgets a table. */
  drop(namespace: number): void {
    this.#tables.delete(namespace);
  }

  /** Takes in an entry of a snapshot. */
  restore(values: ValueReader): void {
    const namespace = values.read() as number;
    const token = values.read() as KeyToken;
    this.table(namespace).set(token, this.#layout.load(flattenStrings(values.read())));
  }

  /** Freezes all tables into a section of a snapshot. */
  freeze(snapshot: SnapshotWriter, name: string, maxParallelism: number): void {
    const section = snapshot.section(name, "keyed", TABLE);
    const { store } = this.#layout;
    const groupOf = (token: KeyToken): number => keyGroupOf(token, maxParallelism);
    for (const [namespace, table] of this.#tables) {
      const write = (to: ValueWriter, token: unknown, value: Value): void => {
        to.write(namespace);
        to.write(token);
        to.write(store(value));
      };
      table.freeze(groupOf, (token, value, group) => section.entry(group, token, value, write));
      snapshot.add(table);
    }
  }
}
