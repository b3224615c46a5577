/** The client's ends of a job: rows into a feed's channel, rows out of a result's channels. */
import { BatchDecoder } from "../data/codec.ts";
import type { ClassRegistry } from "../data/classes.ts";
import {
  LAST_PIECE,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
  type SegmentMemory,
  segmentFlags,
  segmentKind,
  segmentPayloadBytes,
  segmentRows,
} from "../data/element.ts";
import { InvariantError } from "../types/errors.ts";

/** Decodes the segments of one channel of a result, in order. */
export class ResultDecoder {
  readonly #decoder: BatchDecoder;
  #pieces: Uint8Array[] = [];
  #timestamps = new Float64Array(0);

  constructor(classes: ClassRegistry) {
    this.#decoder = new BatchDecoder({ classes });
  }

  /** The rows of a segment, possibly none; null when it is the end. */
  decode(memory: SegmentMemory, offset: number): unknown[] | null {
    const start = offset + SEGMENT_HEADER_BYTES;
    switch (segmentKind(memory, offset)) {
      case SegmentKind.rows: {
        const count = segmentRows(memory, offset);
        const rows = new Array<unknown>(count);
        if (this.#timestamps.length < count) this.#timestamps = new Float64Array(count);
        if (count > 0) this.#decoder.decode(memory, start, count, rows, this.#timestamps);
        return rows;
      }
      case SegmentKind.piece: {
        this.#pieces.push(memory.bytes.slice(start, start + segmentPayloadBytes(memory, offset)));
        if ((segmentFlags(memory, offset) & LAST_PIECE) === 0) return [];
        const row = new Uint8Array(this.#pieces.reduce((sum, piece) => sum + piece.length, 0));
        this.#pieces.reduce((at, piece) => {
          row.set(piece, at);
          return at + piece.length;
        }, 0);
        this.#pieces = [];
        return [this.#decoder.decodeRow(row).row];
      }
      case SegmentKind.end:
        return null;
      case SegmentKind.idle:
        return [];
      case SegmentKind.barrier:
        throw new InvariantError("A barrier arrived at a client.");
    }
  }
}
