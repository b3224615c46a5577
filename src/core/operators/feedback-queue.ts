/**
 * Records on their way round a loop, in order: a queue without a bound, because a bounded one would let the loop stop itself. What does not
 * fit into memory lies in a file: `MEMORY_ROWS` newest and oldest records stay, those between them go out in chunks.
 *
 * The file belongs to this queue alone and goes with it: its name is removed while it is open, so that even a crash leaves nothing. It is
 * read and written synchronously: the loop waits for it anyway.
 */
import { randomUUID } from "node:crypto";
import { closeSync, ftruncateSync, readSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClassRegistry } from "../data/classes.ts";
import { decodeValue, encodeValue } from "../data/codec.ts";
import { openNameless } from "../types/nameless-file.ts";

/** A record with its event time (NaN: none). */
export interface FeedbackRecord {
  readonly value: unknown;
  readonly timestamp: number;
}

const MEMORY_ROWS = 8_192;
const CHUNK_ROWS = 1_024;

interface Chunk {
  readonly position: number;
  readonly length: number;
  readonly rows: number;
}

/** Used by one thread; `close` it. */
export class FeedbackQueue {
  readonly #classes: ClassRegistry;
  readonly #memoryRows: number;
  /** The oldest records, from `#first` on. */
  #oldest: FeedbackRecord[] = [];
  #first = 0;
  /** Behind them, in the file. */
  #chunks: Chunk[] = [];
  /** Behind those. */
  #newest: FeedbackRecord[] = [];
  #size = 0;
  /** Its descriptor. */
  #file: number | undefined;
  /** Its name, where it still has one. */
  #path: string | undefined;
  #fileLength = 0;

  /** @param memoryRows for tests. */
  constructor(classes: ClassRegistry, memoryRows: number = MEMORY_ROWS) {
    this.#classes = classes;
    this.#memoryRows = memoryRows;
  }

  get size(): number {
    return this.#size;
  }

  /** Records that lie in the file. */
  get spilled(): number {
    return this.#chunks.reduce((sum, { rows }) => sum + rows, 0);
  }

  push(value: unknown, timestamp: number): void {
    this.#newest.push({ value, timestamp });
    this.#size++;
    if (this.#newest.length >= CHUNK_ROWS && this.#newest.length + this.#oldest.length - this.#first > this.#memoryRows) this.#spill();
  }

  /** Takes the oldest record. */
  shift(): FeedbackRecord | undefined {
    if (this.#first === this.#oldest.length) this.#refill();
    const record = this.#oldest[this.#first];
    if (record === undefined) return undefined;
    this.#first++;
    this.#size--;
    return record;
  }

  /** All records, which stay. */
  all(): FeedbackRecord[] {
    return [...this.#oldest.slice(this.#first), ...this.#chunks.flatMap((chunk) => this.#read(chunk)), ...this.#newest];
  }

  close(): void {
    if (this.#file === undefined) return;
    closeSync(this.#file);
    this.#file = undefined;
    if (this.#path !== undefined) unlinkSync(this.#path);
  }

  #spill(): void {
    const file = (this.#file ??= this.#open());
    const bytes = encodeValue(this.#newest, this.#classes);
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, this.#fileLength + at);
    this.#chunks.push({ position: this.#fileLength, length: bytes.length, rows: this.#newest.length });
    this.#fileLength += bytes.length;
    this.#newest = [];
  }

  #refill(): void {
    const chunk = this.#chunks.shift();
    this.#first = 0;
    if (chunk === undefined) {
      this.#oldest = this.#newest;
      this.#newest = [];
      return;
    }
    this.#oldest = this.#read(chunk);
    if (this.#chunks.length > 0 || this.#file === undefined) return;
    ftruncateSync(this.#file, 0);
    this.#fileLength = 0;
  }

  #read({ position, length }: Chunk): FeedbackRecord[] {
    const bytes = new Uint8Array(length);
    const file = this.#file as number;
    for (let at = 0; at < length; ) at += readSync(file, bytes, at, length - at, position + at);
    return decodeValue(bytes, this.#classes) as FeedbackRecord[];
  }

  #open(): number {
    const path = join(tmpdir(), `drey-feedback-${randomUUID()}`);
    const opened = openNameless(path);
    this.#path = opened.path;
    return opened.file;
  }
}
