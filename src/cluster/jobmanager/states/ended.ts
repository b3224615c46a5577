/** What the final states have in common: the job gives its slots back, and nothing matters any more. */
import type { JobState } from "../../../core/graph/job-status.ts";
import { type StateOfJob, stay } from "./state.ts";

export function ended(name: JobState): StateOfJob {
  return {
    name,
    enter(job) {
      job.release();
      return undefined;
    },
    progressed: stay,
    failed: stay,
    cancelled: stay,
    overdue(job) {
      job.release();
      return undefined;
    },
  };
}
