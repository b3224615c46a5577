// A stream of segments whose sizes and bytes follow from their number, so that a reader can check what a writer wrote elsewhere.
import {
  SEGMENT_HEADER_BYTES, SegmentKind, segmentKind, segmentPayloadBytes, segmentRows, writeSegmentHeader,
} from "../../../../dist/core/data/element.js";

const pool = Buffer.alloc(1 << 20);
for (let i = 0, x = 12345; i < pool.length; i += 1) {
  x = (Math.imul(x, 1103515245) + 12345) | 0;
  pool[i] = x >>> 16;
}
const mix = (n) => {
  let x = Math.imul(n + 1, 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 15), 0x85ebca6b);
  return (x ^ (x >>> 13)) >>> 0;
};

/** Payload of segment `n`: a piece of the pool, `minimum` to `maximum` bytes long. */
export const payloadOf = (n, maximum, minimum = 0) => {
  const bytes = minimum + (mix(n) % (maximum - minimum + 1));
  const start = mix(n ^ 0x5bd1e995) % (pool.length - bytes + 1);
  return pool.subarray(start, start + bytes);
};

/** Writes segments 0 … count-1 and the end; returns false while the channel is full. */
export class Writer {
  constructor(output, count, maximum, minimum = 0) {
    Object.assign(this, { output, count, maximum, minimum, written: 0, bytes: 0 });
  }
  step() {
    const { output, written } = this;
    const offset = output.tryAcquire();
    if (offset < 0) return false;
    if (written === this.count) {
      writeSegmentHeader(output.memory, offset, SegmentKind.end, 0, 0, Number.POSITIVE_INFINITY);
    } else {
      const payload = payloadOf(written, this.maximum, this.minimum);
      writeSegmentHeader(output.memory, offset, SegmentKind.rows, written, payload.length, written);
      output.memory.bytes.set(payload, offset + SEGMENT_HEADER_BYTES);
      this.bytes += payload.length;
    }
    output.publish();
    this.written += 1;
    return true;
  }
  get done() {
    return this.written > this.count;
  }
}

/** Reads and checks what a Writer wrote; throws at the first difference. Returns false while the channel is empty. */
export class Reader {
  constructor(input, count, maximum, minimum = 0) {
    Object.assign(this, { input, count, maximum, minimum, read: 0, bytes: 0, done: false });
  }
  step() {
    const { input, read } = this;
    const offset = input.tryPeek();
    if (offset < 0) return false;
    const kind = segmentKind(input.memory, offset);
    if (kind === SegmentKind.end) {
      if (read !== this.count) throw new Error(`the end came after ${read} of ${this.count} segments`);
      this.done = true;
    } else {
      const expected = payloadOf(read, this.maximum, this.minimum);
      const start = offset + SEGMENT_HEADER_BYTES;
      const bytes = segmentPayloadBytes(input.memory, offset);
      const number = segmentRows(input.memory, offset);
      if (number !== read) throw new Error(`segment ${number} came instead of ${read}`);
      if (bytes !== expected.length || expected.compare(input.memory.buffer, start, start + bytes) !== 0) {
        throw new Error(`segment ${read} arrived with other bytes than it was sent with`);
      }
      this.bytes += bytes;
    }
    input.release();
    this.read += 1;
    return true;
  }
}
