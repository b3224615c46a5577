/**
 * Keyed state on disk, in lmdb, for more of it than a heap holds: per declared state a table behind a cache (disk-table.ts). Checkpoints
 * are incremental. What a function changes in an object must be given back with `update`, as wherever state is serialised.
 *
 * Timers, lists, broadcast state and the tables that windows lay out themselves stay in memory.
 */
import type { ClassRegistry } from "../data/classes.ts";
import { keyGroupOf } from "../data/key-groups.ts";
import type { ValueWriter } from "../data/value-writer.ts";
import { DiskStore } from "./disk-store.ts";
import { DiskTable } from "./disk-table.ts";
import { EntryBytes } from "./entry-bytes.ts";
import type { StateTables } from "./keyed-states.ts";
import type { AddsTo, SnapshotWriter } from "./section-writer.ts";
import type { Table, TableCodec } from "./table.ts";

/** Where state on disk is kept, and how much of it in memory too. */
export interface DiskOptions {
  /** Under which each operator of a subtask makes a folder of its own; empty: the system's for temporary files. */
  readonly folder: string;
  /** Keys of each state that are kept in memory. */
  readonly cachedEntries: number;
  /** Whether checkpoints build upon earlier ones. */
  readonly incremental: boolean;
}

/** The tables of one operator in one subtask. */
export class DiskTables implements StateTables {
  readonly #maxParallelism: number;
  readonly #options: DiskOptions;
  readonly #bytes: EntryBytes;
  readonly #tables = new Map<string, { readonly table: DiskTable<unknown>; readonly codec: TableCodec<unknown> }>();
  #store: DiskStore | undefined;

  constructor(maxParallelism: number, classes: ClassRegistry, options: DiskOptions) {
    this.#maxParallelism = maxParallelism;
    this.#options = options;
    this.#bytes = new EntryBytes(classes);
  }

  /** @throws ConfigurationError when lmdb is not installed; StorageError when the folder can't be used. */
  open(name: string, codec: TableCodec<unknown>): Table<unknown> {
    this.#store ??= new DiskStore(this.#options.folder);
    const table = new DiskTable<unknown>({
      store: this.#store, state: this.#tables.size, bytes: this.#bytes, codec, cachedEntries: this.#options.cachedEntries,
      groupOf: (token) => keyGroupOf(token, this.#maxParallelism),
    });
    this.#tables.set(name, { table, codec });
    return table;
  }

  freeze(snapshot: SnapshotWriter, checkpoint: number | undefined): void {
    const id = this.#options.incremental ? checkpoint : undefined;
    for (const [name, { table, codec }] of this.#tables) {
      let addsTo: AddsTo | undefined;
      const write = (to: ValueWriter, token: unknown, value: unknown): void => {
        to.write(token);
        if (value === undefined) to.write(undefined);
        else codec.write(to, value);
      };
      const earlier = table.freeze(id, (token, value, group) => {
        if (value === undefined || codec.isOver?.(value) !== true) section.entry(group, token, value, write);
      });
      if (id !== undefined) addsTo = { earlier, finished: (sections) => table.written(id, sections) };
      const section = snapshot.section(name, "keyed", codec.type, addsTo);
      snapshot.add(table);
    }
  }

  completed(checkpoint: number): void {
    for (const { table } of this.#tables.values()) table.completed(checkpoint);
  }

  close(): void {
    this.#tables.clear();
    this.#store?.close();
    this.#store = undefined;
  }
}
