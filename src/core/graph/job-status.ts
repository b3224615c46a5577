/**
 * A running job as people and tools see it: states of the job and of its executions, metrics, log lines. Plain data, the same from
 * every executor; the client, the notebook and the command line draw these objects and nothing else.
 */
import type { WireError } from "../types/errors.ts";
import type { JobId, TaskManagerId, VertexId } from "../types/ids.ts";
import type { JobGraph } from "./job-graph.ts";

/** Every state of a job. */
export const JOB_STATES = [
  "CREATED",
  "WAITING",
  "RUNNING",
  "RESTARTING",
  "FINISHED",
  "CANCELLING",
  "CANCELED",
  "FAILING",
  "FAILED",
] as const;
/** WAITING: for slots (Flink shows CREATED); the others are Flink's. RESTARTING: tasks failed, and will start again from a checkpoint. */
export type JobState = (typeof JOB_STATES)[number];
/** True for a state that a job never leaves. */
export const isFinal = (state: JobState): boolean => state === "FINISHED" || state === "CANCELED" || state === "FAILED";

/** Every state of an execution. */
export const TASK_STATES = [
  "CREATED",
  "SCHEDULED",
  "DEPLOYING",
  "INITIALIZING",
  "RUNNING",
  "FINISHED",
  "CANCELING",
  "CANCELED",
  "FAILED",
] as const;
/** Flink's execution states. */
export type TaskState = (typeof TASK_STATES)[number];
/** True for a state that an execution never leaves. */
export const isTaskFinal = (state: TaskState): boolean => state === "FINISHED" || state === "CANCELED" || state === "FAILED";

/** One execution, for people and tools. */
export interface ExecutionInfo {
  readonly vertex: VertexId;
  readonly subtask: number;
  readonly attempt: number;
  readonly state: TaskState;
  readonly taskManager?: TaskManagerId;
  readonly slot?: number;
  /** When each state was entered, milliseconds since the epoch. */
  readonly timestamps: Readonly<Record<string, number>>;
  readonly error?: WireError;
}

/** A job in a line of a list. `tasks`: how many executions are in each state. */
export interface JobSummary {
  readonly job: JobId;
  readonly name: string;
  readonly state: JobState;
  readonly startedAtMs: number;
  /** Present once the job is in a final state. */
  readonly endedAtMs?: number;
  readonly tasks: Readonly<Record<string, number>>;
}

/** A job with its graph and its executions: Flink's ExecutionGraph as data. */
export interface JobDetails extends JobSummary {
  readonly graph: JobGraph;
  readonly executions: readonly ExecutionInfo[];
  /** When each job state was entered, milliseconds since the epoch. */
  readonly timestamps: Readonly<Record<string, number>>;
  /** Why the job waits, e.g. `needs 4 slots, 2 are free`. */
  readonly waitingFor?: string;
  readonly failure?: WireError;
}

/** Every state of a checkpoint, as in Flink. */
export const CHECKPOINT_STATES = ["IN_PROGRESS", "COMPLETED", "FAILED"] as const;
/** IN_PROGRESS until its manifest is durable (COMPLETED), or it was declined, aborted or out of time (FAILED). */
export type CheckpointState = (typeof CHECKPOINT_STATES)[number];

/** What one subtask's part of a checkpoint took. Durations are milliseconds, sizes bytes. */
export interface CheckpointSubtaskInfo {
  readonly vertex: VertexId;
  readonly subtask: number;
  /** From the trigger to the acknowledgement at the JobManager. */
  readonly durationMs: number;
  /** Everything that a restore would read. */
  readonly bytes: number;
  /** What was written for this checkpoint; less than `bytes` when it is incremental. */
  readonly writtenBytes: number;
  /** From the trigger to the first barrier. */
  readonly startDelayMs: number;
  readonly alignmentMs: number;
  /** How long the task stood still. */
  readonly syncMs: number;
  readonly asyncMs: number;
  /** Rows on their way that were stored, when it is unaligned. */
  readonly channelBytes: number;
}

/** One checkpoint or savepoint of a job. */
export interface CheckpointInfo {
  readonly id: number;
  readonly kind: "checkpoint" | "savepoint";
  readonly state: CheckpointState;
  /** Milliseconds since the epoch. */
  readonly triggeredAtMs: number;
  /** From the trigger to its end; absent while it is in progress. */
  readonly durationMs?: number;
  /** Sums over the subtasks that have acknowledged it. */
  readonly bytes: number;
  readonly writtenBytes: number;
  readonly acknowledged: number;
  readonly expected: number;
  /** Where it is stored; for savepoints what `--from` takes. */
  readonly location?: string;
  /** Why it failed. */
  readonly failure?: string;
  /** In the order of acknowledgement. */
  readonly subtasks: readonly CheckpointSubtaskInfo[];
}

/** The checkpoints of a job: numbers since its submission, and the latest ones in detail. */
export interface CheckpointOverview {
  readonly job: JobId;
  readonly completed: number;
  readonly failed: number;
  readonly inProgress: number;
  /** How often the job went back to a checkpoint. */
  readonly restored: number;
  /** The checkpoint or savepoint it last went back to. */
  readonly restoredFrom?: number;
  /** Oldest first, at most 50. */
  readonly latest: readonly CheckpointInfo[];
}

/** Metrics of one subtask: Flink's metric names (see core/runtime/metrics.ts) to values. */
export interface SubtaskMetrics {
  readonly job: JobId;
  readonly vertex: VertexId;
  readonly subtask: number;
  readonly attempt: number;
  readonly slot: number;
  readonly values: Readonly<Record<string, number>>;
}

/** What a TaskManager reports once per metrics interval. */
export interface MetricsReport {
  readonly taskManager: TaskManagerId;
  readonly atMs: number;
  readonly process: Readonly<Record<string, number>>;
  readonly subtasks: readonly SubtaskMetrics[];
}

/** A line that user code wrote to the console. */
export interface LogLine {
  readonly job: JobId;
  readonly vertex: VertexId;
  readonly subtask: number;
  readonly level: "log" | "warn" | "error";
  readonly text: string;
  readonly atMs: number;
}
