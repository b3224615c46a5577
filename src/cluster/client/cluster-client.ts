/**
 * A program's side of a cluster (the seed's client): it ships the job's code, submits the graph, and then disconnects (detached) or stays
 * and gets progress and rows (attached). It is no part of the runtime: what it knows of jobs are the JobManager's words.
 *
 * Invariant: whoever waits here (for an answer, a job's end, rows) is answered or told why not: by the JobManager, by a deadline, or by the
 * loss of the connection, which ends everything that hung on it.
 */
import { Observable, map } from "rxjs";
import { JobHandle } from "../../core/api/job-handle.ts";
import type { ShippedClass } from "../../core/data/classes.ts";
import type { CompiledJob } from "../../core/graph/job-graph.ts";
import type { JobSummary } from "../../core/graph/job-status.ts";
import type { JobControl, JobExecutor, SubmitOptions } from "../../core/runtime/executor.ts";
import { ConfigurationError, ConnectionError } from "../../core/types/errors.ts";
import { type JobId, newJobId } from "../../core/types/ids.ts";
import { Configuration, options as optionsByName } from "../../core/types/options.ts";
import { bundleDigest, encodeBundle } from "../code/bundle.ts";
import { clientKeys } from "../protocol/key-file.ts";
import type { ClientKeys } from "../protocol/keys.ts";
import type { ClusterOverview, SlotInfo, TaskManagerInfo } from "../protocol/cluster-overview.ts";
import { ClientJob } from "./client-job.ts";
import { Connection } from "./connection.ts";
import { captureJob } from "./job-code.ts";

export interface ClusterClientOptions {
  /** `client.timeout` and `heartbeat.*` count. */
  readonly configuration?: Configuration;
  /** How long to look for the JobManager, milliseconds; default 5000. */
  readonly connectDeadlineMs?: number;
  /** Gives up connecting. */
  readonly signal?: AbortSignal;
  /** For a JobManager with CURVE keys. Default: as `security.key-file` says. */
  readonly keys?: ClientKeys;
}

/** What a listener of the whole cluster is told. */
export interface ClusterListener {
  /** At once, and whenever something changed. */
  readonly overview: (overview: ClusterOverview) => void;
  /** The connection is lost; nothing more will be told. */
  readonly lost?: (error: Error) => void;
}

/** A client of one cluster. Main thread; owned by whoever connected it. */
export class ClusterClient implements JobExecutor {
  readonly #connection: Connection;
  /** Jobs that were submitted or asked for here; the oldest that nobody waits for are forgotten. */
  readonly #jobs = new Map<JobId, ClientJob>();
  readonly #clusterListeners = new Map<ClusterListener, () => void>();

