/** `drey jobmanager` and `drey taskmanager`: one role in this process, for clusters that are put together by hand. */
import { ConfigurationError } from "../../core/types/errors.ts";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { flagsOf } from "../configuration-file.ts";
import { findCluster } from "../local/program-cluster.ts";
import { type Command, type Flag, clusterFlags, configurationOf, integer, readArguments } from "./command.ts";

const jobManagerFlags = {
  address: {
    type: "string",
    short: "a",
    value: "addr",
    help: "where to listen: tcp://127.0.0.1:port or ipc:///path; default: a private ipc:// address",
  },
  config: clusterFlags.config,
  D: clusterFlags.D,
} as const satisfies Readonly<Record<string, Flag>>;

/** `drey jobmanager`: a JobManager in this process. */
export const jobManagerCommand: Command = {
  name: "jobmanager",
  summary: "runs a JobManager in this process",
  usage: ["jobmanager [-a addr] [-Dkey=value …]"],
  flags: jobManagerFlags,
  async run(args) {
    const { values } = readArguments(args, jobManagerFlags);
    const given = values.address === undefined ? {} : { [optionsByName.jobManagerAddress.key]: values.address };
    const configuration = configurationOf(values).with(Configuration.of(given, "-a"));
    // Loaded here, so that other commands don't load a JobManager.
    const { jobManagerMain } = await import("../jobmanager/main.ts");
    process.title = "drey jobmanager";
    return jobManagerMain(flagsOf(configuration));
  },
};

const taskManagerFlags = {
  slots: { type: "string", short: "s", value: "n", help: "slots of this TaskManager" },
  ...clusterFlags,
} as const satisfies Readonly<Record<string, Flag>>;

/** `drey taskmanager`: a TaskManager in this process, which looks for its JobManager. */
export const taskManagerCommand: Command = {
  name: "taskmanager",
  summary: "runs a TaskManager in this process",
  usage: ["taskmanager [-m addr] [-s slots] [-Dkey=value …]"],
  flags: taskManagerFlags,
  async run(args) {
    const { values } = readArguments(args, taskManagerFlags);
    const slots = integer(values.slots, "-s");
    const given = configurationOf(values).with(Configuration.of({ [optionsByName.taskManagerSlots.key]: slots }, "-s"));
    const address = values.jobmanager ?? findCluster(given);
    if (address === undefined) throw new ConfigurationError("a TaskManager needs its JobManager's address; give it with -m.");
    const configuration = given.with(Configuration.of({ [optionsByName.jobManagerAddress.key]: address }, "-m"));
    const { taskManagerMain } = await import("../taskmanager/main.ts");
    await taskManagerMain({ configuration });
    return Number(process.exitCode ?? 0);
  },
};
