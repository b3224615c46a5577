/** FAILING: something failed for good, so the tasks that still run are cancelled. Failures that follow from that are not the job's. */
import type { StateOfJob } from "./state.ts";
import { windingDown } from "./winding-down.ts";

export const failing: StateOfJob = windingDown("FAILING", "FAILED");
