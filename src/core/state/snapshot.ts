/**
 * What a snapshot of an operator in one subtask is, as data: which bytes of which file hold what. A subtask's state is cut into sections
 * (one per declared state, timer queue, list or broadcast map), a section into blocks. A block holds entries of one key group, or items of
 * a list, and can be read on its own; so whoever changes the parallelism deals out blocks and never looks into one.
 */

import { keyGroupRange } from "../data/key-groups.ts";
import { CorruptCheckpointError, describe } from "../types/errors.ts";

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
  /** Key group (keyed, timers); else 0. */
  readonly group: number;
  /** Which items of the block are the subtask's (list, union): the first, and how many. Of other kinds all: 0 and -1. */
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

/** Gives the bytes of a block; they stay as they are. */
export type ReadBlock = (block: RestoreBlock) => Uint8Array;

/** An operator's state, frozen as it was at the barrier and on its way out. Used by the subtask's thread, between records. */
export interface SnapshotInProgress {
  /**
   * Writes for about so many milliseconds.
   * @param write takes the next bytes for good (it may give them to another thread), or refuses them by false: then nothing more is
   * written in this turn.
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

/** The name of a file of another checkpoint of the same job, seen from the folder of a checkpoint that builds upon it. */
export function fileOfCheckpoint(checkpoint: number, file: string): string {
  return file.startsWith("../") ? file : `../chk-${checkpoint}/${file}`;
}

/**
 * What one subtask gets of an operator's state when it runs with this parallelism. Pure; looks at metadata only.
 *
 * Each key group goes, with its state and timers, to the subtask that owns it, so that ranges are disjoint and complete. Items of a list
 * stay with their subtask if the parallelism is what it was, and else are dealt out in order, to each its share; of a union list each
 * subtask gets all; a broadcast map comes from one of the old subtasks.
 * @param old the snapshots of all subtasks, by subtask; undefined for one without state (it had finished).
 * @throws CorruptCheckpointError when a key group is beyond `maxParallelism`.
 */
export function redistribute(
  old: readonly (OperatorSnapshot | undefined)[], subtask: number, parallelism: number, maxParallelism: number,
): OperatorRestore | undefined {
  const operator = old.find((it) => it !== undefined)?.operator;
  if (operator === undefined) return undefined;
  const range = keyGroupRange(subtask, parallelism, maxParallelism);
  const sections = new Map<string, { section: SnapshotSection; blocks: RestoreBlock[] }>();
  const into = (section: SnapshotSection): RestoreBlock[] => {
    const key = `${section.kind} ${section.name}`;
    let known = sections.get(key);
    if (known === undefined) sections.set(key, (known = { section, blocks: [] }));
    return known.blocks;
  };
  const lists = new Map<string, { section: SnapshotSection; items: number }>();
  const broadcastFrom = new Map<string, number>();
  for (const [from, snapshot] of old.entries()) {
    for (const section of snapshot?.sections ?? []) {
      const { kind } = section;
      if (kind === "keyed" || kind === "timers") {
        const blocks = into(section);
        eachBlock(section, (group, offset, bytes) => {
          if (!(group >= 0 && group < maxParallelism)) {
            throw new CorruptCheckpointError(
              `The state ${describe(section.name)} of ${operator} has a key group ${group}, but the job has ${maxParallelism}: ` +
                "pipeline.max-parallelism cannot change once a job has state.",
            );
          }
          if (group >= range.start && group < range.end) blocks.push({ file: section.file, offset, bytes, group, first: 0, count: -1 });
        });
      } else if (kind === "union" || (kind === "list" && old.length === parallelism)) {
        if (kind === "list" && from !== subtask) continue;
        const blocks = into(section);
        eachBlock(section, (items, offset, bytes) => {
          blocks.push({ file: section.file, offset, bytes, group: 0, first: 0, count: items });
        });
      } else if (kind === "list") {
        const known = lists.get(section.name) ?? { section, items: 0 };
        eachBlock(section, (items) => {
          known.items += items;
        });
        lists.set(section.name, known);
      } else {
        // Whoever has it has all of it; those that have it are taken in turn, so that not all read one file.
        const chosen = broadcastFrom.get(section.name);
        if (chosen === undefined || from <= subtask % old.length) broadcastFrom.set(section.name, from);
      }
    }
  }
  for (const [name, { section, items }] of lists) {
    const [start, end] = [Math.floor((items * subtask) / parallelism), Math.floor((items * (subtask + 1)) / parallelism)];
    const blocks = into(section);
    let before = 0;
    for (const snapshot of old) {
      for (const part of snapshot?.sections ?? []) {
        if (part.kind !== "list" || part.name !== name) continue;
        eachBlock(part, (count, offset, bytes) => {
          const first = Math.max(start - before, 0);
          const last = Math.min(end - before, count);
          if (last > first) blocks.push({ file: part.file, offset, bytes, group: 0, first, count: last - first });
          before += count;
        });
      }
    }
  }
  for (const [name, from] of broadcastFrom) {
    for (const section of old[from]?.sections ?? []) {
      if (section.kind !== "broadcast" || section.name !== name) continue;
      const blocks = into(section);
      eachBlock(section, (group, offset, bytes) => {
        blocks.push({ file: section.file, offset, bytes, group, first: 0, count: -1 });
      });
    }
  }
  return {
    operator,
    sections: [...sections.values()].map(({ section: { name, kind, type, format }, blocks }) => ({ name, kind, type, format, blocks })),
  };
}

/** Calls a function for each block of a section: its key group or count of items, its offset, its length in bytes. */
function eachBlock(section: SnapshotSection, each: (group: number, offset: number, bytes: number) => void): void {
  const { blocks } = section;
  for (let at = 0; at < blocks.length; at += 3) each(blocks[at] as number, blocks[at + 1] as number, blocks[at + 2] as number);
}
