/** A channel between two tasks of one thread: a ring of segments in ordinary memory. Both ends are the same object. */
import { type SegmentMemory, segmentMemory } from "../data/element.ts";
import type { InputChannel, OutputChannel } from "./channel.ts";

export class MemoryChannel implements InputChannel, OutputChannel {
  readonly memory: SegmentMemory;
  readonly segmentBytes: number;
  readonly capacity: number;
  readonly #onChange: (() => void) | undefined;
  #written = 0;
  #read = 0;

  /**
   * @param onChange called after each publish and release.
   */
  constructor(segmentBytes: number, capacity: number, onChange?: () => void) {
    this.memory = segmentMemory(new ArrayBuffer(segmentBytes * capacity));
    this.segmentBytes = segmentBytes;
    this.capacity = capacity;
    this.#onChange = onChange;
  }

  get queued(): number {
    return this.#written - this.#read;
  }

  tryAcquire(): number {
    return this.queued === this.capacity ? -1 : (this.#written % this.capacity) * this.segmentBytes;
  }

  publish(): void {
    this.#written++;
    this.#onChange?.();
  }

  tryPeek(): number {
    return this.queued === 0 ? -1 : (this.#read % this.capacity) * this.segmentBytes;
  }

  peekAhead(ahead: number): number {
    return ahead >= this.queued ? -1 : ((this.#read + ahead) % this.capacity) * this.segmentBytes;
  }

  release(): void {
    this.#read++;
    this.#onChange?.();
  }
}
