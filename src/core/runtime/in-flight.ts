/**
 * Segments of one channel that a barrier overtook, as bytes of a checkpoint. In front of them stands what the channel's decoder had
 * learned up to then, because a batch is written for a reader that knows those before it.
 *
 *     u32 length of the announcements │ announcements │ u32 pieces │ { u32 length │ piece } … │ { u32 length │ segment } …
 */
import { type SegmentMemory, segmentMemory } from "../data/element.ts";

/** Gathers the segments of one channel. */
export class InFlightWriter {
  readonly #parts: Uint8Array[] = [];
  #segments = 0;

  /**
   * @param announcements what the decoder has learned.
   * @param pieces of a row whose last pieces are among the segments.
   */
  constructor(announcements: string, pieces: readonly Uint8Array[]) {
    this.#add(Buffer.from(announcements));
    this.#parts.push(u32(pieces.length));
    for (const piece of pieces) this.#add(piece);
  }

  /** How many segments were added. */
  get segments(): number {
    return this.#segments;
  }

  /** @param segment header and payload; not to be changed afterwards. */
  add(segment: Uint8Array): void {
    this.#segments++;
    this.#add(segment);
  }

  bytes(): Uint8Array {
    const all = Buffer.concat(this.#parts);
    return new Uint8Array(all.buffer, all.byteOffset, all.length);
  }

  #add(part: Uint8Array): void {
    this.#parts.push(u32(part.length), part);
  }
}

/** Reads what an InFlightWriter wrote. */
export class InFlightReader {
  readonly announcements: string;
  readonly pieces: readonly Uint8Array[];
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.announcements = this.#take().toString("utf8");
    const pieces = this.#count();
    this.pieces = Array.from({ length: pieces }, () => Uint8Array.from(this.#take()));
  }

  /** The next segment, at the beginning of memory of its own; undefined after the last. */
  next(): SegmentMemory | undefined {
    if (this.#at >= this.#bytes.length) return undefined;
    const segment = this.#take();
    const memory = segmentMemory(new ArrayBuffer((segment.length + 7) & ~7));
    memory.bytes.set(segment);
    return memory;
  }

  #count(): number {
    const value = this.#bytes.readUInt32LE(this.#at);
    this.#at += 4;
    return value;
  }

  #take(): Buffer {
    const length = this.#count();
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    return part;
  }
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
