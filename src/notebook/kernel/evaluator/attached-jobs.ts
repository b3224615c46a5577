/**
 * The cluster of this notebook and the jobs that its cells wait for, as the kernel itself sees them: through the session and the listener
 * that hang on the process. The kernel must not load the library for it, since the notebook may use a copy of its own.
 */
import { type AwaitedJob, listenToAwaitedJobs } from "../../../core/api/awaited-jobs.ts";
import { isFinal } from "../../../core/graph/job-status.ts";
import type { NotebookSession } from "../../session.ts";
import type { RequestNumber } from "./protocol.ts";
import { presentRequest } from "./running.ts";

const kept = globalThis as { readonly [kept: symbol]: { readonly session: Promise<NotebookSession> } | undefined };
const SESSION = Symbol.for("drey.notebook.session");

/** The session that a cell has started, if one has, and it still runs. */
export async function startedSession(): Promise<NotebookSession | undefined> {
  const session = await kept[SESSION]?.session.catch(() => undefined);
  return session?.cluster.isRunning === true ? session : undefined;
}

/** Has a cell started a session, whatever became of it? */
export const wasStarted = (): boolean => kept[SESSION] !== undefined;

/** Cells whose jobs are remembered: those that may still be interrupted, and some that still say something. */
const MOST_CELLS = 20;
/** Jobs of one cell that are remembered, the newest. */
const MOST_JOBS = 100;
/** A cluster that has not said for so long whether a job runs is not asked to cancel it. */
const ASK_MS = 5_000;

const jobsByCell = new Map<RequestNumber, Map<string, AwaitedJob>>();

/** Remembers from now on which cell waits for which jobs, on whatever cluster they run, or in this process. */
export function rememberAwaitedJobs(): void {
  listenToAwaitedJobs((job) => {
    const request = presentRequest();
    let jobs = jobsByCell.get(request);
    if (jobs === undefined) {
      jobsByCell.set(request, (jobs = new Map()));
      if (jobsByCell.size > MOST_CELLS) jobsByCell.delete(jobsByCell.keys().next().value as RequestNumber);
    }
    jobs.delete(job.id);
    jobs.set(job.id, job);
    if (jobs.size > MOST_JOBS) jobs.delete(jobs.keys().next().value as string);
  });
}

/** The jobs that a cell has submitted attached or waited for, whether they still run or not. */
export const jobsOfCell = (request: RequestNumber): readonly AwaitedJob[] => [...(jobsByCell.get(request)?.values() ?? [])];

/** Those of the jobs that have not ended; a job whose cluster does not answer is none of them. */
export async function unfinished(jobs: readonly AwaitedJob[]): Promise<readonly AwaitedJob[]> {
  const runs = await Promise.all(jobs.map(isRunning));
  return jobs.filter((_job, index) => runs[index]);
}

async function isRunning(job: AwaitedJob): Promise<boolean> {
  let late: NodeJS.Timeout | undefined;
  const silent = new Promise<undefined>((resolve) => (late = setTimeout(resolve, ASK_MS, undefined)));
  const details = await Promise.race([job.details().catch(() => undefined), silent]);
  clearTimeout(late);
  return details !== undefined && !isFinal(details.state);
}

let atOnce = false;

/** Does the first interrupt of a cell cancel the jobs that it waits for? By default the second one does. */
export const cancelsAtOnce = (): boolean => atOnce;

/** Sets what `cancelsAtOnce` says. */
export function cancelAtOnce(on: boolean): void {
  atOnce = on;
}
