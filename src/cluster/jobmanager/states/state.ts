/**
 * What a state of a job is: how the job reacts while it is in it. A state answers each thing that can happen with the state to go to, or
 * undefined to stay. It acts through its job only; who may follow whom stands in `index.ts`, and the job checks it.
 */
import type { JobState } from "../../../core/graph/job-status.ts";
import type { Failure, JobMaster } from "../job-master.ts";

export interface StateOfJob {
  readonly name: JobState;
  /** The job has just come here. */
  enter(job: JobMaster): JobState | undefined;
  /** Slots were assigned, a task went further (not to FAILED), or the end of a result arrived. */
  progressed(job: JobMaster): JobState | undefined;
  /** A task failed, or something else that the job can't go on without. */
  failed(job: JobMaster, failure: Failure): JobState | undefined;
  /** Somebody wants the job to end. */
  cancelled(job: JobMaster): JobState | undefined;
  /** The time that the state set by `job.wakeIn` has come. */
  overdue(job: JobMaster): JobState | undefined;
}

/** For what makes no difference in a state. */
export const stay = (): undefined => undefined;
