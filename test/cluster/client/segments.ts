/** Segments as a task writes them, for tests of those who read them. */
import { BatchEncoder } from "../../../src/core/data/codec.ts";
import {
  LAST_PIECE,
  MIN_WATERMARK,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
  segmentMemory,
  writeSegmentHeader,
} from "../../../src/core/data/element.ts";

const SEGMENT_BYTES = 16 * 1024;

/** One subtask's side of a channel to a client: each segment can be read without those before it. */
export class SegmentWriter {
  readonly #memory = segmentMemory(new ArrayBuffer(SEGMENT_BYTES));
  readonly #encoder = new BatchEncoder({ separable: true });

  rows(...rows: unknown[]): Uint8Array {
    const written = this.#encoder.encode(
      this.#memory,
      SEGMENT_HEADER_BYTES,
      SEGMENT_BYTES,
      rows,
      new Float64Array(rows.length),
      0,
      rows.length,
    );
    if (written !== rows.length) throw new Error(`only ${written} of ${rows.length} rows fit`);
    return this.#segment(SegmentKind.rows, written, this.#encoder.bytesWritten, 0);
  }

  /** A row in pieces of `size` bytes. */
  pieces(row: unknown, size: number): Uint8Array[] {
    const bytes = this.#encoder.encodeRow(row, Number.NaN);
    const pieces: Uint8Array[] = [];
    for (let from = 0; from < bytes.length; from += size) {
      const piece = bytes.subarray(from, from + size);
      this.#memory.bytes.set(piece, SEGMENT_HEADER_BYTES);
      pieces.push(this.#segment(SegmentKind.piece, 0, piece.length, from + size >= bytes.length ? LAST_PIECE : 0));
    }
    return pieces;
  }

  end(): Uint8Array {
    return this.#segment(SegmentKind.end, 0, 0, 0);
  }

  #segment(kind: SegmentKind, rows: number, payload: number, flags: number): Uint8Array {
    writeSegmentHeader(this.#memory, 0, kind, rows, payload, MIN_WATERMARK, flags);
    return this.#memory.bytes.slice(0, SEGMENT_HEADER_BYTES + payload);
  }
}
