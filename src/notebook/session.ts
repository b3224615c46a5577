/**
 * One cluster per kernel. A cell that is run again finds the cluster of the first run, a cell that asks for another size gets a new one
 * in its place, and when the kernel ends, however it ends, the cluster's processes end with it (see cluster/local).
 *
 * The session hangs on the kernel's process and not on this module, because a notebook may load the package twice.
 */
import type { Environment } from "../core/api/environment.ts";
import type { ClusterClient } from "../cluster/client/cluster-client.ts";
import { type ProgramOptions, environment } from "../cluster/index.ts";
import { installCellTracker } from "../cluster/code/notebook-cells.ts";
import { LocalCluster, type LocalClusterOptions } from "../cluster/local/mini-cluster.ts";
import { clusterReport } from "./cluster-report.ts";
import type { Picture } from "./picture.ts";
import { cluster } from "./views/cluster.ts";
import { slots } from "./views/slots.ts";

/** The cluster of this kernel, and a connection to it. Made by `notebookSession`. */
export class NotebookSession {
  readonly cluster: LocalCluster;
  readonly client: ClusterClient;

  constructor(cluster: LocalCluster, client: ClusterClient) {
    this.cluster = cluster;
    this.client = client;
  }

  /** A new program whose jobs run on this cluster. Closing it leaves the cluster running. */
  environment(options: Omit<ProgramOptions, "cluster" | "taskManagers" | "slots"> = {}): Environment {
    return environment({ ...options, cluster: this.client });
  }

  /** Who sits in which slot now. */
  async slots(): Promise<Picture> {
    return slots(await this.client.overview());
  }

  /** The cluster on one card: its processes, their heartbeats, slots and jobs now. */
  async card(): Promise<Picture> {
    return cluster(await this.client.overview());
  }

  /** The cluster and the latest of its jobs as an HTML file that needs nothing but itself. */
  async report(): Promise<string> {
    const overview = await this.client.overview();
    const latest = [...overview.jobs].sort((a, b) => b.startedAtMs - a.startedAtMs).slice(0, MOST_JOBS);
    const jobs = await Promise.all(
      // One that ended long ago may be forgotten between the two questions.
      latest.map(async ({ job }) => (await this.client.job(job)).details().catch(() => undefined)),
    );
    return clusterReport({ overview, jobs: jobs.filter((it) => it !== undefined) });
  }

  /** Ends the cluster; its jobs are cancelled. The next `notebookSession` starts another. */
  async close(): Promise<void> {
    await this.client.close();
    await this.cluster.stop();
  }
}

/** Jobs that a report tells of one by one. */
const MOST_JOBS = 20;

interface KeptSession {
  readonly wanted: string;
  readonly session: Promise<NotebookSession>;
}

const KEEP = Symbol.for("drey.notebook.session");
const kept = globalThis as { [KEEP]?: KeptSession };

/**
 * The session of this kernel: started by the first call, the same for every later one. With options that differ from those it was started
 * with, it is closed and another is started; without options whatever runs is taken.
 * @throws ConfigurationError, ConnectionError or DeadlineError when the cluster does not start; the next call tries again.
 */
export function notebookSession(options: LocalClusterOptions = {}): Promise<NotebookSession> {
  // Starting a cluster takes a moment; the functions of the cells to come shall be known by then.
  installCellTracker();
  const wanted = JSON.stringify(Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1)));
  const before = kept[KEEP];
  const session = next(before, wanted, options);
  const entry: KeptSession = { wanted: wanted === "[]" && before !== undefined ? before.wanted : wanted, session };
  kept[KEEP] = entry;
  session.catch(() => {
    if (kept[KEEP] === entry) delete kept[KEEP];
  });
  return session;
}

async function next(before: KeptSession | undefined, wanted: string, options: LocalClusterOptions): Promise<NotebookSession> {
  const running = await before?.session.catch(() => undefined);
  if (running !== undefined) {
    if (running.cluster.isRunning && (wanted === "[]" || wanted === before?.wanted)) return running;
    await running.close();
  }
  const cluster = await LocalCluster.start(options);
  try {
    return new NotebookSession(cluster, await cluster.connect());
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}
