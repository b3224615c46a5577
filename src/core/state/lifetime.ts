/**
 * How long state lives after it was last written (or read). What is over is never given out. It is removed when it is met, a little of it
 * with each write, and no snapshot holds it.
 */
import type { TimeToLive } from "./descriptors.ts";

/** The lifetime of one state, on a clock. */
export class Lifetime {
  readonly #timeMs: number;
  readonly #now: () => number;
  /** Whether reading counts as well. */
  readonly refreshedByReads: boolean;

  /** @param now wall clock, milliseconds since the epoch. */
  constructor({ timeMs, refresh }: TimeToLive, now: () => number) {
    this.#timeMs = timeMs;
    this.#now = now;
    this.refreshedByReads = refresh === "on-read";
  }

  /** The present time: what a value that lives from now on is stamped with. */
  now(): number {
    return this.#now();
  }

  /** Whether what was stamped at this time is over. */
  isOver(stampMs: number): boolean {
    return this.#now() - stampMs >= this.#timeMs;
  }
}
