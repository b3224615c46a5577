/**
 * RESTARTING: tasks failed. They and those that exchange rows with them end, and begin again from the last checkpoint when all of them
 * have, the restart strategy's delay is over, and it is certain which checkpoint is the last. Other regions go on. Tasks are told to end
 * as in CANCELLING; a TaskManager that does not report their end in time is told to end itself, so that no two attempts of a task run.
 */
import type { JobState } from "../../../core/graph/job-status.ts";
import type { JobMaster } from "../job-master.ts";
import type { StateOfJob } from "./state.ts";

/** How often tasks are told to end. */
const REPEAT_MS = 2_000;

function cleared(job: JobMaster): JobState | undefined {
  if (job.isClear && job.restartInMs === 0) {
    job.beginAnew();
    return "WAITING";
  }
  job.wakeIn(job.isClear ? job.restartInMs : REPEAT_MS);
  return undefined;
}

export const restarting: StateOfJob = {
  name: "RESTARTING",
  enter(job) {
    job.suspendCheckpoints();
    job.cancelTasks();
    return cleared(job);
  },
  progressed: cleared,
  failed(job, failure) {
    const next = job.alsoFailed(failure);
    if (next !== undefined) return next;
    job.cancelTasks();
    return cleared(job);
  },
  cancelled: () => "CANCELLING",
  overdue(job) {
    if (!job.isClear) {
      if (job.inStateMs >= job.cancellationDeadlineMs) job.loseTasks();
      else job.cancelTasks();
    }
    return cleared(job);
  },
};
