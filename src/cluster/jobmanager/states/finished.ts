/** FINISHED: all tasks came to the end of their input, and all rows of the results are at the JobManager, or were read. */
import { ended } from "./ended.ts";
import type { StateOfJob } from "./state.ts";

export const finished: StateOfJob = ended("FINISHED");
