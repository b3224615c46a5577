/** `drey cluster`: a cluster on this machine that stays in the background. */
import { formatDuration } from "../../core/types/duration.ts";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { ClusterClient } from "../client/cluster-client.ts";
import { startBackgroundCluster, stopBackgroundCluster } from "../local/background-cluster.ts";
import { LocalCluster } from "../local/mini-cluster.ts";
import { DEFAULT_CLUSTER, readCluster } from "../local/running-clusters.ts";
import type { ClusterOverview } from "../protocol/cluster-overview.ts";
import { CONNECT_MS, type Command, type Flag, UsageError, clusterFlags, configurationOf, integer, readArguments } from "./command.ts";
import { jobsText } from "./list.ts";
import { plainText, table } from "./table.ts";

const flags = {
  taskmanagers: { type: "string", short: "t", value: "n", help: "start: number of TaskManagers, default 2 (also -tm n)" },
  slots: { type: "string", short: "s", value: "n", help: "start: slots of each TaskManager" },
  name: { type: "string", short: "n", value: "name", help: "which cluster, where there are several" },
  foreground: { type: "boolean", help: "start: stay, and end the cluster with ctrl-C" },
  json: { type: "boolean", help: "status: as JSON" },
  config: clusterFlags.config,
  D: clusterFlags.D,
} as const satisfies Readonly<Record<string, Flag>>;

export const clusterCommand: Command = {
  name: "cluster",
  summary: "starts, stops or shows a cluster on this machine",
  usage: [
    "cluster start [-tm n] [-s slots] [--name name] [--foreground] [-Dkey=value …]",
    "cluster stop [--name name]",
    "cluster status [--name name] [--json]",
  ],
  flags,
  notes:
    "Programs and commands find the cluster without an address. Its logs and sockets are in $DREY_RUNTIME_DIR, else in\n" +
    "$XDG_RUNTIME_DIR/drey or $TMPDIR/drey-<uid>.",
  async run(args) {
    const { values, positionals } = readArguments(
      args.map((arg) => (arg === "-tm" ? "--taskmanagers" : arg)),
      flags,
    );
    const [what] = positionals;
    if (what === undefined) throw new UsageError("`drey cluster` needs one of start, stop and status.");
    if (positionals.length > 1) throw new UsageError(`\`drey cluster ${what}\` takes flags only, not ${JSON.stringify(positionals[1])}.`);
    const name = values.name ?? DEFAULT_CLUSTER;
    switch (what) {
      case "start": {
        const slots = integer(values.slots, "-s");
        const configuration = configurationOf(values).with(Configuration.of({ [optionsByName.taskManagerSlots.key]: slots }, "-s"));
        const taskManagers = integer(values.taskmanagers, "-tm", 0) ?? 2;
        return values.foreground === true ? foreground(taskManagers, configuration) : start(name, taskManagers, configuration);
      }
      case "stop": {
        const stopped = await stopBackgroundCluster(name);
        process.stdout.write(stopped ? `The cluster "${name}" is stopped.\n` : `No cluster "${name}" runs here.\n`);
        return stopped ? 0 : 1;
      }
      case "status":
        return status(name, values.json === true);
      default:
        throw new UsageError(`"${what}" is not one of start, stop and status.`);
    }
  },
};

async function start(name: string, taskManagers: number, configuration: Configuration): Promise<number> {
  const cluster = await startBackgroundCluster({ name, taskManagers, configuration });
  const slots = taskManagers * configuration.get(optionsByName.taskManagerSlots);
  process.stderr.write(
    `The cluster "${name}" runs: a JobManager (process ${cluster.jobManager}), ` +
      `${taskManagers} TaskManagers (${cluster.taskManagers.join(", ") || "none"}), ${slots} slots.\n`,
  );
  process.stdout.write(`${cluster.address}\n`);
  return 0;
}

async function foreground(taskManagers: number, configuration: Configuration): Promise<number> {
  const cluster = await LocalCluster.start({ taskManagers, options: configuration.toRecord() });
  process.stdout.write(`${cluster.address}\n`);
  process.stderr.write("The cluster runs until ctrl-C.\n");
  await new Promise<void>((resolve) => {
    const staying = setInterval(() => undefined, 60_000);
    const end = (): void => {
      clearInterval(staying);
      resolve();
    };
    process.once("SIGINT", end);
    process.once("SIGTERM", end);
  });
  await cluster.stop();
  return 0;
}

async function status(name: string, asJson: boolean): Promise<number> {
  const cluster = readCluster(name);
  if (cluster === undefined) {
    process.stdout.write(`No cluster "${name}" runs here.\n`);
    return 1;
  }
  const client = await ClusterClient.connect(cluster.address, { connectDeadlineMs: CONNECT_MS });
  try {
    const overview = await client.overview();
    process.stdout.write(asJson ? `${JSON.stringify(overview, null, 2)}\n` : statusText(name, overview));
  } finally {
    await client.close();
  }
  return 0;
}

function statusText(
  name: string,
  { address, pid, version, startedAtMs, slotsFree, slotsTotal, taskManagers, jobs }: ClusterOverview,
): string {
  return [
    `The cluster "${name}" runs at ${address} for ${formatDuration(Date.now() - startedAtMs)}: ` +
      `drey ${version}, JobManager process ${pid}, ${slotsFree} of ${slotsTotal} slots free.\n`,
    "\n",
    table(
      ["TaskManager", "Process", "Slots", "Last heard", "Runs"],
      taskManagers.map((it) => [
        plainText(it.taskManager),
        `${it.pid}`,
        `${it.slots.filter((slot) => slot.job === undefined).length} of ${it.slots.length} free`,
        `${formatDuration(it.silentMs)} ago`,
        plainText([...new Set(it.slots.map((slot) => slot.jobName).filter((job) => job !== undefined))].join(", ")),
      ]),
    ),
    ...(jobs.length === 0 ? [] : ["\n", jobsText(jobs, Date.now())]),
  ].join("");
}
