/** CANCELED: somebody ended the job; no task runs any more. */
import { ended } from "./ended.ts";
import type { StateOfJob } from "./state.ts";

export const canceled: StateOfJob = ended("CANCELED");
