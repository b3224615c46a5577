/**
 * Writes the sections of one operator's snapshot, in slices of time between records. It owns what is on its way: blocks that fill up, one
 * per key group of each section, and full blocks that nobody has taken yet. Those are bounded by the state's own size, and `work` makes no
 * more while they are refused; only entries that must be written before they change are added meanwhile.
 *
 * It trusts the state's tables to hand over each entry once, as it was at the barrier.
 */
import type { ClassRegistry } from "../data/classes.ts";
import { refusal, Unshippable } from "../data/refusal.ts";
import type { ValueWriter } from "../data/value-writer.ts";
import { CheckpointError, InvariantError, describe } from "../types/errors.ts";
import { BLOCK_FORMAT, BlockWriter } from "./block.ts";
import type { OperatorSnapshot, SectionKind, SnapshotInProgress, SnapshotSection } from "./snapshot.ts";

/** A block is complete at this size: large enough that its header, place and checksum cost little, times 128 key groups still small. */
const BLOCK_BYTES = 64 * 1024;
/** Work stops to hand over blocks when so many wait. */
const WAITING_BLOCKS = 4;

/** Something that hands its entries to a section, bit by bit. */
export interface Scan {
  /** Goes on. @returns whether it is through. */
  scan(more: () => boolean): boolean;
  /** Ends it, whatever is left. */
  thaw(): void;
}

/** What an incremental section adds to. */
export interface AddsTo {
  readonly earlier: readonly SnapshotSection[];
  finished(sections: readonly SnapshotSection[]): void;
}

interface Block {
  readonly section: SectionWriter;
  readonly group: number;
  readonly bytes: Uint8Array;
}

/** An operator's state on its way out. */
export class SnapshotWriter implements SnapshotInProgress {
  readonly #operator: string;
  readonly #classes: ClassRegistry;
  readonly #sections: SectionWriter[] = [];
  readonly #scans: Scan[] = [];
  /** Complete blocks, in the order in which they are written. */
  readonly #blocks: Block[] = [];
  /** Writers without a block, for the next section that needs one. */
  readonly #idle: BlockWriter[] = [];
  readonly #ended: () => void;
  #bytes = 0;
  /** Sections before this one are complete. */
  #flushed = 0;
  #state: "writing" | "written" | "aborted" = "writing";
  #failure: Error | undefined;

