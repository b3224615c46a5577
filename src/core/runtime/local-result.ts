/**
 * Rows of one result of a job that runs in one thread, on their way to its reader. In a job with checkpoints a row is given away when the
 * checkpoint that covers it is complete, so that no row is seen twice: what no checkpoint covers is forgotten when the job goes back.
 * Bound: the channels, and the rows of one checkpoint.
 */
import { SegmentKind, segmentCheckpoint, segmentKind } from "../data/element.ts";
import { ResultDecoder } from "./client-channel.ts";
import type { LocalCheckpoint } from "./local-coordinator.ts";
import { nameOf } from "./local-coordinator.ts";
import type { ResultEnd } from "./local-tasks.ts";
import type { MemoryChannel } from "./memory-channel.ts";

interface Source {
  /** Of the task, see `nameOf`. */
  readonly name: string;
  readonly channel: MemoryChannel;
  readonly decoder: ResultDecoder;
  ended: boolean;
  /** Rows in front of a barrier that is here, by checkpoint. */
  readonly held: { readonly checkpoint: number; readonly rows: readonly unknown[] }[];
  /** Rows behind the last barrier. */
  rows: unknown[];
}

/** One result. */
export class LocalResult {
  readonly #holds: boolean;
  #sources: readonly Source[] = [];
  #released: unknown[] = [];
  #finished = false;

  /** @param holds rows wait for the checkpoint that covers them. */
  constructor(holds: boolean) {
    this.#holds = holds;
  }

  /** Reads these channels from now on; what was held of former ones is forgotten. */
  attach(vertex: string, { channels, classes }: ResultEnd): void {
    this.#sources = channels.map((channel, subtask): Source => ({
      name: nameOf(vertex, subtask), channel, decoder: new ResultDecoder(classes[subtask] as ResultEnd["classes"][number]),
      ended: false, held: [], rows: [],
    }));
  }

  /** A checkpoint is complete. */
  completed({ id, acks }: LocalCheckpoint): void {
    this.#drain();
    for (const source of this.#sources) {
      while ((source.held[0]?.checkpoint ?? Number.POSITIVE_INFINITY) <= id) this.#release(source.held.shift()?.rows ?? []);
      // The task had finished before: all of its rows are covered.
      if (!acks.has(source.name) && source.ended) this.#release(source.rows.splice(0));
    }
  }

  /** The job has finished: all rows count. */
  finish(): void {
    this.#finished = true;
  }

  /** Rows that may be given away; null after the last. */
  take(): readonly unknown[] | null {
    this.#drain();
    if (!this.#holds || this.#finished) {
      for (const source of this.#sources) {
        for (const { rows } of source.held.splice(0)) this.#release(rows);
        this.#release(source.rows.splice(0));
      }
    }
    const rows = this.#released;
    this.#released = [];
    const over = (this.#finished || !this.#holds) && this.#sources.length > 0 && this.#sources.every(({ ended }) => ended);
    return rows.length === 0 && over ? null : rows;
  }

  #release(rows: readonly unknown[]): void {
    for (const row of rows) this.#released.push(row);
  }

  #drain(): void {
    for (const source of this.#sources) {
      const { channel } = source;
      for (let offset = channel.tryPeek(); offset >= 0 && !source.ended; offset = channel.tryPeek()) {
        const { memory } = channel;
        if (segmentKind(memory, offset) === SegmentKind.barrier) {
          source.held.push({ checkpoint: segmentCheckpoint(memory, offset), rows: source.rows });
          source.rows = [];
        } else {
          const decoded = source.decoder.decode(memory, offset);
          if (decoded === null) source.ended = true;
          else for (const row of decoded) source.rows.push(row);
        }
        channel.release();
      }
    }
  }
}
