/**
 * Where checkpoints, savepoints and the memory of JobManagers lie: files under one place that all processes of the cluster reach. An
 * object store needs no more than this, and a folder can do all of it.
 *
 * Invariants that every storage keeps (test/cluster/storage has them as one suite): a file is seen whole or not at all, whoever crashes
 * when; what was written is durable when the promise resolves; of several that create the same file, exactly one succeeds.
 *
 * Names are relative to the place, parts separated by `/`. Errors of the medium are CheckpointErrors with the cause.
 */

/** Bytes from `start` up to, but without, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A file that is written piece by piece. Use it from one place at a time. */
export interface StorageWriter {
  /** Resolves when more can be taken; the bytes are free for other use then. */
  append(bytes: Uint8Array): Promise<void>;
  /** The file exists from now on, durable, in place of an older one. */
  finish(): Promise<void>;
  /** Nothing of it remains. Harmless after `finish`. */
  abort(): Promise<void>;
}

/** Files under one place. */
export interface CheckpointStorage {
  /** The place, as `storageAt` takes it. */
  readonly location: string;
  /** Writes a whole file, in place of an older one. */
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** Writes a whole file if there is none of this name. @returns whether it did */
  create(name: string, bytes: Uint8Array): Promise<boolean>;
  /** Begins a file that may be large. */
  write(name: string): StorageWriter;
  /** A file, or a range of it; undefined when there is none. @throws CorruptCheckpointError when the file ends before the range does */
  get(name: string, range?: ByteRange): Promise<Uint8Array | undefined>;
  /** Names of all files in a folder and the folders in it, in ascending order; none when there is no such folder. */
  list(folder?: string): Promise<readonly string[]>;
  /** Removes a file, or a folder with all that is in it; `""`: everything. Harmless when there is none. */
  delete(name: string): Promise<void>;
}