  /** @param ended called once, when all is written or given up. */
  constructor(operator: string, classes: ClassRegistry, ended: () => void) {
    this.#operator = operator;
    this.#classes = classes;
    this.#ended = ended;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Begins a section. Its entries come from scans that are added, or right away. */
  section(name: string, kind: SectionKind, type: string, addsTo?: AddsTo): SectionWriter {
    const section = new SectionWriter(this, name, kind, type, addsTo);
    this.#sections.push(section);
    return section;
  }

  /** Work to be done by `work`, after what was added before. */
  add(scan: Scan): void {
    this.#scans.push(scan);
  }

  work(budgetMs: number, write: (bytes: Uint8Array) => boolean): boolean {
    if (this.#state === "written") return true;
    if (this.#state === "aborted") throw new InvariantError("A snapshot that was given up is written on.");
    const until = performance.now() + budgetMs;
    const more = (): boolean => this.#blocks.length < WAITING_BLOCKS && this.#failure === undefined && performance.now() < until;
    for (;;) {
      if (this.#failure !== undefined) {
        const failure = this.#failure;
        this.abort();
        throw failure;
      }
      let taken = 0;
      for (const { section, group, bytes } of this.#blocks) {
        // Whoever takes them may take them away: to another thread.
        const { length } = bytes;
        if (!write(bytes)) break;
        section.blocks.push(group, this.#bytes, length);
        this.#bytes += length;
        taken++;
      }
      this.#blocks.splice(0, taken);
      if (this.#blocks.length > 0) return false;
      const scan = this.#scans[0];
      if (scan !== undefined) {
        if (scan.scan(more)) this.#scans.shift();
      } else if (this.#flushed < this.#sections.length) (this.#sections[this.#flushed++] as SectionWriter).flush();
      else {
        this.#end("written");
        return true;
      }
      if (performance.now() >= until && this.#blocks.length === 0) return false;
    }
  }

  finish(file: string, offset: number): OperatorSnapshot {
    if (this.#state !== "written") throw new InvariantError("A snapshot is finished before all of it is written.");
    return { operator: this.#operator, sections: this.#sections.flatMap((section) => section.sections(file, offset)) };
  }

  abort(): void {
    if (this.#state === "writing") this.#end("aborted");
  }

  /** A complete block of a section. */
  complete(section: SectionWriter, group: number, bytes: Uint8Array): void {
    this.#blocks.push({ section, group, bytes });
  }

  /** A writer without entries. */
  blockWriter(): BlockWriter {
    return this.#idle.pop() ?? new BlockWriter(this.#classes);
  }

  /** Takes back a writer whose block is complete. */
  release(writer: BlockWriter): void {
    this.#idle.push(writer);
  }

  /** Something can't be written: the next `work` says so. Whoever touched the state goes on unharmed. */
  fail(error: Error): void {
    this.#failure ??= error;
  }

  #end(state: "written" | "aborted"): void {
    this.#state = state;
    for (const scan of this.#scans) scan.thaw();
    this.#scans.length = 0;
    this.#blocks.length = 0;
    this.#idle.length = 0;
    this.#ended();
  }
}

/** Takes the entries of one section. */
export class SectionWriter {
  readonly name: string;
  readonly kind: SectionKind;
  readonly type: string;
  /** As in a SnapshotSection, with offsets from the operator's first byte. */
  readonly blocks: number[] = [];
  /** Sections of earlier checkpoints that this one adds to: what is restored is they, in order, then this. */
  readonly earlier: readonly SnapshotSection[];
  /** Called with all of them when the snapshot is finished. */
  readonly finished: ((sections: readonly SnapshotSection[]) => void) | undefined;
  readonly #snapshot: SnapshotWriter;
  readonly #open: (BlockWriter | undefined)[] = [];

  constructor(snapshot: SnapshotWriter, name: string, kind: SectionKind, type: string, addsTo?: AddsTo) {
    this.#snapshot = snapshot;
    this.name = name;
    this.kind = kind;
    this.type = type;
    this.earlier = addsTo?.earlier ?? [];
    this.finished = addsTo?.finished;
  }

  /** As it is in a snapshot, after what it adds to. */
  sections(file: string, offset: number): readonly SnapshotSection[] {
    const { name, kind, type, earlier } = this;
    const blocks = this.blocks.map((number, index) => (index % 3 === 1 ? number + offset : number));
    const own: SnapshotSection = { name, kind, type, format: BLOCK_FORMAT, file, blocks };
    const all = blocks.length === 0 && earlier.length > 0 ? earlier : [...earlier, own];
    this.finished?.(all);
    return all;
  }

  /** Writes an entry of a key group (0 for lists). Never throws; what can't be written fails the snapshot. */
  entry<Value>(group: number, key: unknown, value: Value, write: (to: ValueWriter, key: unknown, value: Value) => void): void {
    const block = (this.#open[group] ??= this.#snapshot.blockWriter());
    try {
      write(block.entry(), key, value);
    } catch (error) {
      const why = error instanceof Unshippable ? refusal(error, value, "value").message : String(error);
      this.#snapshot.fail(
        new CheckpointError(`State ${describe(this.name)} can't be written: what it keeps for ${describe(key)} holds ${why}`, { cause: error }),
      );
    }
    if (block.size >= BLOCK_BYTES) this.#flush(group, block);
  }

  /** A block as it was read, for state that nobody has asked for yet. */
  copy(group: number, bytes: Uint8Array): void {
    this.#snapshot.complete(this, group, new Uint8Array(bytes));
  }

  /** Completes all blocks that have entries. */
  flush(): void {
    for (const [group, block] of this.#open.entries()) if (block !== undefined) this.#flush(group, block);
  }

  #flush(group: number, block: BlockWriter): void {
    // Lists count their items, so that they can be dealt out.
    const items = this.kind === "list" || this.kind === "union";
    this.#snapshot.complete(this, items ? block.entries : group, block.take());
    this.#snapshot.release(block);
    this.#open[group] = undefined;
  }
}
