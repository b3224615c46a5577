/**
 * A cluster on this machine: one JobManager and some TaskManagers, real processes, children of this one (Flink: MiniCluster, which is one
 * JVM). They speak over sockets in a folder that only this user may enter, and end when this process ends, however it ends.
 *
 * Invariant: after `stop`, and after the end of this process, there is no process of the cluster and no folder of it. When this process is
 * killed outright, its children see their IPC channel close and end themselves, and the last one removes the folder.
 */
import { randomUUID } from "node:crypto";
import { ConfigurationError, ConnectionError, describe } from "../../core/types/errors.ts";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { ClusterClient, type ClusterClientOptions } from "../client/cluster-client.ts";
import { warmUpCapture } from "../client/job-code.ts";
import { type SocketFolder, makeSocketFolder, removeSocketFile } from "../protocol/addresses.ts";
import type { RoleProcessOptions } from "./role-process.ts";
import { SupervisedRole } from "./supervised-role.ts";

/** Size and settings of a local cluster. */
export interface LocalClusterOptions {
  /** Default 2. More can be added later. */
  readonly taskManagers?: number;
  /** Slots of each TaskManager; default `taskmanager.numberOfTaskSlots`. */
  readonly slots?: number;
  /** Options of all processes, under their keys: `{ "heartbeat.timeout": "2 s" }`. */
  readonly options?: Readonly<Record<string, unknown>>;
  /** How long the processes may take to start, milliseconds; default 30 000. */
  readonly startTimeoutMs?: number;
  /** A TaskManager that ends by accident is replaced; with high availability, the JobManager too. Default true. */
  readonly restart?: boolean;
}

/** How long a process may take to end when asked, before it is killed. */
const STOP_GRACE_MS = 5_000;

/** A running local cluster. Whoever started it stops it; otherwise it ends with this process. Main thread. */
export class LocalCluster {
  /** Where its JobManager listens. */
  readonly address: string;
  /** What its processes were started with. */
  readonly configuration: Configuration;
  readonly #folder: SocketFolder;
  readonly #startTimeoutMs: number;
  readonly #restart: boolean;
  readonly #jobManager: SupervisedRole;
  readonly #taskManagers: SupervisedRole[] = [];
  #stopping: Promise<void> | undefined;

