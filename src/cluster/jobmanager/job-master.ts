/**
 * The master of one job: takes it through its states, from its submission to the release of its slots. What happens to the job comes in as
 * method calls (slots were found, a task reported, a TaskManager was lost, time passed); what follows goes out as effects.
 *
 * Invariants: the job's state changes along `states/index.ts` only; messages of other attempts, from TaskManagers that don't run the
 * execution, or about executions that are further already, change nothing and are counted in `stale`; the first failure is the job's
 * failure; slots are given back only when their TaskManagers have released the job or are gone.
 */
import type { JobGraph } from "../../core/graph/job-graph.ts";
import { isFinal, type JobDetails, type JobState, type JobSummary, type LogLine } from "../../core/graph/job-status.ts";
import { formatDuration } from "../../core/types/duration.ts";
import {
  DeadlineError,
  InvariantError,
  NotFoundError,
  TaskManagerLostError,
  fromWire,
  toWire,
  type WireError,
} from "../../core/types/errors.ts";
import type { JobId, TaskManagerId, VertexId } from "../../core/types/ids.ts";
import { type Configuration, options } from "../../core/types/options.ts";
import type { Attachments } from "../protocol/conversation.ts";
import type { ChannelGrant, ChannelSegments, OpenedResult, TakenRows, TaskStateChange } from "../protocol/messages.ts";
import type { Clocks } from "./clocks.ts";
import type { Emit } from "./effect.ts";
import { type Execution, ExecutionGraph } from "./execution-graph.ts";
import { recoveryFrom } from "./failover.ts";
import { FeedRelay } from "./feed-relay.ts";
import { JobJournal } from "./job-journal.ts";
import { type OverflowPolicy, ResultBuffer, type ResultChange } from "./result-buffer.ts";
import { deployments } from "./scheduler.ts";
import { type Placement, SlotPool } from "./slot-pool.ts";
import { shareSlots, type SlotShare } from "./slot-sharing.ts";
import { states, transitions } from "./states/index.ts";
import type { StateOfJob } from "./states/state.ts";

/** Why a job can't go on. `execution`: the task that failed, when it was one. */
export interface Failure {
  readonly error: Error;
  readonly execution?: Execution;
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
  readonly clocks: Clocks;
  readonly emit: Emit;
  /** Takes lines for the job's log. */
  readonly log: (lines: readonly LogLine[]) => void;
  /** Told after every change that people can see; `state`: the job itself changed its state. */
  readonly changed: (job: JobMaster, what: "state" | "tasks") => void;
}

/** How much longer than the TaskManager's own deadline a task may take to report its end. */
const CANCELLATION_MARGIN_MS = 10_000;
/** How often a TaskManager is asked to release a job before it is given up. */
const MAX_RELEASES = 3;
const RELEASE_AGAIN_MS = 5_000;

/** Drives one job. */
export class JobMaster {
  readonly id: JobId;
  readonly graph: JobGraph;
  readonly code: string;
  readonly owner: string | undefined;
  readonly executions: ExecutionGraph;
  readonly shares: readonly SlotShare[];
  readonly journal: JobJournal;
  /** Why it waits, while it waits for slots. */
  waitingFor: string | undefined;
  /** Messages that changed nothing, as they were late, repeated or of somebody else. */
  stale = 0;

  readonly #configuration: Configuration;
  readonly #clocks: Clocks;
  readonly #emit: Emit;
  readonly #log: JobMasterOptions["log"];
  readonly #changed: JobMasterOptions["changed"];
  readonly #pool = new SlotPool();
  readonly #results: ReadonlyMap<string, ResultBuffer>;
  readonly #feeds: ReadonlyMap<string, FeedRelay>;
  readonly #timestamps: Record<string, number> = {};
  readonly #submittedElapsedMs: number;
  readonly #releases = new Map<TaskManagerId, { asked: number; pending: boolean }>();
  #state: StateOfJob = states.CREATED;
  #enteredElapsedMs: number;
  #wakeAtMs: number | undefined;
  #failure: WireError | undefined;
  #hasSlots = false;

