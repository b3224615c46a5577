/**
 * A source of what a savepoint holds of one operator: its keyed state under a descriptor, its timers, its open windows, the items of a
 * list, or a broadcast map (Flink: the State Processor API's inputs). It is bounded, and asks for no job: the files are all it needs.
 *
 * Every subtask works out from metadata which blocks are its own, as if the operator itself were restored at this parallelism; so each key
 * and each item is read once. It builds the state of one key group at a time and walks its keys: memory holds one key group at the most,
 * of lists one block. Files are opened where the subtask runs. They must not change meanwhile; savepoints don't.
 *
 * A subtask's place in a checkpoint are the parts that are left to it, and how many rows of the first were taken. What is over by its
 * lifetime is decided by one time for all, so that a part has the same rows whenever it is read.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorContext, OperatorKind, SourceOperator } from "../operators/operator.ts";
import type { AggregateFunction } from "../operators/aggregates.ts";
import { OwnItems } from "../operators/own-items.ts";
import { WINDOW_PROGRESS, storedWindows } from "../operators/stored-windows.ts";
import type { WindowProgress } from "../operators/window.ts";
import type { StateDescriptor } from "../state/descriptors.ts";
import { SubtaskStates } from "../state/operator-states.ts";
import {
  type OperatorSnapshot, type RestoreBlock, type RestoreSection, type SnapshotSection, redistribute,
} from "../state/snapshot.ts";
import { CorruptCheckpointError } from "../types/errors.ts";

/** What is read of an operator's state, and so what a row is. */
export type SavepointPart =
  /** `{ key, value }`, the value as `plainValue` of core/state says it. */
  | { readonly kind: "keyed"; readonly descriptor: StateDescriptor }
  /** `{ key, timeMs, name }`. */
  | { readonly kind: "timers" }
  /** The items themselves. */
  | { readonly kind: "list"; readonly name: string }
  /** `{ key, value }`, for each entry of the map. */
  | { readonly kind: "broadcast"; readonly name: string }
  /** `StoredWindow`s of core/operators. */
  | { readonly kind: "windows"; readonly aggregate?: AggregateFunction<never, unknown, unknown> };

/** See the head of the file. */
export interface SavepointSpec extends OperatorSpec {
  readonly kind: "savepoint";
  /** An absolute path, which file names in the snapshots are relative to. */
  readonly folder: string;
  /** By former subtask, with the wanted sections only; undefined for one that had none. */
  readonly snapshots: readonly (OperatorSnapshot | undefined)[];
  /** Number of key groups that the state was written with. */
  readonly maxParallelism: number;
  readonly part: SavepointPart;
  /** State with a lifetime is seen as it was at this time, milliseconds since the epoch. */
  readonly nowMs: number;
}

/** Blocks that are read together, and how many of their rows are to be left out. */
interface Share {
  readonly section: RestoreSection;
  readonly skip: number;
}

/** A share that is being read. */
interface Reading {
  readonly section: RestoreSection;
  readonly rows: Iterator<unknown>;
  taken: number;
}

/** Stands in a checkpoint for "nothing is left". */
const NOTHING: Share = { section: { name: "", kind: "keyed", type: "", format: 0, blocks: [] }, skip: 0 };

export const savepointSource: OperatorKind<SavepointSpec> = {
  kind: "savepoint",
  inputs: 0,
  create: (spec, context) => new SavepointSource(spec, context),
};

class SavepointSource implements SourceOperator {
  readonly #spec: SavepointSpec;
  readonly #context: OperatorContext;
  readonly #left: OwnItems<Share>;
  readonly #operator: string;
  #shares: Share[] = [];
  #reading: Reading | undefined;
  /** The file that was read last: a key group's blocks, and those of its neighbours, are in one mostly. */
  #open: { readonly name: string; readonly file: number } | undefined;

  constructor(spec: SavepointSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
    this.#left = new OwnItems(context, "parts");
    this.#operator = spec.snapshots.find((it) => it !== undefined)?.operator ?? "";
  }

  open(): void {
    const { snapshots, maxParallelism } = this.#spec;
    const { subtask, parallelism } = this.#context;
    const restored = this.#left.restored;
    if (restored !== undefined) {
      this.#shares = restored.filter(({ section }) => section.blocks.length > 0);
      return;
    }
    const own = redistribute(snapshots.map(once), subtask, parallelism, maxParallelism);
    // How far windows have come every subtask needs to know of all.
    const isShared = (section: RestoreSection): boolean => this.#spec.part.kind === "windows" && section.kind === "list";
    this.#shares = (own?.sections ?? []).filter((section) => !isShared(section)).flatMap(sharesOf);
  }

