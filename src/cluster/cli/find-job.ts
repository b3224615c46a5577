/** How commands name one job of a cluster: by its id, or so much of its beginning as no other job's id begins with. */
import { NotFoundError } from "../../core/types/errors.ts";
import type { JobId } from "../../core/types/ids.ts";
import { JobHandle } from "../../core/api/job-handle.ts";
import type { ClusterClient } from "../client/cluster-client.ts";
import { UsageError } from "./command.ts";

/** The id of the only job whose id begins so. @throws NotFoundError when there is none or more than one. */
export async function findJob(client: ClusterClient, text: string): Promise<JobId> {
  const found = (await client.jobs()).map(({ job }) => job).filter((id) => id.startsWith(text.toLowerCase()));
  if (found.length === 1) return found[0] as JobId;
  throw new NotFoundError(
    found.length === 0
      ? `there is no job ${text} on the cluster at ${client.address}; \`drey list -a\` shows all jobs.`
      : `${found.length} jobs have ids that begin with ${text}; give more of the id.`,
  );
}

/** The job that a command's first argument names. @throws UsageError without one; NotFoundError. */
export async function namedJob(client: ClusterClient, text: string | undefined, command: string): Promise<JobHandle> {
  if (text === undefined) throw new UsageError(`\`drey ${command}\` needs a job id; \`drey list\` shows them.`);
  return new JobHandle(await client.job(await findJob(client, text)));
}