  private constructor(configuration: Configuration, startTimeoutMs: number, restart: boolean) {
    this.#restart = restart;
    this.#folder = makeSocketFolder();
    this.#startTimeoutMs = startTimeoutMs;
    this.address = this.#folder.address("jm");
    this.configuration = configuration.with(Configuration.of({ [optionsByName.jobManagerAddress.key]: this.address }, "the local cluster"));
    remember(this, () => this.#abandon());
    const roleOfJobManager: RoleProcessOptions = { role: "jobmanager", name: "JobManager", configuration: this.configuration };
    this.#jobManager = this.#role(() => roleOfJobManager, () => this.#isAvailable);
  }

  /**
   * Starts the processes, all at the same time; resolves when every TaskManager has registered.
   * @throws ConfigurationError on bad options; ConnectionError or DeadlineError with the words of the process that did not start.
   */
  static async start(clusterOptions: LocalClusterOptions = {}): Promise<LocalCluster> {
    const { taskManagers = 2, slots, options = {}, startTimeoutMs = 30_000, restart = true } = clusterOptions;
    if (!Number.isInteger(taskManagers) || taskManagers < 0 || taskManagers > 64) {
      throw new ConfigurationError(`a local cluster can't have ${describe(taskManagers)} TaskManagers; give an integer from 0 to 64.`);
    }
    const given = slots === undefined ? options : { ...options, [optionsByName.taskManagerSlots.key]: slots };
    const cluster = new LocalCluster(Configuration.of(given, "LocalCluster.start()"), startTimeoutMs, restart);
    try {
      const ready = Promise.all([
        cluster.#jobManager.process.ready(startTimeoutMs),
        ...Array.from({ length: taskManagers }, () => cluster.addTaskManager()),
      ]);
      // This thread has nothing else to do while they start, and jobs will want it.
      warmUpCapture();
      await ready;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** Process ids, for people and for experiments; undefined for a process that has ended. */
  get processes(): { readonly jobManager: number | undefined; readonly taskManagers: readonly (number | undefined)[] } {
    const pid = ({ process }: SupervisedRole): number | undefined => (process.isRunning ? process.pid : undefined);
    return { jobManager: pid(this.#jobManager), taskManagers: this.#taskManagers.map(pid) };
  }

  /** False once it is stopped or its JobManager has died for good. */
  get isRunning(): boolean {
    return this.#stopping === undefined && this.#jobManager.isKept;
  }

  /** How often TaskManagers were replaced. */
  get restarts(): number {
    return this.#taskManagers.reduce((sum, { restarts }) => sum + restarts, 0);
  }

  /** A client of this cluster, owned by the caller. */
  connect(options: ClusterClientOptions = {}): Promise<ClusterClient> {
    return ClusterClient.connect(this.address, { configuration: this.configuration, ...options });
  }

  /** Starts one more TaskManager; resolves with its index when it has registered. */
  async addTaskManager(): Promise<number> {
    if (!this.isRunning) throw new ConnectionError("the local cluster does not run any more; start another.");
    const index = this.#taskManagers.length;
    const address = (restarts: number): string => this.#folder.address(restarts === 0 ? `tm${index}` : `tm${index}.${restarts}`);
    const taskManager = this.#role((restarts) => {
      // A process that was killed leaves its socket file behind.
      if (restarts > 0) removeSocketFile(address(restarts - 1));
      return {
        role: "taskmanager",
        name: `TaskManager ${index}`,
        configuration: this.configuration,
        args: ["--id", `tm-${index}-${randomUUID().slice(0, 8)}`, "--data-address", address(restarts)],
      };
    }, () => this.#restart && this.isRunning);
    this.#taskManagers.push(taskManager);
    await taskManager.process.ready(this.#startTimeoutMs);
    return index;
  }

  /**
   * Sends a signal to a TaskManager, as an accident would: SIGKILL (the default) ends it at once, and another takes its place (`restart`);
   * SIGSTOP makes it silent, SIGCONT lets it go on, SIGTERM ends it in order and for good. Resolves when the signal has had its effect, for
   * signals that end a process.
   */
  async killTaskManager(index: number, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const process = this.#taskManagers[index]?.process;
    if (process === undefined)
      throw new ConfigurationError(`there is no TaskManager ${describe(index)}; the local cluster started ${this.#taskManagers.length}.`);
    if (signal === "SIGKILL") process.strike(signal);
    else process.kill(signal);
    if (signal === "SIGKILL" || signal === "SIGTERM" || signal === "SIGINT") await process.ended();
  }

  /** Ends all processes and removes their folder; running jobs are cancelled. Resolves when nothing is left. Stopping twice is harmless. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** What can be done while this process exits: signals, and the folder. */
  #abandon(): void {
    for (const role of this.#roles) {
      role.abandon();
      role.process.kill("SIGTERM");
      role.process.kill("SIGCONT");
    }
    this.#folder.remove();
  }

  get #roles(): readonly SupervisedRole[] {
    return [this.#jobManager, ...this.#taskManagers];
  }

  #role(process: (restarts: number) => RoleProcessOptions, restarts: () => boolean): SupervisedRole {
    return new SupervisedRole({
      process,
      restarts: () => restarts() && this.#stopping === undefined,
      log: (text) => this.#log(text),
      startTimeoutMs: this.#startTimeoutMs,
    });
  }

  /** Another JobManager would find the jobs of the former. */
  get #isAvailable(): boolean {
    return this.#restart && this.configuration.get(optionsByName.haType) !== "none";
  }

  async #stop(): Promise<void> {
    await Promise.all(this.#roles.map((role) => role.stop(STOP_GRACE_MS)));
    this.#folder.remove();
    forget(this);
  }

  #log(text: string): void {
    if (this.#stopping === undefined) process.stderr.write(`${text}\n`);
  }
}

/** Clusters that run, and how each is left behind when this process exits. */
const running = new Map<LocalCluster, () => void>();
const SIGNALS: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];

function remember(cluster: LocalCluster, abandon: () => void): void {
  running.set(cluster, abandon);
  if (running.size > 1) return;
  process.on("exit", abandonAll);
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

function forget(cluster: LocalCluster): void {
  if (!running.delete(cluster) || running.size > 0) return;
  process.off("exit", abandonAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

function abandonAll(): void {
  for (const abandon of running.values()) abandon();
}

/** A signal ends this process as if we did not listen, unless the program listens itself: then what happens is its decision. */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listeners(signal).some((listener) => listener !== onSignal)) return;
  abandonAll();
  for (const each of SIGNALS) process.off(each, onSignal);
  process.kill(process.pid, signal);
}
