/** What the final states have in common: the job gives its slots and its checkpoints back, and nothing matters any more. */
import { type StateOfJob, stay } from "./state.ts";

export function ended(name: "FINISHED" | "CANCELED" | "FAILED"): StateOfJob {
  return {
    name,
    enter(job) {
      job.ended(name);
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
