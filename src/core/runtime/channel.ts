/**
 * The interface between a task and whatever carries its segments: a queue in the same thread, a SharedArrayBuffer ring between
 * threads, or a ring whose other end is a socket. A channel has one producer and one consumer and keeps order; it is bounded, so
 * a producer waits for its consumer (back pressure) and never loses or doubles a segment.
 */
import type { SegmentMemory } from "../data/element.ts";

/** The producer's end. Used by one thread. */
export interface OutputChannel {
  /** Memory that all segments of this channel lie in; stays the same for the life of the channel. */
  readonly memory: SegmentMemory;
  /** Size of a segment in bytes, header included. */
  readonly segmentBytes: number;
  /** Byte offset in `memory` of a free segment to write next, or -1 when the channel is full. Asking again gives the same one. */
  tryAcquire(): number;
  /** Hands the acquired segment to the consumer and wakes it. The producer must not touch it again. */
  publish(): void;
  /** Segments written and not yet read, 0 … capacity. */
  readonly queued: number;
  readonly capacity: number;
}

/** The consumer's end. Used by one thread. */
export interface InputChannel {
  readonly memory: SegmentMemory;
  /** Byte offset in `memory` of the oldest unread segment, or -1 when there is none. Its bytes stay put until `release`. */
  tryPeek(): number;
  /**
   * Byte offset in `memory` of the unread segment behind `ahead` others (0: the oldest), or -1 when there are not so many. Its bytes stay
   * put until it is released in its turn.
   */
  peekAhead(ahead: number): number;
  /** Gives the peeked segment back to the producer. */
  release(): void;
  readonly queued: number;
  readonly capacity: number;
}

/**
 * How a task waits. In a worker thread it parks in `Atomics.wait`; in the one-thread executor it never waits (`park` returns at once
 * and the scheduler runs another task).
 */
export interface Doorbell {
  /**
   * Waits until something may have happened: a segment arrived, a full channel got room, a control message came, or `timeoutMs`
   * passed. May return early. `ready` is asked once after the bell is armed, so that a ring between looking and waiting is not lost.
   * @param timeoutMs upper bound of the wait, milliseconds; Infinity waits for a ring only.
   */
  park(timeoutMs: number, ready: () => boolean): void;
}
