/**
 * Jobs that a program waits for, told to whoever runs the program piece by piece: a notebook's kernel that interrupts a cell has to know
 * which jobs the cell was waiting for, wherever they run. Outside of such a place nobody listens and nothing is kept.
 *
 * The listener hangs on the process and not on this module: a notebook may use another copy of the package than its kernel.
 */
import type { JobControl } from "../runtime/executor.ts";

/** What is asked of a job that is waited for. */
export type AwaitedJob = Pick<JobControl, "id" | "name" | "details" | "cancel">;

const LISTENER = Symbol.for("drey.jobs.awaited");
const kept = globalThis as { [LISTENER]?: (job: AwaitedJob) => void };

/** From now on `listener` is told of each job that is submitted attached or waited for, in the asynchronous context of who does so. */
export function listenToAwaitedJobs(listener: (job: AwaitedJob) => void): void {
  kept[LISTENER] = listener;
}

/** The present code waits for this job, or will be cancelled with it. Cheap; may be told again. */
export function tellAwaited(job: AwaitedJob): void {
  kept[LISTENER]?.(job);
}
