/**
 * The master of one job: takes it through its states, from its submission to the release of its slots. What happens to the job comes in as
 * method calls (slots were found, a task reported, a TaskManager was lost, time passed); what follows goes out as effects.
 *
 * Invariants: the job's state changes along `states/index.ts` only; messages of other attempts, from TaskManagers that don't run the
 * execution, or about executions that are further already, change nothing and are counted in `stale`; the first failure is the job's
 * failure; slots are given back only when their TaskManagers have released the job or are gone; a subtask begins anew only when its former
 * attempt, and those of all that it exchanged rows with, have ended, and from a checkpoint of which it is certain that it exists.
 */
import { type JobGraph, slotsNeeded } from "../../core/graph/job-graph.ts";
import { WatermarkAlignment } from "../../core/graph/watermark-alignment.ts";
import { isFinal, type JobDetails, type JobState, type JobSummary, type LogLine, type MetricsReport } from "../../core/graph/job-status.ts";
import { formatDuration } from "../../core/types/duration.ts";
import {
  CheckpointError,
  CorruptCheckpointError,
  DeadlineError,
  DreyError,
  InvariantError,
  NotFoundError,
  TaskManagerLostError,
  fromWire,
  toWire,
  type WireError,
} from "../../core/types/errors.ts";
import { type JobId, type SubtaskId, type TaskManagerId, type VertexId, subtaskId } from "../../core/types/ids.ts";
import { type Configuration, options } from "../../core/types/options.ts";
import type { Attachments } from "../protocol/conversation.ts";
import type { CheckpointAck } from "../protocol/checkpoint-messages.ts";
import type {
  ChannelGrant, ChannelSegments, ExecutionAddress, OpenedResult, ResultPosition, TakenRows, TaskStateChange,
} from "../protocol/messages.ts";
import { CheckpointCoordinator, type CheckpointRequest } from "./checkpoint-coordinator.ts";
import { checkpointDeployment, type CheckpointSettings, checkpointSettings } from "./checkpoint-settings.ts";
import type { Clocks } from "./clocks.ts";
import type { CompletedCheckpoint } from "./completed-checkpoints.ts";
import type { RecoveredJob } from "./job-archive.ts";
import type { Emit } from "./effect.ts";
import { type Execution, ExecutionGraph } from "./execution-graph.ts";
import { affectedBy } from "./failover.ts";
import { FeedRelay } from "./feed-relay.ts";
import { JobJournal } from "./job-journal.ts";
import { type RestartStrategy, restartStrategy } from "./restart-strategy.ts";
import { Restore } from "./restore.ts";
import { asBefore, fitted, rescaled } from "./rescaling.ts";
import { type KeptResult, type OverflowPolicy, type ReleasePolicy, ResultBuffer, type ResultChange } from "./result-buffer.ts";
import { deployments } from "./scheduler.ts";
import { type Placement, SlotPool } from "./slot-pool.ts";
import { shareSlots, type SlotShare } from "./slot-sharing.ts";
import { states, transitions } from "./states/index.ts";
import type { StateOfJob } from "./states/state.ts";

/** Why a job can't go on as it is. */
export interface Failure {
  readonly error: Error;
  /** The task that failed, when it was one. */
  readonly execution?: Execution;
  /** All tasks that failed, when a TaskManager was lost. Neither: the job failed as a whole. */
  readonly executions?: readonly Execution[];
}

export interface JobMasterOptions {
  readonly job: JobId;
  readonly graph: JobGraph;
  /** SHA-256 of the job's code. */
  readonly code: string;
  /** The cluster's options with the job's on top. */
  readonly configuration: Configuration;
  /** The client that the job lives and ends with, if it is attached; it also sends the rows of the job's feeds. */
  readonly owner?: string;
  /** The client that submitted it. */
  readonly submitter?: string;
  readonly clocks: Clocks;
  /** Of this JobManager. */
  readonly epoch: number;
  /** Where checkpoints lie if no option says so. */
  readonly checkpointRoot: string;
  /** From 0 to 1, without 1. */
  readonly random: () => number;
  /** Where each TaskManager takes records from others. */
  readonly dataAddress: (taskManager: TaskManagerId) => string;
  /** What the job begins with, checked against the graph already. */
  readonly from?: CompletedCheckpoint;
  /** It ran under a former leader. */
  readonly recovered?: Pick<RecoveredJob, "completed" | "lastId" | "leaders">;
  readonly emit: Emit;
  /** Takes lines for the job's log. */
  readonly log: (lines: readonly LogLine[]) => void;
  /** Told after every change that people can see; `state`: the job itself changed its state. */
  readonly changed: (job: JobMaster, what: "state" | "tasks" | "checkpoints") => void;
}

/** Each leader numbers attempts from its own multiple of this on. */
const ATTEMPTS_PER_LEADER = 100_000;

/** What came of stopping a job with a savepoint. */
export type Stopped = { readonly location: string } | { readonly error: Error };

/** How much longer than the TaskManager's own deadline a task may take to report its end. */
const CANCELLATION_MARGIN_MS = 10_000;
/** How often a TaskManager is asked to release a job before it is given up. */
const MAX_RELEASES = 3;
const RELEASE_AGAIN_MS = 5_000;

/** Drives one job. */
export class JobMaster {
  readonly id: JobId;
  readonly code: string;
  readonly owner: string | undefined;
  readonly submitter: string | undefined;
  readonly journal: JobJournal;
  readonly checkpoints: CheckpointCoordinator;
  /** Why it waits, while it waits for slots. */
  waitingFor: string | undefined;
  /** Messages that changed nothing, as they were late, repeated or of somebody else. */
  stale = 0;

