/**
 * The head of the JobManager: accepts jobs, remembers them and finds their masters; gives the slots of the cluster to those that wait; and
 * tells clients what they watch. It decides only. Whatever happens outside comes in as a method call, whatever has to be done is taken out
 * with `takeEffects` after each call, as `job-manager-endpoint.ts` does; it has no sockets, and no clocks but those it is given.
 *
 * It trusts its caller for identities: a client or a TaskManager is who the transport says it is, and lost when the transport says so.
 */
import type { CheckpointOverview, JobDetails, JobSummary, LogLine, MetricsReport } from "../../core/graph/job-status.ts";
import { ConflictError, ConnectionError, GraphError, NotFoundError, TaskManagerLostError } from "../../core/types/errors.ts";
import { type JobId, type TaskManagerId, newJobId } from "../../core/types/ids.ts";
import { Configuration, options } from "../../core/types/options.ts";
import type { CheckpointAck } from "../protocol/checkpoint-messages.ts";
import type { Attachments, ReplyOf, RequestOf } from "../protocol/conversation.ts";
import type {
  ChannelGrant,
  ChannelSegments,
  ClientConversation,
  ExecutionAddress,
  JobTopic,
  OpenedResult,
  Registration,
  RegistrationConversation,
  ResultPosition,
  TakenRows,
  TaskStateChange,
} from "../protocol/messages.ts";
import type { ClusterOverview, SlotInfo, TaskManagerInfo } from "../protocol/cluster-overview.ts";
import type { CheckpointManifest } from "../storage/manifest.ts";
import type { Clocks } from "./clocks.ts";
import type { Effect } from "./effect.ts";
import { requireSound } from "./execution-graph.ts";
import type { RecoveredJob } from "./job-archive.ts";
import { JobMaster, type JobMasterOptions } from "./job-master.ts";
import { JobStore, type JobStoreBounds } from "./job-store.ts";
import { ResourceManager, type TaskManagerRecord } from "./resource-manager.ts";
import { requireRestorable } from "./restore.ts";
import { assign } from "./scheduler.ts";
import { Watches } from "./watches.ts";

export interface DispatcherOptions {
  /** The options of the cluster; a job's own go on top. */
  readonly configuration: Configuration;
  readonly clocks: Clocks;
  /** Where this JobManager listens, for people. */
  readonly address: () => string;
  readonly version: string;
  readonly pid: number;
  /** Milliseconds since a TaskManager was heard last. */
  readonly silentMs: (taskManager: TaskManagerId) => number;
  /** Of this JobManager; higher than that of any before it. */
  readonly epoch: number;
  /** Where checkpoints lie if no option says so. */
  readonly checkpointRoot: string;
  /** From 0 to 1, without 1; default: Math.random. */
  readonly random?: () => number;
  /** Names of new jobs; default: random ones. */
  readonly newJobId?: () => JobId;
  readonly bounds?: Partial<JobStoreBounds>;
}

