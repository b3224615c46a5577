/** States of jobs, tasks and checkpoints as colours and pens, the same in every view. */
import type { CheckpointState, JobState, TaskState } from "../../core/graph/job-status.ts";
import type { Colour } from "./svg.ts";
import type { Pen } from "./terminal.ts";

type Mood = "good" | "waiting" | "bad" | "ended";

const MOODS: Readonly<Record<JobState | TaskState | CheckpointState, Mood>> = {
  CREATED: "waiting",
  WAITING: "waiting",
  SCHEDULED: "waiting",
  DEPLOYING: "waiting",
  INITIALIZING: "waiting",
  RUNNING: "good",
  RESTARTING: "waiting",
  IN_PROGRESS: "waiting",
  COMPLETED: "good",
  FINISHED: "ended",
  CANCELED: "ended",
  CANCELLING: "ended",
  CANCELING: "ended",
  FAILING: "bad",
  FAILED: "bad",
};

const moodOf = (state: string): Mood => (Object.hasOwn(MOODS, state) ? MOODS[state as JobState] : "ended");

/** The colour of a state's text and line. */
export const stateColour = (state: string): Colour => moodOf(state);
/** The colour of an area in that state. */
export const stateSoftColour = (state: string): Colour => `${moodOf(state)}Soft`;
/** A text about a state, the state's name unless another is given, in the state's pen. */
export function stateText(state: string, pen: Pen, text: string = state): string {
  const mood = moodOf(state);
  return mood === "ended" ? pen.dim(text) : pen[mood](text);
}
/** A sign that tells states apart without colour. */
export function stateSign(state: string): string {
  if (state === "FINISHED" || state === "COMPLETED") return "✓";
  if (state === "FAILED" || state === "FAILING") return "✗";
  if (state.startsWith("CANCEL")) return "■";
  return state === "RUNNING" ? "▶" : "…";
}
