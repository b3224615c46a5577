/**
 * Clusters that somebody started in the background on this machine, by name: where they listen, and their processes. They stand in a folder
 * of this user, so that a later command, or a program, finds them without an address.
 *
 * Invariant: the folder belongs to this user and nobody else may enter it, because whoever reaches a cluster's socket may run code on it.
 * A record may be stale (its processes died); whoever reads it is told only of clusters whose JobManager lives.
 */
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { isAlive } from "../../core/types/process-alive.ts";

/** The name of the cluster that commands and programs mean when they name none. */
export const DEFAULT_CLUSTER = "default";

/** One background cluster, as its record says. */
export interface RunningCluster {
  readonly name: string;
  readonly address: string;
  readonly version: string;
  readonly startedAtMs: number;
  /** Process ids. */
  readonly jobManager: number;
  readonly taskManagers: readonly number[];
  /** Keeps the others running. */
  readonly supervisor?: number;
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * The folder with a folder per cluster: `$DREY_RUNTIME_DIR`, else `drey` in `$XDG_RUNTIME_DIR`, else `drey-<user>` in the system's folder
 * for temporary files. It may not exist: `claimCluster` makes it.
 * @throws ConfigurationError when it belongs to another user, or others may enter it.
 */
export function runtimeFolder(env: Env = process.env): string {
  const { uid, username } = userInfo();
  const given = env["DREY_RUNTIME_DIR"];
  const xdg = env["XDG_RUNTIME_DIR"];
  const folder = given || (xdg ? join(xdg, "drey") : join(tmpdir(), `drey-${uid >= 0 ? uid : username}`));
  // Not stat: in a folder where everybody may write, a link could lead to somebody else's folder.
  const stats = lstatSync(folder, { throwIfNoEntry: false });
  if (stats === undefined) return folder;
  if (!stats.isDirectory() || (uid >= 0 && stats.uid !== uid) || (stats.mode & 0o077) !== 0) {
    throw new ConfigurationError(
      `the folder ${describe(folder)} for running clusters must be a folder of yours with mode 0700; ` +
        "remove it, or set DREY_RUNTIME_DIR to another.",
    );
  }
  return folder;
}

/** The folder of one cluster, whether it exists or not. @throws ConfigurationError for a name that can't be a folder's. */
export function clusterFolder(name: string, env: Env = process.env): string {
  if (!/^[A-Za-z0-9][\w.-]{0,31}$/.test(name)) {
    throw new ConfigurationError(`a cluster can't be named ${describe(name)}; use up to 32 letters, digits, ".", "-" and "_".`);
  }
  return join(runtimeFolder(env), name);
}

/**
 * Makes the folder of a new cluster, whose name is then taken.
 * @throws ConfigurationError when a cluster of this name runs or is being started.
 */
export function claimCluster(name: string, env: Env = process.env): string {
  makeRuntimeFolder(env);
  const folder = clusterFolder(name, env);
  for (let attempt = 0; ; attempt++) {
    try {
      mkdirSync(folder, { mode: 0o700 });
      writeFileSync(join(folder, "starting"), String(process.pid));
      return folder;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const running = readCluster(name, env);
    if (running !== undefined) {
      throw new ConfigurationError(
        `the cluster "${name}" runs already at ${running.address}; stop it with \`drey cluster stop\`, or start another with --name.`,
      );
    }
    const starter = readNumber(join(folder, "starting"));
    if (attempt > 0 || (starter !== undefined && isAlive(starter))) {
      throw new ConfigurationError(
        `the cluster "${name}" is being started by process ${starter ?? "?"}; wait for it, or start another with --name.`,
      );
    }
    // Left over from a cluster that died.
    rmSync(folder, { recursive: true, force: true });
  }
}

/** With mode 0700. Whose it is if it exists is checked by all who look into it. */
function makeRuntimeFolder(env: Env): void {
  const folder = runtimeFolder(env);
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    throw new ConfigurationError(`the folder ${describe(folder)} for running clusters can't be made; set DREY_RUNTIME_DIR to another.`, {
      cause: error,
    });
  }
}

/** Writes the record of a cluster that has started. */
export function recordCluster(cluster: RunningCluster, env: Env = process.env): void {
  const folder = clusterFolder(cluster.name, env);
  // Renamed into place: a reader sees all of it or nothing.
  writeFileSync(join(folder, "cluster.json.new"), JSON.stringify(cluster, null, 2));
  renameSync(join(folder, "cluster.json.new"), join(folder, "cluster.json"));
  rmSync(join(folder, "starting"), { force: true });
}

/** Forgets a cluster, with its logs and sockets. */
export function forgetCluster(name: string, env: Env = process.env): void {
  rmSync(clusterFolder(name, env), { recursive: true, force: true });
}

/** The running cluster of this name; undefined when there is none or its JobManager has died. */
export function readCluster(name: string = DEFAULT_CLUSTER, env: Env = process.env): RunningCluster | undefined {
  const record = readRecord(name, env);
  return record !== undefined && isAlive(record.jobManager) ? record : undefined;
}

/** As `readCluster`, also when its JobManager has died: its TaskManagers may still be there. */
export function readRecord(name: string, env: Env = process.env): RunningCluster | undefined {
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(join(clusterFolder(name, env), "cluster.json"), "utf8"));
  } catch {
    return undefined;
  }
  return isRecord(found) ? found : undefined;
}

function isRecord(value: unknown): value is RunningCluster {
  const record = value as Partial<RunningCluster> | null;
  return (
    typeof record === "object" &&
    record !== null &&
    typeof record.address === "string" &&
    typeof record.jobManager === "number" &&
    typeof record.name === "string" &&
    Array.isArray(record.taskManagers)
  );
}

function readNumber(file: string): number | undefined {
  try {
    return Number(readFileSync(file, "utf8")) || undefined;
  } catch {
    return undefined;
  }
}
