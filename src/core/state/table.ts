/**
 * Where one keyed state keeps what its keys have: a table from key token to a value that is never undefined. The states (value-state.ts,
 * list-state.ts, …) are written against this, so that they are the same in memory and on disk.
 */
import type { KeyToken } from "../data/keys.ts";
import type { ValueReader } from "../data/value-reader.ts";
import type { ValueWriter } from "../data/value-writer.ts";

/** One table. Used by the subtask's thread. */
export interface Table<Value> {
  /** Number of keys that have something. */
  readonly size: number;
  /** What is kept for a key, to be read; undefined when there is nothing. */
  get(token: KeyToken): Value | undefined;
  /** What is kept for a key, to be changed in place right away; undefined when there is nothing. */
  edit(token: KeyToken): Value | undefined;
  /** Keeps a value for a key, in place of the one before. */
  set(token: KeyToken, value: Value): void;
  /** @returns whether there was something. */
  delete(token: KeyToken): boolean;
  /** All tokens, in no particular order. The table must not change meanwhile. */
  tokens(): IterableIterator<KeyToken>;
  /** Removes what is over among a few entries, others with each call. */
  sweep(isOver: (value: Value) => boolean): void;
}

/** How a table's values stand in a snapshot. The first thing written is never undefined: that stands for a key that was removed. */
export interface TableCodec<Value> {
  /** The section's type. */
  readonly type: string;
  write(to: ValueWriter, value: Value): void;
  /** Whether nothing is left of a value, so that it need not be written. Absent: never. */
  isOver?(value: Value): boolean;
  /**
   * Reads what `write` wrote.
   * @param first the first thing that it wrote, already read.
   * @param type the type of the section it stands in, compatible with this one's.
   * @returns undefined when nothing is left of it (it is over).
   */
  read(first: unknown, from: ValueReader, type: string): Value | undefined;
}

/** What has a lifetime carries this mark in its section's type: its times are written too. */
export const STAMPED = "+ttl";

/** Whether a section of a type can be read by a state that now has another: the same kind, with or without a lifetime. */
export const compatible = (type: string, now: string): boolean => type.replace(STAMPED, "") === now.replace(STAMPED, "");
