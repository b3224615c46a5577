/**
 * A cluster that stays when the program that started it ends: processes of their own, their logs in the cluster's folder, a record by which
 * later commands find them (running-clusters.ts).
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConnectionError, DeadlineError } from "../../core/types/errors.ts";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { isAlive } from "../../core/types/process-alive.ts";
import { ClusterClient } from "../client/cluster-client.ts";
import { flagsOf } from "../configuration-file.ts";
import { VERSION } from "../protocol/version.ts";
import { type Role, roleEntry } from "./role-process.ts";
import { type RunningCluster, claimCluster, forgetCluster, readRecord, recordCluster } from "./running-clusters.ts";

export interface BackgroundClusterOptions {
  readonly name: string;
  readonly taskManagers: number;
  readonly configuration: Configuration;
  readonly startTimeoutMs?: number;
}

const START_TIMEOUT_MS = 30_000;
const END_TIMEOUT_MS = 10_000;
const SHOWN_LOG_CHARACTERS = 2_000;

/**
 * Starts a cluster; resolves when all TaskManagers have registered. What has been started is ended if that fails.
 * @throws ConfigurationError when one of this name runs; ConnectionError or DeadlineError with the end of the log of what did not start.
 */
export async function startBackgroundCluster({
  name,
  taskManagers,
  configuration,
  startTimeoutMs = START_TIMEOUT_MS,
}: BackgroundClusterOptions): Promise<RunningCluster> {
  const folder = claimCluster(name);
  const address = configuration.get(optionsByName.jobManagerAddress) || `ipc://${join(folder, "jm")}`;
  const all = configuration.with(Configuration.of({ [optionsByName.jobManagerAddress.key]: address }, "the cluster"));
  const children: Child[] = [];
  try {
    children.push(startRole("jobmanager", "jobmanager", folder, all, []));
    for (let index = 0; index < taskManagers; index++) {
      children.push(
        startRole("taskmanager", `taskmanager-${index}`, folder, all, ["--data-address", `ipc://${join(folder, `tm${index}`)}`]),
      );
    }
    await registered(address, taskManagers, children, all, startTimeoutMs);
    const [jobManager, ...others] = children.map(({ process }) => process.pid as number);
    const supervisor = startSupervisor(name, folder, all);
    const cluster: RunningCluster = {
      name,
      address,
      version: VERSION,
      startedAtMs: Date.now(),
      jobManager: jobManager as number,
      taskManagers: others,
      ...(supervisor === undefined ? {} : { supervisor }),
    };
    recordCluster(cluster);
    return cluster;
  } catch (error) {
    for (const { process } of children) if (process.exitCode === null) process.kill("SIGKILL");
    forgetCluster(name);
    throw error;
  } finally {
    // From now on they are nobody's children.
    for (const { process } of children) process.removeAllListeners();
  }
}

/**
 * Ends a cluster, running or half dead: asks it first, then its processes, then kills them. Resolves when nothing of it is left.
 * @returns false when there is no such cluster.
 */
export async function stopBackgroundCluster(name: string): Promise<boolean> {
  const cluster = readRecord(name);
  if (cluster === undefined) return false;
  // First of all: it must not start anew what ends now.
  if (cluster.supervisor !== undefined) {
    signalAll([cluster.supervisor].filter(isOurProcess), "SIGKILL");
    await ended([cluster.supervisor], END_TIMEOUT_MS);
  }
  const { jobManager, taskManagers } = readRecord(name) ?? cluster;
  const pids = [jobManager, ...taskManagers].filter(isOurProcess);
  try {
    const client = await ClusterClient.connect(cluster.address, { connectDeadlineMs: 2_000 });
    await client.shutdownCluster().finally(() => client.close());
  } catch {
    // It does not answer: then its processes are told.
    signalAll(pids, "SIGTERM");
  }
  if (!(await ended(pids, END_TIMEOUT_MS))) {
    // A stopped process hears nothing but this.
    signalAll(pids.filter(isOurProcess), "SIGKILL");
    if (!(await ended(pids, END_TIMEOUT_MS)))
      throw new DeadlineError(`processes ${pids.filter(isAlive).join(", ")} of the cluster "${name}" do not end.`);
  }
  forgetCluster(name);
  return true;
}

