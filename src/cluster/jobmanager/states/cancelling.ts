/** CANCELLING: somebody wants the job to end. It ends as CANCELED even when its last task finishes or fails meanwhile. */
import type { StateOfJob } from "./state.ts";
import { windingDown } from "./winding-down.ts";

export const cancelling: StateOfJob = windingDown("CANCELLING", "CANCELED");
