/**
 * What a TaskManager's main thread and the thread of one subtask say to each other. Everything here is plain data that structured
 * cloning carries; memory in it (bells, rings, metrics, code) is shared, not copied.
 *
 *     main thread                                  subtask's thread
 *       │── workerData: ThreadBirth ──────────────────▶│  starts, loads the engine
 *       │◀──────────────────────── ready ──────────────│  waits: it is a spare
 *       │── run (TaskAssignment) ─────────────────────▶│
 *       │◀───────── initializing · running · line … ───│
 *       │── trigger · completed · aborted ────────────▶│  of a checkpoint
 *       │◀──────── snapshot … acknowledge · decline ───│
 *       │── query ────────────────────────────────────▶│  for the state of a key
 *       │◀──────────────────────── answer ─────────────│
 *       │── profile: on, later off ───────────────────▶│
 *       │◀──────────── profiling, later profiled ──────│
 *       │── cancel ───────────────────────────────────▶│  at any time; the flag of the bell says that a command waits
 *       │◀──────────────────────── ended ──────────────│  the last word, then the thread ends
 *
 * Commands travel on a port of their own, because a task that blocks its thread must be able to take them synchronously. Reports arrive
 * also from a thread that never yields. The bound of the reports: one per state, lines as `console-lines.ts` limits them, and bytes of
 * snapshots up to SNAPSHOT_BYTES, which the main thread takes off the thread's account as they are written.
 */
import type { MessagePort } from "node:worker_threads";
import type { JobVertex } from "../../core/graph/job-graph.ts";
import type { LogLine } from "../../core/graph/job-status.ts";
import type { ProfileFrame } from "../../core/graph/task-profile.ts";
import type { CheckpointAck, CheckpointTrigger } from "../../core/runtime/checkpoint.ts";
import type { WireError } from "../../core/types/errors.ts";
import type { EdgeId } from "../../core/types/ids.ts";
import type { BellDescriptor } from "../exchange/doorbell.ts";
import type { RingDescriptor } from "../exchange/ring-channel.ts";
import type { RestoredState } from "./restored-state.ts";

/** Bytes of snapshots that a thread has handed over and the main thread has not written yet, at the most; one larger piece goes alone. */
export const SNAPSHOT_BYTES: number = 4 * 1024 * 1024;

/** What a thread is born with, before anybody knows which subtask it will run. */
export interface ThreadBirth {
  /** Wakes this thread. */
  readonly bell: BellDescriptor;
  /** Where its commands come from. */
  readonly commands: MessagePort;
  /** `TASK_METRICS_BYTES`, written by the task, read by the main thread. */
  readonly metrics: SharedArrayBuffer;
  /** One Int32: lines that were posted and not yet taken by the main thread. */
  readonly linesOnTheWay: SharedArrayBuffer;
  /** One Int32: 1 while the thread loads modules, as it does at first. */
  readonly loading: SharedArrayBuffer;
  /** One Int32: bytes of snapshots that were posted and are not written yet. */
  readonly snapshotBytesOnTheWay: SharedArrayBuffer;
}

/** One edge of a subtask with its channels as rings, in the order of the subtasks at the other end. */
export interface EdgeRings {
  readonly edge: EdgeId;
  readonly input: 0 | 1;
  readonly rings: readonly RingDescriptor[];
}

/** A thread's share of the heap of its slot. See `slot-heap.ts`. */
export interface HeapShare {
  readonly limitBytes: number;
  readonly uses: SharedArrayBuffer;
  /** Which word of `uses` is this thread's. */
  readonly place: number;
}

/** Everything a thread needs to run one subtask. */
export interface TaskAssignment {
  readonly jobName: string;
  readonly vertex: JobVertex;
  /** Position of the vertex in the job graph: the task spec's position in the code. */
  readonly vertexIndex: number;
  readonly subtask: number;
  readonly attempt: number;
  /** The job's code bundle; shared by all threads that run it. */
  readonly code: SharedArrayBuffer;
  /** Inputs and feeds. */
  readonly inputs: readonly EdgeRings[];
  /** Outputs and results. */
  readonly outputs: readonly EdgeRings[];
  /** The TaskManager's configuration with the job's options on top. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
  readonly heap: HeapShare;
  /** The job has checkpoints. */
  readonly checkpoints: boolean;
  /** Absent: it begins with nothing. */
  readonly restored?: RestoredState;
}

/** What the main thread asks of a thread. */
export type ThreadCommand =
  | { readonly kind: "run"; readonly assignment: TaskAssignment }
  | { readonly kind: "cancel" }
  | { readonly kind: "trigger"; readonly trigger: CheckpointTrigger }
  | { readonly kind: "completed" | "aborted"; readonly checkpoint: number }
  | StateQuestion
  /** Begins or ends to watch where the thread spends its time. */
  | { readonly kind: "profile"; readonly on: boolean };

/** Asks for the state of a key. */
export interface StateQuestion {
  readonly kind: "query";
  /** Names the question in the answer. */
  readonly id: number;
  /** Name of the state. */
  readonly name: string;
  /** The key, encoded as a row. */
  readonly key: Uint8Array;
}

/** What a thread knows of it. */
export interface StateAnswer {
  readonly kind: "answer";
  readonly id: number;
  /** The key is this subtask's, and there is such a state. */
  readonly declared: boolean;
  /** What it holds, encoded as a row; absent: nothing. */
  readonly value?: Uint8Array;
  /** The key can't be one, or the value can't travel. */
  readonly error?: WireError;
}

/** Where a thread spent its time, or why that is not known. */
export interface ThreadProfile {
  readonly kind: "profiled";
  readonly durationMs: number;
  readonly samples: number;
  readonly frames: readonly ProfileFrame[];
  readonly error?: WireError;
}

/** A line of the console, before it is known whose it is. */
export type ConsoleLine = Pick<LogLine, "level" | "text" | "atMs">;

/** What a thread tells about its part of a checkpoint. */
export type CheckpointReport =
  /** The next bytes of its file. */
  | { readonly kind: "snapshot"; readonly checkpoint: number; readonly bytes: Uint8Array }
  | { readonly kind: "acknowledge"; readonly ack: CheckpointAck }
  | { readonly kind: "decline"; readonly checkpoint: number; readonly error: WireError }
  /** It has come to its end and waits for a checkpoint that covers it. */
  | { readonly kind: "requestCheckpoint" };

/** What a thread tells the main thread. */
export type ThreadReport =
  | CheckpointReport
  | { readonly kind: "ready" }
  | { readonly kind: "state"; readonly state: "INITIALIZING" | "RUNNING"; readonly atMs: number }
  | { readonly kind: "line"; readonly line: ConsoleLine }
  | StateAnswer
  /** From now on it is watched where it spends its time. */
  | { readonly kind: "profiling" }
  | ThreadProfile
  | { readonly kind: "ended"; readonly state: "FINISHED" | "CANCELED" | "FAILED"; readonly atMs: number; readonly error?: WireError };

/** `Source: rides -> map (subtask 2 of 4)`: how messages name one subtask. Subtasks are counted from 1 for people. */
export const subtaskName = (vertex: JobVertex, subtask: number): string =>
  `${vertex.name} (subtask ${subtask + 1} of ${vertex.parallelism})`;

/** The file of a subtask's part of a checkpoint; each attempt has its own, so that a late one does no harm. */
export const snapshotFile = ({ vertexIndex, subtask, attempt }: Pick<TaskAssignment, "vertexIndex" | "subtask" | "attempt">): string =>
  `${vertexIndex}-${subtask}.${attempt}`;
