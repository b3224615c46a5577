/** `drey rescale`: another parallelism for a running job. */
import { type Command, UsageError, clusterFlags, integer, readArguments, withCluster } from "./command.ts";
import { namedJob } from "./find-job.ts";

const flags = { ...clusterFlags } as const;

export const rescaleCommand: Command = {
  name: "rescale",
  summary: "runs a job at another parallelism",
  usage: ["rescale [-m addr] <jobId> <parallelism>"],
  flags,
  notes: "The job stops with a snapshot of its state and goes on from it. Operators whose parallelism the program set keep theirs.",
  async run(args) {
    const { values, positionals } = readArguments(args, flags);
    const [job, text, ...rest] = positionals;
    const parallelism = integer(text, "`drey rescale`");
    if (parallelism === undefined || rest.length > 0) throw new UsageError("`drey rescale` needs a job id and a parallelism.");
    await withCluster(values, async (client) => {
      const handle = await namedJob(client, job, "rescale");
      await handle.rescale(parallelism);
      process.stdout.write(`Job ${handle.id} runs at parallelism ${parallelism}.\n`);
    });
    return 0;
  },
};
