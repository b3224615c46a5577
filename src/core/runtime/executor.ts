/**
 * What runs jobs, seen from the program that submits them. Two executors fulfil it: the one-thread executor (local.ts) and the
 * client of a cluster (cluster/client). Everything the user sees of a running job goes through `JobControl`.
 */
import type { CompiledJob } from "../graph/job-graph.ts";
import type { JobDetails, LogLine, MetricsReport } from "../graph/job-status.ts";
import type { JobId } from "../types/ids.ts";

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
}

/** A result as it arrives. */
export interface ResultReader {
  /** The next rows, at least one; null after the last. Rejects with the job's failure. One call at a time. */
  next(): Promise<readonly unknown[] | null>;
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
}

export interface JobExecutor {
  /** Ships the job's code and starts it; resolves when the job is accepted. @throws CaptureError when a function can't be shipped. */
  submit(job: CompiledJob, options: SubmitOptions): Promise<JobControl>;
  /** Ends what belongs to this executor; attached jobs are cancelled. */
  close(): Promise<void>;
}
