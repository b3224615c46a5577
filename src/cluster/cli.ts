#!/usr/bin/env node
/**
 * The command line: `drey <command>`. Words and exit codes are those of Flink's `flink` where it has them: 0 for success, 1 for failure,
 * 130 after ctrl-C. Results go to stdout, everything about them to stderr.
 */
import { cancelCommand } from "./cli/cancel.ts";
import { clusterCommand } from "./cli/cluster.ts";
import { type Command, UsageError, helpText } from "./cli/command.ts";
import { describeFailure } from "./cli/failure.ts";
import { infoCommand } from "./cli/info.ts";
import { kernelCommand } from "./cli/kernel.ts";
import { keysCommand } from "./cli/keys.ts";
import { listCommand } from "./cli/list.ts";
import { rescaleCommand } from "./cli/rescale.ts";
import { jobManagerCommand, taskManagerCommand } from "./cli/role.ts";
import { runCommand } from "./cli/run.ts";
import { savepointCommand, stopCommand } from "./cli/savepoint.ts";
import { VERSION } from "./protocol/version.ts";

const commands: readonly Command[] = [
  runCommand,
  infoCommand,
  listCommand,
  cancelCommand,
  savepointCommand,
  stopCommand,
  rescaleCommand,
  clusterCommand,
  keysCommand,
  jobManagerCommand,
  taskManagerCommand,
  kernelCommand,
];

const overview = (): string =>
  [
    "drey runs stream jobs on a cluster of processes on this machine.",
    "",
    "Usage: drey <command> [options]",
    "",
    ...commands.map(({ name, summary }) => `  ${name.padEnd(14)}${summary}`),
    "",
    "`drey <command> --help` says more. `drey --version` prints the version.",
    "",
    "Options of the engine come from drey.yaml or conf/config.yaml (or $DREY_CONF_DIR/config.yaml), then from environment variables",
    "(DREY_TASKMANAGER_NUMBEROFTASKSLOTS), then from flags (-Dtaskmanager.numberOfTaskSlots=4); later ones win.",
    "`drey --options` lists them.",
  ].join("\n");

/** Runs the command that the arguments name. @returns its exit code. */
async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    const topic = name === "help" ? commands.find((command) => command.name === rest[0]) : undefined;
    process.stdout.write(`${topic === undefined ? overview() : helpText(topic)}\n`);
    return name === undefined ? 1 : 0;
  }
  if (name === "--version" || name === "-v") {
    process.stdout.write(`drey ${VERSION}\n`);
    return 0;
  }
  if (name === "--options") {
    const { optionsText } = await import("./cli/options-text.ts");
    process.stdout.write(`${optionsText()}\n`);
    return 0;
  }
  const command = commands.find((it) => it.name === name);
  if (command === undefined)
    throw new UsageError(`there is no command "${name}"; the commands are ${commands.map((it) => it.name).join(", ")}.`);
  if (rest[0] === "--help" || rest[0] === "-h") {
    process.stdout.write(`${helpText(command)}\n`);
    return 0;
  }
  return command.run(rest);
}

main(process.argv.slice(2)).then(
  (code) => {
    // A program that is through may have set something going. One that failed is over, whatever it left running.
    if (code === 0) process.exitCode = 0;
    else process.exit(code);
  },
  (error: unknown) => {
    process.stderr.write(`${describeFailure(error)}\n`);
    process.exit(1);
  },
);
