/**
 * Sends the rows of a program into a job: the other direction of a result. It asks the program for rows only when the job has room for
 * their segments (cumulative grants), so a slow job slows the program's source down; that is the back pressure that an Observable lacks.
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
import type { ChannelGrant } from "../protocol/messages.ts";

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

/** Rows on their way into a job. Main thread. */
export class FeedSender {
  readonly #options: FeedSenderOptions;
  readonly #memory: SegmentMemory;
  readonly #encoder: BatchEncoder;
  #attempt = 0;
  #granted = 0;
  #sent = 0;
  #room: (() => void) | undefined;
  #stopped = false;

  constructor(options: FeedSenderOptions) {
    this.#options = options;
    this.#memory = segmentMemory(new ArrayBuffer(options.segmentBytes));
    this.#encoder = new BatchEncoder({ classes: options.classes });
  }

  /** Begins; returns at once. */
  start(): void {
    void this.#run();
  }

  /** The job has room. */
  grant({ attempt, granted }: ChannelGrant): void {
    this.#attempt = attempt;
    this.#granted = Math.max(this.#granted, granted);
    this.#room?.();
  }

  /** The job wants no more rows: it has ended, or the connection is lost. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#options.feed.close();
    this.#room?.();
    this.#options.onEnd();
  }

  async #run(): Promise<void> {
    try {
      for (;;) {
        await this.#hasRoom();
        if (this.#stopped) return;
        const rows = await this.#options.feed.next(MAX_SEGMENT_ROWS);
        if (this.#stopped) return;
        if (rows === null) break;
        await this.#sendRows(rows);
      }
      await this.#send(SegmentKind.end, 0, 0);
    } catch (error) {
      if (!this.#stopped) this.#options.onFailure(error instanceof Error ? error : new Error(String(error)));
    }
    this.stop();
  }

  async #sendRows(rows: readonly unknown[]): Promise<void> {
    // Rows of a program have no timestamp until withTimestamps() gives them one.
    const timestamps = new Float64Array(rows.length).fill(Number.NaN);
    for (let from = 0; from < rows.length && !this.#stopped;) {
      const to = Math.min(rows.length, from + MAX_SEGMENT_ROWS);
      const written = this.#encoder.encode(this.#memory, SEGMENT_HEADER_BYTES, this.#memory.bytes.length, rows, timestamps, from, to);
      if (written === 0) await this.#sendPieces(this.#encoder.encodeRow(rows[from], Number.NaN));
      else await this.#send(SegmentKind.rows, written, this.#encoder.bytesWritten);
      from += Math.max(1, written);
    }
  }

  async #sendPieces(row: Uint8Array): Promise<void> {
    const most = this.#memory.bytes.length - SEGMENT_HEADER_BYTES;
    for (let from = 0; from < row.length; from += most) {
      const piece = row.subarray(from, from + most);
      this.#memory.bytes.set(piece, SEGMENT_HEADER_BYTES);
      await this.#send(SegmentKind.piece, 0, piece.length, from + most >= row.length ? LAST_PIECE : 0);
    }
  }

  /** Sends what stands in the memory. */
  async #send(kind: SegmentKind, rows: number, payloadBytes: number, flags = 0): Promise<void> {
    await this.#hasRoom();
    if (this.#stopped) return;
    writeSegmentHeader(this.#memory, 0, kind, rows, payloadBytes, MIN_WATERMARK, flags);
    this.#options.send(this.#attempt, this.#sent++, this.#memory.bytes.slice(0, SEGMENT_HEADER_BYTES + payloadBytes));
  }

  async #hasRoom(): Promise<void> {
    while (!this.#stopped && this.#sent >= this.#granted) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
  }
}
