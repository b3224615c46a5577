/**
 * All state of one operator in one subtask. What an operator keeps here survives a failure: the runtime gives it restored, freezes it at
 * each barrier and writes it out between records; the operator itself serialises nothing.
 */
import { type ClassRegistry, noClasses } from "../data/classes.ts";
import { DEFAULT_MAX_PARALLELISM, keyGroupOf } from "../data/key-groups.ts";
import { keyOfToken, type KeyToken } from "../data/keys.ts";
import { flattenKept, flattenStrings } from "../data/text.ts";
import { describe, GraphError, InvariantError, StateError } from "../types/errors.ts";
import type { KeyedBackend } from "./backend.ts";
import { BroadcastMap } from "./broadcast-map.ts";
import type { MapState } from "./descriptors.ts";
import { type DiskOptions, DiskTables } from "./disk-tables.ts";
import { HeapTables } from "./heap-tables.ts";
import { KeyedStates, type StateTables } from "./keyed-states.ts";
import { RestoredSections } from "./restored.ts";
import { type SectionWriter, SnapshotWriter } from "./section-writer.ts";
import type { OperatorRestore, ReadBlock, SnapshotInProgress } from "./snapshot.ts";
import { TABLE, type TableLayout, TableSet } from "./table-set.ts";
import { TimerQueue } from "./timers.ts";

/** What a list's items become at another parallelism: each subtask gets a share, or each gets all. */
export type ListMode = "split" | "union";

/** Items of one subtask. */
export interface OperatorList<T> {
  /** The items in order. Not to be changed. */
  get(): readonly T[];
  /** Puts these items in place of the present ones. */
  update(items: readonly T[]): void;
  add(item: T): void;
}

/** The state of an operator, as the operator sees it. The same name always gives the same object. Used by the subtask's thread. */
export interface OperatorStates {
  /** State per key under descriptors; make a key current first. */
  readonly keyed: KeyedBackend;
  /** Timers per key under a name ("event", "processing"). They move with their keys when the parallelism changes. */
  timers(name: string): TimerQueue;
  /**
   * Items that belong to the subtask, not to a key. They are written at the barrier itself: keep to thousands.
   * @throws GraphError when the name is taken by a list of the other mode.
   */
  list<T>(name: string, mode: ListMode): OperatorList<T>;
  /** A map that is the same in every subtask, because every subtask makes the same changes. */
  broadcast<Key, T>(name: string): MapState<Key, T>;
  /** Keyed state that the operator lays out in tables of its own, for speed. Its name is none of a state under a descriptor. */
  tables<Value>(name: string, layout: TableLayout<Value>): TableSet<Value>;
}

/** The same, as the runtime sees it. */
export interface CheckpointedStates extends OperatorStates {
  /**
   * Freezes all state as it is now, in time that does not grow with its size. The operator may go on at once; what it changes is not in the
   * snapshot.
   * @param kind a savepoint stands alone: it refers to no file of a checkpoint. Default: checkpoint.
   * @throws InvariantError while another snapshot is being written: finish or abort it first.
   */
  freeze(checkpoint: number, kind?: "checkpoint" | "savepoint"): SnapshotInProgress;
  /** The checkpoint, and all before it, will not be undone: later ones may build upon it. */
  completed(checkpoint: number): void;
  /** The timers that were asked for, by name. */
  readonly timerQueues: ReadonlyMap<string, TimerQueue>;
  /** Gives up what the state holds outside of memory. Nothing may be used after it. */
  close(): void;
}

/** What the states of an operator need to know. */
export interface StatesOptions {
  /** Under which the state is found again: the operator's uid, or its id if it has none. */
  readonly stateId: string;
  readonly maxParallelism: number;
  readonly classes: ClassRegistry;
  /** Wall clock, milliseconds since the epoch. */
  now(): number;
  /** Former state, and how its bytes are read; absent: none. */
  readonly restore?: { readonly from: OperatorRestore; readonly read: ReadBlock };
  /** Keeps state under descriptors on disk; absent: in memory. */
  readonly disk?: DiskOptions;
}

const ALONE: StatesOptions = { stateId: "operator", maxParallelism: DEFAULT_MAX_PARALLELISM, classes: noClasses, now: () => Date.now() };

/** See the head of the file. */
export class SubtaskStates implements CheckpointedStates {
  readonly keyed: KeyedStates;
  readonly #options: Omit<StatesOptions, "restore">;
  readonly #restored: RestoredSections | undefined;
  readonly #timers = new Map<string, TimerQueue>();
  readonly #lists = new Map<string, ItemList>();
  readonly #broadcast = new Map<string, BroadcastMap>();
  readonly #tables = new Map<string, TableSet<unknown>>();
  readonly #keyedTables: StateTables;
  #inProgress: SnapshotWriter | undefined;

