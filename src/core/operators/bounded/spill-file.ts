/**
 * Rows on disk, for operators that outgrow their memory. A file of one subtask, written in chunks and read back in any order, and gone
 * when the subtask is: its name is removed while it is open, so that even a crash leaves nothing.
 */
import { closeSync, mkdirSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeValue, encodeValue } from "../../data/codec.ts";
import type { ClassRegistry } from "../../data/classes.ts";
import { StorageError } from "../../types/errors.ts";
import { openNameless } from "../../types/nameless-file.ts";

/** Rows of one chunk at the most: what is held in memory of each run while it is read. */
export const CHUNK_ROWS = 512;

/** Where a chunk stands. */
interface Chunk {
  readonly offset: number;
  readonly bytes: number;
}

/** A sequence of rows in the file. */
export interface Run {
  readonly rows: number;
  readonly chunks: readonly Chunk[];
}

export class SpillFile {
  readonly #classes: ClassRegistry;
  readonly #folder: string;
  #file: number | undefined;
  #path: string | undefined;
  #end = 0;

  /** @param folder where the file is made, when the first row comes; default: the system's folder for temporary files. */
  constructor(classes: ClassRegistry, folder: string = tmpdir()) {
    this.#classes = classes;
    this.#folder = folder;
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#end;
  }

  /** Appends rows, in their order. @throws StorageError when the disk takes no more. */
  write(rows: Iterable<unknown>): Run {
    const chunks: Chunk[] = [];
    let count = 0;
    let chunk: unknown[] = [];
    const flush = (): void => {
      const encoded = encodeValue(chunk, this.#classes);
      chunks.push(this.#append(encoded));
      count += chunk.length;
      chunk = [];
    };
    for (const row of rows) {
      chunk.push(row);
      if (chunk.length === CHUNK_ROWS) flush();
    }
    if (chunk.length > 0) flush();
    return { rows: count, chunks };
  }

  /** The rows of a run, in their order; a chunk of them is in memory at a time. */
  *read(run: Run): Generator<unknown, void> {
    for (const { offset, bytes } of run.chunks) {
      const buffer = new Uint8Array(bytes);
      for (let at = 0; at < bytes; ) {
        const got = readSync(this.#file as number, buffer, at, bytes - at, offset + at);
        if (got === 0) throw new StorageError(`A file of spilled rows in ${this.#folder} ends too early; was it truncated?`);
        at += got;
      }
      yield* decodeValue(buffer, this.#classes) as unknown[];
    }
  }

  /** Gives the disk space back. Call once nothing is read any more. */
  close(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
    if (this.#path !== undefined) unlinkSync(this.#path);
  }

  #append(encoded: Uint8Array): Chunk {
    const offset = this.#end;
    try {
      const file = (this.#file ??= this.#open());
      for (let at = 0; at < encoded.byteLength; ) at += writeSync(file, encoded, at, encoded.byteLength - at, offset + at);
    } catch (error) {
      throw new StorageError(
        `Rows that don't fit into memory can't be written to ${this.#folder}: ${(error as Error).message}. ` +
          "Make room there, set io.tmp.dirs to another folder, or raise taskmanager.memory.managed.size.",
        { cause: error },
      );
    }
    this.#end += encoded.byteLength;
    return { offset, bytes: encoded.byteLength };
  }

  #open(): number {
    mkdirSync(this.#folder, { recursive: true });
    const path = join(this.#folder, `drey-spill-${crypto.randomUUID()}`);
    const opened = openNameless(path);
    this.#path = opened.path;
    return opened.file;
  }
}
