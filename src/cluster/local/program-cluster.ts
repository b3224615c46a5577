/**
 * The cluster of a program that names none. It is found or started when the first job is submitted:
 *
 *     the one that `drey run` is connected to  >  DREY_JOBMANAGER  >  jobmanager.rpc.address  >  the running default cluster of this user
 *     >  a local cluster: real processes, which end with the program
 */
import type { CompiledJob } from "../../core/graph/job-graph.ts";
import type { JobControl, JobExecutor, SubmitOptions } from "../../core/runtime/executor.ts";
import { ConfigurationError } from "../../core/types/errors.ts";
import { type Configuration, options as optionsByName } from "../../core/types/options.ts";
import { ClusterClient, type ClusterClientOptions } from "../client/cluster-client.ts";
import { ProgramDescribed, runContext } from "../client/run-context.ts";
import { LocalCluster, type LocalClusterOptions } from "./mini-cluster.ts";
import { readCluster } from "./running-clusters.ts";

export interface ProgramClusterOptions {
  readonly configuration: Configuration;
  /** Of the local cluster, if one is started. */
  readonly local?: Pick<LocalClusterOptions, "taskManagers" | "slots">;
  readonly client?: ClusterClientOptions;
}

/** The address of the cluster that is meant where none is named; undefined when there is none. */
export function findCluster(configuration: Configuration): string | undefined {
  return (
    runContext()?.address ||
    process.env["DREY_JOBMANAGER"] ||
    configuration.get(optionsByName.jobManagerAddress) ||
    readCluster()?.address
  );
}

/** Runs jobs on the cluster of this program. Main thread. */
export class ProgramCluster implements JobExecutor {
  readonly #options: ProgramClusterOptions;
  #local: LocalCluster | undefined;
  #client: Promise<ClusterClient> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: ProgramClusterOptions) {
    this.#options = options;
  }

  async submit(job: CompiledJob, options: SubmitOptions): Promise<JobControl> {
    const context = runContext();
    if (context?.describe === true) {
      context.described(job.graph);
      throw new ProgramDescribed();
    }
    const attached = options.attached && context?.detached !== true;
    const client = await this.client();
    if (!attached && this.#local !== undefined) {
      throw new ConfigurationError(
        `the job "${job.graph.name}" can't be detached: its cluster belongs to this program and ends with it. Start one that stays with \`drey cluster start\`.`,
      );
    }
    const control = await client.submit(job, { ...options, attached });
    context?.submitted(control, job.graph);
    return control;
  }

  /** The client of the cluster, which is found or started now if it was not yet. */
  client(): Promise<ClusterClient> {
    if (this.#closing !== undefined) return Promise.reject(new ConfigurationError("this environment is closed; make another with environment()."));
    this.#client ??= this.#connect().catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
    return this.#client;
  }

  /** The local cluster that was started for this program, if one was. */
  get localCluster(): LocalCluster | undefined {
    return this.#local;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #connect(): Promise<ClusterClient> {
    const { configuration, local, client } = this.#options;
    const address = findCluster(configuration);
    if (address !== undefined) return ClusterClient.connect(address, { configuration, ...client });
    this.#local ??= await LocalCluster.start({ ...local, options: configuration.toRecord() });
    return this.#local.connect({ configuration: this.#local.configuration, ...client });
  }

  async #close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    await client?.close();
    await this.#local?.stop();
  }
}
