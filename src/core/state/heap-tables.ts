/**
 * Keyed state in memory: a table of objects per declared state. Which key group an entry belongs to is worked out when a snapshot is taken,
 * not at each access. Every checkpoint holds all of it.
 */
import { keyGroupOf } from "../data/key-groups.ts";
import type { KeyToken } from "../data/keys.ts";
import type { ValueWriter } from "../data/value-writer.ts";
import { KeyTable } from "./key-table.ts";
import type { StateTables } from "./keyed-states.ts";
import type { SnapshotWriter } from "./section-writer.ts";
import type { Table, TableCodec } from "./table.ts";

/** The tables of one operator in one subtask. */
export class HeapTables implements StateTables {
  readonly #maxParallelism: number;
  readonly #tables = new Map<string, { readonly table: KeyTable<unknown>; readonly codec: TableCodec<unknown> }>();

  constructor(maxParallelism: number) {
    this.#maxParallelism = maxParallelism;
  }

  open(name: string, codec: TableCodec<unknown>): Table<unknown> {
    const table = new KeyTable<unknown>();
    this.#tables.set(name, { table, codec });
    return table;
  }

  freeze(snapshot: SnapshotWriter): void {
    const groupOf = (token: KeyToken): number => keyGroupOf(token, this.#maxParallelism);
    for (const [name, { table, codec }] of this.#tables) {
      const section = snapshot.section(name, "keyed", codec.type);
      const write = (to: ValueWriter, token: unknown, value: unknown): void => {
        to.write(token);
        codec.write(to, value);
      };
      table.freeze(groupOf, (token, value, group) => {
        if (codec.isOver?.(value) !== true) section.entry(group, token, value, write);
      });
      snapshot.add(table);
    }
  }

  completed(): void {
    // Nothing is built upon it.
  }

  close(): void {
    this.#tables.clear();
  }
}
