/** `drey jobmanager` and `drey taskmanager`: one role in this process, for clusters that are put together by hand. */
import { ConfigurationError } from "../../core/types/errors.ts";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { flagsOf } from "../configuration-file.ts";
import { type Command, type Flag, clusterFlags, clusterOf, configurationOf, integer, readArguments } from "./command.ts";

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
  notes: [
    "Several of them with the same place stand by for one another; the first one leads, and the next takes its jobs up when it is gone:",
    "",
    `  drey jobmanager -a tcp://10.0.0.1:6123 -D${optionsByName.haType.key}=filesystem -D${optionsByName.haDirectory.key}=/shared/ha`,
  ].join("\n"),
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
  notes: [
    "Where several JobManagers stand by for one another, give the addresses of all, or the place in which the leader publishes its own:",
    "",
    "  drey taskmanager -m tcp://10.0.0.1:6123,tcp://10.0.0.2:6123",
    `  drey taskmanager -D${optionsByName.haType.key}=filesystem -D${optionsByName.haDirectory.key}=/shared/ha`,
  ].join("\n"),
  async run(args) {
    const { values } = readArguments(args, taskManagerFlags);
    const slots = integer(values.slots, "-s");
    const given = configurationOf(values).with(Configuration.of({ [optionsByName.taskManagerSlots.key]: slots }, "-s"));
    const address = clusterOf(values, given);
    if (address === undefined) throw new ConfigurationError("a TaskManager needs its JobManager's address; give it with -m.");
    const configuration = given.with(Configuration.of({ [optionsByName.jobManagerAddress.key]: address }, "-m"));
    const { taskManagerMain } = await import("../taskmanager/main.ts");
    await taskManagerMain({ configuration });
    return Number(process.exitCode ?? 0);
  },
};