/** Accepts jobs and serves clients and TaskManagers. */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #startedAtMs: number;
  readonly #resources = new ResourceManager();
  readonly #store: JobStore;
  readonly #watches = new Watches();
  /** In order of submission. */
  readonly #jobs = new Map<JobId, JobMaster>();
  /** Lost clients with attached jobs: when these are cancelled, on the elapsed clock. */
  readonly #graces = new Map<string, number>();
  /** Reactive jobs that could have more slots: when they take them, on the elapsed clock. */
  readonly #growing = new Map<JobId, number>();
  /** Jobs unknown here whose tasks a TaskManager has been told to end. */
  readonly #disowned = new Map<TaskManagerId, Set<JobId>>();
  /** Jobs whose checkpoints are to be told of with the next telling. */
  readonly #checkpointsChanged = new Set<JobId>();
  #effects: Effect[] = [];
  #closing: string | undefined;
  #stale = 0;

  constructor(dispatcherOptions: DispatcherOptions) {
    this.#options = dispatcherOptions;
    this.#startedAtMs = dispatcherOptions.clocks.wallMs();
    this.#store = new JobStore(dispatcherOptions.bounds);
  }

  /** What is to be done, in this order. Taken once. */
  takeEffects(): readonly Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }

  /** When `tick` has something to do, on the elapsed clock; Infinity: only when something happens. */
  get nextWakeMs(): number {
    let next = Math.min(this.#watches.nextDueMs, ...this.#graces.values(), ...this.#growing.values());
    for (const job of this.#jobs.values()) next = Math.min(next, job.nextWakeMs);
    return next;
  }

  /**
   * Time passed: ends what is overdue, gives out free slots and tells what is due. Called when `nextWakeMs` has come, and after every other
   * call.
   */
  tick(): void {
    const nowMs = this.#options.clocks.elapsedMs();
    for (const [client, endMs] of this.#graces) {
      if (nowMs >= endMs) this.#abandon(client);
    }
    for (const job of this.#jobs.values()) job.tick();
    this.#schedule();
    const { jobs, cluster } = this.#watches.due(nowMs);
    for (const id of jobs) {
      const watchers = this.#watches.watchers(id, "status");
      const details = watchers.length === 0 ? undefined : this.#jobs.get(id)?.details();
      if (details !== undefined) for (const client of watchers) this.#do({ kind: "tell", client, event: "jobStatus", message: details });
      if (!this.#checkpointsChanged.delete(id)) continue;
      const interested = this.#watches.watchers(id, "checkpoints");
      const overview = interested.length === 0 ? undefined : this.#jobs.get(id)?.checkpoints.overview();
      if (overview === undefined) continue;
      for (const client of interested) this.#do({ kind: "tell", client, event: "jobCheckpoints", message: overview });
    }
    if (cluster) {
      const overview = this.overview();
      for (const client of this.#watches.clusterWatchers) this.#do({ kind: "tell", client, event: "cluster", message: overview });
    }
  }

  /** Messages that changed nothing, as they were late, repeated or about somebody who is gone. */
  get stale(): number {
    return [...this.#jobs.values()].reduce((sum, job) => sum + job.stale, this.#stale);
  }

  // ---------------------------------------------------------------------------------------------------- TaskManagers

  /** A TaskManager joins. One that is known must have been reported lost before. */
  register(registration: Registration): ReplyOf<RegistrationConversation, "register"> {
    const { configuration, clocks } = this.#options;
    const { taskManager, slots, host, pid } = registration;
    const owed = this.#resources.register(registration, clocks.wallMs());
    for (const job of owed) this.#do({ kind: "release", taskManager, job });
    this.#note(`TaskManager ${taskManager} (${host}, pid ${pid}) joined with ${slots} slots`);
    this.#watches.clusterChanged();
    return {
      heartbeatIntervalMs: configuration.get(options.heartbeatInterval),
      heartbeatTimeoutMs: configuration.get(options.heartbeatTimeout),
    };
  }

  /** A TaskManager is gone. @param reason for people, such as "no heartbeat for 5 s". */
  taskManagerLost(taskManager: TaskManagerId, reason: string): void {
    const lost = this.#resources.lose(taskManager);
    if (lost === undefined) return;
    this.#disowned.delete(taskManager);
    const { host, pid } = lost.registration;
    const error = new TaskManagerLostError(`TaskManager ${taskManager} (${host}, pid ${pid}) was lost: ${reason}.`, {
      details: { taskManager, host, pid },
    });
    this.#note(error.message);
    for (const job of this.#jobs.values()) if (job.taskManagers.has(taskManager)) job.taskManagerLost(taskManager, error);
    this.#watches.clusterChanged();
  }

  taskState(from: TaskManagerId, change: TaskStateChange): void {
    const job = this.#jobs.get(change.execution.job);
    if (job === undefined) this.#stale++;
    else job.taskChanged(from, change);
  }

  metrics(from: TaskManagerId, report: MetricsReport): void {
    this.#resources.reported(from, report.process);
    const ofJob = new Map<JobId, MetricsReport["subtasks"][number][]>();
    for (const subtask of report.subtasks) {
      const others = ofJob.get(subtask.job);
      if (others === undefined) ofJob.set(subtask.job, [subtask]);
      else others.push(subtask);
    }
    for (const [id, subtasks] of ofJob) {
      const job = this.#jobs.get(id);
      if (job === undefined) {
        this.#disown(from, id);
        continue;
      }
      const own = { ...report, taskManager: from, subtasks };
      job.journal.addReport(own);
      job.alignWatermarks(subtasks);
      for (const client of this.#watches.watchers(id, "metrics")) this.#do({ kind: "tell", client, event: "jobMetrics", message: own });
    }
    this.#watches.clusterChanged();
  }

  log(from: TaskManagerId, lines: readonly LogLine[]): void {
    const ofJob = new Map<JobId, LogLine[]>();
    for (const line of lines) {
      const others = ofJob.get(line.job);
      if (others === undefined) ofJob.set(line.job, [line]);
      else others.push(line);
    }
    for (const [id, own] of ofJob) {
      const job = this.#jobs.get(id);
      if (job === undefined) {
        this.#disown(from, id);
        continue;
      }
      this.#log(job, own);
    }
  }

  /** The code of a job that runs. @throws NotFoundError */
  code(digest: string): Uint8Array {
    return this.#store.code(digest);
  }

  resultSegments(from: TaskManagerId, message: ChannelSegments, segments: Attachments): void {
    const job = this.#jobs.get(message.job);
    if (job === undefined) this.#stale++;
    else job.resultArrived(from, message, segments);
  }

  grantFeed(from: TaskManagerId, grant: ChannelGrant): void {
    const job = this.#jobs.get(grant.job);
    if (job === undefined) this.#stale++;
    else job.feedGranted(from, grant);
  }

  acknowledgeCheckpoint(from: TaskManagerId, execution: ExecutionAddress, ack: CheckpointAck): void {
    const job = this.#jobs.get(execution.job);
    if (job === undefined) this.#stale++;
    else job.checkpointAcknowledged(from, execution, ack);
  }

  declineCheckpoint(from: TaskManagerId, execution: ExecutionAddress, checkpoint: number, error: Error): void {
    const job = this.#jobs.get(execution.job);
    if (job === undefined) this.#stale++;
    else job.checkpointDeclined(from, execution, checkpoint, error);
  }

  requestCheckpoint(from: TaskManagerId, execution: ExecutionAddress): void {
    const job = this.#jobs.get(execution.job);
    if (job === undefined) this.#stale++;
    else job.checkpointRequested(from, execution);
  }

  /** A "storeManifest" was done; `error`: the checkpoint certainly does not exist. */
  manifestStored(id: JobId, checkpoint: number, error?: Error): void {
    this.#jobs.get(id)?.manifestStored(checkpoint, error);
  }

  /** A "deploy" was answered; `error`: it was refused, or not answered in time. */
  deployed(taskManager: TaskManagerId, job: JobId, error?: Error): void {
    if (error !== undefined) this.#jobs.get(job)?.deployFailed(taskManager, error);
  }

  /** A "release" was answered; `error`: it was refused, or not answered in time. */
  released(taskManager: TaskManagerId, id: JobId, error?: Error): void {
    const job = this.#jobs.get(id);
    if (error !== undefined) this.#note(`TaskManager ${taskManager} could not release job ${id}: ${error.message}`);
    // A TaskManager that came back after a loss releases jobs which no longer have slots there.
    if (error === undefined) this.#resources.released(taskManager, id);
    if (job?.taskManagers.has(taskManager) === true) job.released(taskManager, error);
    if (error !== undefined) return;
    this.#watches.clusterChanged();
  }

  // ------------------------------------------------------------------------------------------------------------ clients

  /** @throws ConflictError when a job would go back to the checkpoint or savepoint in this folder after a failure. */
  requireDisposable(folder: string): void {
    const job = [...this.#jobs.values()].find((it) => !it.isFinal && it.checkpoints.needs(folder));
    if (job === undefined) return;
    throw new ConflictError(
      `${folder} can't be removed: job ${JSON.stringify(job.name)} (${job.id}) would go back to it after a failure. Remove it when the job has ` +
        "ended, or has taken checkpoints of its own.",
    );
  }

  /** A client is there, perhaps again. */
  clientConnected(client: string): void {
    this.#graces.delete(client);
  }

  /**
   * A client is gone: it reads and watches nothing any more. It may only have lost its connection, so the jobs attached to it are cancelled
   * when it has been away for as long as anybody may be silent.
   */
  clientLost(client: string): void {
    this.#watches.forgetClient(client);
    let attached = false;
    for (const job of this.#jobs.values()) {
      job.readerLost(client);
      attached ||= job.owner === client && !job.isFinal;
    }
    const graceMs = this.#options.configuration.get(options.heartbeatTimeout);
    if (attached) this.#graces.set(client, this.#options.clocks.elapsedMs() + graceMs);
  }

  /**
   * Accepts a job. One that this client named and submitted before is not accepted twice: it asks again because it got no answer.
   * @param manifest of the savepoint that the request names, if it names one.
   * @throws ConflictError when another client has a job of this id; GraphError, ConfigurationError or ProtocolError when it can't run,
   * CheckpointError when it does not fit its savepoint, ConnectionError when the JobManager is about to end.
   */
  submit(
    client: string,
    { job: named, graph, code, attached, from }: RequestOf<ClientConversation, "submit">,
    bytes: Uint8Array | undefined,
    manifest?: CheckpointManifest,
  ): JobId {
    const known = named === undefined ? undefined : this.#jobs.get(named);
    if (known !== undefined) {
      if (known.submitter === client) return known.id;
      throw new ConflictError(`there is a job ${known.id} already, ${JSON.stringify(known.name)} of another client; submit under another id.`);
    }
    if (this.#closing !== undefined) throw new ConnectionError(`the JobManager takes no jobs any more: ${this.#closing}.`);
    requireSound(graph);
    const [feed] = graph.feeds;
    if (feed !== undefined && !attached) {
      throw new GraphError(
        `job ${JSON.stringify(graph.name)} can't run detached: its source ${JSON.stringify(feed.name)} lives in the client. ` +
          "Run it attached (execute or subscribe), or read from a source that the cluster reaches by itself, such as a file or a socket.",
      );
    }
    const { configuration, clocks } = this.#options;
    const ofJob = configuration.with(Configuration.of(graph.options, `job ${JSON.stringify(graph.name)}`));
    if (from !== undefined && manifest !== undefined) requireRestorable(manifest, graph, from.allowNonRestoredState);
    const owner = attached ? { owner: client } : {};
    const begins =
      from === undefined || manifest === undefined
        ? {}
        : { from: { id: manifest.checkpoint, folder: from.savepoint, manifest, owned: false } };
    const job = this.#admit({
      job: named ?? (this.#options.newJobId ?? newJobId)(),
      graph,
      code,
      configuration: ofJob,
      ...owner,
      submitter: client,
      ...begins,
    }, bytes);
    this.#note(`job ${job.id} ${JSON.stringify(graph.name)} was submitted${attached ? "" : ", detached"}`);
    const checkpoints = job.checkpointFolder;
    const begun = { submitter: client, ...(from === undefined ? {} : { from }) };
    this.#do({ kind: "archiveJob", record: { job: job.id, graph, code, ...owner, ...begun, checkpoints, submittedAtMs: clocks.wallMs() } });
    job.start();
    return job.id;
  }

  /** Jobs of a former leader go on here. Called once, before anything else. Clients that own some have time to come back. */
  recover(jobs: readonly RecoveredJob[]): void {
    const { configuration, clocks } = this.#options;
    for (const recovered of jobs) {
      const { graph, code, bytes, owner, submitter, lost } = recovered;
      let job: JobMaster;
      try {
        const ofJob = configuration.with(Configuration.of(graph.options, `job ${JSON.stringify(graph.name)}`));
        const owned = { ...(owner === undefined ? {} : { owner }), ...(submitter === undefined ? {} : { submitter }) };
        job = this.#admit({ job: recovered.job, graph, code, configuration: ofJob, ...owned, recovered }, bytes);
      } catch (error) {
        // It stays in the archive, for a JobManager that can.
        this.#note(`job ${recovered.job} ${JSON.stringify(graph.name)} can't be recovered: ${(error as Error).message}`);
        continue;
      }
      const from = recovered.completed.at(-1);
      this.#note(`job ${job.id} ${JSON.stringify(graph.name)} is recovered${from === undefined ? "" : ` from checkpoint ${from.id}`}`);
      if (owner !== undefined) this.#graces.set(owner, clocks.elapsedMs() + configuration.get(options.haRecoveryTimeout));
      job.start();
      if (lost !== undefined) job.loseCheckpoints(lost);
    }
  }

  #admit(
    described: Pick<JobMasterOptions, "job" | "graph" | "code" | "configuration" | "owner" | "submitter" | "from" | "recovered">,
    bytes: Uint8Array | undefined,
  ): JobMaster {
    const { clocks, epoch, checkpointRoot, random = Math.random } = this.#options;
    this.#store.useCode(described.code, bytes);
    const job: JobMaster = this.#orLeave(described.code, () => new JobMaster({
      ...described,
      clocks,
      epoch,
      checkpointRoot,
      random,
      dataAddress: (taskManager) => (this.#resources.find(taskManager) as TaskManagerRecord).registration.dataAddress,
      emit: (effect) => this.#do(effect),
      log: (lines) => this.#log(job, lines),
      changed: (changed, what) => this.#jobChanged(changed, what),
    }));
    this.#jobs.set(job.id, job);
    return job;
  }

  /** A job that does not come about needs no code. */
  #orLeave<T>(code: string, make: () => T): T {
    try {
      return make();
    } catch (error) {
      this.#store.leaveCode(code);
      throw error;
    }
  }

  /** All jobs that are remembered, in order of submission. */
  jobs(): readonly JobSummary[] {
    return [...this.#jobs.values()].map((job) => job.summary());
  }

  /** @throws NotFoundError */
  job(id: JobId): JobDetails {
    return this.#find(id).details();
  }

  /** Does nothing when the job has ended. @throws NotFoundError */
  cancel(id: JobId): void {
    this.#find(id).cancel();
  }

  /**
   * The client is told of the job from now on: its present state at once, and, when it listens to the log for the first time, the lines
   * that are kept. @throws NotFoundError
   */
  watchJob(client: string, id: JobId, topics: readonly JobTopic[]): void {
    const job = this.#find(id);
    const fresh = this.#watches.watchJob(client, id, topics);
    if (fresh.has("log") && job.journal.lines.length > 0) {
      this.#do({ kind: "tell", client, event: "jobLog", message: { lines: [...job.journal.lines] } });
    }
    if (fresh.has("checkpoints")) this.#do({ kind: "tell", client, event: "jobCheckpoints", message: job.checkpoints.overview() });
    if (topics.includes("status")) this.#do({ kind: "tell", client, event: "jobStatus", message: job.details() });
  }

  unwatchJob(client: string, id: JobId): void {
    this.#watches.unwatchJob(client, id);
  }

  /** @throws NotFoundError */
  checkpoints(id: JobId): CheckpointOverview {
    return this.#find(id).checkpoints.overview();
  }

  /**
   * Takes a checkpoint. Answered by a "reply" or "refuse" of this request, as is each of the following.
   * @throws NotFoundError, CheckpointError
   */
  triggerCheckpoint(id: JobId, request: number): void {
    this.#find(id).requestCheckpoint({
      kind: "checkpoint",
      whenDone: (outcome) => this.#answer(request, "error" in outcome ? outcome : { value: { checkpoint: outcome.completed.id } }),
    });
  }

  /** Takes a savepoint. @throws NotFoundError, CheckpointError, ConfigurationError */
  savepoint(id: JobId, target: string | undefined, request: number): void {
    this.#find(id).requestCheckpoint({
      kind: "savepoint",
      ...(target === undefined ? {} : { folder: target }),
      whenDone: (outcome) => this.#answer(request, "error" in outcome ? outcome : { value: { location: outcome.completed.folder } }),
    });
  }

  /** Ends a job with a savepoint. @throws NotFoundError, CheckpointError, ConfigurationError */
  stopWithSavepoint(id: JobId, drain: boolean, target: string | undefined, request: number): void {
    this.#find(id).stop(drain, target, (outcome) => this.#answer(request, "error" in outcome ? outcome : { value: outcome }));
  }

  /** Runs a job at another parallelism. @throws NotFoundError, CheckpointError, ConfigurationError */
  rescale(id: JobId, parallelism: number, request: number): void {
    this.#find(id).rescale(parallelism, (error) => this.#answer(request, error === undefined ? { value: undefined } : { error }));
  }

  /** @throws NotFoundError */
  metricsHistory(id: JobId): readonly MetricsReport[] {
    return this.#find(id).journal.reports;
  }

  watchCluster(client: string, on: boolean): void {
    this.#watches.watchCluster(client, on);
    if (on) this.#do({ kind: "tell", client, event: "cluster", message: this.overview() });
  }

  /** @throws NotFoundError, ConflictError */
  openResult(client: string, id: JobId, name: string, from?: readonly ResultPosition[]): OpenedResult {
    return this.#find(id).openResult(name, client, from);
  }

  closeResult(client: string, id: JobId, name: string, taken: readonly TakenRows[]): void {
    this.#jobs.get(id)?.closeResult(name, client, taken);
  }

  grantResult(client: string, grant: ChannelGrant): void {
    this.#jobs.get(grant.job)?.readerGranted(client, grant);
  }

  feedSegments(client: string, message: ChannelSegments, segments: Attachments): void {
    const job = this.#jobs.get(message.job);
    if (job === undefined) this.#stale++;
    else job.feedArrived(client, message, segments);
  }

  overview(): ClusterOverview {
    const { address, version, pid } = this.#options;
    const slots = this.#slotTasks();
    return {
      version,
      pid,
      address: address(),
      startedAtMs: this.#startedAtMs,
      slotsTotal: this.#resources.slotsTotal,
      slotsFree: this.#resources.slotsFree,
      taskManagers: this.#resources.taskManagers.map((record) => this.#taskManagerInfo(record, slots)),
      jobs: this.jobs(),
    };
  }

  // ------------------------------------------------------------------------------------------------------------- ending

  /** Accepts nothing more and cancels all jobs. @param reason for people. */
  close(reason: string): void {
    this.#closing ??= reason;
    for (const job of this.#jobs.values()) job.cancel();
  }

  /** Whether every job has ended and given its slots back. */
  get isIdle(): boolean {
    return [...this.#jobs.values()].every((job) => job.isFinal && job.taskManagers.size === 0);
  }

  /** Tells every TaskManager to end. */
  dismissTaskManagers(reason: string): void {
    for (const { registration } of this.#resources.taskManagers) {
      this.#do({ kind: "dismiss", taskManager: registration.taskManager, reason });
    }
  }

  // ------------------------------------------------------------------------------------------------------------- inside

  #do(effect: Effect): void {
    this.#effects.push(effect);
  }

  #answer(request: number, answer: { readonly value: unknown } | { readonly error: Error }): void {
    this.#do("error" in answer ? { kind: "refuse", request, error: answer.error } : { kind: "reply", request, value: answer.value });
  }

  #note(text: string): void {
    this.#do({ kind: "note", text });
  }

  #log(job: JobMaster, lines: readonly LogLine[]): void {
    job.journal.addLines(lines);
    for (const client of this.#watches.watchers(job.id, "log")) this.#do({ kind: "tell", client, event: "jobLog", message: { lines } });
  }

  #find(id: JobId): JobMaster {
    const job = this.#jobs.get(id);
    if (job === undefined) {
      throw new NotFoundError(`there is no job ${id} here; \`drey list -a\` lists the jobs that the JobManager remembers.`);
    }
    return job;
  }

  #jobChanged(job: JobMaster, what: "state" | "tasks" | "checkpoints"): void {
    if (what === "checkpoints") this.#checkpointsChanged.add(job.id);
    this.#watches.jobChanged(job.id, what === "state");
    if (what !== "state") return;
    const { state, failure } = job.details();
    this.#note(`job ${job.id} ${JSON.stringify(job.name)} is ${state}${failure === undefined ? "" : `: ${failure.message}`}`);
    if (!job.isFinal) return;
    this.#do({ kind: "forgetJob", job: job.id });
    this.#store.leaveCode(job.code);
    for (const forgotten of this.#store.keep(job.id, () => job.results.reduce((sum, result) => sum + result.bufferedBytes, 0))) {
      this.#jobs.delete(forgotten);
      this.#watches.forgetJob(forgotten);
    }
  }

  /** Gives free slots to jobs that wait, and the others their reason. */
  #schedule(): void {
    const waiting = [...this.#jobs.values()].filter((job) => job.wantsSlots);
    for (const job of waiting) job.fit(this.#resources.slotsFree);
    this.#growJobs();
    if (waiting.length === 0) return;
    const { free, slotsTotal } = this.#resources;
    const demands = waiting.map((job) => ({ job: job.id, shares: job.shares, waitedMs: job.ageMs, patienceMs: job.slotTimeoutMs / 2 }));
    for (const [id, placements] of assign(demands, free, slotsTotal)) {
      this.#resources.take(id, placements);
      this.#find(id).giveSlots(placements);
    }
    const { slotsFree, taskManagers } = this.#resources;
    const are = slotsFree === 1 ? "is" : "are";
    const cluster = `${slotsFree} ${are} free of ${slotsTotal} on ${counted(taskManagers.length, "TaskManager")}`;
    for (const job of waiting) {
      if (!job.wantsSlots) continue;
      const reason = `needs ${counted(job.shares.length, "slot")}, ${cluster}`;
      if (reason === job.waitingFor) continue;
      job.waitingFor = reason;
      this.#watches.jobChanged(job.id, false);
    }
  }

  /** Reactive jobs take slots that have been free for a while. */
  #growJobs(): void {
    const nowMs = this.#options.clocks.elapsedMs();
    for (const job of this.#jobs.values()) {
      if (!job.couldGrow(this.#resources.slotsFree)) {
        this.#growing.delete(job.id);
        continue;
      }
      const dueMs = this.#growing.get(job.id) ?? nowMs + this.#options.configuration.get(options.resourceStabilization);
      this.#growing.set(job.id, dueMs);
      if (nowMs < dueMs) continue;
      this.#growing.delete(job.id);
      try {
        job.grow(this.#resources.slotsFree);
      } catch (error) {
        this.#note(`job ${job.id} does not take the free slots yet: ${(error as Error).message}`);
      }
    }
  }

  #abandon(client: string): void {
    this.#graces.delete(client);
    for (const job of this.#jobs.values()) {
      if (job.owner !== client || job.isFinal) continue;
      this.#note(`job ${job.id} ${JSON.stringify(job.name)} is cancelled: its client is gone`);
      job.cancel();
    }
  }

  /** Tasks of a job that nobody knows here, left over from a former JobManager: they can go. */
  #disown(taskManager: TaskManagerId, job: JobId): void {
    const told = this.#disowned.get(taskManager) ?? new Set<JobId>();
    this.#disowned.set(taskManager, told);
    this.#stale++;
    if (told.has(job)) return;
    told.add(job);
    this.#do({ kind: "release", taskManager, job });
  }

  #slotTasks(): ReadonlyMap<string, SlotInfo["tasks"]> {
    const slots = new Map<string, SlotInfo["tasks"][number][]>();
    for (const job of this.#jobs.values()) {
      if (job.taskManagers.size === 0) continue;
      const names = new Map(job.graph.vertices.map(({ id, name }) => [id, name]));
      for (const { at, address, state } of job.executions.executions) {
        if (at === undefined || !job.taskManagers.has(at.taskManager)) continue;
        const slot = `${at.taskManager}/${at.slot}`;
        const task = { vertex: address.vertex, name: names.get(address.vertex) as string, subtask: address.subtask, state };
        const others = slots.get(slot);
        if (others === undefined) slots.set(slot, [task]);
        else others.push(task);
      }
    }
    return slots;
  }

  #taskManagerInfo(
    { registration, registeredAtMs, slots, process }: TaskManagerRecord,
    tasks: ReadonlyMap<string, SlotInfo["tasks"]>,
  ): TaskManagerInfo {
    const { taskManager, host, pid, dataAddress, slotHeapBytes } = registration;
    return {
      taskManager,
      host,
      pid,
      dataAddress,
      registeredAtMs,
      silentMs: this.#options.silentMs(taskManager),
      slotHeapBytes,
      slots: slots.map((holder, slot): SlotInfo => {
        if (holder === undefined) return { slot, tasks: [] };
        const name = this.#jobs.get(holder)?.name;
        return { slot, job: holder, ...(name === undefined ? {} : { jobName: name }), tasks: tasks.get(`${taskManager}/${slot}`) ?? [] };
      }),
      process,
    };
  }
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
