/**
 * The cluster of a program that names none. It is found or started when the first job is submitted:
 *
 *     the one that `drey run` is connected to  >  DREY_JOBMANAGER  >  jobmanager.rpc.address  >  the running default cluster of this user
 *     >  a local cluster: real processes, which end with the program
 *
 * A local cluster that was started so grows by TaskManagers as its jobs need slots, unless the program said how large it shall be.
 */
import type { ExecutorSource } from "../../core/api/environment.ts";
import { type CompiledJob, slotsNeeded } from "../../core/graph/job-graph.ts";
import type { JobControl, JobExecutor, SavepointStart, SubmitOptions } from "../../core/runtime/executor.ts";
import { ConfigurationError } from "../../core/types/errors.ts";
import { type Configuration, options as optionsByName } from "../../core/types/options.ts";
import { ClusterClient } from "../client/cluster-client.ts";
import { ProgramDescribed, type RunContext, runContext } from "../client/run-context.ts";
import { LocalCluster, type LocalClusterOptions } from "./mini-cluster.ts";
import { readCluster } from "./running-clusters.ts";

/** Where jobs of a program shall run, as far as it says. */
export interface ProgramClusterOptions {
  /** A cluster that the program has; it stays the program's, also when the environment closes. */
  readonly cluster?: LocalCluster | ClusterClient | string;
  /** Size of the local cluster. Who gives one wants a cluster of this program, not the one that runs in the background. */
  readonly local?: Pick<LocalClusterOptions, "taskManagers" | "slots">;
}

/** The address of the cluster that is meant where none is named; undefined when there is none. */
export function findCluster(configuration: Configuration): string | undefined {
  return configuredCluster(configuration) ?? readCluster()?.address;
}

/** The address that was said in one way or another; undefined when none was. */
export const configuredCluster = (configuration: Configuration): string | undefined =>
  runContext()?.address || process.env["DREY_JOBMANAGER"] || configuration.get(optionsByName.jobManagerAddress) || undefined;

const DEFAULT_TASK_MANAGERS = 2;
/** A local cluster does not grow beyond so many TaskManagers; then jobs wait. */
const MAX_TASK_MANAGERS = 8;

/** Runs the jobs of one environment. Main thread. */
export class ProgramCluster implements ExecutorSource {
  readonly #options: ProgramClusterOptions;
  /** The local cluster that this environment started. */
  #local: LocalCluster | undefined;
  #taskManagers = 0;
  #client: Promise<ClusterClient> | undefined;
  #growing: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: ProgramClusterOptions = {}) {
    this.#options = options;
  }

  /** What runs the next job. Nothing is started before a job is submitted. */
  async connect(configuration: Configuration): Promise<JobExecutor> {
    if (this.#closing !== undefined) throw new ConfigurationError("this environment is closed; make another with environment().");
    return {
      submit: (job, options) => this.#submit(job, options, configuration),
      close: () => this.close(),
    };
  }

  /** The client of the cluster, which is found or started now if it was not yet. */
  client(configuration: Configuration): Promise<ClusterClient> {
    if (this.#local?.isRunning === false) {
      // Its JobManager died: the jobs are lost, but the program may go on.
      void this.#local.stop();
      this.#local = undefined;
      this.#client = undefined;
    }
    this.#client ??= this.#connect(configuration).catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
    return this.#client;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #submit(job: CompiledJob, options: SubmitOptions, configuration: Configuration): Promise<JobControl> {
    const context = runContext();
    if (context?.describe === true) {
      context.described(job.graph);
      throw new ProgramDescribed();
    }
    const detached = !options.attached || context?.detached === true;
    const submitted = context?.submitting(job.graph);
    let control: JobControl | undefined;
    try {
      const client = await this.client(configuration);
      if (this.#local !== undefined) {
        if (detached) {
          throw new ConfigurationError(
            `"${job.graph.name}" can't be detached: its cluster belongs to this program and ends with it. ` +
              "Start one that stays with `drey cluster start`.",
          );
        }
        await this.#grow(this.#local, client, slotsNeeded(job.graph));
      }
      const from = options.from ?? this.#fromSavepoint(context);
      control = await client.submit(job, { ...options, attached: !detached, ...(from === undefined ? {} : { from }) });
    } finally {
      submitted?.(control);
    }
    return context?.detached === true ? leaving(control, () => context.waiting()) : control;
  }

  /** Where `drey run --from` lets the first job of the program begin. */
  #fromSavepoint(context: RunContext | undefined): SavepointStart | undefined {
    const from = context?.from;
    if (context !== undefined) delete context.from;
    return from;
  }

  async #connect(configuration: Configuration): Promise<ClusterClient> {
    const { cluster, local } = this.#options;
    if (cluster instanceof ClusterClient) return cluster;
    if (cluster instanceof LocalCluster) return cluster.connect({ configuration });
    const address = cluster ?? (this.#isSized ? configuredCluster(configuration) : findCluster(configuration));
    if (address !== undefined) return ClusterClient.connect(address, { configuration });
    this.#taskManagers = local?.taskManagers ?? DEFAULT_TASK_MANAGERS;
    this.#local = await LocalCluster.start({ ...local, taskManagers: this.#taskManagers, options: configuration.toRecord() });
    return this.#local.connect();
  }

  get #isSized(): boolean {
    return this.#options.local?.taskManagers !== undefined || this.#options.local?.slots !== undefined;
  }

  /** Starts TaskManagers until the slots suffice, one job after the other. */
  #grow(local: LocalCluster, client: ClusterClient, needed: number): Promise<void> {
    if (this.#isSized) return Promise.resolve();
    const grown = this.#growing.then(async () => {
      const { slotsFree } = await client.overview();
      const more = Math.ceil((needed - slotsFree) / local.configuration.get(optionsByName.taskManagerSlots));
      const count = Math.min(more, MAX_TASK_MANAGERS - this.#taskManagers);
      if (count <= 0) return;
      this.#taskManagers += count;
      await Promise.all(Array.from({ length: count }, () => local.addTaskManager()));
    });
    this.#growing = grown.catch(() => undefined);
    return grown;
  }

  async #close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    if (client !== undefined && client !== this.#options.cluster) await client.close();
    await this.#local?.stop();
  }
}

/** A job that is left behind: whoever waits for its end is told that the program is over. */
function leaving(job: JobControl, waiting: () => void): JobControl {
  return {
    id: job.id,
    name: job.name,
    details: () => job.details(),
    cancel: () => job.cancel(),
    openResult: (name) => job.openResult(name),
    metricsHistory: () => job.metricsHistory(),
    queryState: async (name, key) => job.queryState?.(name, key),
    ...(job.snapshots === undefined ? {} : { snapshots: job.snapshots }),
    watch: (listener) => {
      if (listener.status !== undefined) waiting();
      return () => undefined;
    },
  };
}