  readonly #submitted: JobGraph;
  #graph: JobGraph;
  #executions: ExecutionGraph;
  #shares: readonly SlotShare[];
  readonly #settings: CheckpointSettings;
  readonly #strategy: RestartStrategy;
  readonly #dataAddress: JobMasterOptions["dataAddress"];
  readonly #configuration: Configuration;
  readonly #clocks: Clocks;
  readonly #emit: Emit;
  readonly #log: JobMasterOptions["log"];
  readonly #changed: JobMasterOptions["changed"];
  readonly #pool = new SlotPool();
  readonly #results: ReadonlyMap<string, ResultBuffer>;
  readonly #feeds = new Map<string, FeedRelay>();
  readonly #timestamps: Record<string, number> = {};
  readonly #submittedElapsedMs: number;
  readonly #releases = new Map<TaskManagerId, { asked: number; pending: boolean }>();
  #state: StateOfJob = states.CREATED;
  #enteredElapsedMs: number;
  #wakeAtMs: number | undefined;
  #failure: WireError | undefined;
  /** Subtasks that are to begin (again) and have not been deployed yet. */
  #toDeploy: ReadonlySet<SubtaskId>;
  /** When the restart's delay is over, on the elapsed clock. */
  #restartAtMs = 0;
  #restarts = 0;
  /** Why tasks began anew last. */
  #restartCause: WireError | undefined;
  /** The graph to go on with after the present restart, when the job is being rescaled. */
  #nextGraph: JobGraph | undefined;
  #alignment: WatermarkAlignment;
  /** Told when the rescaled job runs again, or has ended. */
  #rescalings: ((error?: Error) => void)[] = [];
  /** Savepoints that the job ends with. Told when it has ended. */
  #stops: { readonly location: string; readonly settled: (outcome: Stopped) => void }[] = [];

