/**
 * The cluster of this notebook and its jobs, as the kernel itself sees them: through the session that hangs on the process. The kernel
 * must not load the library for it, since the notebook may use a copy of its own.
 */
import type { JobSummary } from "../../../core/graph/job-status.ts";
import { isFinal } from "../../../core/graph/job-status.ts";
import type { JobId } from "../../../core/types/ids.ts";
import type { NotebookSession } from "../../session.ts";

/** The session that a cell has started, if one has, and it still runs. */
export async function startedSession(): Promise<NotebookSession | undefined> {
  const kept = globalThis as { readonly [kept: symbol]: { readonly session: Promise<NotebookSession> } | undefined };
  const session = await kept[Symbol.for("drey.notebook.session")]?.session.catch(() => undefined);
  return session?.cluster.isRunning === true ? session : undefined;
}

/** Jobs of the notebook's cluster that have not ended; none where no cluster was started. */
export async function runningJobs(): Promise<readonly JobSummary[]> {
  const jobs = (await (await startedSession())?.client.jobs()) ?? [];
  return jobs.filter(({ state }) => !isFinal(state));
}

/** Cancels a job of the notebook's cluster. @throws NotFoundError when it has none of that id. */
export async function cancelJob(id: JobId): Promise<void> {
  const session = await startedSession();
  await (await session?.client.job(id))?.cancel();
}