  constructor(options: StatesOptions = ALONE) {
    const { restore, classes, maxParallelism, now, disk } = options;
    // What is restored is not kept a second time.
    const { restore: _restore, ...rest } = options;
    this.#options = rest;
    this.#restored = restore === undefined ? undefined : new RestoredSections(restore.from, restore.read, classes);
    this.#keyedTables = disk === undefined ? new HeapTables(maxParallelism) : new DiskTables(maxParallelism, classes, disk);
    this.keyed = new KeyedStates(this.#keyedTables, now, this.#restored);
  }

  get timerQueues(): ReadonlyMap<string, TimerQueue> {
    return this.#timers;
  }

  timers(name: string): TimerQueue {
    let timers = this.#timers.get(name);
    if (timers === undefined) {
      const fresh = new TimerQueue();
      this.#restored?.take("timers", name, (values) => {
        const token = values.read() as KeyToken;
        fresh.register(values.read() as number, token, keyOfToken(flattenKept(token)));
      });
      this.#timers.set(name, (timers = fresh));
    }
    return timers;
  }

  list<T>(name: string, mode: ListMode): OperatorList<T> {
    let list = this.#lists.get(name);
    if (list === undefined) {
      const fresh = new ItemList(mode);
      this.#restored?.take(kindOf(mode), name, (values) => fresh.add(flattenStrings(values.read())));
      this.#lists.set(name, (list = fresh));
    }
    if (list.mode !== mode) throw new GraphError(`The operator list ${describe(name)} is asked for as ${mode}, but is a ${list.mode} list.`);
    return list as OperatorList<unknown> as OperatorList<T>;
  }

  broadcast<Key, T>(name: string): MapState<Key, T> {
    let map = this.#broadcast.get(name);
    if (map === undefined) {
      const fresh = new BroadcastMap();
      this.#restored?.take("broadcast", name, (values) => {
        const key = values.read();
        fresh.put(key, flattenStrings(values.read()));
      });
      this.#broadcast.set(name, (map = fresh));
    }
    return map as MapState<unknown, unknown> as MapState<Key, T>;
  }

  tables<Value>(name: string, layout: TableLayout<Value>): TableSet<Value> {
    let tables = this.#tables.get(name) as TableSet<Value> | undefined;
    if (tables === undefined) {
      const fresh = new TableSet<Value>(layout);
      const type = this.#restored?.typeOf("keyed", name) ?? TABLE;
      if (type !== TABLE) {
        throw new StateError(
          `What was restored for ${describe(this.#options.stateId)} under ${describe(name)} is ${type} state of another kind of operator. ` +
            "Give the operator another uid, so that it begins anew.",
        );
      }
      this.#restored?.take("keyed", name, (values) => fresh.restore(values));
      tables = fresh;
      this.#tables.set(name, tables as unknown as TableSet<unknown>);
    }
    return tables;
  }

  freeze(checkpoint: number, kind: "checkpoint" | "savepoint" = "checkpoint"): SnapshotInProgress {
    if (this.#inProgress !== undefined) throw new InvariantError(`Checkpoint ${checkpoint} begins while another is being written.`);
    const { stateId, classes, maxParallelism } = this.#options;
    // A list's blocks may hold items of other subtasks, so they can't be copied as they are.
    for (const mode of ["split", "union"] as const) for (const name of this.#restored?.names(kindOf(mode)) ?? []) this.list(name, mode);
    const snapshot = new SnapshotWriter(stateId, classes, () => {
      this.#inProgress = undefined;
    });
    this.#inProgress = snapshot;
    for (const [name, list] of this.#lists) list.write(snapshot.section(name, kindOf(list.mode), "list"));
    for (const [name, map] of this.#broadcast) {
      map.freeze(snapshot.section(name, "broadcast", "map"));
      snapshot.add(map);
    }
    for (const [name, timers] of this.#timers) {
      const section = snapshot.section(name, "timers", "timers");
      timers.freeze((token, time) => section.entry(keyGroupOf(token, maxParallelism), token, time, writePair));
      snapshot.add(timers);
    }
    for (const [name, tables] of this.#tables) tables.freeze(snapshot, name, maxParallelism);
    this.#keyedTables.freeze(snapshot, kind === "savepoint" ? undefined : checkpoint);
    this.#restored?.copy(snapshot);
    return snapshot;
  }

  completed(checkpoint: number): void {
    this.#keyedTables.completed(checkpoint);
  }

  close(): void {
    this.#inProgress?.abort();
    this.#keyedTables.close();
  }
}

const kindOf = (mode: ListMode): "list" | "union" => (mode === "split" ? "list" : "union");

const writePair: Parameters<SectionWriter["entry"]>[3] = (to, first, second) => {
  to.write(first);
  to.write(second);
};

class ItemList implements OperatorList<unknown> {
  readonly mode: ListMode;
  #items: unknown[] = [];

  constructor(mode: ListMode) {
    this.mode = mode;
  }

  get(): readonly unknown[] {
    return this.#items;
  }

  update(items: readonly unknown[]): void {
    this.#items = [...items];
  }

  add(item: unknown): void {
    this.#items.push(item);
  }

  /** Items may be changed by whoever put them here, so they are written at once. */
  write(section: SectionWriter): void {
    for (const [index, item] of this.#items.entries()) section.entry(0, index, item, (to, _index, value) => to.write(value));
  }
}
