/**
 * Local recovery: a TaskManager keeps copies of the files that its own tasks wrote for checkpoints, so that a task that begins again here
 * need not fetch its state from the storage that all share. The storage's files are what counts; a copy only saves the way there.
 *
 *     task's bytes ──▶ storage            (durable, decides whether there is a checkpoint)
 *            └───────▶ copy               (whatever goes wrong here costs the copy, nothing else)
 *     restore ──▶ copy, whole and undamaged?  ── no ──▶ storage
 *
 * Invariants: a copy is read only when the file was finished, under the very place of the file in storage; every piece of it that is read
 * is compared with the checksum that was taken when it was written, and a copy that fails is dropped. Kept are the files of the last
 * completed checkpoint, with those of earlier ones that it builds upon, and of newer ones that are not decided; of a job that ends or
 * leaves, nothing. That is the bound of the disk.
 *
 * Nothing is synced, and nothing outlives the process: its folder goes with it, or is swept by the next one if it was killed. Lives on the
 * TaskManager's main thread.
 */
import { mkdirSync } from "node:fs";
import { type FileHandle, open, rm, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { crc32 } from "node:zlib";
import type { JobId } from "../../core/types/ids.ts";
import { makeOwnFolder } from "../../core/types/own-folder.ts";
import type { ByteRange, CheckpointStorage, StorageWriter } from "../storage/checkpoint-storage.ts";

/** What a restore reads files from. */
export type FileSource = Pick<CheckpointStorage, "location" | "get">;

export interface LocalSnapshotsOptions {
  /** Under which the folder for copies is made, with the first of them; empty: the system's folder for temporary files. */
  readonly root: string;
  /** A sentence for the operator of the cluster: a copy could not be kept, or was damaged. */
  readonly log: (text: string) => void;
}

/** Bytes that came at once, and what they must be when they are read. */
interface Piece {
  readonly start: number;
  readonly end: number;
  readonly checksum: number;
}

/** The copy of one file. */
interface Copy {
  readonly job: JobId;
  readonly checkpoint: number;
  readonly path: string;
  readonly pieces: Piece[];
  handle: FileHandle | undefined;
  state: "writing" | "whole" | "gone";
}

/** The copies that one TaskManager keeps. Its owner calls `close` at the end. */
export class LocalSnapshots {
  readonly #options: LocalSnapshotsOptions;
  /** Jobs that want copies, and which places each of their checkpoints refers to. */
  readonly #jobs = new Map<JobId, Map<number, Set<string>>>();
  /** By the place of the file in storage. */
  readonly #copies = new Map<string, Copy>();
  #folder: string | undefined;
  #names = 0;
  #failed = false;

  constructor(options: LocalSnapshotsOptions) {
    this.#options = options;
  }

  /** Copies that there are or that are being written. */
  get size(): number {
    return this.#copies.size;
  }

  /** From now on files of this job are copied. Harmless when they are already. */
  keep(job: JobId): void {
    if (!this.#jobs.has(job)) this.#jobs.set(job, new Map());
  }

  /** Whether files of this job are copied. */
  keeps(job: JobId): boolean {
    return this.#jobs.has(job);
  }

  /**
   * A writer that writes a copy too, if the job wants copies.
   * @param folder of the checkpoint, as its storage names its location. @param name of the file in it.
   */
  copying(job: JobId, checkpoint: number, folder: string, name: string, writer: StorageWriter): StorageWriter {
    if (!this.#jobs.has(job) || this.#failed) return writer;
    const place = placeOf(folder, name);
    this.#drop(place);
    const file = this.#freshPath();
    if (file === undefined) return writer;
    const copy: Copy = { job, checkpoint, path: file, pieces: [], handle: undefined, state: "writing" };
    this.#copies.set(place, copy);
    return {
      append: async (bytes) => {
        await Promise.all([writer.append(bytes), this.#append(place, copy, bytes)]);
      },
      finish: async () => {
        await writer.finish();
        if (copy.state !== "writing") return;
        const { handle } = copy;
        copy.handle = undefined;
        copy.state = "whole";
        await handle?.close().catch(() => undefined);
      },
      abort: async () => {
        this.#drop(place);
        await writer.abort();
      },
    };
  }

  /**
   * A task acknowledges a checkpoint.
   * @param folder of the checkpoint. @param names the files that the task's part of it consists of, also those of earlier checkpoints.
   */
  acknowledged(job: JobId, checkpoint: number, folder: string, names: Iterable<string>): void {
    const checkpoints = this.#jobs.get(job);
    if (checkpoints === undefined) return;
    let places = checkpoints.get(checkpoint);
    if (places === undefined) checkpoints.set(checkpoint, (places = new Set()));
    for (const name of names) places.add(placeOf(folder, name));
  }

  /** The checkpoint exists: copies of earlier ones go, but for those that it builds upon. */
  completed(job: JobId, checkpoint: number): void {
    const checkpoints = this.#jobs.get(job);
    if (checkpoints === undefined) return;
    const kept = checkpoints.get(checkpoint);
    for (const [place, copy] of this.#copies) {
      if (copy.job === job && copy.checkpoint <= checkpoint && kept?.has(place) !== true) this.#drop(place);
    }
    for (const id of checkpoints.keys()) if (id < checkpoint) checkpoints.delete(id);
  }

  /** The checkpoint will not exist. */
  aborted(job: JobId, checkpoint: number): void {
    this.#jobs.get(job)?.delete(checkpoint);
    for (const [place, copy] of this.#copies) if (copy.job === job && copy.checkpoint === checkpoint) this.#drop(place);
  }

  /** The file in storage is removed, and its copy too. */
  remove(folder: string, name: string): void {
    this.#drop(placeOf(folder, name));
  }

  /** The job is over here. */
  release(job: JobId): void {
    this.#jobs.delete(job);
    for (const [place, copy] of this.#copies) if (copy.job === job) this.#drop(place);
  }

  /** Reads from copies what they have, the rest from storage. */
  before(storage: CheckpointStorage): FileSource {
    return {
      location: storage.location,
      get: async (name, range) => (await this.#read(placeOf(storage.location, name), range)) ?? storage.get(name, range),
    };
  }

  /** Removes all copies. */
  async close(): Promise<void> {
    for (const place of [...this.#copies.keys()]) this.#drop(place);
    if (this.#folder !== undefined) await rm(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
    this.#failed = true;
  }

  #freshPath(): string | undefined {
    try {
      if (this.#folder === undefined) {
        const root = this.#options.root === "" ? tmpdir() : this.#options.root;
        mkdirSync(root, { recursive: true });
        this.#folder = makeOwnFolder("local", root);
      }
      return path.join(this.#folder, String(++this.#names));
    } catch (error) {
      this.#failed = true;
      this.#options.log(`no copies of snapshots are kept here, because there is no folder for them: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** Never rejects. */
  async #append(place: string, copy: Copy, bytes: Uint8Array): Promise<void> {
    if (copy.state !== "writing") return;
    const start = copy.pieces.at(-1)?.end ?? 0;
    copy.pieces.push({ start, end: start + bytes.length, checksum: crc32(bytes) });
    try {
      const handle = (copy.handle ??= await open(copy.path, "wx"));
      for (let done = 0; done < bytes.length; ) {
        done += (await handle.write(bytes, done, bytes.length - done, start + done)).bytesWritten;
      }
    } catch (error) {
      if ((copy.state as Copy["state"]) === "writing") {
        this.#options.log(`the copy of ${place} could not be kept: ${(error as Error).message}`);
        this.#drop(place);
      }
    }
    // It was dropped while it was written: what this made goes too.
    if ((copy.state as Copy["state"]) === "gone") await this.#discard(copy);
  }

  /** The bytes, or undefined: there is no copy that can be trusted. */
  async #read(place: string, range: ByteRange | undefined): Promise<Uint8Array | undefined> {
    const copy = this.#copies.get(place);
    if (copy?.state !== "whole") return undefined;
    const { start, end } = range ?? { start: 0, end: copy.pieces.at(-1)?.end ?? 0 };
    const pieces = copy.pieces.filter((piece) => piece.end > start && piece.start < end);
    const [first, last] = [pieces[0], pieces.at(-1)];
    if (first === undefined || last === undefined || last.end < end) return undefined;
    try {
      const bytes = new Uint8Array(last.end - first.start);
      const handle = await open(copy.path, "r");
      try {
        for (let done = 0; done < bytes.length; ) {
          const { bytesRead } = await handle.read(bytes, done, bytes.length - done, first.start + done);
          if (bytesRead === 0) throw new Error("it was cut off");
          done += bytesRead;
        }
      } finally {
        await handle.close();
      }
      for (const piece of pieces) {
        const written = bytes.subarray(piece.start - first.start, piece.end - first.start);
        if (crc32(written) !== piece.checksum) throw new Error("its checksum is wrong");
      }
      return bytes.subarray(start - first.start, end - first.start);
    } catch (error) {
      this.#options.log(`the copy of ${place} can't be used (${(error as Error).message}); it is read from there.`);
      this.#drop(place);
      return undefined;
    }
  }

  #drop(place: string): void {
    const copy = this.#copies.get(place);
    if (copy === undefined) return;
    this.#copies.delete(place);
    copy.state = "gone";
    void this.#discard(copy);
  }

  /** Never rejects. */
  async #discard(copy: Copy): Promise<void> {
    const { handle } = copy;
    copy.handle = undefined;
    await handle?.close().catch(() => undefined);
    await unlink(copy.path).catch(() => undefined);
  }
}

/** The place of a file, as every checkpoint that refers to it can name it. */
const placeOf = (folder: string, name: string): string => path.posix.normalize(`${folder}/${name}`);
