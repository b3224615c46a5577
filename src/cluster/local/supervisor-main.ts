/**
 * The process that keeps a background cluster whole: it looks after the processes in the cluster's record, and starts another TaskManager
 * in place of one that died; where other JobManagers may follow (`high-availability.type`), another JobManager too.
 *
 *     node supervisor-main.js --name <cluster> [-Dkey=value …]
 *
 * Invariant: it starts nothing once the cluster is stopped (its record is gone, or this process was told to end), and nothing in place of
 * what ended in order: a TaskManager is replaced only while the JobManager answers, a JobManager only if it left its socket behind. The
 * cluster does not need it: if it dies, nothing is replaced any more, and that is all. It ends with the cluster.
 */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { isAlive } from "../../core/types/process-alive.ts";
import { ClusterClient } from "../client/cluster-client.ts";
import { parseAddress } from "../protocol/addresses.ts";
import { startRole } from "./background-cluster.ts";
import { type RunningCluster, clusterFolder, readRecord, recordCluster } from "./running-clusters.ts";

const LOOK_MS = 300;
const FIRST_LOOKS = 20;
/** A cluster that is shut down ends its JobManager last. */
const SETTLE_MS = 1_000;
const CONNECT_MS = 2_000;
const WINDOW_MS = 60_000;
/** More replacements than these in a minute, and something else is wrong. */
const MAX_RESTARTS = 10;

class Supervisor {
  readonly #name: string;
  readonly #configuration: Configuration;
  readonly #recent: number[] = [];
  #restarts = 0;

  constructor(name: string, configuration: Configuration) {
    this.#name = name;
    this.#configuration = configuration;
  }

  /** Looks after the cluster until it is no more. */
  async watch(signal: AbortSignal): Promise<void> {
    // Whoever started this process writes the record right after.
    for (let looks = 0; looks < FIRST_LOOKS && readRecord(this.#name)?.supervisor !== process.pid; looks++) await pause(LOOK_MS);
    while (!signal.aborted) {
      await pause(LOOK_MS);
      const cluster = readRecord(this.#name);
      if (cluster === undefined || cluster.supervisor !== process.pid) return;
      if (isAlive(cluster.jobManager) ? cluster.taskManagers.every(isAlive) : false) continue;
      await pause(SETTLE_MS);
      if (signal.aborted || readRecord(this.#name)?.supervisor !== process.pid || !this.#mayRestart()) return;
      if (!isAlive(cluster.jobManager)) {
        if (!this.#jobManagerCrashed(cluster)) return;
        this.#replaceJobManager(cluster);
      } else if (await this.#answers(cluster)) this.#replaceTaskManagers(cluster);
    }
  }

  #mayRestart(): boolean {
    const nowMs = performance.now();
    while (nowMs - (this.#recent[0] ?? nowMs) > WINDOW_MS) this.#recent.shift();
    return this.#recent.push(nowMs) <= MAX_RESTARTS;
  }

  #jobManagerCrashed({ address }: RunningCluster): boolean {
    if (this.#configuration.get(optionsByName.haType) === "none") return false;
    const at = parseAddress(address);
    return at.transport === "ipc" && existsSync(at.path);
  }

  async #answers({ address }: RunningCluster): Promise<boolean> {
    try {
      const client = await ClusterClient.connect(address, { configuration: this.#configuration, connectDeadlineMs: CONNECT_MS });
      await client.close();
      return true;
    } catch {
      return false;
    }
  }

  #replaceJobManager(cluster: RunningCluster): void {
    const { process: child } = startRole("jobmanager", "jobmanager", clusterFolder(this.#name), this.#configuration, []);
    recordCluster({ ...cluster, jobManager: child.pid as number });
  }

  #replaceTaskManagers(cluster: RunningCluster): void {
    const folder = clusterFolder(this.#name);
    const taskManagers = cluster.taskManagers.map((pid, index) => {
      if (isAlive(pid)) return pid;
      // A process that was killed leaves its socket file behind.
      const args = ["--data-address", `ipc://${folder}/tm${index}.${++this.#restarts}`];
      return startRole("taskmanager", `taskmanager-${index}`, folder, this.#configuration, args).process.pid as number;
    });
    recordCluster({ ...cluster, taskManagers });
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const { values } = parseArgs({ options: { name: { type: "string" }, D: { type: "string", short: "D", multiple: true } } });
const raw = Object.fromEntries((values.D ?? []).map((flag) => [flag.slice(0, flag.indexOf("=")), flag.slice(flag.indexOf("=") + 1)]));
const ending = new AbortController();
process.title = "drey supervisor";
process.on("SIGTERM", () => ending.abort());
void new Supervisor(values.name as string, Configuration.of(raw, "flags")).watch(ending.signal).then(() => process.exit(0));
