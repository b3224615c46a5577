/**
 * What flows on an edge of a running job. An edge is a sequence of *segments*, each a piece of memory of at most the channel's
 * segment size: rows followed by the watermark that holds after them; or a barrier; or a change of idleness; or the end of input.
 * Segments of one channel arrive in the order in which they were written; nothing else about time is promised.
 *
 * The memory is one (Shared)ArrayBuffer seen through several views, so that generated codecs read and write numbers without
 * copying. Every segment starts at a multiple of 8 bytes with a header of SEGMENT_HEADER_BYTES.
 */

/** What a segment carries. */
export const SegmentKind = {
  /** Rows (possibly none), then a watermark. */
  rows: 1,
  /** A checkpoint barrier; its id stands in the header. */
  barrier: 2,
  /** The channel is idle: it takes no part in the watermark until the next rows. */
  idle: 3,
  /** No segment follows. */
  end: 4,
  /** A piece of a row too large for one segment; the last piece has `LAST_PIECE` in the header's flags. */
  piece: 5,
} as const;
export type SegmentKind = (typeof SegmentKind)[keyof typeof SegmentKind];

/** Size of a segment's header. */
export const SEGMENT_HEADER_BYTES = 32;
/** Default size of a segment (measured: 128 KiB; Flink: 32 KiB), header included. */
export const SEGMENT_BYTES: number = 128 * 1024;
/** Rows in one segment at the most; keeps the latency of a batch and the consumer's arrays bounded. */
export const MAX_SEGMENT_ROWS = 4_096;
/** Flag of a header: no piece of this row follows. */
export const LAST_PIECE = 1;
/** A header's flags from this bit on, set on the way to a client: how many rows at its start have come before their task restarted. */
export const REPEATED_ROWS_BIT = 8;

/** The watermark before any event: nothing is known about time. */
export const MIN_WATERMARK: number = Number.NEGATIVE_INFINITY;
/** The watermark after the last event: no earlier event can follow. */
export const MAX_WATERMARK: number = Number.POSITIVE_INFINITY;

/** One piece of memory through all the views that codecs use. */
export interface SegmentMemory {
  readonly bytes: Uint8Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly u16: Uint16Array;
  /** The same bytes as a Node Buffer, for its fast string methods. */
  readonly buffer: Buffer;
}

/** The views of a buffer whose length is a multiple of 8 bytes. */
export function segmentMemory(buffer: ArrayBufferLike, byteOffset = 0, byteLength: number = buffer.byteLength - byteOffset): SegmentMemory {
  return {
    bytes: new Uint8Array(buffer, byteOffset, byteLength),
    i32: new Int32Array(buffer, byteOffset, byteLength >> 2),
    f64: new Float64Array(buffer, byteOffset, byteLength >> 3),
    u16: new Uint16Array(buffer, byteOffset, byteLength >> 1),
    buffer: Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength),
  };
}

/**
 * Header, from the segment's start: i32[0] kind, i32[1] rows, i32[2] payload bytes (without header), i32[3] flags,
 * f64[2] watermark after the rows (MIN_WATERMARK: none is carried), f64[3] checkpoint id of a barrier.
 * @param offset bytes from the start of the memory, a multiple of 8.
 */
export function writeSegmentHeader(
  memory: SegmentMemory,
  offset: number,
  kind: SegmentKind,
  rows: number,
  payloadBytes: number,
  watermark: number,
  flags = 0,
  checkpointId = 0,
): void {
  const i = offset >> 2;
  memory.i32[i] = kind;
  memory.i32[i + 1] = rows;
  memory.i32[i + 2] = payloadBytes;
  memory.i32[i + 3] = flags;
  memory.f64[(offset >> 3) + 2] = watermark;
  memory.f64[(offset >> 3) + 3] = checkpointId;
}

/** What the header of the segment at `offset` says; see `writeSegmentHeader`. */
export const segmentKind = (memory: SegmentMemory, offset: number): SegmentKind => memory.i32[offset >> 2] as SegmentKind;
export const segmentRows = (memory: SegmentMemory, offset: number): number => memory.i32[(offset >> 2) + 1] as number;
export const segmentPayloadBytes = (memory: SegmentMemory, offset: number): number => memory.i32[(offset >> 2) + 2] as number;
export const segmentFlags = (memory: SegmentMemory, offset: number): number => memory.i32[(offset >> 2) + 3] as number;
export const segmentRepeatedRows = (memory: SegmentMemory, offset: number): number => segmentFlags(memory, offset) >>> REPEATED_ROWS_BIT;
export const segmentWatermark = (memory: SegmentMemory, offset: number): number => memory.f64[(offset >> 3) + 2] as number;
/** The checkpoint id of a barrier. */
export const segmentCheckpoint = (memory: SegmentMemory, offset: number): number => memory.f64[(offset >> 3) + 3] as number;