  constructor(jobMasterOptions: JobMasterOptions) {
    const { job, graph, code, configuration, owner, submitter, clocks, epoch, checkpointRoot, random, dataAddress } = jobMasterOptions;
    const { from, recovered, emit, log, changed } = jobMasterOptions;
    this.id = job;
    const before = recovered?.completed.at(-1);
    this.#submitted = graph;
    // It may have been rescaled since.
    this.#graph = before?.owned === true ? asBefore(graph, before.manifest.vertices) : graph;
    this.#alignment = new WatermarkAlignment(graph);
    this.code = code;
    this.owner = owner;
    this.submitter = submitter;
    this.#configuration = configuration;
    this.#clocks = clocks;
    this.#emit = emit;
    this.#log = log;
    this.#changed = changed;
    this.#dataAddress = dataAddress;
    this.#settings = checkpointSettings(configuration, job, checkpointRoot);
    this.#strategy = restartStrategy(configuration, random);
    this.checkpoints = new CheckpointCoordinator({
      job,
      jobName: graph.name,
      settings: this.#settings,
      epoch,
      clocks,
      emit,
      whenIntolerable: (error) => this.fail(error),
      whenCompleted: (checkpoint) => {
        for (const [name, result] of this.#results) this.#follow(name, result.checkpointCompleted(checkpoint));
        for (const name of this.#feeds.keys()) this.#grantFeed(name);
      },
      results: (checkpoint) => this.#keptRows(checkpoint),
      changed: () => changed(this, "checkpoints"),
    });
    for (const completed of recovered?.completed ?? (from === undefined ? [] : [from])) this.checkpoints.beginWith(completed);
    this.checkpoints.beginAfter(recovered?.lastId ?? 0);
    // Of another job's rows nothing is kept: whoever reads them reads them there.
    const stored = recovered === undefined ? undefined : this.checkpoints.latest?.manifest.results;
    const kept = stored as Readonly<Record<string, KeptResult>> | undefined;
    this.#submittedElapsedMs = this.#enteredElapsedMs = clocks.elapsedMs();
    this.#timestamps["CREATED"] = clocks.wallMs();
    // Higher than the attempts that a former leader made, which it did not note one by one.
    this.#executions = new ExecutionGraph(job, this.#graph, clocks.wallMs(), (recovered?.leaders ?? 0) * ATTEMPTS_PER_LEADER);
    this.#shares = shareSlots(this.#graph);
    this.#toDeploy = allSubtasks(this.#graph);
    this.journal = new JobJournal(configuration.get(options.metricsHistory));
    const ofJob = `of job ${JSON.stringify(graph.name)}`;
    this.#results = new Map(
      graph.results.map(({ name, vertex }) => [
        name,
        new ResultBuffer({
          name: `result ${JSON.stringify(name)} ${ofJob}`,
          subtasks: parallelismOf(this.#graph, vertex),
          capacityBytes: configuration.get(options.resultBytes),
          segmentBytes: configuration.get(options.segmentBytes),
          policy: configuration.get(options.resultPolicy) as OverflowPolicy,
          // Without checkpoints that come by themselves nothing would release the rows.
          release: this.#settings.intervalMs === 0 ? "at-once" : (configuration.get(options.resultRelease) as ReleasePolicy),
          ...(kept?.[name] === undefined ? {} : { kept: kept[name] }),
          recovered: recovered !== undefined,
        }),
      ]),
    );
    for (const { name } of graph.feeds) this.#beginFeed(name);
  }

  // ------------------------------------------------------------------------------------------------- what others ask

  get name(): string {
    return this.#graph.name;
  }

  /** What it runs now; rescaling changes it. */
  get graph(): JobGraph {
    return this.#graph;
  }

  get executions(): ExecutionGraph {
    return this.#executions;
  }

  get state(): JobState {
    return this.#state.name;
  }

  get isFinal(): boolean {
    return isFinal(this.state);
  }

  /** What it needs slots for before it can go on. */
  get shares(): readonly SlotShare[] {
    const waits = (share: SlotShare): boolean => share.subtasks.some((it) => this.#toDeploy.has(subtaskId(it.vertex, it.subtask)));
    return this.#pool.missing(this.#shares.filter(waits));
  }

  /** Whether it waits for slots: the shares it needs are `shares`. */
  get wantsSlots(): boolean {
    return this.state === "WAITING" && this.#toDeploy.size > 0;
  }

  /** How often tasks began anew. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Milliseconds since its submission. */
  get ageMs(): number {
    return this.#clocks.elapsedMs() - this.#submittedElapsedMs;
  }

  /** Folder of its checkpoints. */
  get checkpointFolder(): string {
    return this.#settings.folder;
  }

  /** TaskManagers that have slots of it. */
  get taskManagers(): ReadonlySet<TaskManagerId> {
    return this.#pool.taskManagers;
  }

  get results(): readonly ResultBuffer[] {
    return [...this.#results.values()];
  }

  /** When `tick` has something to do, on the elapsed clock; Infinity: never. */
  get nextWakeMs(): number {
    return Math.min(this.#wakeAtMs ?? Number.POSITIVE_INFINITY, this.checkpoints.nextWakeMs);
  }

  summary(): JobSummary {
    const endedAtMs = this.isFinal ? this.#timestamps[this.state] : undefined;
    return {
      job: this.id,
      name: this.name,
      state: this.state,
      startedAtMs: this.#timestamps["CREATED"] as number,
      ...(endedAtMs === undefined ? {} : { endedAtMs }),
      tasks: this.executions.counts,
    };
  }

  details(): JobDetails {
    const waitingFor = this.#waitsFor();
    return {
      ...this.summary(),
      graph: this.graph,
      executions: this.executions.infos(),
      timestamps: { ...this.#timestamps },
      ...(waitingFor === undefined ? {} : { waitingFor }),
      ...(this.#failure === undefined ? {} : { failure: this.#failure }),
    };
  }

  // -------------------------------------------------------------------------------------------------- what happens to it

  /** Begins. Call once, when everybody who is told of its changes knows it. */
  start(): void {
    this.#step((state) => state.enter(this));
  }

  /** It gets the slots that it lacks: deploys the tasks that wait. */
  giveSlots(placements: readonly Placement[]): void {
    if (!this.wantsSlots) throw new InvariantError(`job ${this.id} was given slots in state ${this.state}.`);
    this.#pool.fill(placements);
    this.deploy();
    this.#step((state) => state.progressed(this));
  }

  /** A TaskManager could not start its tasks, or did not answer in time. Whatever it may have started ends when it releases the job. */
  deployFailed(taskManager: TaskManagerId, error: Error): void {
    const executions = this.executions.aliveOn(taskManager).map(({ address }) => address);
    this.#endTasksOn(taskManager, error);
    // A deployment that was answered too late may run. Where it does not, nobody minds.
    if (executions.length > 0) this.#emit({ kind: "cancel", taskManager, executions });
  }

  /** A TaskManager is gone, and its tasks with it. */
  taskManagerLost(taskManager: TaskManagerId, error: Error): void {
    // A task may have finished while the end of its rows was still there.
    const lostTail = this.graph.results.some(({ name, vertex }) =>
      this.#result(name).unfinished.some((subtask) => this.executions.at(vertex, subtask).at?.taskManager === taskManager),
    );
    this.#pool.lose(taskManager);
    this.#releases.delete(taskManager);
    this.#endTasksOn(taskManager, error);
    if (lostTail && this.state !== "RESTARTING") this.fail(error);
  }

  /** A task says that its state changed. */
  taskChanged(from: TaskManagerId, { execution: address, state, atMs, error }: TaskStateChange): void {
    const execution = this.executions.find(address.vertex, address.subtask, address.attempt);
    if (execution?.at?.taskManager !== from || !this.executions.advance(execution, state, atMs, error)) {
      this.stale++;
      return;
    }
    if (state === "INITIALIZING" || state === "RUNNING") {
      for (const { name } of this.graph.results.filter((result) => result.vertex === address.vertex)) {
        this.#follow(name, this.#result(name).repeatGrant(address.subtask));
      }
    }
    const winding = this.state === "CANCELLING" || this.state === "FAILING" || this.#restarting(execution);
    if (state === "FINISHED") this.checkpoints.taskFinished(execution);
    if (state === "FAILED" || (state === "CANCELED" && !winding)) {
      const reason =
        error === undefined
          ? new TaskManagerLostError(`TaskManager ${from} ended the task (${state}) without saying why.`)
          : fromWire(error);
      this.#step((now) => now.failed(this, { error: reason, execution }));
    } else {
      this.#step((now) => now.progressed(this));
    }
    this.#changed(this, "tasks");
  }

  /** Somebody wants it to end. Does nothing when it ends or has ended already. */
  cancel(): void {
    this.#step((state) => state.cancelled(this));
  }

  /** It can't go on. */
  fail(error: Error): void {
    this.#step((state) => state.failed(this, { error }));
  }

  /** It can't go on from where a former leader left it. */
  loseCheckpoints(error: Error): void {
    this.#step(() => this.giveUp({ error }, "has checkpoints, but none of them can be read"));
  }

  /** Time passed. */
  tick(): void {
    this.checkpoints.tick();
    if (this.#wakeAtMs === undefined || this.#clocks.elapsedMs() < this.#wakeAtMs) return;
    this.#wakeAtMs = undefined;
    this.#step((state) => state.overdue(this));
  }

  /** A TaskManager has released it, or could not. */
  released(taskManager: TaskManagerId, error: Error | undefined): void {
    if (error === undefined) {
      this.#pool.give(taskManager);
      this.#releases.delete(taskManager);
      if (this.state === "RESTARTING") this.#step((state) => state.progressed(this));
      return;
    }
    const release = this.#releases.get(taskManager);
    if (release !== undefined) release.pending = false;
    if (this.#wakeAtMs === undefined) this.wakeIn(RELEASE_AGAIN_MS);
  }

  // ------------------------------------------------------------------------------------------------------- checkpoints

  /** A task has stored its part of a checkpoint. */
  checkpointAcknowledged(from: TaskManagerId, address: ExecutionAddress, ack: CheckpointAck): void {
    const execution = this.#reporting(from, address);
    if (execution === undefined || !this.checkpoints.acknowledged(execution, ack)) this.stale++;
  }

  /** A task could not. */
  checkpointDeclined(from: TaskManagerId, address: ExecutionAddress, checkpoint: number, error: Error): void {
    const execution = this.#reporting(from, address);
    if (execution === undefined || !this.checkpoints.declined(execution, checkpoint, error)) this.stale++;
  }

  /** A task waits at its end for a checkpoint. */
  checkpointRequested(from: TaskManagerId, address: ExecutionAddress): void {
    const execution = this.#reporting(from, address);
    if (execution === undefined) this.stale++;
    else this.checkpoints.awaited(execution);
  }

  /** A manifest was stored; `error`: it was certainly not. */
  manifestStored(checkpoint: number, error: Error | undefined): void {
    this.checkpoints.stored(checkpoint, error);
    // A restart waits for it.
    if (this.state === "RESTARTING") this.#step((state) => state.progressed(this));
  }

  /**
   * Takes a checkpoint or savepoint; `request.whenDone` is told once.
   * @throws CheckpointError, ConfigurationError
   */
  requestCheckpoint(request: CheckpointRequest): void {
    this.#requireRunning(`take a ${request.kind}`);
    this.checkpoints.request(request);
  }

  /**
   * Ends it with a savepoint. @param settled told when it has FINISHED, with the savepoint's folder, or why it did not.
   * @throws CheckpointError, ConfigurationError
   */
  stop(drain: boolean, target: string | undefined, settled: (outcome: Stopped) => void): void {
    this.requestCheckpoint({
      kind: "savepoint",
      stop: drain ? "drain" : "suspend",
      ...(target === undefined ? {} : { folder: target }),
      whenDone: (outcome) => {
        if ("error" in outcome) return settled(outcome);
        this.#stops.push({ location: outcome.completed.folder, settled });
      },
    });
  }

  /** Subtasks told of their watermarks: sources that are too far ahead of others of their group are told to wait. */
  alignWatermarks(subtasks: MetricsReport["subtasks"]): void {
    if (!this.#alignment.needed) return;
    const limits = this.#alignment.reported(subtasks);
    if (limits.length === 0) return;
    for (const taskManager of this.taskManagers) this.#emit({ kind: "limitWatermarks", taskManager, job: this.id, limits });
  }

  /**
   * Runs it at another parallelism from its next checkpoint on. @param settled told when all its tasks run again, or why they don't.
   * @throws CheckpointError, ConfigurationError
   */
  rescale(parallelism: number, settled: (error?: Error) => void): void {
    this.#rescaleTo(rescaled(this.#submitted, parallelism), settled);
  }

  /** Whether it takes whatever slots there are. */
  get isReactive(): boolean {
    return this.#configuration.get(options.schedulerMode) === "reactive";
  }

  /** A reactive job that holds no slots and wants some: takes the parallelism that so many allow. */
  fit(slots: number): void {
    if (!this.isReactive || !this.wantsSlots || this.#pool.taskManagers.size > 0) return;
    const graph = fitted(this.#submitted, slots);
    if (graph !== undefined && !sameShape(graph, this.graph)) this.#adopt(graph, this.executions.lastAttempt);
  }

  /** Whether a reactive job that runs could run at a higher parallelism if it had so many slots more. */
  couldGrow(slots: number): boolean {
    return this.isReactive && this.state === "RUNNING" && slots > 0 && this.#grown(slots) !== undefined;
  }

  /** Does so, from its next checkpoint on. @throws CheckpointError when it can't take one now. */
  grow(slots: number): void {
    const graph = this.#grown(slots);
    if (graph !== undefined) this.#rescaleTo(graph, () => undefined);
  }

  #grown(slots: number): JobGraph | undefined {
    const graph = fitted(this.#submitted, slots + slotsNeeded(this.graph));
    return graph === undefined || slotsNeeded(graph) <= slotsNeeded(this.graph) ? undefined : graph;
  }

  #rescaleTo(graph: JobGraph, settled: (error?: Error) => void): void {
    this.#requireRunning("be rescaled");
    if (this.#nextGraph !== undefined) throw new CheckpointError(`job ${JSON.stringify(this.name)} is being rescaled already.`);
    this.#nextGraph = graph;
    try {
      this.checkpoints.request({
        kind: "checkpoint",
        aligned: true,
        whenDone: (outcome) => {
          if ("error" in outcome) {
            this.#nextGraph = undefined;
            return settled(outcome.error);
          }
          this.#rescalings.push(settled);
          this.#step((state) => {
            if (state.name === "RUNNING") return this.#restartAll();
            // Tasks failed while the checkpoint was being stored: then all restart.
            if (state.name === "RESTARTING") {
              this.#restartAll();
              this.cancelTasks();
            }
            return undefined;
          });
        },
      });
    } catch (error) {
      this.#nextGraph = undefined;
      throw error;
    }
  }

  // ------------------------------------------------------------------------------------------------- results and feeds

  /** @throws NotFoundError when it has no such result; ConflictError while another client reads it. */
  openResult(name: string, reader: string, from?: readonly ResultPosition[]): OpenedResult {
    const result = this.#results.get(name);
    if (result === undefined) {
      const known = [...this.#results.keys()].map((other) => JSON.stringify(other)).join(", ");
      throw new NotFoundError(
        `job ${JSON.stringify(this.name)} has no result ${JSON.stringify(name)}; it has ${known === "" ? "none" : known}.`,
      );
    }
    this.#follow(name, result.open(reader, from));
    return { subtasks: result.subtasks, skip: result.skip, from: result.from };
  }

  closeResult(name: string, reader: string, taken: readonly TakenRows[]): void {
    this.#results.get(name)?.close(reader, taken);
  }

  /** A client is gone: what it read is free for others. */
  readerLost(reader: string): void {
    for (const result of this.#results.values()) result.close(reader);
  }

  /** A client can take more rows of a result. */
  readerGranted(reader: string, { name, subtask, granted }: ChannelGrant): void {
    const result = this.#results.get(name);
    if (result !== undefined) this.#follow(name, result.read(reader, subtask, granted));
  }

  /** Rows of a result arrived from a task. */
  resultArrived(from: TaskManagerId, { name, subtask, attempt, sequence }: ChannelSegments, segments: Attachments): void {
    const vertex = this.graph.results.find((result) => result.name === name)?.vertex;
    const execution = vertex === undefined ? undefined : this.executions.find(vertex, subtask, attempt);
    // When a job ends early its results have no use for the rest. While it restarts, other regions go on.
    const goesOn = this.state === "WAITING" || this.state === "RUNNING" || this.state === "RESTARTING";
    if (execution?.at?.taskManager !== from || !goesOn) {
      this.stale++;
      return;
    }
    this.#follow(name, this.#result(name).accept(subtask, sequence, segments));
  }

  /** The task of a feed has room. */
  feedGranted(from: TaskManagerId, grant: ChannelGrant): void {
    const feed = this.#feeds.get(grant.name);
    if (feed === undefined || this.#feedTask(grant.name, grant.subtask, grant.attempt)?.at?.taskManager !== from) {
      this.stale++;
    } else if (this.owner !== undefined && feed.grant(grant.granted)) {
      this.#grantFeed(grant.name);
    }
  }

  /** Rows of a feed arrived from a client. */
  feedArrived(client: string, message: ChannelSegments, segments: Attachments): void {
    const feed = this.#feeds.get(message.name);
    const taskManager = this.#feedTask(message.name, message.subtask, message.attempt)?.at?.taskManager;
    if (client !== this.owner || feed === undefined || taskManager === undefined || this.isFinal) {
      this.stale++;
      return;
    }
    const passed = feed.pass(message.sequence, segments);
    if ("failure" in passed) return this.fail(passed.failure);
    if (passed.segments.length === 0) return;
    this.#emit({ kind: "feed", taskManager, message: { ...message, sequence: passed.sequence }, segments: passed.segments });
  }

  // ------------------------------------------------------------------------------------------------- what its states do

  /** `slot.request.timeout`, milliseconds. */
  get slotTimeoutMs(): number {
    return this.#configuration.get(options.slotRequestTimeout);
  }

  /** How long tasks may take to end before they are declared lost, milliseconds. */
  get cancellationDeadlineMs(): number {
    return this.#configuration.get(options.cancellationTimeout) + CANCELLATION_MARGIN_MS;
  }

  /** How long it has been in its state, milliseconds. */
  get inStateMs(): number {
    return this.#clocks.elapsedMs() - this.#enteredElapsedMs;
  }

  /** Asks to be woken once (`overdue`) in so many milliseconds, or not at all. A new state forgets it. */
  wakeIn(ms: number | undefined): void {
    this.#wakeAtMs = ms === undefined ? undefined : this.#clocks.elapsedMs() + ms;
  }

  /** Deploys the tasks that wait, if there is a slot for each. */
  deploy(): void {
    if (this.#toDeploy.size === 0 || this.shares.length > 0) return;
    const restored = this.checkpoints.latest;
    const subtasks = this.#toDeploy;
    const { graph } = this;
    let restore: Restore | undefined;
    let tasks: ReturnType<typeof deployments>;
    const nowMs = this.#clocks.wallMs();
    try {
      restore = restored === undefined ? undefined : new Restore(restored, graph);
      for (const { vertex, subtask } of this.#shares.flatMap((share) => share.subtasks)) {
        if (!subtasks.has(subtaskId(vertex, subtask))) continue;
        this.executions.schedule(this.executions.at(vertex, subtask), this.#pool.slotOf(vertex, subtask) as Placement["at"], nowMs);
      }
      tasks = deployments({
        job: this.id,
        graph,
        code: this.code,
        executions: this.executions,
        dataAddress: this.#dataAddress,
        subtasks,
        checkpoints: checkpointDeployment(this.#settings),
        restoreOf: (vertex, subtask) => restore?.of(vertex, subtask),
      });
    } catch (error) {
      if (!(error instanceof CheckpointError || error instanceof CorruptCheckpointError)) throw error;
      // The state does not fit the job; no restart changes that.
      this.#toDeploy = new Set();
      return this.#step(() => this.giveUp({ error }));
    }
    this.#toDeploy = new Set();
    this.waitingFor = undefined;
    if (restored !== undefined) this.checkpoints.restored();
    for (const [taskManager, ofTaskManager] of tasks) {
      for (const { execution } of ofTaskManager) {
        this.executions.advance(this.executions.at(execution.vertex, execution.subtask), "DEPLOYING", nowMs);
      }
      this.#emit({ kind: "deploy", taskManager, job: this.id, tasks: ofTaskManager });
    }
    for (const { name } of graph.results) this.#follow(name, this.#result(name).begin());
    this.#changed(this, "tasks");
  }

  /** All its tasks have finished: their rows need no checkpoint to be read. */
  releaseRows(): void {
    for (const [name, result] of this.#results) this.#pass(name, result.finished());
  }

  /** All its tasks run. */
  running(): void {
    this.checkpoints.resume({ graph: this.graph, executions: this.executions });
    if (this.#nextGraph === undefined) this.#tellRescaled();
    if (this.#stops.length === 0) return;
    const cause = this.#restartCause;
    const again = `job ${JSON.stringify(this.name)} failed when its savepoint was complete, and runs again from there; stop it once more`;
    const why = cause === undefined ? "" : ` It failed because: ${cause.message}`;
    this.#tellStopped((location) => {
      return new CheckpointError(`${again}. The savepoint is ${location}.${why}`, cause === undefined ? {} : { cause: fromWire(cause) });
    });
  }

  /** What becomes of the job after a failure. Tasks that have to begin anew are noted. */
  react(failure: Failure): "RESTARTING" | "FAILING" {
    const { error } = failure;
    const id = error instanceof CorruptCheckpointError ? (error.details["checkpoint"] ?? this.checkpoints.latest?.id) : undefined;
    if (typeof id === "number") {
      this.#emit({ kind: "note", text: `job ${this.id} can't restore checkpoint ${id}: ${error.message}` });
      if (!this.checkpoints.unreadable(id)) return this.giveUp(failure, "has no other checkpoint that can be read");
    }
    if (!isRestartable(error)) return this.giveUp(failure);
    const recovery = this.#strategy.failed(this.#clocks.elapsedMs());
    if (recovery.kind === "failJob") return this.giveUp(failure, recovery.reason);
    this.#restartAtMs = this.#clocks.elapsedMs() + recovery.afterMs;
    this.#toDeploy = new Set([...this.#toDeploy, ...this.#affectedBy(failure)]);
    if (this.isReactive) {
      // Gives its slots back, and takes what there is then.
      this.#toDeploy = allSubtasks(this.graph);
      this.#nextGraph ??= this.#submitted;
    }
    this.#restartCause = this.#located(error, failure.execution);
    const { message } = this.#restartCause;
    this.#emit({
      kind: "note",
      text: `job ${this.id} ${JSON.stringify(this.name)} restarts ${this.#toDeploy.size} of ${this.executions.size} tasks: ${message}`,
    });
    return "RESTARTING";
  }

  /** The job fails for good. @param reason why it is not restarted, as the end of a sentence about the job. */
  giveUp({ error, execution }: Failure, reason?: string): "FAILING" {
    const located = this.#located(error, execution);
    this.#failure = reason === undefined ? located : { ...located, message: `${located.message} The job ${reason}.` };
    return "FAILING";
  }

  /** More failed while it restarts, mostly for the same reason. */
  alsoFailed(failure: Failure): "FAILING" | undefined {
    if (failure.error instanceof CorruptCheckpointError || !isRestartable(failure.error)) {
      return this.react(failure) === "FAILING" ? "FAILING" : undefined;
    }
    this.#toDeploy = new Set([...this.#toDeploy, ...this.#affectedBy(failure)]);
    return undefined;
  }

  /** It has ended: its checkpoints go, unless they are to stay. */
  ended(state: "FINISHED" | "CANCELED" | "FAILED"): void {
    this.checkpoints.ended(state);
    const why = this.#failure === undefined ? "." : `: ${this.#failure.message}`;
    const error = new CheckpointError(`job ${JSON.stringify(this.name)} is ${state}${why}`);
    this.#tellRescaled(state === "FINISHED" ? undefined : error);
    this.#tellStopped(state === "FINISHED" ? undefined : () => error);
  }

  /** No checkpoint on its way can become complete. */
  suspendCheckpoints(): void {
    this.checkpoints.suspend(`the job is ${this.state}`);
  }

  /** Milliseconds until the restart may go on; 0: now. */
  get restartInMs(): number {
    return Math.max(0, this.#restartAtMs - this.#clocks.elapsedMs());
  }

  /** Whether the tasks that restart have ended, and what they go back to is certain. To be rescaled it must have given back its slots. */
  get isClear(): boolean {
    if (this.checkpoints.isStoring || this.#restartingExecutions.length > 0) return false;
    if (this.#nextGraph === undefined) return true;
    this.release();
    return this.#pool.taskManagers.size === 0;
  }

  /** New attempts of the tasks that restart; at another parallelism, new tasks. */
  beginAnew(): void {
    const nowMs = this.#clocks.wallMs();
    this.#restarts++;
    const graph = this.#nextGraph;
    const again = this.#toDeploy;
    for (const { name, vertex } of (graph ?? this.graph).results) {
      const subtasks = Array.from({ length: this.#result(name).subtasks }, (_, subtask) => subtask);
      const restarted = subtasks.filter((subtask) => again.has(subtaskId(vertex, subtask)));
      this.#pass(name, this.#result(name).restart(restarted, parallelismOf(graph ?? this.graph, vertex)));
    }
    for (const { name, vertex } of this.graph.feeds) if (again.has(subtaskId(vertex, 0))) this.#beginFeed(name);
    if (graph === undefined) {
      for (const execution of this.executions.executions) {
        if (this.#toDeploy.has(idOf(execution))) this.executions.restart(execution, nowMs);
      }
    } else {
      this.#nextGraph = undefined;
      this.#graph = graph;
      this.#alignment = new WatermarkAlignment(graph);
      this.#executions = new ExecutionGraph(this.id, graph, nowMs, this.executions.lastAttempt + 1);
      this.#shares = shareSlots(graph);
      this.#toDeploy = allSubtasks(graph);
      this.#pool.forget();
    }
    this.#changed(this, "tasks");
  }

  /** Ends tasks that never reached a TaskManager, and tells the others to end; of a restart, those that take part. May be repeated. */
  cancelTasks(): void {
    const nowMs = this.#clocks.wallMs();
    const running = new Map<TaskManagerId, Execution[]>();
    for (const execution of this.#ending) {
      if (execution.at === undefined) {
        this.executions.advance(execution, "CANCELED", nowMs);
        continue;
      }
      this.executions.advance(execution, "CANCELING", nowMs);
      const others = running.get(execution.at.taskManager);
      if (others === undefined) running.set(execution.at.taskManager, [execution]);
      else others.push(execution);
    }
    for (const [taskManager, executions] of running) {
      this.#emit({ kind: "cancel", taskManager, executions: executions.map(({ address }) => address) });
    }
    this.#changed(this, "tasks");
  }

  /** Gives up on the tasks that should have ended long ago. */
  loseTasks(): void {
    const nowMs = this.#clocks.wallMs();
    for (const execution of this.#ending) {
      const { vertex, subtask } = execution.address;
      const error = new DeadlineError(
        `${this.#taskName(vertex, subtask)} did not report its end within ${formatDuration(this.inStateMs)} ` +
          "after it was cancelled; it counts as lost.",
      );
      this.executions.advance(execution, "FAILED", nowMs, toWire(error));
      this.#emit({ kind: "note", text: error.message });
      // Where it may still run nothing of this job may begin.
      if (this.state === "RESTARTING" && execution.at !== undefined && this.#pool.taskManagers.has(execution.at.taskManager)) {
        this.#emit({ kind: "dismiss", taskManager: execution.at.taskManager, reason: error.message });
        this.#pool.lose(execution.at.taskManager);
      }
    }
    this.#changed(this, "tasks");
  }

  /** Asks the TaskManagers whose slots it holds to release it; those that can't, again, and then to end themselves. */
  release(): void {
    for (const taskManager of this.#pool.taskManagers) {
      const release = this.#releases.get(taskManager) ?? { asked: 0, pending: false };
      this.#releases.set(taskManager, release);
      if (release.pending) continue;
      if (release.asked >= MAX_RELEASES) {
        this.#emit({ kind: "dismiss", taskManager, reason: `it could not release job ${this.id} in ${MAX_RELEASES} attempts` });
        continue;
      }
      release.asked++;
      release.pending = true;
      this.#emit({ kind: "release", taskManager, job: this.id });
    }
  }

  // ------------------------------------------------------------------------------------------------------------ inside

  /** The execution that a TaskManager may speak of. */
  #reporting(from: TaskManagerId, { vertex, subtask, attempt }: ExecutionAddress): Execution | undefined {
    const execution = this.executions.find(vertex, subtask, attempt);
    return execution?.at?.taskManager === from ? execution : undefined;
  }

  #requireRunning(what: string): void {
    if (this.state === "RUNNING") return;
    throw new CheckpointError(`job ${JSON.stringify(this.name)} can't ${what} now: it is ${this.state}.`);
  }

  /** Executions that are to end and have not. */
  get #ending(): readonly Execution[] {
    return this.state === "RESTARTING" ? this.#restartingExecutions : this.executions.alive;
  }

  get #restartingExecutions(): readonly Execution[] {
    return this.executions.alive.filter((execution) => this.#toDeploy.has(idOf(execution)));
  }

  #restarting(execution: Execution): boolean {
    return this.state === "RESTARTING" && this.#toDeploy.has(idOf(execution));
  }

  #affectedBy({ execution, executions }: Failure): ReadonlySet<SubtaskId> {
    const failed = executions ?? (execution === undefined ? undefined : [execution]);
    if (failed === undefined) return allSubtasks(this.graph);
    return affectedBy(failed.map(idOf), this.graph, this.#configuration.get(options.failoverStrategy));
  }

  /** Goes on with new tasks at another parallelism; none of the former ones runs. */
  #adopt(graph: JobGraph, attempt: number): void {
    this.#graph = graph;
    this.#executions = new ExecutionGraph(this.id, graph, this.#clocks.wallMs(), attempt);
    this.#shares = shareSlots(graph);
    this.#toDeploy = allSubtasks(graph);
    this.#pool.forget();
    this.checkpoints.reshaped();
    for (const { name, vertex } of graph.results) this.#pass(name, this.#result(name).restart([], parallelismOf(graph, vertex)));
    this.#changed(this, "tasks");
  }

  #restartAll(): "RESTARTING" {
    this.#restartAtMs = this.#clocks.elapsedMs();
    this.#toDeploy = allSubtasks(this.graph);
    return "RESTARTING";
  }

  #tellRescaled(error?: Error): void {
    for (const settled of this.#rescalings.splice(0)) settled(error);
  }

  /** @param error why the job has not finished, after all. */
  #tellStopped(error?: (location: string) => Error): void {
    for (const { location, settled } of this.#stops.splice(0)) settled(error === undefined ? { location } : { error: error(location) });
  }

  /** Lets the present state decide, and goes where it says. */
  #step(decide: (state: StateOfJob) => JobState | undefined): void {
    let next = decide(this.#state);
    while (next !== undefined) {
      if (!transitions[this.state].includes(next)) throw new InvariantError(`job ${this.id} can't go from ${this.state} to ${next}.`);
      this.#state = states[next];
      this.#timestamps[next] = this.#clocks.wallMs();
      this.#enteredElapsedMs = this.#clocks.elapsedMs();
      this.#wakeAtMs = undefined;
      next = this.#state.enter(this);
      this.#changed(this, "state");
    }
  }

  #endTasksOn(taskManager: TaskManagerId, error: Error): void {
    const ended = this.executions.aliveOn(taskManager);
    const nowMs = this.#clocks.wallMs();
    for (const execution of ended) this.executions.advance(execution, "FAILED", nowMs, toWire(error));
    if (ended.length === 0) return;
    this.#step((state) => state.failed(this, { error, executions: ended }));
    this.#changed(this, "tasks");
  }

  /** Does what a result's buffer wants. */
  #follow(name: string, change: ResultChange): void {
    this.#pass(name, change);
    if (change.failure !== undefined) this.fail(change.failure);
    // Only the results keep it from its end.
    else if (this.executions.count("FINISHED") === this.executions.size) this.#step((now) => now.progressed(this));
  }

  #pass(name: string, { grants, deliveries, warning, wantsCheckpoint }: ResultChange): void {
    const { vertex } = this.graph.results.find((result) => result.name === name) as { vertex: VertexId };
    for (const { subtask, granted } of grants) {
      const { at, address, state } = this.executions.at(vertex, subtask);
      if (at === undefined || state === "FAILED" || state === "CANCELED" || this.isFinal) continue;
      this.#emit({
        kind: "grantResult",
        taskManager: at.taskManager,
        grant: { job: this.id, name, subtask, attempt: address.attempt, granted },
      });
    }
    for (const { reader, subtask, sequence, segments } of deliveries) {
      this.#emit({
        kind: "tell",
        client: reader,
        event: "resultSegments",
        // What a reader gets is numbered since it came; it has nothing to do with attempts.
        message: { job: this.id, name, subtask, attempt: 0, sequence },
        attachments: segments,
      });
    }
    if (warning !== undefined) this.#log([{ job: this.id, vertex, subtask: 0, level: "warn", text: warning, atMs: this.#clocks.wallMs() }]);
    if (wantsCheckpoint === true) this.checkpoints.wanted();
  }

  #keptRows(checkpoint: number): Readonly<Record<string, KeptResult>> | undefined {
    const kept: Record<string, KeptResult> = {};
    for (const [name, result] of this.#results) {
      const rows = result.keptBy(checkpoint);
      if (rows !== undefined) kept[name] = rows;
    }
    return Object.keys(kept).length === 0 ? undefined : kept;
  }

  #beginFeed(name: string): void {
    const from = this.#coveredRows(name);
    this.#feeds.set(name, new FeedRelay(`feed ${JSON.stringify(name)} of job ${JSON.stringify(this.name)}`, from));
  }

  /** Rows of a feed that a failure would not ask for again. */
  #coveredRows(name: string): number {
    const vertex = this.graph.feeds.find((feed) => feed.name === name)?.vertex;
    const stored = this.checkpoints.latest?.manifest.vertices.find(({ id }) => id === vertex);
    return stored?.subtasks[0]?.feedRows ?? 0;
  }

  /** Tells the client of a feed how far it may send, and which rows it need not keep. */
  #grantFeed(name: string): void {
    const feed = this.#feeds.get(name) as FeedRelay;
    const { vertex } = this.graph.feeds.find((it) => it.name === name) as { vertex: VertexId };
    if (this.owner === undefined || feed.granted === 0) return;
    const { attempt } = this.executions.at(vertex, 0).address;
    const covered = this.#settings.intervalMs === 0 ? {} : { covered: this.#coveredRows(name) };
    const message = { job: this.id, name, subtask: 0, attempt, granted: feed.granted, from: feed.from, ...covered };
    this.#emit({ kind: "tell", client: this.owner, event: "grantFeed", message });
  }

  #result(name: string): ResultBuffer {
    return this.#results.get(name) as ResultBuffer;
  }

  #feedTask(name: string, subtask: number, attempt: number): Execution | undefined {
    const vertex = this.graph.feeds.find((feed) => feed.name === name)?.vertex;
    return vertex === undefined ? undefined : this.executions.find(vertex, subtask, attempt);
  }

  /** The error with the task it happened to. Its class, cause and stack stay as they are. */
  #located(error: Error, execution: Execution | undefined): WireError {
    const wire = toWire(error);
    if (execution === undefined) return { ...wire, details: { ...wire.details, job: this.id } };
    const { vertex, subtask } = execution.address;
    const taskManager = execution.at?.taskManager;
    // Who ran the task has often named it already.
    const named = wire.details?.["vertex"] === vertex && wire.details["subtask"] === subtask;
    const place = [
      ...(named ? [] : [this.#taskName(vertex, subtask)]),
      ...(taskManager === undefined ? [] : [`TaskManager ${taskManager}`]),
    ].join(", ");
    return {
      ...wire,
      message: place === "" ? wire.message : `${wire.message} [${place}]`,
      details: { ...wire.details, job: this.id, vertex, subtask, ...(taskManager === undefined ? {} : { taskManager }) },
    };
  }

  #taskName(vertex: VertexId, subtask: number): string {
    const found = this.graph.vertices.find(({ id }) => id === vertex);
    return `${found?.name ?? vertex}, subtask ${subtask + 1} of ${found?.parallelism ?? "?"}`;
  }

  #waitsFor(): string | undefined {
    if (this.state === "WAITING") return this.wantsSlots ? this.waitingFor : this.#startingTasks();
    if (this.state !== "RESTARTING") return undefined;
    const ending = this.#restartingExecutions.length;
    if (ending > 0) return `${ending} tasks have not ended yet`;
    return this.checkpoints.isStoring ? "it is not known yet whether the last checkpoint was stored" : undefined;
  }