  prepareSnapshot(): void {
    const left = [...this.#shares];
    if (this.#reading !== undefined) left.unshift({ section: this.#reading.section, skip: this.#reading.taken });
    // Without any, the next attempt would begin anew.
    this.#left.keep(left.length === 0 ? [NOTHING] : left);
  }

  read(rows: unknown[], _timestamps: Float64Array, max: number): number {
    let count = 0;
    while (count < max) {
      this.#reading ??= this.#nextShare();
      if (this.#reading === undefined) break;
      const next = this.#reading.rows.next();
      if (next.done === true) this.#reading = undefined;
      else {
        rows[count++] = next.value;
        this.#reading.taken++;
      }
    }
    return count === 0 ? -1 : count;
  }

  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.file);
    this.#open = undefined;
  }

  #nextShare(): Reading | undefined {
    const next = this.#shares.shift();
    if (next === undefined) return undefined;
    const rows = this.#rowsOf(next.section);
    for (let skipped = 0; skipped < next.skip; skipped++) rows.next();
    return { section: next.section, rows, taken: next.skip };
  }

  *#rowsOf(section: RestoreSection): Generator<unknown, undefined> {
    const { part, maxParallelism, nowMs } = this.#spec;
    const states = new SubtaskStates({
      stateId: this.#operator,
      maxParallelism,
      classes: this.#context.classes,
      now: () => nowMs,
      restore: { from: { operator: this.#operator, sections: [section] }, read: (block) => this.#bytes(block) },
    });
    switch (part.kind) {
      case "keyed": {
        const { name } = part.descriptor;
        states.keyed.state(part.descriptor);
        for (const key of states.keyed.keys(name)) yield { key, value: states.keyed.query(name, key) };
        break;
      }
      case "timers":
        for (const [timeMs, key] of states.timers(section.name).entries()) yield { key, timeMs, name: section.name };
        break;
      case "list":
        yield* states.list(part.name, "split").get();
        break;
      case "windows":
        yield* storedWindows(this.#operator, states, section.name, this.#progress(), part.aggregate);
        break;
      case "broadcast":
        for (const [key, value] of states.broadcast(part.name).entries()) yield { key, value };
    }
    return undefined;
  }

  /** How far the windows have come, in all former subtasks. */
  #progress(): readonly WindowProgress[] {
    const { snapshots, maxParallelism } = this.#spec;
    const all = redistribute(snapshots, 0, 1, maxParallelism)?.sections.filter(({ kind }) => kind === "union") ?? [];
    const states = new SubtaskStates({
      stateId: this.#operator,
      maxParallelism,
      classes: this.#context.classes,
      now: () => this.#spec.nowMs,
      restore: { from: { operator: this.#operator, sections: all }, read: (block) => this.#bytes(block) },
    });
    return states.list<WindowProgress>(WINDOW_PROGRESS, "union").get();
  }

  #bytes({ file: name, offset, bytes: length }: RestoreBlock): Uint8Array {
    if (this.#open?.name !== name) {
      this.close();
      this.#open = { name, file: this.#opened(name) };
    }
    const { file } = this.#open as { readonly file: number };
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const read = readSync(file, bytes, done, length - done, offset + done);
      if (read === 0) {
        throw new CorruptCheckpointError(
          `${join(this.#spec.folder, name)} ends after ${fstatSync(file).size} bytes, but the state of ${this.#operator} is in bytes ` +
            `${offset} to ${offset + length} of it; it was cut off.`,
        );
      }
      done += read;
    }
    return bytes;
  }

  #opened(name: string): number {
    const path = join(this.#spec.folder, name);
    try {
      return openSync(path, "r");
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = code === "ENOENT" ? "is not there" : code === "EACCES" ? "may not be read by this process" : `can't be read (${message})`;
      throw new CorruptCheckpointError(
        `The file ${path} ${why}, and the state of ${this.#operator} is in it. The whole savepoint must be readable where the TaskManager runs.`,
        { cause: error },
      );
    }
  }
}

/** Items of which each subtask would get all are dealt out like others: a reader wants each of them once. */
function once(snapshot: OperatorSnapshot | undefined): OperatorSnapshot | undefined {
  if (snapshot === undefined) return undefined;
  const sections = snapshot.sections.map((section): SnapshotSection => (section.kind === "union" ? { ...section, kind: "list" } : section));
  return { ...snapshot, sections };
}

/** Pieces of a section that can be read alone: a key group with all its blocks, a block of items, a whole map. */
function sharesOf(section: RestoreSection): Share[] {
  const parts = new Map<number, RestoreBlock[]>();
  for (const [index, block] of section.blocks.entries()) {
    const part = section.kind === "list" ? index : block.group;
    const blocks = parts.get(part);
    if (blocks === undefined) parts.set(part, [block]);
    else blocks.push(block);
  }
  return [...parts.values()].map((blocks) => ({ section: { ...section, blocks }, skip: 0 }));
}
