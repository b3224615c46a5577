/** A cluster as people and tools see it: its TaskManagers, their slots, and who sits in them. Plain data. */
import type { JobSummary, TaskState } from "../../core/graph/job-status.ts";
import type { JobId, TaskManagerId, VertexId } from "../../core/types/ids.ts";

/** One slot, for people and tools. */
export interface SlotInfo {
  readonly slot: number;
  readonly job?: JobId;
  readonly jobName?: string;
  readonly tasks: readonly { readonly vertex: VertexId; readonly name: string; readonly subtask: number; readonly state: TaskState }[];
}

/** One TaskManager, for people and tools. */
export interface TaskManagerInfo {
  readonly taskManager: TaskManagerId;
  readonly host: string;
  readonly pid: number;
  readonly dataAddress: string;
  readonly registeredAtMs: number;
  /** Milliseconds since its last heartbeat, seen from the JobManager. */
  readonly silentMs: number;
  readonly slotHeapBytes: number;
  readonly slots: readonly SlotInfo[];
  readonly process: Readonly<Record<string, number>>;
}

/** A cluster at a glance: its TaskManagers with their slots, and its jobs. */
export interface ClusterOverview {
  readonly version: string;
  readonly pid: number;
  readonly address: string;
  readonly startedAtMs: number;
  readonly slotsTotal: number;
  readonly slotsFree: number;
  readonly taskManagers: readonly TaskManagerInfo[];
  readonly jobs: readonly JobSummary[];
}
