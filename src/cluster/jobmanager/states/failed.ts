/** FAILED: the job failed; no task runs any more. `failure` of its details says why. */
import { ended } from "./ended.ts";
import type { StateOfJob } from "./state.ts";

export const failed: StateOfJob = ended("FAILED");
