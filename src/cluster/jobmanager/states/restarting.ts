/** RESTARTING: tasks failed; they and those that exchange rows with them end, and then start again from the last checkpoint. */
import { type StateOfJob, stay } from "./state.ts";

export const restarting: StateOfJob = {
  name: "RESTARTING",
  enter: stay,
  progressed: stay,
  failed(job, failure) {
    job.recordFailure(failure);
    return "FAILING";
  },
  cancelled: () => "CANCELLING",
  overdue: stay,
};
