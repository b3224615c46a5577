/**
 * WAITING: for slots, up to `slot.request.timeout`; then, with slots, for all tasks to run. A short task may have finished before
 * another begins; it has run all the same. A job that restarts lacks only the slots of TaskManagers that were lost.
 */
import { formatDuration } from "../../../core/types/duration.ts";
import { DeadlineError } from "../../../core/types/errors.ts";
import type { StateOfJob } from "./state.ts";

export const waiting: StateOfJob = {
  name: "WAITING",
  enter(job) {
    job.wakeIn(job.slotTimeoutMs);
    job.deploy();
    return undefined;
  },
  progressed(job) {
    return job.executions.count("RUNNING", "FINISHED") === job.executions.size ? "RUNNING" : undefined;
  },
  failed: (job, failure) => job.react(failure),
  cancelled: () => "CANCELLING",
  overdue(job) {
    // Once it has slots the tasks report by themselves, and each call to a TaskManager has its own deadline.
    if (!job.wantsSlots) return undefined;
    return job.giveUp({
      error: new DeadlineError(
        `job ${JSON.stringify(job.name)} waited ${formatDuration(job.slotTimeoutMs)} (slot.request.timeout) for slots: ` +
          `it ${job.waitingFor ?? "got none"}. ` +
          "Start more TaskManagers, give them more slots, or lower the job's parallelism.",
      ),
    });
  },
};
