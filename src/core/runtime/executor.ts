/**
 * What runs jobs, seen from the program that submits them. Two executors fulfil it: the one-thread executor (local.ts) and the
 * client of a cluster (cluster/client). Everything the user sees of a running job goes through `JobControl`.
 */
import type { CompiledJob } from "../graph/job-graph.ts";
import type { CheckpointOverview, JobDetails, LogLine, MetricsReport } from "../graph/job-status.ts";
import type { TaskProfile } from "../graph/task-profile.ts";
import type { JobId, VertexId } from "../types/ids.ts";

/** Rows that a client sends into a job. The executor asks for rows only when the job has room for them. */
export interface RowFeed {
  /** Up to `max` rows, at least one; null at the end. A rejection fails the job with that error. */
  next(max: number): Promise<readonly unknown[] | null>;
  /** No more rows are wanted: the job ended. */
  close(): void;
}

/** What goes with a job besides its graph. */
export interface SubmitOptions {
  /** The job is cancelled when its client ends or loses its connection. */
  readonly attached: boolean;
  /** Where the rows of each feed of the graph come from, by name. */
  readonly feeds: ReadonlyMap<string, RowFeed>;
  /** Classes of records that no function of the job mentions. */
  readonly classes: readonly (new (...args: never) => unknown)[];
  /** The job goes on from what another run left. */
  readonly from?: SavepointStart;
}

/** Where a job begins that goes on from another run. */
export interface SavepointStart {
  /** Place of a savepoint or of a retained checkpoint. */
  readonly savepoint: string;
  /** State of operators that the job has no more is left behind; else it is an error. */
  readonly allowNonRestoredState: boolean;
}

/** A result as it arrives. */
export interface ResultReader {
  /** The next rows, at least one; null after the last. Rejects with the job's failure. One call at a time. */
  next(): Promise<readonly unknown[] | null>;
  /** How many rows at the start of those that `next` gave last may have come before, since their task restarted. Absent: none ever. */
  readonly repeated?: number;
  /**
   * Stops reading; rows that were not read stay with the job, for the next reader.
   * @param unread how many of the rows that `next` gave last were not taken; default 0.
   */
  close(unread?: number): void;
}

/** What a listener is told. `status` comes at once with the present state, the others as they are reported. */
export interface JobListener {
  readonly status?: (details: JobDetails) => void;
  readonly metrics?: (report: MetricsReport) => void;
  readonly log?: (lines: readonly LogLine[]) => void;
  /** At once, and on every change. */
  readonly checkpoints?: (overview: CheckpointOverview) => void;
  /** The connection is lost for good; nothing more will be told. */
  readonly lost?: (error: Error) => void;
  /** This program has closed its executor, so nothing more will be told. Absent: `lost` is called instead. */
  readonly closed?: () => void;
}

/** One submitted job. */
export interface JobControl {
  readonly id: JobId;
  readonly name: string;
  details(): Promise<JobDetails>;
  /** Asks for cancellation; resolves when the request is accepted, not when the job has ended. */
  cancel(): Promise<void>;
  /** @returns ends the listening. */
  watch(listener: JobListener): () => void;
  /** @throws NotFoundError when the job has no such result. */
  openResult(name: string): Promise<ResultReader>;
  metricsHistory(): Promise<readonly MetricsReport[]>;
  /**
   * What the job holds in a keyed state for a key; undefined: nothing. Absent: state can't be asked for there.
   * @throws NotFoundError when no running task has such a state.
   */
  queryState?(name: string, key: unknown): Promise<unknown>;
  /** Watches for so long where the thread of a subtask spends its time. Absent: nobody can there. */
  profile?(vertex: VertexId, subtask: number, durationMs: number): Promise<TaskProfile>;
  /** Absent: nobody can ask for checkpoints there. */
  readonly snapshots?: SnapshotControl;
}

/** What can be asked of a job that takes checkpoints. Each rejects with a CheckpointError when it does not come about. */
export interface SnapshotControl {
  overview(): Promise<CheckpointOverview>;
  /** Takes a checkpoint now. @returns its number, once it is complete. */
  trigger(): Promise<number>;
  /** Takes a savepoint; the job goes on. @param target a folder to put it in; default: the cluster's. @returns its place. */
  savepoint(target?: string): Promise<string>;
  /** Ends the job with a savepoint. `drain`: all windows fire before. @returns its place, when the job has finished. */
  stop(how: { readonly drain: boolean; readonly target?: string }): Promise<string>;
  /** Lets it go on at another parallelism; resolves when all tasks run again. */
  rescale(parallelism: number): Promise<void>;
}

export interface JobExecutor {
  /** Ships the job's code and starts it; resolves when the job is accepted. @throws CaptureError when a function can't be shipped. */
  submit(job: CompiledJob, options: SubmitOptions): Promise<JobControl>;
  /** Ends what belongs to this executor; attached jobs are cancelled. */
  close(): Promise<void>;
}
