/**
 * What a snapshot of an operator in one subtask is, as data: which bytes of which file hold what. A subtask's state is cut into sections
 * (one per declared state, timer queue, list or broadcast map), a section into blocks. A block holds entries of one key group, or items of
 * a list, and can be read on its own; so whoever changes the parallelism deals out blocks and never looks into one.
 */

/** What a section holds, and so how it is dealt out at another parallelism. */
export type SectionKind =
  /** Entries of keyed state: each key group goes to the subtask that owns it. */
  | "keyed"
  /** Timers: by key group as well. */
  | "timers"
  /** Items of which each subtask gets a share. */
  | "list"
  /** Items of which each subtask gets all. */
  | "union"
  /** A map that is the same in every subtask. */
  | "broadcast";

/** One section of a snapshot. Plain data. */
export interface SnapshotSection {
  readonly name: string;
  readonly kind: SectionKind;
  /** What was declared under the name ("value", "map", …): a restore into something else is refused. */
  readonly type: string;
  /** Version of the bytes' format. */
  readonly format: number;
  /** The file that holds the blocks. */
  readonly file: string;
  /**
   * Three numbers per block: its key group (keyed, timers; 0 for broadcast) or its count of items (list, union); its offset in the file;
   * its length in bytes.
   */
  readonly blocks: readonly number[];
}

/** What one operator keeps in one subtask, at one checkpoint. Plain data. */
export interface OperatorSnapshot {
  /** The operator's uid, or its id if it has none: under it the state is found again. */
  readonly operator: string;
  readonly sections: readonly SnapshotSection[];
}

/** A stretch of a file that a subtask needs. */
export interface RestoreBlock {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  /** The first item that is the subtask's, and how many (list, union); 0 and -1: all that is in the block. */
  readonly first: number;
  readonly count: number;
}

/** A section as one subtask restores it: blocks to be read in this order. */
export interface RestoreSection {
  readonly name: string;
  readonly kind: SectionKind;
  readonly type: string;
  readonly format: number;
  readonly blocks: readonly RestoreBlock[];
}

/** What one operator restores in one subtask. Plain data. */
export interface OperatorRestore {
  readonly operator: string;
  readonly sections: readonly RestoreSection[];
}

/** The bytes of a block. */
export type ReadBlock = (block: RestoreBlock) => Uint8Array;

/** An operator's state, frozen as it was at the barrier and on its way out. Used by the subtask's thread, between records. */
export interface SnapshotInProgress {
  /**
   * Writes for about so many milliseconds.
   * @param write takes the next bytes, or refuses them by false: then nothing more is written in this turn.
   * @returns whether everything has been taken.
   */
  work(budgetMs: number, write: (bytes: Uint8Array) => boolean): boolean;
  /** Bytes that `write` has taken. */
  readonly bytes: number;
  /**
   * What was written, once `work` has answered true.
   * @param offset where in the file the first of these bytes stands.
   */
  finish(file: string, offset: number): OperatorSnapshot;
  /** Gives up. Harmless at any time. */
  abort(): void;
}
