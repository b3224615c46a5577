/** `drey list`: the jobs of a cluster. */
import { type JobSummary, isFinal } from "../../core/graph/job-status.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { type Command, UsageError, clusterFlags, readArguments, withCluster } from "./command.ts";
import { plainText, table } from "./table.ts";

const flags = {
  running: { type: "boolean", short: "r", help: "jobs that run" },
  scheduled: { type: "boolean", short: "s", help: "jobs that wait for slots" },
  all: { type: "boolean", short: "a", help: "finished, canceled and failed jobs too" },
  json: { type: "boolean", help: "as JSON" },
  ...clusterFlags,
} as const;

export const listCommand: Command = {
  name: "list",
  summary: "lists jobs",
  usage: ["list [-r] [-s] [-a] [--json] [-m addr]"],
  flags,
  notes: "Without -r, -s and -a: jobs that run or wait.",
  async run(args) {
    const { values, positionals } = readArguments(args, flags);
    if (positionals.length > 0) throw new UsageError(`\`drey list\` takes flags only, not ${JSON.stringify(positionals[0])}.`);
    const waits = ({ state }: JobSummary): boolean => state === "CREATED" || state === "WAITING";
    const wanted = (job: JobSummary): boolean => {
      if (values.all === true) return true;
      if (isFinal(job.state)) return false;
      return (values.running !== true && values.scheduled !== true) || (waits(job) ? values.scheduled === true : values.running === true);
    };
    const jobs = (await withCluster(values, (client) => client.jobs())).filter(wanted);
    if (values.json === true) process.stdout.write(`${JSON.stringify(jobs, null, 2)}\n`);
    else
      process.stdout.write(
        jobs.length === 0 ? `There are no ${kindsOf(values)}jobs.\n` : jobsText(jobs, Date.now()),
      );
    return 0;
  },
};

/** The jobs that were asked for, before the word "jobs". */
function kindsOf({
  all,
  running,
  scheduled,
}: {
  readonly all?: boolean;
  readonly running?: boolean;
  readonly scheduled?: boolean;
}): string {
  if (all === true) return "";
  if (running === scheduled) return "running or waiting ";
  return running === true ? "running " : "waiting ";
}

/** Jobs as a table. */
export function jobsText(jobs: readonly JobSummary[], nowMs: number): string {
  return table(
    ["JobID", "State", "Started", "Duration", "Tasks", "Name"],
    jobs.map(({ job, name, state, startedAtMs, endedAtMs, tasks }) => [
      job,
      state,
      `${new Date(startedAtMs).toISOString().slice(0, 19)}Z`,
      formatDuration(Math.max(0, (endedAtMs ?? nowMs) - startedAtMs)),
      Object.entries(tasks)
        .filter(([, count]) => count > 0)
        .map(([taskState, count]) => `${count} ${taskState.toLowerCase()}`)
        .join(", "),
      plainText(name),
    ]),
  );
}
