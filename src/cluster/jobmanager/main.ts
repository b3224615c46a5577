/**
 * The process of a JobManager: `node jobmanager/main.js [--owned] [-Dkey=value …]`.
 *
 * When it listens it prints `JobManager ready at <address>` and, if it was started with an IPC channel, sends `{ ready: address }`.
 * SIGTERM, SIGINT, a client's `shutdownCluster` and, with `--owned`, the end of the parent end it: jobs are cancelled, TaskManagers told to
 * end, the address freed. A second signal ends it at once. It leaves no process and no file behind.
 */
import { realpathSync } from "node:fs";
import { hostname } from "node:os";
import { pathToFileURL } from "node:url";
import { ConfigurationError, DreyError, describe } from "../../core/types/errors.ts";
import { Configuration, options } from "../../core/types/options.ts";
import { leaveSocketFolder, makeSocketFolder, removeSocketFile } from "../protocol/addresses.ts";
import { serverKeys } from "../protocol/key-file.ts";
import type { ServerKeys } from "../protocol/keys.ts";
import { sharedStorage } from "../storage/published-leader.ts";
import { under } from "./checkpoint-settings.ts";
import { systemClocks } from "./clocks.ts";
import { JobArchive } from "./job-archive.ts";
import { type HighAvailability, JobManager } from "./job-manager.ts";
import { Leadership } from "./leadership.ts";
import { Standby } from "./standby.ts";

/**
 * Runs a JobManager in this process until it is told to end.
 * @param args flags, without node and the script.
 * @returns the exit code: 0, or 1 when it could not start or another JobManager has taken the lead (the reason is on stderr).
 */
export async function jobManagerMain(args: readonly string[]): Promise<number> {
  let folder: { remove(): void } | undefined;
  let bound: string | undefined;
  // Whoever started this process may be gone, and with it the other end of its pipes; that must not end it before it has cleaned up.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  try {
    const { owned, configuration } = readArguments(args);
    let address = configuration.get(options.jobManagerAddress);
    if (address.includes(",")) {
      throw new ConfigurationError(
        `${options.jobManagerAddress.key} names several addresses (${address}); this JobManager listens at one of them: say at which with -a.`,
      );
    }
    if (address === "") {
      const made = makeSocketFolder();
      folder = made;
      // Also when a second signal ends the process at once.
      process.once("exit", () => made.remove());
      address = made.address("jobmanager");
    }
    const note = (text: string): void => void process.stderr.write(`${new Date().toISOString()} ${text}\n`);
    const keys = serverKeys(configuration);
    const highAvailability = await lead(configuration, owned, { address, keys, note });
    const jobManager = new JobManager({
      address,
      configuration,
      note,
      ...(keys === undefined ? {} : { keys }),
      ...(highAvailability === undefined ? {} : { highAvailability, epoch: highAvailability.leadership.epoch }),
    });
    bound = await jobManager.start();
    const unlisten = endWhenTold(jobManager, owned, highAvailability !== undefined);
    process.stdout.write(`JobManager ready at ${bound}\n`);
    if (process.connected) process.send?.({ ready: bound });
    await jobManager.closed;
    unlisten();
    // Whoever looks after this process starts it again, as a standby.
    return jobManager.wasOvertaken ? 1 : 0;
  } catch (error) {
    process.stderr.write(`${error instanceof DreyError ? error.message : (error as Error).stack}\n`);
    return 1;
  } finally {
    folder?.remove();
    if (bound !== undefined) removeSocketFile(bound);
    if (process.connected) process.disconnect();
    else if (bound !== undefined && args.includes("--owned")) leaveSocketFolder(bound);
  }
}

/** With `high-availability.type`: waits until this process leads, and finds the jobs that go on; without: undefined at once. */
async function lead(
  configuration: Configuration,
  owned: boolean,
  { address, keys, note }: { readonly address: string; readonly keys: ServerKeys | undefined; readonly note: (text: string) => void },
): Promise<HighAvailability | undefined> {
  const storage = sharedStorage(configuration);
  if (storage === undefined) return undefined;
  const ending = new AbortController();
  const end = (): void => ending.abort(new ConfigurationError("it was told to end before it led."));
  const leadership = new Leadership({
    storage,
    name: `JobManager ${hostname()}/${process.pid} at ${address}`,
    clocks: systemClocks,
    leaseTimeoutMs: configuration.get(options.haLeaseTimeout),
    note,
  });
  process.once("SIGTERM", end).once("SIGINT", end);
  if (owned) process.once("disconnect", end);
  let standby: Standby | undefined;
  try {
    const epoch = await leadership.win(ending.signal, () => {
      standby = new Standby({ address, leader: () => leadership.leaderAddress, note, ...(keys === undefined ? {} : { keys }) });
    });
    // The address is the leader's from here on.
    await standby?.close();
    const archive = new JobArchive(storage, note);
    const recovered = await archive.recover(epoch).catch(async (error: unknown) => {
      // Whoever can read what this one can't may lead at once.
      await leadership.release().catch(() => undefined);
      throw error;
    });
    return { leadership, archive, recovered, checkpointRoot: under(storage.location, "checkpoints") };
  } finally {
    await standby?.close();
    process.off("SIGTERM", end).off("SIGINT", end).off("disconnect", end);
  }
}

/**
 * Returns what takes the listeners away. A JobManager that others can follow leaves them its jobs, unless the cluster is its parent's and
 * ends with it.
 */
function endWhenTold(jobManager: JobManager, owned: boolean, followed: boolean): () => void {
  let told = false;
  const end = (reason: string): void => {
    told = true;
    void (followed && !owned ? jobManager.abandon() : jobManager.close(reason));
  };
  const onSignal = (signal: NodeJS.Signals): void => (told ? process.exit(130) : end(`the JobManager got ${signal}`));
  const onDisconnect = (): void => end("the program that started the cluster ended");
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  if (owned) {
    process.on("disconnect", onDisconnect);
    // The parent may have ended before we began to listen.
    if (!process.connected) onDisconnect();
  }
  return () => process.off("SIGTERM", onSignal).off("SIGINT", onSignal).off("disconnect", onDisconnect);
}

function readArguments(args: readonly string[]): { readonly owned: boolean; readonly configuration: Configuration } {
  let owned = false;
  const values: Record<string, string> = {};
  for (const argument of args) {
    const option = /^-D([^=]+)=(.*)$/s.exec(argument);
    if (argument === "--owned") owned = true;
    else if (option !== null) values[option[1] as string] = option[2] as string;
    else throw new ConfigurationError(`the JobManager does not know the argument ${describe(argument)}; it takes --owned and -Dkey=value.`);
  }
  return { owned, configuration: Configuration.of(values, "-D") };
}

/** Whether this file is what node was started with. */
function isEntry(): boolean {
  const script = process.argv[1];
  try {
    return script !== undefined && pathToFileURL(realpathSync(script)).href === import.meta.url;
  } catch {
    return false;
  }
}

if (isEntry()) {
  process.title = "drey jobmanager";
  void jobManagerMain(process.argv.slice(2)).then((code) => {
    process.exitCode = code;
  });
}
