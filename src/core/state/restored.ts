/**
 * State that was restored and that nobody has asked for yet. A section is read when the state of its name is declared, which a function may
 * do as late as in its first record; until then its blocks stay as they were written, and go into each snapshot as they are.
 */
import type { ClassRegistry } from "../data/classes.ts";
import type { ValueReader } from "../data/value-reader.ts";
import { describe, InvariantError } from "../types/errors.ts";
import { BLOCK_FORMAT, BlockReader } from "./block.ts";
import type { SnapshotWriter } from "./section-writer.ts";
import type { OperatorRestore, ReadBlock, RestoreBlock, RestoreSection, SectionKind } from "./snapshot.ts";

interface UnreadBlock {
  readonly block: RestoreBlock;
  readonly bytes: Uint8Array;
}

interface UnreadSection extends Omit<RestoreSection, "blocks"> {
  readonly blocks: readonly UnreadBlock[];
}

/** What an operator finds of its former state in one subtask. Used by the subtask's thread. */
export class RestoredSections {
  readonly #operator: string;
  readonly #classes: ClassRegistry;
  readonly #sections = new Map<string, UnreadSection>();

  /** @param read is asked for all blocks at once; its bytes must stay as they are. */
  constructor(restore: OperatorRestore, read: ReadBlock, classes: ClassRegistry) {
    this.#operator = restore.operator;
    this.#classes = classes;
    for (const section of restore.sections) {
      const blocks = section.blocks.map((block) => ({ block, bytes: read(block) }));
      this.#sections.set(keyOf(section.kind, section.name), { ...section, blocks });
    }
  }

  /** Names of the sections of a kind that nobody has asked for. */
  names(kind: SectionKind): string[] {
    return [...this.#sections.values()].filter((section) => section.kind === kind).map(({ name }) => name);
  }

  /** The type of a section that nobody has asked for; undefined when there is none of that name. */
  typeOf(kind: SectionKind, name: string): string | undefined {
    return this.#sections.get(keyOf(kind, name))?.type;
  }

  /**
   * Reads a section, once and for all.
   * @param each called for each entry that is the subtask's; it has to read all values of the entry.
   * @throws CorruptCheckpointError when its bytes are not what was written.
   */
  take(kind: SectionKind, name: string, each: (values: ValueReader) => void): void {
    const section = this.#sections.get(keyOf(kind, name));
    if (section === undefined) return;
    this.#sections.delete(keyOf(kind, name));
    const reader = new BlockReader(this.#classes);
    for (const { block, bytes } of section.blocks) {
      const where = `State ${describe(name)} of ${this.#operator} in ${block.file} at ${block.offset}`;
      let item = 0;
      reader.read(bytes, where, (values) => {
        const inside = block.count < 0 || (item >= block.first && item < block.first + block.count);
        item++;
        if (inside) each(values);
        else values.read();
      });
    }
  }

  /** Puts what nobody has asked for into a snapshot. Lists must have been taken: their blocks may hold items of others. */
  copy(snapshot: SnapshotWriter): void {
    for (const { name, kind, type, format, blocks } of this.#sections.values()) {
      if (kind === "list" || kind === "union") throw new InvariantError(`The operator list ${describe(name)} is copied unread.`);
      if (format !== BLOCK_FORMAT) throw new InvariantError(`State ${describe(name)} of format ${format} is copied unread.`);
      const section = snapshot.section(name, kind, type);
      let next = 0;
      snapshot.add({
        scan: (more) => {
          while (next < blocks.length) {
            const { block, bytes } = blocks[next++] as UnreadBlock;
            section.copy(block.group, bytes);
            if (!more()) break;
          }
          return next === blocks.length;
        },
        thaw: () => undefined,
      });
    }
  }
}

const keyOf = (kind: SectionKind, name: string): string => `${kind} ${name}`;