  #startingTasks(): string {
    return `${this.executions.count("RUNNING", "FINISHED")} of ${this.executions.size} tasks run`;
  }

}

const idOf = ({ address }: Execution): SubtaskId => subtaskId(address.vertex, address.subtask);

const sameShape = (one: JobGraph, other: JobGraph): boolean =>
  one.vertices.every(({ parallelism }, index) => other.vertices[index]?.parallelism === parallelism);

const parallelismOf = (graph: JobGraph, vertex: VertexId): number => graph.vertices.find(({ id }) => id === vertex)?.parallelism ?? 1;

function allSubtasks(graph: JobGraph): ReadonlySet<SubtaskId> {
  const subtasks = new Set<SubtaskId>();
  for (const { id, parallelism } of graph.vertices) {
    for (let subtask = 0; subtask < parallelism; subtask++) subtasks.add(subtaskId(id, subtask));
  }
  return subtasks;
}

/** Failures that come back whenever the job starts again. */
const LASTING: ReadonlySet<string> = new Set([
  "DREY_CONFIGURATION",
  "DREY_GRAPH",
  "DREY_CAPTURE",
  "DREY_JOB_FAILED",
  "DREY_INVARIANT",
]);
const isRestartable = (error: Error): boolean => !(error instanceof DreyError && LASTING.has(error.code));
