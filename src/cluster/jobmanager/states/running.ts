/**
 * RUNNING: all tasks have started, and checkpoints are taken. The job is finished when all tasks are and the last segment of every result
 * is at the JobManager: till then the rest of the results lies in the memory of TaskManagers, which a finished job gives back.
 */
import { MAX_TAIL_MS } from "../result-buffer.ts";
import type { JobMaster } from "../job-master.ts";
import type { StateOfJob } from "./state.ts";
import type { JobState } from "../../../core/graph/job-status.ts";

function finishedAll(job: JobMaster): JobState | undefined {
  if (job.executions.count("FINISHED") < job.executions.size) return undefined;
  job.releaseRows();
  const pending = job.results.filter((result) => !result.ended);
  if (pending.length === 0) return "FINISHED";
  // A reader may take its time, but what has room must come.
  job.wakeIn(pending.some((result) => result.awaitsTail) ? MAX_TAIL_MS : undefined);
  return undefined;
}

export const running: StateOfJob = {
  name: "RUNNING",
  enter(job) {
    job.running();
    return finishedAll(job);
  },
  progressed: finishedAll,
  failed: (job, failure) => job.react(failure),
  cancelled: () => "CANCELLING",
  overdue(job) {
    const missing = job.results.find((result) => !result.ended && result.awaitsTail);
    if (missing === undefined) return finishedAll(job);
    return job.react({ error: missing.tailMissing() });
  },
};
