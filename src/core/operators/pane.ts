/** One window of one key, while it is open: what it holds, what its trigger remembers, its timers. A value in keyed state. */
import type { TimeWindow } from "../time/window.ts";
import type { PaneStates } from "./pane-state.ts";

/** What is kept of one window of one key. Plain data: it is a value in keyed state. */
export interface Pane {
  start: number;
  end: number;
  /** Whether there is anything in it. */
  filled: boolean;
  /** The accumulator of windows that aggregate as records come. */
  accumulator: unknown;
  /** The records of windows that keep them, in order of arrival; their timestamps where an evictor wants them. */
  rows: unknown[] | undefined;
  times: number[] | undefined;
  /** Times of this window's timers: those of event time, and those of the wall clock. */
  event: number[];
  processing: number[];
  /** What triggers remember: one slot per level of nesting. */
  slots: unknown[] | undefined;
  /** States of the window function for this window. */
  states: PaneStates | undefined;
}

/** A pane without anything in it. */
export function newPane(start: number, end: number): Pane {
  return {
    start, end, filled: false, accumulator: undefined, rows: undefined, times: undefined, event: [], processing: [], slots: undefined,
    states: undefined,
  };
}

/** Forgets what is in it; its timers and what its trigger knows stay. */
export function empty(pane: Pane): void {
  pane.filled = false;
  pane.accumulator = undefined;
  pane.rows = undefined;
  pane.times = undefined;
}

/** Nothing is in it, and nobody waits for it. */
export function isEmpty(pane: Pane): boolean {
  return (
    !pane.filled && pane.event.length === 0 && pane.processing.length === 0 && pane.states === undefined &&
    (pane.slots === undefined || pane.slots.every((slot) => slot === undefined || slot === 0))
  );
}

/** The window of a pane, as users see it. */
export const windowOf = (pane: Pane): TimeWindow => ({ start: pane.start, end: pane.end });
