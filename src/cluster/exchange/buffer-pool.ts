/**
 * A slot's network memory: the rings of all channels that its tasks read or write, within one bound in bytes. Flink's network buffer
 * pool with one difference: a channel's buffers are its own ring and never wander to another channel, so a slow channel can't starve
 * its neighbours.
 *
 * Invariant: the memory of the rings on loan and of those kept for reuse never exceeds the bound. Memory is reused as it is, because V8
 * frees shared memory late.
 *
 * Trusts its owner to return a ring only after both its threads have ended: a thread that still writes would write into another
 * channel. Lives on the TaskManager's main thread.
 */
import { ConfigurationError, InvariantError } from "../../core/types/errors.ts";
import { createRing, ringBytes } from "./ring-channel.ts";
import type { RingDescriptor, RingOptions } from "./ring-channel.ts";

export class BufferPool {
  /** What this memory belongs to, for messages: "slot tm-1/0". */
  readonly owner: string;
  readonly capacityBytes: number;
  private readonly lent = new Set<SharedArrayBuffer>();
  private readonly kept: SharedArrayBuffer[] = [];
  private lentBytes = 0;
  private keptBytes = 0;

  /** @param capacityBytes the slot's share of `taskmanager.memory.network.size`. */
  constructor(owner: string, capacityBytes: number) {
    this.owner = owner;
    this.capacityBytes = capacityBytes;
  }

  /** Bytes on loan, 0 … capacityBytes. */
  get usedBytes(): number {
    return this.lentBytes;
  }

  /** Rings on loan. */
  get rings(): number {
    return this.lent.size;
  }

  /**
   * Lends a new, empty ring.
   * @throws ConfigurationError when the bound leaves no room for it.
   */
  lend(options: RingOptions): RingDescriptor {
    const bytes = ringBytes(options.segmentBytes, options.segments);
    if (this.lentBytes + bytes > this.capacityBytes) {
      throw new ConfigurationError(
        `The network memory of ${this.owner} is too small: ${formatBytes(this.lentBytes)} of ${formatBytes(this.capacityBytes)} are used ` +
          `by ${this.lent.size} channels, and one more needs ${formatBytes(bytes)}. ` +
          "Raise taskmanager.memory.network.size, or lower the parallelism.",
        { details: { owner: this.owner, usedBytes: this.lentBytes, capacityBytes: this.capacityBytes, neededBytes: bytes } },
      );
    }
    const reusable = this.kept.findIndex((buffer) => buffer.byteLength === bytes);
    const memory = reusable < 0 ? undefined : this.kept.splice(reusable, 1)[0];
    if (memory !== undefined) this.keptBytes -= bytes;
    const ring = createRing(options, memory);
    this.lent.add(ring.buffer);
    this.lentBytes += bytes;
    this.trim();
    return ring;
  }

  /**
   * Takes a ring back. Both its threads have ended, or have given it up.
   * @throws InvariantError when the ring is not on loan from here.
   */
  giveBack(ring: RingDescriptor): void {
    if (!this.lent.delete(ring.buffer)) throw new InvariantError(`A ring was given back to ${this.owner} that is not on loan from it.`);
    this.lentBytes -= ring.buffer.byteLength;
    this.kept.push(ring.buffer);
    this.keptBytes += ring.buffer.byteLength;
    this.trim();
  }

  /** Lets go of the memory kept for reuse. */
  clear(): void {
    this.kept.length = 0;
    this.keptBytes = 0;
  }

  private trim(): void {
    while (this.keptBytes > 0 && this.lentBytes + this.keptBytes > this.capacityBytes) {
      this.keptBytes -= (this.kept.shift() as SharedArrayBuffer).byteLength;
    }
  }
}

const formatBytes = (bytes: number): string =>
  bytes >= 1024 * 1024 ? `${Math.round(bytes / 104_857.6) / 10} MiB` : `${Math.round(bytes / 102.4) / 10} KiB`;
