/**
 * Sends the rows of a program into a job: the other direction of a result. It asks the program for rows only when the job has room for
 * their segments (cumulative grants), so a slow job slows the program's source down; that is the back pressure that an Observable lacks.
 *
 * In a job with checkpoints it keeps the rows that none covers yet, at most MAX_KEPT_ROWS, and sends them again to the next attempt of a
 * task that failed. So rows that a program feeds in count once each, as those of any source.
 */
import { BatchEncoder } from "../../core/data/codec.ts";
import type { ClassRegistry } from "../../core/data/classes.ts";
import {
  LAST_PIECE,
  MAX_SEGMENT_ROWS,
  MIN_WATERMARK,
  SEGMENT_HEADER_BYTES,
  type SegmentMemory,
  SegmentKind,
  segmentMemory,
  writeSegmentHeader,
} from "../../core/data/element.ts";
import type { RowFeed } from "../../core/runtime/executor.ts";
import { JobFailedError } from "../../core/types/errors.ts";
import type { FeedGrant } from "../protocol/messages.ts";

export interface FeedSenderOptions {
  readonly feed: RowFeed;
  readonly classes: ClassRegistry;
  readonly segmentBytes: number;
  /** Sends one segment; `sequence` counts from 0. The bytes are the receiver's. */
  readonly send: (attempt: number, sequence: number, segment: Uint8Array) => void;
  /** The program's source failed, or gave a row that can't travel. */
  readonly onFailure: (error: Error) => void;
  /** Nothing more will be sent; called once. */
  readonly onEnd: () => void;
}

/** Rows that are kept for a recovery at the most; more are not asked for before a checkpoint covers some. */
const MAX_KEPT_ROWS = 1_000_000;

/** Rows on their way into a job. Main thread. */
export class FeedSender {
  readonly #options: FeedSenderOptions;
  readonly #memory: SegmentMemory;
  /** Of the present attempt: what a channel has been told of types, the next one has not. */
  #encoder: BatchEncoder;
  #attempt = -1;
  #granted = 0;
  #sent = 0;
  /** The job takes checkpoints: rows are kept until one covers them. */
  #keeps = false;
  /** Rows that were not sent, or may have to be sent again, and the number of the first, counted since the job began. */
  #rows: unknown[] = [];
  #first = 0;
  /** Number of the row that is sent next. */
  #next = 0;
  /** The program has no more rows. */
  #exhausted = false;
  /** The present attempt has been told so. */
  #endSent = false;
  #room: (() => void) | undefined;
  #stopped = false;
  /** The connection is broken, and may come back. */
  #interrupted = false;

  constructor(options: FeedSenderOptions) {
    this.#options = options;
    this.#memory = segmentMemory(new ArrayBuffer(options.segmentBytes));
    this.#encoder = new BatchEncoder({ classes: options.classes });
  }

  /** Begins; returns at once. */
  start(): void {
    void this.#run();
  }