  private constructor(address: string, options: ClusterClientOptions) {
    const ofJob = (job: JobId): ClientJob | undefined => this.#jobs.get(job);
    this.#connection = new Connection({
      address,
      configuration: options.configuration ?? Configuration.empty,
      connectDeadlineMs: options.connectDeadlineMs ?? 5_000,
      keys: options.keys ?? clientKeys(options.configuration ?? Configuration.empty),
      onLost: (error) => this.#lost(error),
      onInterrupted: () => {
        for (const job of this.#jobs.values()) job.interrupted();
      },
      onResumed: () => {
        for (const job of this.#jobs.values()) job.resumed();
        if (this.#clusterListeners.size > 0) void this.#connection.present?.call("watchCluster", { on: true }).catch(() => undefined);
      },
      handlers: {
        jobStatus: (details) => ofJob(details.job)?.status(details),
        jobMetrics: (report) => {
          for (const job of new Set(report.subtasks.map((subtask) => subtask.job))) ofJob(job)?.metrics(report);
        },
        jobLog: ({ lines }) => {
          for (const job of new Set(lines.map((line) => line.job))) ofJob(job)?.log(lines.filter((line) => line.job === job));
        },
        jobCheckpoints: (overview) => ofJob(overview.job)?.checkpoints(overview),
        cluster: (overview) => {
          for (const listener of this.#clusterListeners.keys()) listener.overview(overview);
        },
        resultSegments: (where, _from, segments) => ofJob(where.job)?.resultOf(where.name)?.accept(where, segments),
        grantFeed: (grant) => ofJob(grant.job)?.feedOf(grant.name)?.grant(grant),
      },
    });
  }

  /** Where the JobManager is; of several, the one that leads. */
  get address(): string {
    return this.#connection.address;
  }

  /**
   * Connects. The connection is held only while something is waited for; it comes back by itself.
   * @param address of the JobManager, or of several, separated by commas. Empty: the leader is looked up where `high-availability.*` of the
   * configuration say that it publishes its address; with an address that is done as well.
   * @throws ConnectionError when no JobManager answers before the deadline; ProtocolError when it is another version of drey.
   */
  static async connect(address: string, options: ClusterClientOptions = {}): Promise<ClusterClient> {
    const { signal } = options;
    signal?.throwIfAborted();
    const client = new ClusterClient(address, options);
    const giveUp = (): void => void client.close();
    signal?.addEventListener("abort", giveUp);
    try {
      await client.#connection.use(async () => undefined);
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
    return client;
  }

  /**
   * Captures the functions of the job, ships them and starts the job; resolves when the JobManager has accepted it.
   * @throws CaptureError when a function can't travel; ConfigurationError when a detached job is to be fed by this program.
   */
  async submit(job: CompiledJob, { attached, feeds, classes, from }: SubmitOptions): Promise<JobControl> {
    if (!attached && job.graph.feeds.length > 0) {
      throw new ConfigurationError(
        `"${job.graph.name}" takes rows from this program (${job.graph.feeds.map((feed) => feed.name).join(", ")}) ` +
          "and so can't outlive it; submit it attached.",
      );
    }
    const release = this.#connection.hold();
    try {
      const code = await captureJob(job, classes);
      const bytes = encodeBundle(code.bundle);
      const request = { job: newJobId(), graph: job.graph, code: bundleDigest(bytes), attached, ...(from === undefined ? {} : { from }) };
      const { job: id } = (await this.#connection.callForAttachments("submit", request, [bytes])).reply;
      const control = this.#track(id, job.graph.name, code.classes);
      if (attached) control.attach();
      const segmentBytes = Configuration.of(job.graph.options, `job "${job.graph.name}"`).get(optionsByName.segmentBytes);
      for (const { name } of job.graph.feeds) {
        const feed = feeds.get(name);
        if (feed !== undefined) control.feed(name, feed, segmentBytes);
      }
      return control;
    } finally {
      release();
    }
  }

  /** A job that runs, or has run, on the cluster, whoever submitted it. @throws NotFoundError when there is none of this id. */
  async job(id: JobId): Promise<JobControl> {
    const known = this.#jobs.get(id);
    if (known !== undefined) return known;
    const details = await this.#connection.call("job", { job: id });
    return this.#track(id, details.name, []);
  }

  /** As `job`, with Observables. */
  async attach(id: JobId | string): Promise<JobHandle> {
    return new JobHandle(await this.job(id as JobId));
  }

  /** Running and finished jobs, the latest last. */
  async jobs(): Promise<readonly JobSummary[]> {
    return (await this.#connection.call("jobs", {})).jobs;
  }

  /** The cluster as it is now. */
  overview(): Promise<ClusterOverview> {
    return this.#connection.call("overview", {});
  }

  /** Tells a listener about TaskManagers, slots and jobs, at once and on every change. @returns ends the listening. */
  watchCluster(listener: ClusterListener): () => void {
    const release = this.#connection.hold();
    this.#clusterListeners.set(listener, release);
    const stop = (): void => {
      release();
      if (!this.#clusterListeners.delete(listener) || this.#clusterListeners.size > 0) return;
      void this.#connection.present?.call("watchCluster", { on: false }).catch(() => undefined);
    };
    this.#connection.call("watchCluster", { on: true }).catch((error: Error) => {
      if (this.#clusterListeners.has(listener)) listener.lost?.(error);
      stop();
    });
    return stop;
  }

  /** The cluster as it changes: TaskManagers with their slots, and jobs. Each subscription holds the connection. */
  get overview$(): Observable<ClusterOverview> {
    return new Observable((subscriber) =>
      this.watchCluster({ overview: (overview) => subscriber.next(overview), lost: (error) => subscriber.error(error) }),
    );
  }

  get taskManagers$(): Observable<readonly TaskManagerInfo[]> {
    return this.overview$.pipe(map(({ taskManagers }) => taskManagers));
  }

  /** The slots of all TaskManagers. */
  get slots$(): Observable<readonly (SlotInfo & Pick<TaskManagerInfo, "taskManager">)[]> {
    return this.taskManagers$.pipe(map((all) => all.flatMap(({ taskManager, slots }) => slots.map((slot) => ({ ...slot, taskManager })))));
  }

  get jobs$(): Observable<readonly JobSummary[]> {
    return this.overview$.pipe(map(({ jobs }) => jobs));
  }

  /** Removes a savepoint with its files; `location` is its place as the JobManager sees it. @throws CorruptCheckpointError without one. */
  async disposeSavepoint(location: string): Promise<void> {
    await this.#connection.call("disposeSavepoint", { location });
  }

  /** Ends the cluster: running jobs are cancelled, then its processes end. */
  async shutdownCluster(): Promise<void> {
    await this.#connection.call("shutdownCluster", {});
  }

  /**
   * Hangs up. Attached jobs are cancelled, and their end is waited for a moment; whoever waits for something still gets a ConnectionError,
   * and Observables of what changes over time complete.
   */
  async close(): Promise<void> {
    // Asked for here, so that the jobs end now and not after the grace that a lost connection has.
    const attached = [...this.#jobs.values()].filter((job) => job.isAttached);
    await Promise.allSettled(attached.map((job) => job.leave(FAREWELL_MS)));
    await this.#connection.close();
    this.#lost(new ConnectionError(`the client of ${this.address} was closed.`), true);
  }

  #track(id: JobId, name: string, classes: readonly ShippedClass[]): ClientJob {
    const job = new ClientJob({ id, name, connection: this.#connection, classes, register: () => this.#jobs.set(id, job) });
    this.#jobs.set(id, job);
    for (const [key, old] of this.#jobs) {
      if (this.#jobs.size <= MAX_REMEMBERED_JOBS) break;
      if (!old.isBusy && old !== job) this.#jobs.delete(key);
    }
    return job;
  }

  #lost(error: ConnectionError, closed = false): void {
    for (const job of this.#jobs.values()) job.lost(error, closed);
    for (const [listener, release] of [...this.#clusterListeners]) {
      this.#clusterListeners.delete(listener);
      release();
      listener.lost?.(error);
    }
  }
}

/** How long a client that closes waits for the cancellation of its jobs to be accepted, and then for their end. */
const FAREWELL_MS = 1_000;
const MAX_REMEMBERED_JOBS = 1_000;
