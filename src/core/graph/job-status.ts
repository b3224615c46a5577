/**
 * A running job as people and tools see it: states of the job and of its executions, metrics, log lines. Plain data, the same from
 * every executor; the client, the notebook and the command line draw these objects and nothing else.
 */
import type { WireError } from "../types/errors.ts";
import type { JobId, TaskManagerId, VertexId } from "../types/ids.ts";
import type { JobGraph } from "./job-graph.ts";

/** Every state of a job. */
export const JOB_STATES = ["CREATED", "WAITING", "RUNNING", "FINISHED", "CANCELLING", "CANCELED", "FAILING", "FAILED"] as const;
/** WAITING: for slots (Flink shows CREATED); the others are Flink's. */
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
