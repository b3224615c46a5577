/**
 * The two kinds of time that decisions of a JobManager need. Decisions read no other clock, so tests and simulations move time by hand.
 */
export interface Clocks {
  /** Milliseconds since the epoch, for time stamps that people read. May jump. */
  wallMs(): number;
  /** Milliseconds from some fixed point, for deadlines. Never goes back. */
  elapsedMs(): number;
}

/** The clocks of this machine. */
export const systemClocks: Clocks = { wallMs: () => Date.now(), elapsedMs: () => performance.now() };
