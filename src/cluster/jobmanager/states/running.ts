/**
 * RUNNING: all tasks have started. The job is finished when all tasks are and the last segment of every result is at the JobManager: till
 * then the rest of the results lies in the memory of TaskManagers, which a finished job gives back.
 */
import { MAX_TAIL_MS } from "../result-buffer.ts";
import type { JobMaster } from "../job-master.ts";
import type { StateOfJob } from "./state.ts";
import type { JobState } from "../../../core/graph/job-status.ts";

function finishedAll(job: JobMaster): JobState | undefined {
  if (job.executions.count("FINISHED") < job.executions.size) return undefined;
  const pending = job.results.filter((result) => !result.ended);
  if (pending.length === 0) return "FINISHED";
  // A reader may take its time, but what has room must come.
  job.wakeIn(pending.some((result) => result.awaitsTail) ? MAX_TAIL_MS : undefined);
  return undefined;
}

export const running: StateOfJob = {
  name: "RUNNING",
  enter: finishedAll,
  progressed: finishedAll,
  failed(job, failure) {
    job.recordFailure(failure);
    return "FAILING";
  },
  cancelled: () => "CANCELLING",
  overdue(job) {
    const missing = job.results.find((result) => !result.ended && result.awaitsTail);
    if (missing === undefined) return finishedAll(job);
    job.recordFailure({ error: missing.tailMissing() });
    return "FAILING";
  },
};
