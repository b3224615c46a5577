/**
 * Time as far as its reader was awake to live it.
 *
 * A failure detector that judges silence by a wall or monotonic clock declares everybody dead after a laptop slept, a debugger held the
 * process or a long garbage collection passed: the judge itself was away, and the heartbeats wait unread in the socket. An `AwakeClock`
 * counts at most `longestStepMs` between two readings, so a gap in the judge's own attention adds almost nothing to anybody's silence.
 * It trusts its reader to read it regularly (a timer of half the longest step or less); then it runs as the clock beneath it.
 */

/** Milliseconds from some fixed point; never goes back. `performance.now` is one. */
export type Clock = () => number;

/** A clock that stands still while nobody reads it. */
export class AwakeClock {
  readonly #clock: Clock;
  readonly #longestStepMs: number;
  #readAtMs: number;
  #awakeMs = 0;

  /** @param longestStepMs the most that one reading may add, in milliseconds. */
  constructor(clock: Clock, longestStepMs: number) {
    this.#clock = clock;
    this.#longestStepMs = longestStepMs;
    this.#readAtMs = clock();
  }

  /** Milliseconds lived awake since the clock was made. */
  read(): number {
    const nowMs = this.#clock();
    const stepMs = nowMs - this.#readAtMs;
    this.#readAtMs = nowMs;
    if (stepMs > 0) this.#awakeMs += Math.min(stepMs, this.#longestStepMs);
    return this.#awakeMs;
  }
}