  constructor({ job, graph, code, configuration, owner, clocks, emit, log, changed }: JobMasterOptions) {
    this.id = job;
    this.graph = graph;
    this.code = code;
    this.owner = owner;
    this.#configuration = configuration;
    this.#clocks = clocks;
    this.#emit = emit;
    this.#log = log;
    this.#changed = changed;
    this.#submittedElapsedMs = this.#enteredElapsedMs = clocks.elapsedMs();
    this.#timestamps["CREATED"] = clocks.wallMs();
    this.executions = new ExecutionGraph(job, graph, clocks.wallMs());
    this.shares = shareSlots(graph);
    this.journal = new JobJournal(configuration.get(options.metricsHistory));
    const ofJob = `of job ${JSON.stringify(graph.name)}`;
    this.#results = new Map(
      graph.results.map(({ name, vertex }) => [
        name,
        new ResultBuffer({
          name: `result ${JSON.stringify(name)} ${ofJob}`,
          subtasks: this.#parallelismOf(vertex),
          capacityBytes: configuration.get(options.resultBytes),
          segmentBytes: configuration.get(options.segmentBytes),
          policy: configuration.get(options.resultPolicy) as OverflowPolicy,
        }),
      ]),
    );
    this.#feeds = new Map(graph.feeds.map(({ name }) => [name, new FeedRelay(`feed ${JSON.stringify(name)} ${ofJob}`)]));
  }

  // ------------------------------------------------------------------------------------------------- what others ask

  get name(): string {
    return this.graph.name;
  }

  get state(): JobState {
    return this.#state.name;
  }

  get isFinal(): boolean {
    return isFinal(this.state);
  }

  /** Whether slots were assigned, whatever became of them. */
  get hasSlots(): boolean {
    return this.#hasSlots;
  }

  /** Whether it waits for slots: the shares it needs are `shares`. */
  get wantsSlots(): boolean {
    return this.state === "WAITING" && !this.#hasSlots;
  }

  /** Milliseconds since its submission. */
  get ageMs(): number {
    return this.#clocks.elapsedMs() - this.#submittedElapsedMs;
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
    return this.#wakeAtMs ?? Number.POSITIVE_INFINITY;
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
    const waitingFor = this.state !== "WAITING" ? undefined : this.#hasSlots ? this.#startingTasks() : this.waitingFor;
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

  /** It gets all its slots: deploys the tasks. */
  giveSlots(placements: readonly Placement[], dataAddress: (taskManager: TaskManagerId) => string): void {
    if (!this.wantsSlots) throw new InvariantError(`job ${this.id} was given slots in state ${this.state}.`);
    this.#pool.fill(placements);
    this.#hasSlots = true;
    this.waitingFor = undefined;
    const nowMs = this.#clocks.wallMs();
    for (const { share, at } of placements) {
      for (const { vertex, subtask } of share.subtasks) this.executions.schedule(this.executions.at(vertex, subtask), at, nowMs);
    }
    for (const [taskManager, tasks] of deployments({
      job: this.id,
      graph: this.graph,
      code: this.code,
      executions: this.executions,
      dataAddress,
    })) {
      for (const { execution } of tasks) {
        this.executions.advance(this.executions.at(execution.vertex, execution.subtask), "DEPLOYING", nowMs);
      }
      this.#emit({ kind: "deploy", taskManager, job: this.id, tasks });
    }
    for (const name of this.#results.keys()) this.#follow(name, this.#result(name).begin());
    this.#step((state) => state.progressed(this));
    this.#changed(this, "tasks");
  }

  /** A TaskManager could not start its tasks, or did not answer in time. Whatever it may have started ends when it releases the job. */
  deployFailed(taskManager: TaskManagerId, error: Error): void {
    this.#endTasksOn(taskManager, error);
  }

  /** A TaskManager is gone, and its tasks with it. */
  taskManagerLost(taskManager: TaskManagerId, error: Error): void {
    this.#pool.give(taskManager);
    this.#releases.delete(taskManager);
    this.#endTasksOn(taskManager, error);
    // A task may have finished while the end of its rows was still there.
    const lostTail = this.graph.results.some(({ name, vertex }) =>
      this.#result(name).unfinished.some((subtask) => this.#pool.slotOf(vertex, subtask)?.taskManager === taskManager),
    );
    if (lostTail) this.fail(error);
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
    const winding = this.state === "CANCELLING" || this.state === "FAILING";
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

  /** Time passed. */
  tick(): void {
    if (this.#wakeAtMs === undefined || this.#clocks.elapsedMs() < this.#wakeAtMs) return;
    this.#wakeAtMs = undefined;
    this.#step((state) => state.overdue(this));
  }

  /** A TaskManager has released it, or could not. Returns whether its slots there are free now. */
  released(taskManager: TaskManagerId, error: Error | undefined): boolean {
    if (error === undefined) {
      this.#pool.give(taskManager);
      this.#releases.delete(taskManager);
      return true;
    }
    const release = this.#releases.get(taskManager);
    if (release !== undefined) release.pending = false;
    if (this.#wakeAtMs === undefined) this.wakeIn(RELEASE_AGAIN_MS);
    return false;
  }

  // ------------------------------------------------------------------------------------------------- results and feeds

  /** @throws NotFoundError when it has no such result; ConflictError while another client reads it. */
  openResult(name: string, reader: string): OpenedResult {
    const result = this.#results.get(name);
    if (result === undefined) {
      const known = [...this.#results.keys()].map((other) => JSON.stringify(other)).join(", ");
      throw new NotFoundError(
        `job ${JSON.stringify(this.name)} has no result ${JSON.stringify(name)}; it has ${known === "" ? "none" : known}.`,
      );
    }
    this.#follow(name, result.open(reader));
    return { subtasks: result.subtasks, skip: result.skip };
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
    // When a job ends early its results have no use for the rest.
    if (execution?.at?.taskManager !== from || (this.state !== "WAITING" && this.state !== "RUNNING")) {
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
      this.#emit({ kind: "tell", client: this.owner, event: "grantFeed", message: grant });
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

  /** Keeps the reason why the job fails. Called once, on the way to FAILING. */
  recordFailure({ error, execution }: Failure): void {
    const recovery = recoveryFrom(this.#configuration.get(options.restartStrategy));
    if (recovery.kind !== "failJob") throw new InvariantError(`job ${this.id} was to restart a region, which it can't.`);
    this.#failure = this.#located(error, execution);
  }

  /** Ends the tasks that never reached a TaskManager, and tells the others to end. May be repeated. */
  cancelTasks(): void {
    const nowMs = this.#clocks.wallMs();
    const running = new Map<TaskManagerId, Execution[]>();
    for (const execution of this.executions.alive) {
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
    for (const execution of this.executions.alive) {
      const { vertex, subtask } = execution.address;
      const error = new DeadlineError(
        `${this.#taskName(vertex, subtask)} did not report its end within ${formatDuration(this.inStateMs)} ` +
          "after it was cancelled; it counts as lost.",
      );
      this.executions.advance(execution, "FAILED", nowMs, toWire(error));
      this.#emit({ kind: "note", text: error.message });
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
    this.#step((state) => state.failed(this, { error }));
    this.#changed(this, "tasks");
  }

  /** Does what a result's buffer wants. */
  #follow(name: string, { grants, deliveries, failure, warning }: ResultChange): void {
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
      const { attempt } = this.executions.at(vertex, subtask).address;
      this.#emit({
        kind: "tell",
        client: reader,
        event: "resultSegments",
        message: { job: this.id, name, subtask, attempt, sequence },
        attachments: segments,
      });
    }
    if (warning !== undefined) this.#log([{ job: this.id, vertex, subtask: 0, level: "warn", text: warning, atMs: this.#clocks.wallMs() }]);
    if (failure !== undefined) this.fail(failure);
    // Only the results keep it from its end.
    else if (this.executions.count("FINISHED") === this.executions.size) this.#step((now) => now.progressed(this));
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

  #startingTasks(): string {
    return `${this.executions.count("RUNNING", "FINISHED")} of ${this.executions.size} tasks run`;
  }

  #parallelismOf(vertex: VertexId): number {
    return this.graph.vertices.find(({ id }) => id === vertex)?.parallelism ?? 1;
  }
}
