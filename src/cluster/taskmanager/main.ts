/**
 * The process of a TaskManager. It is ready when the JobManager has registered it; it ends when it is told to (a signal, the JobManager's
 * `shutdown`, the end of the parent that owns it), or when it is of no use any more, and leaves no thread, socket or file behind.
 */
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { Configuration, options } from "../../core/types/options.ts";
import { leaveSocketFolder } from "../protocol/addresses.ts";
import type { ClientKeys } from "../protocol/keys.ts";
import { TaskManager } from "./task-manager.ts";

/** How long an orderly end may take before the process exits all the same. */
const CLOSE_MS = 10_000;

/** What the process is started with. */
export interface TaskManagerProcess {
  /** `jobmanager.rpc.address` says where the JobManager is, or `high-availability.*` where to look it up. */
  readonly configuration: Configuration;
  /** End when the process that started this one is gone (its IPC channel closes). */
  readonly owned?: boolean;
  readonly id?: string;
  readonly dataAddress?: string;
  readonly keys?: ClientKeys;
}

/**
 * Runs this process as a TaskManager, to its end. Prints one line to standard output when it is ready and, where a parent listens on an
 * IPC channel, sends it `{ ready: <id> }`. Sets the exit code: 0 after an orderly end, 1 with one sentence on standard error otherwise.
 */
export async function taskManagerMain({ configuration, owned = false, id, dataAddress, keys }: TaskManagerProcess): Promise<void> {
  process.title = "drey taskmanager";
  // Whoever started this process may be gone, and with it the other end of its pipes; that must not end it before it has cleaned up.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  let end: (reason: Error | string) => void = () => {};
  const ended = new Promise<Error | string>((resolve) => (end = resolve));
  const onSignal = (signal: NodeJS.Signals): void => end(`it received ${signal}`);
  const onOrphaned = (): void => end("the process that owns it is gone");
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  if (owned) process.on("disconnect", onOrphaned);
  let taskManager: TaskManager | undefined;
  let reason: Error | string;
  try {
    const jobManager = configuration.get(options.jobManagerAddress);
    if (jobManager === "" && configuration.get(options.haType) === "none") {
      const or = `or ${options.haType.key}, so that it can look up who leads`;
      throw new ConfigurationError(`A TaskManager needs ${options.jobManagerAddress.key}: where its JobManager listens; ${or}.`);
    }
    const one = (taskManager = new TaskManager({
      jobManager,
      configuration,
      onEnd: end,
      ...(id === undefined ? {} : { id }),
      ...(dataAddress === undefined ? {} : { dataAddress }),
      ...(keys === undefined ? {} : { keys }),
    }));
    if (owned && process.connected === false) end("the process that owns it is gone");
    void one.start().then(
      () => {
        process.stdout.write(`TaskManager ${one.id} ready for ${one.jobManager}\n`);
        if (process.connected) process.send?.({ ready: one.id });
      },
      (error: Error) => end(error),
    );
    reason = await ended;
  } catch (error) {
    reason = error as Error;
  }
  if (reason instanceof Error) {
    process.stderr.write(`TaskManager: ${reason.message}\n`);
    process.exitCode = 1;
  }
  setTimeout(() => process.exit(process.exitCode ?? 1), CLOSE_MS).unref();
  await taskManager?.close();
  process.off("SIGTERM", onSignal);
  process.off("SIGINT", onSignal);
  process.off("disconnect", onOrphaned);
  if (!owned) return;
  if (process.connected) process.disconnect();
  else leaveSocketFolder(configuration.get(options.jobManagerAddress));
}

/** Started by itself: `node main.js [--owned] [--id name] [--data-address address] [-D key=value …]`. */
function fromCommandLine(): TaskManagerProcess {
  const { values } = parseArgs({
    options: {
      owned: { type: "boolean" },
      id: { type: "string" },
      "data-address": { type: "string" },
      D: { type: "string", short: "D", multiple: true },
    },
  });
  const raw: Record<string, string> = {};
  for (const flag of values.D ?? []) {
    const equals = flag.indexOf("=");
    if (equals < 1) throw new ConfigurationError(`-D ${describe(flag)} is no option; write -Dkey=value.`);
    raw[flag.slice(0, equals)] = flag.slice(equals + 1);
  }
  const dataAddress = values["data-address"];
  return {
    configuration: Configuration.of(raw, "flags"),
    owned: values.owned === true,
    ...(values.id === undefined ? {} : { id: values.id }),
    ...(dataAddress === undefined ? {} : { dataAddress }),
  };
}

const startedByItself = process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url);
if (startedByItself) {
  try {
    void taskManagerMain(fromCommandLine());
  } catch (error) {
    process.stderr.write(`TaskManager: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
