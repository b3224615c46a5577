/** CREATED: the job was accepted, and nothing was done for it yet. It leaves at once. */
import { type StateOfJob, stay } from "./state.ts";

export const created: StateOfJob = {
  name: "CREATED",
  enter: () => "WAITING",
  progressed: stay,
  failed: stay,
  cancelled: stay,
  overdue: stay,
};