  /** The job has room; perhaps its task has begun again, and wants rows once more. */
  grant({ attempt, granted, from = 0, covered }: FeedGrant): void {
    if (attempt < this.#attempt) return;
    if (attempt > this.#attempt) this.#begin(attempt, from);
    this.#granted = Math.max(this.#granted, granted);
    if (covered !== undefined) {
      this.#keeps = true;
      this.#forget(covered);
    }
    this.#room?.();
  }

  /** Nothing can be sent for a while. What was on its way may be lost: then the JobManager sees the gap, and begins the task again. */
  interrupt(): void {
    this.#interrupted = true;
  }

  /** The connection is back. */
  resume(): void {
    this.#interrupted = false;
    this.#room?.();
  }

  #begin(attempt: number, from: number): void {
    // A job that goes on from a savepoint counts on; what this program sends first is the row after.
    if (this.#attempt < 0) this.#first = this.#next = from;
    this.#attempt = attempt;
    this.#encoder = new BatchEncoder({ classes: this.#options.classes });
    this.#granted = this.#sent = 0;
    this.#endSent = false;
    if (from < this.#first || from > this.#first + this.#rows.length) {
      const gone = `the task that takes these rows began again at row ${from}, and this program keeps those from ${this.#first} on only`;
      this.#options.onFailure(new JobFailedError(`${gone}. Enable checkpoints, so that rows are kept until one covers them.`));
      return this.stop();
    }
    this.#next = from;
  }

  /** Rows before this number are not wanted any more. */
  #forget(before: number): void {
    const count = Math.min(before, this.#next) - this.#first;
    if (count <= 0) return;
    this.#rows.splice(0, count);
    this.#first += count;
  }

  /** The job wants no more rows: it has ended, or the connection is lost. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#rows = [];
    this.#options.feed.close();
    this.#room?.();
    this.#options.onEnd();
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        await this.#somethingToDo();
        if (this.#stopped) return;
        const waiting = this.#first + this.#rows.length - this.#next;
        if (waiting > 0) await this.#sendRows();
        else if (!this.#exhausted) await this.#ask();
        else await this.#sendEnd();
      }
    } catch (error) {
      if (!this.#stopped) this.#options.onFailure(error instanceof Error ? error : new Error(String(error)));
      this.stop();
    }
  }

  async #ask(): Promise<void> {
    const rows = await this.#options.feed.next(MAX_SEGMENT_ROWS);
    if (rows === null) this.#exhausted = true;
    else for (const row of rows) this.#rows.push(row);
  }

  /** Sends rows that wait, up to one segment or one large row. Begun again meanwhile, they are sent again by the next call. */
  async #sendRows(): Promise<void> {
    const attempt = this.#attempt;
    const start = this.#next - this.#first;
    const rows = this.#rows.slice(start, start + MAX_SEGMENT_ROWS);
    // Rows of a program have no timestamp until withTimestamps() gives them one.
    const timestamps = new Float64Array(rows.length).fill(Number.NaN);
    const written = this.#encoder.encode(this.#memory, SEGMENT_HEADER_BYTES, this.#memory.bytes.length, rows, timestamps, 0, rows.length);
    const sent =
      written === 0
        ? await this.#sendPieces(this.#encoder.encodeRow(rows[0], Number.NaN), attempt)
        : await this.#send(SegmentKind.rows, written, this.#encoder.bytesWritten, 0, attempt);
    if (!sent) return;
    this.#next += Math.max(1, written);
    if (!this.#keeps) this.#forget(this.#next);
  }

  async #sendEnd(): Promise<void> {
    this.#endSent = await this.#send(SegmentKind.end, 0, 0, 0, this.#attempt);
    // A job with checkpoints may want the last rows again; it says itself when it is over.
    if (this.#endSent && !this.#keeps) this.stop();
  }

  /** @returns false when the attempt is over. */
  async #sendPieces(row: Uint8Array, attempt: number): Promise<boolean> {
    const most = this.#memory.bytes.length - SEGMENT_HEADER_BYTES;
    for (let from = 0; from < row.length; from += most) {
      const piece = row.subarray(from, from + most);
      await this.#hasRoom(attempt);
      this.#memory.bytes.set(piece, SEGMENT_HEADER_BYTES);
      if (!(await this.#send(SegmentKind.piece, 0, piece.length, from + most >= row.length ? LAST_PIECE : 0, attempt))) return false;
    }
    return true;
  }

  /** Sends what stands in the memory. @returns false when the attempt is over. */
  async #send(kind: SegmentKind, rows: number, payloadBytes: number, flags: number, attempt: number): Promise<boolean> {
    await this.#hasRoom(attempt);
    if (this.#stopped || attempt !== this.#attempt) return false;
    writeSegmentHeader(this.#memory, 0, kind, rows, payloadBytes, MIN_WATERMARK, flags);
    this.#options.send(this.#attempt, this.#sent++, this.#memory.bytes.slice(0, SEGMENT_HEADER_BYTES + payloadBytes));
    return true;
  }

  /** Resolves when a segment may be sent, or the attempt is over. */
  async #hasRoom(attempt: number): Promise<void> {
    while (!this.#stopped && attempt === this.#attempt && (this.#interrupted || this.#sent >= this.#granted)) await this.#news();
  }

  async #somethingToDo(): Promise<void> {
    const kept = (): number => this.#next - this.#first;
    const waits = (): boolean => this.#interrupted || this.#sent >= this.#granted || this.#endSent || kept() >= MAX_KEPT_ROWS;
    while (!this.#stopped && waits()) await this.#news();
  }

  /** Resolves when a grant has come, or the end. */
  #news(): Promise<void> {
    return new Promise((resolve) => {
      this.#room = resolve;
    });
  }
}
