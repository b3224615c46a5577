/** `drey savepoint` and `drey stop`: snapshots of a job that another run can begin with, and their removal. */
import { resolve } from "node:path";
import { place } from "../../core/api/checkpointing.ts";
import { type Command, UsageError, clusterFlags, readArguments, withCluster } from "./command.ts";
import { namedJob } from "./find-job.ts";

const savepointFlags = {
  dispose: { type: "string", short: "d", value: "savepoint", help: "remove this savepoint with its files" },
  ...clusterFlags,
} as const;

/** A place as the JobManager can find it: relative paths are seen from where the command runs. */
export const placeOf = (path: string): string => place(path, (relative) => resolve(relative));

/** `drey savepoint`: takes one, or removes one. */
export const savepointCommand: Command = {
  name: "savepoint",
  summary: "takes a savepoint of a running job, or removes one",
  usage: ["savepoint [-m addr] <jobId> [folder]", "savepoint -d <savepoint> [-m addr]"],
  flags: savepointFlags,
  notes:
    "A savepoint is a folder of its own in the given one, by default in execution.checkpointing.savepoint-dir. `drey run -s <savepoint>` begins\n" +
    "with it. The job goes on; `drey stop` ends it with a savepoint.",
  async run(args) {
    const { values, positionals } = readArguments(args, savepointFlags);
    const [job, folder, ...rest] = positionals;
    const { dispose } = values;
    if (rest.length > 0 || (dispose !== undefined && job !== undefined)) {
      throw new UsageError("`drey savepoint` takes a job id and a folder, or -d with a savepoint.");
    }
    await withCluster(values, async (client) => {
      if (dispose !== undefined) {
        await client.disposeSavepoint(placeOf(dispose));
        process.stdout.write(`Removed savepoint ${placeOf(dispose)}.\n`);
        return;
      }
      const handle = await namedJob(client, job, "savepoint");
      process.stderr.write(`Taking a savepoint of job ${handle.id}.\n`);
      const location = await handle.savepoint(folder === undefined ? undefined : placeOf(folder));
      process.stdout.write(`Savepoint completed. Path: ${location}\n`);
    });
    return 0;
  },
};

const stopFlags = {
  drain: { type: "boolean", short: "d", help: "let all windows and timers fire first; for jobs that shall not be continued" },
  savepointPath: { type: "string", short: "p", value: "folder", help: "where the savepoint goes" },
  ...clusterFlags,
} as const;

/** `drey stop`: ends a job with a savepoint. */
export const stopCommand: Command = {
  name: "stop",
  summary: "ends a job with a savepoint",
  usage: ["stop [-d] [-p folder] [-m addr] <jobId>"],
  flags: stopFlags,
  notes: "If the savepoint does not come about, the job goes on. `drey cancel` ends a job without one.",
  async run(args) {
    const { values, positionals } = readArguments(args, stopFlags);
    const [job, ...rest] = positionals;
    if (rest.length > 0) throw new UsageError("`drey stop` takes one job id.");
    await withCluster(values, async (client) => {
      const handle = await namedJob(client, job, "stop");
      process.stderr.write(`Ending job ${handle.id} with a savepoint.\n`);
      const { savepointPath } = values;
      const location = await handle.stopWithSavepoint({
        drain: values.drain === true,
        ...(savepointPath === undefined ? {} : { folder: placeOf(savepointPath) }),
      });
      process.stdout.write(`Savepoint completed. Path: ${location}\n`);
    });
    return 0;
  },
};
