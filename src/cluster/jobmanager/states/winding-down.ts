/**
 * What CANCELLING and FAILING have in common: no task goes on. Tasks that never started end here and now; the others are told, again and
 * again as messages can get lost, until each has reported its end. A TaskManager ends the threads of tasks that don't listen after
 * `task.cancellation.timeout`; a task that has not reported long after that is declared lost, so a job always ends.
 */
import type { JobState } from "../../../core/graph/job-status.ts";
import type { JobMaster } from "../job-master.ts";
import { type StateOfJob, stay } from "./state.ts";

/** How often tasks are told to end. */
const REPEAT_MS = 2_000;

/** @param then where the job is when no task runs any more. */
export function windingDown(name: JobState, then: JobState): StateOfJob {
  const settled = (job: JobMaster): JobState | undefined => (job.executions.alive.length === 0 ? then : undefined);
  return {
    name,
    enter(job) {
      job.suspendCheckpoints();
      job.cancelTasks();
      job.wakeIn(REPEAT_MS);
      return settled(job);
    },
    progressed: settled,
    failed: settled,
    cancelled: stay,
    overdue(job) {
      if (job.inStateMs >= job.cancellationDeadlineMs) job.loseTasks();
      else job.cancelTasks();
      job.wakeIn(REPEAT_MS);
      return settled(job);
    },
  };
}
