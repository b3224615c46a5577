/**
 * All state of one operator in one subtask. What an operator keeps here survives a failure: the runtime gives it restored, freezes it at
 * each barrier and writes it out between records; the operator itself serialises nothing.
 */
import { describe, GraphError, InvariantError } from "../types/errors.ts";
import type { KeyedBackend } from "./backend.ts";
import type { MapState } from "./descriptors.ts";
import { HeapBackend } from "./heap-backend.ts";
import { HeapMap } from "./heap-map.ts";
import type { SnapshotInProgress } from "./snapshot.ts";
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
}

/** The same, as the runtime sees it. */
export interface CheckpointedStates extends OperatorStates {
  /**
   * Freezes all state as it is now, in time that does not grow with its size. The operator may go on at once; what it changes is not in the
   * snapshot. One snapshot at a time: `abort` or finish the one before first.
   */
  freeze(checkpoint: number): SnapshotInProgress;
}

/** State of an operator in memory. */
export class HeapStates implements CheckpointedStates {
  readonly keyed: HeapBackend = new HeapBackend();
  readonly #timers = new Map<string, TimerQueue>();
  readonly #lists = new Map<string, ItemList>();
  readonly #broadcast = new Map<string, HeapMap>();

  timers(name: string): TimerQueue {
    let timers = this.#timers.get(name);
    if (timers === undefined) this.#timers.set(name, (timers = new TimerQueue()));
    return timers;
  }

  list<T>(name: string, mode: ListMode): OperatorList<T> {
    let list = this.#lists.get(name);
    if (list === undefined) this.#lists.set(name, (list = new ItemList(mode)));
    if (list.mode !== mode) throw new GraphError(`The operator list ${describe(name)} is asked for as ${mode}, but is a ${list.mode} list.`);
    return list as OperatorList<unknown> as OperatorList<T>;
  }

  broadcast<Key, T>(name: string): MapState<Key, T> {
    let map = this.#broadcast.get(name);
    if (map === undefined) this.#broadcast.set(name, (map = new HeapMap()));
    return map as MapState<unknown, unknown> as MapState<Key, T>;
  }

  freeze(checkpoint: number): SnapshotInProgress {
    throw new InvariantError(`State cannot be frozen yet (checkpoint ${checkpoint}).`);
  }
}

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
}
