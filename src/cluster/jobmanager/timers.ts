/** What lets something happen later. Whoever acts takes it from outside, so tests and simulations decide when later is. */

/** Lets things happen later. */
export interface Timers {
  /**
   * @param delayMs from 0 on; delays that a timer of Node can't take are cut to the longest that it can.
   * @returns what calls it off; harmless afterwards.
   */
  after(delayMs: number, what: () => void): () => void;
}

/** The longest delay that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The timers of this process. They keep it alive. */
export const systemTimers: Timers = {
  after(delayMs, what) {
    const timer = setTimeout(what, Math.min(Math.max(0, delayMs), MAX_TIMER_MS));
    return () => clearTimeout(timer);
  },
};
