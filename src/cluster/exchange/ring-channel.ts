/**
 * A channel between two threads of one process: a ring of equally large segments in one SharedArrayBuffer, with one producer and one
 * consumer (SPSC). Nothing is copied: the producer encodes into the ring, the consumer decodes out of it.
 *
 *     control words │ segment 0 │ segment 1 │ … │ segment n-1
 *
 * WRITTEN and READ count segments modulo 2n, so that "empty" (equal) and "full" (n apart) differ and nothing overflows, however long the
 * job runs. Each is stored by one side only. Storing WRITTEN releases the segment's bytes, loading it acquires them; READ does so in the
 * other direction.
 *
 * Invariant: a segment belongs to exactly one side at any time; segments come out in the order in which they went in, each once.
 * A side keeps a copy of the other's counter and looks at shared memory only when that copy says "full" or "empty".
 *
 * A producer that finds the ring full leaves a wish in ROOM_WANTED: "wake me when so many segments are free". It asks for half a ring, so
 * that the pair wakes each other once per half ring and not once per segment. (To the job, this is a ring of half the size in the worst
 * case: if that could deadlock, so could any bounded channel.)
 *
 * Trusts its owner to open each end in one thread only, and `doorbell.ts` for wake-ups. Worker threads load this file.
 */
import { segmentMemory } from "../../core/data/element.ts";
import type { SegmentMemory } from "../../core/data/element.ts";
import type { InputChannel, OutputChannel } from "../../core/runtime/channel.ts";
import { ConfigurationError, InvariantError } from "../../core/types/errors.ts";
import { ringBell } from "./doorbell.ts";
import type { BellDescriptor } from "./doorbell.ts";

/** Size of a ring and who stands at its ends. */
export interface RingOptions {
  /** Size of a segment in bytes, header included: a multiple of 8, at least 64. */
  readonly segmentBytes: number;
  /** How many segments the ring holds: at least 2, so that one is written while another is read. */
  readonly segments: number;
  /** Bell of the thread that writes. */
  readonly producerBell: BellDescriptor;
  /** Bell of the thread that reads. */
  readonly consumerBell: BellDescriptor;
}

/** A ring as plain data: pass it to the two threads in `workerData` or a message; all copies are the same ring. */
export interface RingDescriptor extends RingOptions {
  readonly buffer: SharedArrayBuffer;
}

// Word indices, 128 bytes apart, so that no two of them share a cache line or a pair of prefetched lines.
const WRITTEN = 0;
const READ = 32;
const ROOM_WANTED = 64;
const CONTROL_BYTES = 512;

/** Bytes that a ring of this shape takes. */
export const ringBytes = (segmentBytes: number, segments: number): number => CONTROL_BYTES + segmentBytes * segments;

/**
 * A new, empty ring. Any thread.
 * @param memory to use instead of new memory, of `ringBytes` bytes; nobody else may still use it.
 * @throws ConfigurationError when the shape is impossible.
 */
export function createRing(options: RingOptions, memory?: SharedArrayBuffer): RingDescriptor {
  const { segmentBytes, segments, producerBell, consumerBell } = options;
  if (!Number.isInteger(segmentBytes) || segmentBytes < 64 || segmentBytes % 8 !== 0) {
    throw new ConfigurationError(`A segment of ${segmentBytes} bytes is impossible; give a multiple of 8, at least 64.`);
  }
  if (!Number.isInteger(segments) || segments < 2 || segments > 1 << 20) {
    throw new ConfigurationError(`A channel of ${segments} segments is impossible; give a whole number from 2 to ${1 << 20}.`);
  }
  const bytes = ringBytes(segmentBytes, segments);
  if (bytes >= 2 ** 31) {
    throw new ConfigurationError(`A channel of ${segments} segments of ${segmentBytes} bytes is too large; keep it below 2 GiB.`);
  }
  if (memory !== undefined && memory.byteLength !== bytes) {
    throw new InvariantError(`A ring of ${bytes} bytes was given memory of ${memory.byteLength} bytes.`);
  }
  const buffer = memory ?? new SharedArrayBuffer(bytes);
  new Int32Array(buffer, 0, CONTROL_BYTES >> 2).fill(0);
  return { buffer, segmentBytes, segments, producerBell, consumerBell };
}

/** Segments written and not yet read, seen from any thread; exact only for the ring's own two threads. For metrics. */
export function ringQueued(ring: RingDescriptor): number {
  const control = new Int32Array(ring.buffer, 0, CONTROL_BYTES >> 2);
  return distance(Atomics.load(control, READ), Atomics.load(control, WRITTEN), ring.segments);
}

