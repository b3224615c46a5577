/**
 * Where the thread of one subtask spent its time while it was watched: the call stacks that a sampling profiler met, as a tree. Plain data,
 * in the user's own terms: functions of the job stand where the user wrote them. Whoever draws it needs nothing else.
 */
import type { JobId, VertexId } from "../types/ids.ts";

/** Every kind of frame. */
export const FRAME_KINDS = ["user", "library", "engine", "waiting", "runtime"] as const;
/** user: the job's functions; library: packages; engine: drey; waiting: nothing to do, or no room; runtime: Node, V8 and its garbage. */
export type FrameKind = (typeof FRAME_KINDS)[number];

/** A function as it was called by its parent. */
export interface ProfileFrame {
  /** Position of the caller in `frames`, before this one; -1: nobody's. */
  readonly parent: number;
  readonly name: string;
  readonly kind: FrameKind;
  /** Where it is written: `/home/me/rides.ts:17`, a cell's label and line, a file of drey. Absent for what has no source. */
  readonly place?: string;
  /** Time spent in itself, not in what it called, milliseconds. */
  readonly selfMs: number;
  /** The line of it that most of this time was spent on, with its text where that is known: `19: while (i < n)`. */
  readonly hottest?: string;
}

/** What a subtask did for a while. */
export interface TaskProfile {
  readonly job: JobId;
  readonly vertex: VertexId;
  /** The vertex's name. */
  readonly name: string;
  readonly subtask: number;
  readonly attempt: number;
  /** How long it was watched, milliseconds. */
  readonly durationMs: number;
  /** How often somebody looked. */
  readonly samples: number;
  /** Callers before what they call. At most MOST_FRAMES; what took too little to be told is part of its caller. */
  readonly frames: readonly ProfileFrame[];
}

/** Frames of one profile, at the most. */
export const MOST_FRAMES = 2_000;
/** The longest time that a task can be profiled for, milliseconds. */
export const LONGEST_PROFILE_MS = 60_000;