/** A role that was started. */
export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly log: string;
}

/** Starts a role as a process of its own, which stays when this one ends; what it says goes to a file in the cluster's folder. */
export function startRole(role: Role, name: string, folder: string, configuration: Configuration, args: readonly string[]): Child {
  const log = join(folder, `${name}.log`);
  return { name, process: startProcess([roleEntry(role), ...args, ...flagsOf(configuration)], log), log };
}

function startSupervisor(name: string, folder: string, configuration: Configuration): number | undefined {
  const entry = fileURLToPath(new URL("./supervisor-main.js", import.meta.url));
  return startProcess([entry, "--name", name, ...flagsOf(configuration)], join(folder, "supervisor.log")).pid;
}

function startProcess(args: readonly string[], log: string): ChildProcess {
  const file = openSync(log, "a", 0o600);
  try {
    const child = spawn(process.execPath, args, { detached: true, stdio: ["ignore", file, file], cwd: process.cwd() });
    child.unref();
    return child;
  } finally {
    closeSync(file);
  }
}

/** Resolves when the JobManager knows so many TaskManagers. */
async function registered(
  address: string,
  taskManagers: number,
  children: readonly Child[],
  configuration: Configuration,
  timeoutMs: number,
): Promise<void> {
  let fail: (error: Error) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  for (const child of children) {
    child.process.once("error", (error) =>
      fail(new ConnectionError(`${child.name} could not be started: ${error.message}`, { cause: error })),
    );
    child.process.once("exit", (code, signal) =>
      fail(new ConnectionError(`${child.name} ended at once (${signal ?? `exit code ${code}`}).${endOf(child.log)}`)),
    );
  }
  const timer = setTimeout(
    () =>
      fail(new DeadlineError(`the cluster was not ready within ${timeoutMs / 1_000} s.${children.map(({ log }) => endOf(log)).join("")}`)),
    timeoutMs,
  );
  const over = new AbortController();
  let client: ClusterClient | undefined;
  try {
    client = await Promise.race([
      failed,
      ClusterClient.connect(address, { configuration, connectDeadlineMs: timeoutMs, signal: over.signal }),
    ]);
    const complete = new Promise<void>((resolve, reject) => {
      const stop = (client as ClusterClient).watchCluster({
        overview: (overview) => {
          if (overview.taskManagers.length < taskManagers) return;
          queueMicrotask(() => stop());
          resolve();
        },
        lost: reject,
      });
    });
    await Promise.race([failed, complete]);
  } finally {
    clearTimeout(timer);
    failed.catch(() => undefined);
    over.abort();
    await client?.close();
  }
}

function endOf(log: string): string {
  try {
    const text = readFileSync(log, "utf8").trim();
    return text === "" ? "" : ` ${log} says:\n${text.slice(-SHOWN_LOG_CHARACTERS)}`;
  } catch {
    return "";
  }
}

/** A process id may have gone to somebody else since: only what calls itself drey is ours. */
function isOurProcess(pid: number): boolean {
  return isAlive(pid) && /drey|jobmanager\/main|taskmanager\/main|supervisor-main/.test(commandOf(pid));
}

function commandOf(pid: number): string {
  try {
    // Linux; small images have no ps.
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    try {
      return execFileSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" });
    } catch {
      return "";
    }
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/** Whether all have ended before the deadline. */
async function ended(pids: readonly number[], timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (pids.some(isAlive)) {
    if (performance.now() > deadline) return false;
    // They are nobody's children, so nobody tells when they end.
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return true;
}
