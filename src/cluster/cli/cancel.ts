/** `drey cancel`: ends a job. */
import { isFinal, type JobDetails } from "../../core/graph/job-status.ts";
import type { JobControl } from "../../core/runtime/executor.ts";
import { DeadlineError } from "../../core/types/errors.ts";
import { type Command, UsageError, clusterFlags, readArguments, withCluster } from "./command.ts";
import { findJob } from "./find-job.ts";

const flags = { ...clusterFlags } as const;
/** How long the job may take to end. */
const END_TIMEOUT_MS = 30_000;

export const cancelCommand: Command = {
  name: "cancel",
  summary: "cancels a job",
  usage: ["cancel [-m addr] <jobId>"],
  flags,
  notes: "The beginning of a job's id suffices where no other job's id begins so.",
  async run(args) {
    const { values, positionals } = readArguments(args, flags);
    const [text] = positionals;
    if (text === undefined || positionals.length > 1) throw new UsageError("`drey cancel` needs one job id; `drey list` shows them.");
    await withCluster(values, async (client) => {
      const id = await findJob(client, text);
      const job = await client.job(id);
      const { state: before } = await job.details();
      if (!isFinal(before)) await job.cancel();
      const { state } = await untilFinal(job, END_TIMEOUT_MS);
      const cancelled = state === "CANCELED" && !isFinal(before);
      process.stdout.write(cancelled ? `Cancelled job ${id}.\n` : `Job ${id} had ended before: it is ${state}.\n`);
    });
    return 0;
  },
};

/** Waits until a job has ended. @throws DeadlineError after `timeoutMs`; ConnectionError when the cluster is lost. */
export function untilFinal(job: JobControl, timeoutMs: number): Promise<JobDetails> {
  return new Promise((resolve, reject) => {
    const done = (act: () => void): void => {
      clearTimeout(timer);
      stop();
      act();
    };
    const timer = setTimeout(
      () => done(() => reject(new DeadlineError(`job ${job.id} has not ended after ${timeoutMs / 1_000} s.`))),
      timeoutMs,
    );
    const stop = job.watch({
      status: (details) => {
        if (isFinal(details.state)) done(() => resolve(details));
      },
      lost: (error) => done(() => reject(error)),
    });
  });
}
