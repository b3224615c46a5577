/**
 * Blocks of snapshots, copied from one place to another: into a file that holds nothing else, so that it needs none of the files they were
 * in. Where each block will stand is known beforehand, from metadata; the bytes are copied later, and never looked into.
 */
import type { SnapshotSection } from "../../core/state/snapshot.ts";
import { CorruptCheckpointError } from "../../core/types/errors.ts";
import type { CheckpointStorage } from "./checkpoint-storage.ts";

/** Bytes of a file. */
export interface FileRange {
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

interface Stretch extends FileRange {
  end: number;
}

/** A read ends with the block that reaches this size. */
const LARGEST_READ_BYTES: number = 4 * 1024 * 1024;

/** What goes into one file. */
export class BlockCopy {
  /** The name that it will have. */
  readonly file: string;
  /** In the order in which they will stand in the file; neighbours are one. */
  readonly #stretches: Stretch[] = [];
  #bytes = 0;

  /** @param file the name that it will have. */
  constructor(file: string) {
    this.file = file;
  }

  /** Adds a section's blocks. @returns it, as it will stand in the file. */
  section(section: SnapshotSection): SnapshotSection {
    const blocks = [...section.blocks];
    for (let at = 0; at < blocks.length; at += 3) {
      const start = blocks[at + 1] as number;
      blocks[at + 1] = this.#stretch(section.file, start, start + (blocks[at + 2] as number));
    }
    return { ...section, file: this.file, blocks };
  }

  /** Adds any other range of a file, such as rows that were on their way. @returns it, as it will stand in the file. */
  range<T extends FileRange>(range: T): T {
    const start = this.#stretch(range.file, range.start, range.end);
    return { ...range, file: this.file, start, end: start + range.end - range.start };
  }

  /** @returns where it will stand. */
  #stretch(file: string, start: number, end: number): number {
    const last = this.#stretches.at(-1);
    if (last?.file === file && last.end === start && last.end - last.start < LARGEST_READ_BYTES) last.end = end;
    else this.#stretches.push({ file, start, end });
    const at = this.#bytes;
    this.#bytes += end - start;
    return at;
  }

  /**
   * Writes the file, unless there is nothing in it.
   * @throws CorruptCheckpointError when a file is not there or cut off; CheckpointError when a storage fails. Then nothing remains of it.
   */
  async run(from: CheckpointStorage, to: CheckpointStorage): Promise<void> {
    if (this.#stretches.length === 0) return;
    const writer = to.write(this.file);
    try {
      for (const { file, start, end } of this.#stretches) {
        const bytes = await from.get(file, { start, end });
        if (bytes === undefined) {
          throw new CorruptCheckpointError(
            `${from.location} has no file ${file}, which state of the savepoint is in. Was it copied with all its files?`,
          );
        }
        await writer.append(bytes);
      }
      await writer.finish();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }
}
