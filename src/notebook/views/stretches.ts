/** States that something went through, as coloured stretches of a line of time: of a job, of the attempts of a subtask. */
import type { ExecutionInfo } from "../../core/graph/job-status.ts";
import type { StateEntered } from "./job-history.ts";
import { duration, moment } from "./numbers.ts";
import { type Colour, type Markup, element, words } from "./svg.ts";

const STATE_COLOURS: Readonly<Record<string, Colour>> = {
  CREATED: "idle",
  WAITING: "waiting",
  SCHEDULED: "idle",
  DEPLOYING: "waiting",
  INITIALIZING: "series5",
  RUNNING: "good",
  RESTARTING: "series1",
  FINISHED: "ended",
  CANCELING: "ended",
  CANCELLING: "ended",
  CANCELED: "ended",
  FAILING: "bad",
  FAILED: "bad",
};

const isOver = (state: string): boolean => state === "FINISHED" || state === "CANCELED" || state === "FAILED";

/** What all stretches of one line share. */
export interface StretchPlace {
  /** Where the last state ends that has no end yet, milliseconds since the epoch. */
  readonly endMs: number;
  /** From milliseconds to pixels. */
  readonly at: (ms: number) => number;
  readonly y: number;
  readonly height: number;
  /** Who it is, for the hint. */
  readonly who: string;
}

/** States in order of time; the last one reaches to the end, a final one is a mark. */
export function stretches(states: readonly StateEntered[], { endMs, at, y, height, who }: StretchPlace): Markup[] {
  return states.flatMap(({ state, atMs }, index) => {
    const over = isOver(state);
    const until = states[index + 1]?.atMs ?? (over ? atMs : endMs);
    const hint = element("title", {}, words(`${who} ${state}${over ? ` at ${moment(atMs)} UTC` : ` for ${duration(until - atMs)}`}`));
    const colour = STATE_COLOURS[state] ?? "ended";
    if (over) return [element("rect", { x: at(atMs) - 1, y, width: 3, height, rx: 1, fill: colour }, hint)];
    return [
      element(
        "rect",
        { x: at(atMs), y, width: Math.max(1, at(until) - at(atMs)), height, rx: Math.min(3, height / 2), fill: colour },
        hint,
      ),
    ];
  });
}

/** The attempts of one subtask on one line. An attempt whose end nobody saw ends where the next begins. */
export function attemptStretches(attempts: readonly ExecutionInfo[], place: StretchPlace): Markup[] {
  return attempts.flatMap((it, index) => {
    const next = attempts[index + 1]?.timestamps["CREATED"];
    return stretches(statesOf(it), {
      ...place,
      endMs: next ?? place.endMs,
      who: attempts.length > 1 || it.attempt > 1 ? `${place.who} attempt ${it.attempt}` : place.who,
    });
  });
}

/** The states of an attempt in order of time. */
export const statesOf = ({ timestamps }: ExecutionInfo): StateEntered[] =>
  Object.entries(timestamps)
    .filter(([, atMs]) => Number.isFinite(atMs))
    .map(([state, atMs]) => ({ state, atMs }))
    .sort((a, b) => a.atMs - b.atMs);