/** How far counter `to` is ahead of `from`; both run modulo 2n. */
const distance = (from: number, to: number, segments: number): number => (to >= from ? to - from : to - from + 2 * segments);
const next = (counter: number, segments: number): number => (counter + 1 === 2 * segments ? 0 : counter + 1);
const offsetOf = (counter: number, segments: number, segmentBytes: number): number =>
  (counter >= segments ? counter - segments : counter) * segmentBytes;

/** The producer's end. One thread. */
export class RingOutput implements OutputChannel {
  readonly memory: SegmentMemory;
  readonly segmentBytes: number;
  readonly capacity: number;
  private readonly control: Int32Array;
  private readonly consumerBell: BellDescriptor;
  private readonly roomWanted: number;
  private written: number;
  private seenRead: number;

  constructor(ring: RingDescriptor) {
    this.memory = segmentMemory(ring.buffer, CONTROL_BYTES);
    this.segmentBytes = ring.segmentBytes;
    this.capacity = ring.segments;
    this.control = new Int32Array(ring.buffer, 0, CONTROL_BYTES >> 2);
    this.consumerBell = ring.consumerBell;
    this.roomWanted = ring.segments >> 1;
    this.written = Atomics.load(this.control, WRITTEN);
    this.seenRead = Atomics.load(this.control, READ);
  }

  tryAcquire(): number {
    const segments = this.capacity;
    if (distance(this.seenRead, this.written, segments) === segments) {
      this.seenRead = Atomics.load(this.control, READ);
      // The wish comes before the second look; a release in between is seen by one of the two sides.
      if (distance(this.seenRead, this.written, segments) === segments && !this.wantRoom(this.roomWanted)) return -1;
    }
    return offsetOf(this.written, segments, this.segmentBytes);
  }

  publish(): void {
    const written = next(this.written, this.capacity);
    this.written = written;
    Atomics.store(this.control, WRITTEN, written);
    ringBell(this.consumerBell);
  }

  get queued(): number {
    return distance(Atomics.load(this.control, READ), this.written, this.capacity);
  }

  /**
   * Asks that the producer's bell is rung once, when `segments` segments or more are free. A later wish replaces an earlier one.
   * @returns true when there is any room now (the bell may ring all the same).
   */
  wantRoom(segments: number): boolean {
    Atomics.store(this.control, ROOM_WANTED, segments);
    this.seenRead = Atomics.load(this.control, READ);
    return distance(this.seenRead, this.written, this.capacity) < this.capacity;
  }
}

/** The consumer's end. One thread. */
export class RingInput implements InputChannel {
  readonly memory: SegmentMemory;
  readonly capacity: number;
  private readonly segmentBytes: number;
  private readonly control: Int32Array;
  private readonly producerBell: BellDescriptor;
  private read: number;
  private seenWritten: number;

  constructor(ring: RingDescriptor) {
    this.memory = segmentMemory(ring.buffer, CONTROL_BYTES);
    this.segmentBytes = ring.segmentBytes;
    this.capacity = ring.segments;
    this.control = new Int32Array(ring.buffer, 0, CONTROL_BYTES >> 2);
    this.producerBell = ring.producerBell;
    this.read = Atomics.load(this.control, READ);
    this.seenWritten = Atomics.load(this.control, WRITTEN);
  }

  tryPeek(): number {
    if (this.read === this.seenWritten) {
      this.seenWritten = Atomics.load(this.control, WRITTEN);
      if (this.read === this.seenWritten) return -1;
    }
    return offsetOf(this.read, this.capacity, this.segmentBytes);
  }

  peekAhead(ahead: number): number {
    const { capacity } = this;
    if (distance(this.read, this.seenWritten, capacity) <= ahead) {
      this.seenWritten = Atomics.load(this.control, WRITTEN);
      if (distance(this.read, this.seenWritten, capacity) <= ahead) return -1;
    }
    return offsetOf((this.read + ahead) % (2 * capacity), capacity, this.segmentBytes);
  }

  release(): void {
    const read = next(this.read, this.capacity);
    this.read = read;
    Atomics.store(this.control, READ, read);
    const wanted = Atomics.load(this.control, ROOM_WANTED);
    if (wanted === 0) return;
    this.seenWritten = Atomics.load(this.control, WRITTEN);
    if (this.capacity - distance(read, this.seenWritten, this.capacity) < wanted) return;
    Atomics.store(this.control, ROOM_WANTED, 0);
    ringBell(this.producerBell);
  }

  get queued(): number {
    return distance(this.read, Atomics.load(this.control, WRITTEN), this.capacity);
  }
}
