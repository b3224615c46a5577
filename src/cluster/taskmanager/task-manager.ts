/**
 * The TaskManager: it offers slots to the JobManager and runs in them what the JobManager deploys. All sockets of the process live here, on
 * its main thread: one to the JobManager, one to each other TaskManager; subtasks have a thread each and no socket.
 *
 *     JobManager ── deploy, cancel, releaseJob ──▶ TaskManager ── assignments, commands ──▶ threads
 *                ◀── taskState, metrics, log ─────             ◀── reports ───────────────
 *
 * Invariants: every execution that was deployed reports a final state while the session with the JobManager lasts; a slot runs tasks of one
 * job; a job's threads, channels and code are gone when `releaseJob` is answered. When the session is lost, every task here is ended: the
 * JobManager has given them up, and nobody else would end them. The next leader begins them anew from the last checkpoint.
 *
 * Bounds: tasks by what the JobManager deploys to the slots; segments by the slots' network memory; state reports by executions; log lines
 * and results as `console-lines.ts`, `log-forwarder.ts` and `client-channels.ts` say; code by jobs that hold a slot; spare threads by
 * MAX_SPARES.
 */
import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { isTaskFinal } from "../../core/graph/job-status.ts";
import type { TaskProfile } from "../../core/graph/task-profile.ts";
import { WATERMARK_LIMIT } from "../../core/runtime/metrics.ts";
import { ConnectionError, DreyError, InvariantError, NotFoundError, ProtocolError, fromWire } from "../../core/types/errors.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { Configuration, options } from "../../core/types/options.ts";
import { taskManagerId } from "../../core/types/ids.ts";
import type { JobId, TaskManagerId } from "../../core/types/ids.ts";
import { DataLinks } from "../exchange/zmq-channel.ts";
import { formatAddress, parseAddress, removeSocketFile, requireGuarded } from "../protocol/addresses.ts";
import { parseAddresses } from "../protocol/leader-addresses.ts";
import { clientKeys } from "../protocol/key-file.ts";
import { admit, dismiss } from "../protocol/keys.ts";
import type { ClientKeys } from "../protocol/keys.ts";
import type { CheckpointAck as WireAck } from "../protocol/checkpoint-messages.ts";
import { ReplyWithAttachments, type RequestOf } from "../protocol/conversation.ts";
import { registrationConversation, taskManagerConversation } from "../protocol/messages.ts";
import type {
  ExecutionAddress, RegistrationConversation, StateFound, TaskDeployment, TaskManagerConversation,
} from "../protocol/messages.ts";
import type { CallOptions } from "../protocol/link.ts";
import { RpcClient } from "../protocol/rpc.ts";
import { VERSION } from "../protocol/version.ts";
import { leaderLookup } from "../storage/published-leader.ts";
import { storageAt } from "../storage/storages.ts";
import { ChannelTable } from "./channel-table.ts";
import { ClientChannels, clientChannel } from "./client-channels.ts";
import { CodeCache } from "./code-cache.ts";
import { LogForwarder } from "./log-forwarder.ts";
import { LocalSnapshots } from "./local-snapshots.ts";
import { MetricsReporter } from "./metrics-reporter.ts";
import { readRestore } from "./restored-state.ts";
import { SlotTable } from "./slot-table.ts";
import type { Slot } from "./slot-table.ts";
import { SnapshotFiles } from "./snapshot-files.ts";
import { StateReports, executionKey } from "./state-reports.ts";
import { TaskThread } from "./task-thread.ts";
import { ThreadPool } from "./thread-pool.ts";
import type { Thread } from "./thread-pool.ts";
import { snapshotFile } from "./thread-messages.ts";
import type { HeapShare, ThreadCommand } from "./thread-messages.ts";

/** Spare threads per slot: a pipeline's slot rarely runs more vertices. */
const SPARES_PER_SLOT = 2;
const MAX_SPARES = 8;
/** A broken channel is often the echo of a failure that the JobManager hears of at the same time, and whose name is better. */
const ECHO_MS = 1_000;
/** What was not acknowledged for so long is told again. */
const ANSWER_MS = 3_000;
/** How long a task may take to answer a question about its state. */
const QUERY_MS = 3_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 1_000;

export interface TaskManagerOptions {
  /** Where the JobManager listens, or several addresses of which one leads. Empty: where `high-availability.*` says that the leader is. */
  readonly jobManager: string;
  readonly configuration: Configuration;
  /** Unique in the cluster, new with every process; default: made up. */
  readonly id?: string;
  /** Where other TaskManagers reach this one; default: a socket file beside the JobManager's, or a free port of the loopback interface. */
  readonly dataAddress?: string;
  /** Default: as `security.key-file` says. Other TaskManagers must have the same pair. */
  readonly keys?: ClientKeys;
  /** The TaskManager is of no use any more: its JobManager is gone or wants it to end, or a thread can't be ended. Called once. */
  readonly onEnd: (reason: Error | string) => void;
  /** Takes sentences for the operator of the cluster; default: standard error. */
  readonly log?: (text: string) => void;
}

/** What runs in a slot: the thread and its share of the slot. */
interface Running {
  readonly task: TaskThread;
  readonly slot: Slot;
  readonly share: HeapShare;
}

/** A task that has got what it needs and does not run yet. */
interface Claim {
  readonly deployment: TaskDeployment;
  readonly configuration: Configuration;
  readonly slot: Slot;
  readonly share: HeapShare;
  readonly thread: Thread;
}

/** One TaskManager. Its owner calls `start` once and `close` at the end. */
export class TaskManager {
  readonly id: TaskManagerId;
  readonly #options: TaskManagerOptions;
  readonly #configuration: Configuration;
  readonly #client: RpcClient<RegistrationConversation, TaskManagerConversation>;
  readonly #links: DataLinks;
  readonly #slots: SlotTable;
  readonly #pool: ThreadPool;
  readonly #clients: ClientChannels;
  readonly #channels: ChannelTable;
  readonly #code: CodeCache;
  readonly #states: StateReports;
  readonly #local: LocalSnapshots;
  readonly #snapshots: SnapshotFiles;
  readonly #logs: LogForwarder;
  readonly #metrics: MetricsReporter;
  readonly #keys: ClientKeys | undefined;
  /** Where the doorkeeper looks up who may send records here. */
  readonly #domain = `drey-data-${randomUUID()}`;
  readonly #running = new Map<string, Running>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #dataAddress = "";
  #ticking: NodeJS.Timeout | undefined;
  /** Ends what is tried for the present session when that is lost. */
  #session = newSession();
  #cleared: Promise<void> = Promise.resolve();
  #registered = false;
  /** Waits for the first registration. */
  #onFirst: { readonly resolve: () => void; readonly reject: (error: Error) => void } | undefined;
  #lostTimer: NodeJS.Timeout | undefined;
  #over = false;
  #closing: Promise<void> | undefined;

  /** @throws ConfigurationError when addresses or options can't be. */
  constructor(taskManagerOptions: TaskManagerOptions) {
    this.#options = taskManagerOptions;
    const configuration = (this.#configuration = taskManagerOptions.configuration);
    const keys = (this.#keys = taskManagerOptions.keys ?? clientKeys(configuration));
    this.id = taskManagerId(taskManagerOptions.id ?? `tm-${randomUUID().slice(0, 8)}`);
    const dataAddress = taskManagerOptions.dataAddress ?? dataAddressOf(configuration, taskManagerOptions.jobManager, this.id);
    const address = parseAddress(dataAddress, "the address for records");
    if (address.transport === "tcp") requireGuarded(address, keys !== undefined);
    const heapBytes = configuration.get(options.taskManagerHeap);
    const networkBytes = configuration.get(options.networkMemory);
    const slots = configuration.get(options.taskManagerSlots);
    const segmentBytes = configuration.get(options.segmentBytes);
    const leader = leaderLookup(configuration);
    this.#client = new RpcClient({
      address: taskManagerOptions.jobManager,
      ...(leader === undefined ? {} : { leader }),
      identity: this.id,
      incarnation: randomUUID(),
      served: taskManagerConversation,
      called: registrationConversation,
      handlers: {
        deploy: ({ tasks }) => this.#deploy(tasks),
        cancel: ({ executions }) => this.#cancel(executions),
        releaseJob: ({ job }) => this.#releaseJob(job),
        grantResult: (grant) => this.#clients.grantResult(grant),
        feedSegments: (segments, _from, attachments) => this.#clients.feedSegments(segments, attachments),
        triggerCheckpoint: (what) => this.#triggerCheckpoint(what),
        queryState: ({ job, name }, _from, [key]) => this.#queryState(job, name, key),
        profile: ({ execution, durationMs }) => this.#profile(execution, durationMs),
        checkpointCompleted: ({ job, checkpoint }) => {
          this.#snapshots.completed(job, checkpoint);
          this.#tellTasks(job, { kind: "completed", checkpoint });
        },
        checkpointAborted: ({ job, checkpoint }) => {
          this.#snapshots.aborted(job, checkpoint);
          this.#tellTasks(job, { kind: "aborted", checkpoint });
        },
        limitWatermarks: ({ job, limits }) => {
          for (const { task } of this.#running.values()) {
            const { execution } = task.deployment;
            const own = execution.job === job ? limits.find(({ vertex }) => vertex === execution.vertex) : undefined;
            if (own !== undefined) task.thread.metrics[WATERMARK_LIMIT] = own.limit;
          }
        },
        shutdown: ({ reason }) => this.#end(reason),
      },
      heartbeat: { intervalMs: configuration.get(options.heartbeatInterval), timeoutMs: configuration.get(options.heartbeatTimeout) },
      connectDeadlineMs: configuration.get(options.registrationTimeout),
      onConnected: () => void this.#register(),
      onLost: (reason, final) => this.#lost(reason, final),
      onError: (error) =>
        this.#log(`TaskManager ${this.id}: ${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ""}`),
      ...(keys === undefined ? {} : { keys }),
    });
    this.#links = new DataLinks({
      taskManagerId: this.id,
      address: dataAddress,
      ...(keys === undefined ? {} : { curve: { ...keys.own, serverKey: keys.own.publicKey, zapDomain: this.#domain } }),
      maxSegmentBytes: segmentBytes,
      silenceTimeoutMs: configuration.get(options.heartbeatTimeout),
      onPeerLost: (peer, reason) => this.#log(`TaskManager ${this.id} lost TaskManager ${peer}: ${reason}`),
    });
    this.#slots = new SlotTable(this.id, slots, heapBytes, networkBytes);
    this.#pool = new ThreadPool({ heapBytes, spares: Math.min(MAX_SPARES, SPARES_PER_SLOT * slots) });
    this.#clients = new ClientChannels({
      sendResult: (segments, bytes) => this.#client.notify("resultSegments", segments, bytes),
      sendGrant: (grant) => this.#client.notify("grantFeed", grant),
    });
    this.#channels = new ChannelTable({ links: this.#links, clients: this.#clients, segmentBytes });
    this.#code = new CodeCache((code) => this.#fetchCode(code));
    this.#states = new StateReports({
      send: (change) => this.#client.call("taskState", change, { signal: this.#session.signal, deadlineMs: ANSWER_MS }),
      onGivenUp: ({ execution, state }, error) =>
        this.#log(`TaskManager ${this.id} could not report ${executionKey(execution)} as ${state}: ${error.message}`),
    });
    const inSession = (): CallOptions => ({ signal: this.#session.signal, deadlineMs: ANSWER_MS });
    const logOf = (text: string): void => this.#log(`TaskManager ${this.id}: ${text}`);
    this.#local = new LocalSnapshots({ root: configuration.get(options.localBackupDirectory), log: logOf });
    this.#snapshots = new SnapshotFiles({
      storageAt,
      local: this.#local,
      acknowledge: (execution, ack) => this.#client.call("acknowledgeCheckpoint", { execution, ack: ack as WireAck }, inSession()),
      before: (execution, checkpoint) => {
        const results = this.#running.get(executionKey(execution))?.task.deployment.results ?? [];
        return Promise.all(results.map(({ name }) => this.#clients.barrierSent(clientChannel(execution, name), checkpoint)));
      },
      decline: (execution, checkpoint, error) => this.#client.call("declineCheckpoint", { execution, checkpoint, error }, inSession()),
      log: logOf,
    });
    this.#logs = new LogForwarder((lines) => this.#client.notify("log", { lines }));
    this.#metrics = new MetricsReporter(this.id, {
      tasks: () => [...this.#running.values()].map(({ task }) => task),
      links: () => this.#links.statistics,
      sharedBytes: () => this.#slots.networkBytesUsed,
      networkBytes: networkBytes * slots,
      spareThreads: () => this.#pool.ready,
    });
  }

  /** Where its JobManager is, or was last. */
  get jobManager(): string {
    return this.#client.dialled ?? this.#options.jobManager;
  }

  /** True while the JobManager knows this TaskManager. */
  get registered(): boolean {
    return this.#registered;
  }

  /**
   * Listens for other TaskManagers, finds the JobManager and registers. Resolves when registered.
   * @throws ConnectionError when no JobManager answers within `taskmanager.registration.timeout`; ConfigurationError when an address can't
   * be had or reached safely. Call `close` then too.
   */
  async start(): Promise<void> {
    if (this.#keys !== undefined) await admit(this.#domain, new Set([this.#keys.own.publicKey]));
    this.#dataAddress = await this.#links.start();
    const intervalMs = this.#configuration.get(options.metricsInterval);
    this.#ticking = setInterval(() => this.#tick(), Math.max(50, intervalMs));
    const registered = new Promise<void>((resolve, reject) => (this.#onFirst = { resolve, reject }));
    await this.#client.connect();
    await registered;
    this.#pool.fill();
  }

  /** Ends all tasks, says farewell and frees everything. Resolves when no thread, socket or timer is left. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#over = true;
    clearInterval(this.#ticking);
    clearTimeout(this.#lostTimer);
    this.#logs.flush();
    this.#session.abort(new ConnectionError(`TaskManager ${this.id} is closing.`));
    await Promise.all([this.#endTasks(), this.#pool.close()]);
    await this.#snapshots.stop();
    await this.#local.close();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#metrics.stop();
    await this.#clients.stop();
    await this.#client.close();
    await this.#links.close();
    if (this.#keys !== undefined) await dismiss(this.#domain);
    removeSocketFile(this.#dataAddress);
  }

  // ------------------------------------------------------------------------------------------------------ registration

  async #register(): Promise<void> {
    const session = this.#session;
    await this.#cleared;
    for (let retryMs = FIRST_RETRY_MS; !session.signal.aborted && !this.#over; retryMs = Math.min(LAST_RETRY_MS, retryMs * 2)) {
      try {
        const { heartbeatIntervalMs, heartbeatTimeoutMs } = await this.#client.call(
          "register",
          {
            taskManager: this.id,
            slots: this.#slots.size,
            dataAddress: this.#dataAddress,
            host: hostname(),
            pid: process.pid,
            slotHeapBytes: this.#configuration.get(options.taskManagerHeap),
            version: VERSION,
          },
          { signal: session.signal },
        );
        if (session.signal.aborted) return;
        clearTimeout(this.#lostTimer);
        this.#client.useHeartbeats({ intervalMs: heartbeatIntervalMs, timeoutMs: heartbeatTimeoutMs });
        this.#registered = true;
        this.#onFirst?.resolve();
        this.#onFirst = undefined;
        return;
      } catch (error) {
        if (session.signal.aborted) return;
        const code = error instanceof DreyError ? error.code : "";
        if (code !== "DREY_DEADLINE" && code !== "DREY_CONNECTION") return this.#refused(error as Error);
        await this.#pause(retryMs);
      }
    }
  }

  #refused(error: Error): void {
    if (this.#onFirst === undefined) return this.#end(error);
    this.#onFirst.reject(error);
    this.#onFirst = undefined;
  }

  #lost(reason: string, final: boolean): void {
    this.#registered = false;
    const lost = new ConnectionError(`TaskManager ${this.id} lost its JobManager at ${this.jobManager}: ${reason}.`);
    this.#session.abort(lost);
    this.#session = newSession();
    this.#states.forget();
    this.#cleared = this.#endTasks().then(async () => {
      await this.#snapshots.stop();
      for (const job of this.#slots.jobs) this.#release(job);
    });
    if (final) return this.#refused(lost);
    if (this.#over) return;
    this.#log(`${lost.message} Its tasks are ended; it looks for the JobManager again.`);
    const timeoutMs = this.#configuration.get(options.registrationTimeout);
    clearTimeout(this.#lostTimer);
    this.#lostTimer = setTimeout(
      () =>
        this.#refused(
          new ConnectionError(
            `no JobManager answers at ${this.#options.jobManager || this.jobManager} after ${formatDuration(timeoutMs)}; TaskManager ${this.id} ends.`,
          ),
        ),
      timeoutMs,
    );
  }

  #end(reason: Error | string): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.onEnd(reason);
  }

  // -------------------------------------------------------------------------------------------------------------- tasks

  /** Claims slots, memory and threads for all of the tasks, or for none of them. */
  #deploy(deployments: readonly TaskDeployment[]): void {
    // A repeated request finds its tasks here already.
    const tasks = deployments.filter(({ execution }) => !this.#running.has(executionKey(execution)));
    const claims: Claim[] = [];
    const broken = new Map<TaskDeployment, (error: Error) => void>();
    const freshSlots = new Set<Slot>();
    try {
      for (const ofSlot of bySlot(tasks)) {
        const [first] = ofSlot as [TaskDeployment, ...TaskDeployment[]];
        const slot = this.#slots.claim(first.slot, first.execution.job, (fresh) => freshSlots.add(fresh));
        const segments = this.#channels.segmentsFor(ofSlot, slot.pool, this.#configuration.get(options.buffersPerChannel));
        for (const deployment of ofSlot) {
          const configuration = this.#configuration.with(
            Configuration.of(deployment.options, `the options of job "${deployment.jobName}"`),
          );
          const claim = { deployment, configuration, slot, share: slot.share(), thread: this.#pool.take() };
          claims.push(claim);
          const onBroken = (error: Error): void => broken.get(deployment)?.(error);
          this.#channels.add({ deployment, bell: claim.thread.bell, pool: slot.pool, segments, onBroken });
        }
      }
    } catch (error) {
      for (const { deployment, slot, share, thread } of claims) {
        this.#channels.remove(deployment, false);
        slot.giveBack(share);
        this.#pool.giveBack(thread);
      }
      for (const slot of freshSlots) slot.release();
      throw error;
    }
    for (const claim of claims) {
      const running = { task: this.#taskOf(claim), slot: claim.slot, share: claim.share };
      this.#running.set(executionKey(claim.deployment.execution), running);
      broken.set(claim.deployment, (error) => this.#later(ECHO_MS, () => running.task.fail(error)));
      void running.task.ended.then((state) => this.#ended(running, state === "FINISHED"));
      void this.#begin(running.task, claim);
    }
  }

  #taskOf({ deployment, configuration, thread }: Claim): TaskThread {
    const { execution } = deployment;
    const file = snapshotFile({ ...deployment, ...execution });
    const session = this.#session;
    const task: TaskThread = new TaskThread({
      deployment,
      thread,
      cancellationTimeoutMs: configuration.get(options.cancellationTimeout),
      watchdogTimeoutMs: configuration.get(options.watchdogTimeout),
      heapBytes: this.#configuration.get(options.taskManagerHeap),
      drained: () => this.#channels.drained(deployment),
      onState: (change) => {
        // Lines that were said before a state are told before it.
        this.#logs.flush();
        if (session.signal.aborted) return;
        if (isTaskFinal(change.state)) this.#client.notify("metrics", this.#metrics.lastReport(task));
        if (change.state !== "FINISHED") return this.#states.report(change);
        void this.#snapshots.told(execution).then(() => {
          if (!session.signal.aborted) this.#states.report(change);
        });
      },
      onLine: (line) => this.#logs.take({ job: execution.job, vertex: execution.vertex, subtask: execution.subtask, ...line }),
      onCheckpoint: (report) => {
        switch (report.kind) {
          case "snapshot": {
            const { checkpoint, bytes } = report;
            return this.#snapshots.write(execution, checkpoint, file, bytes, () => thread.written(bytes.byteLength));
          }
          case "acknowledge":
            return this.#snapshots.acknowledge(execution, file, report.ack);
          case "decline":
            return this.#snapshots.decline(execution, report.checkpoint, report.error);
          case "requestCheckpoint":
            return this.#client.notify("requestCheckpoint", { execution });
        }
      },
      onStuck: (error) => this.#end(error),
    });
    return task;
  }

  async #begin(task: TaskThread, { deployment, configuration, share: heap }: Claim): Promise<void> {
    const { execution, jobName, vertex, vertexIndex, restore } = deployment;
    if (configuration.get(options.localRecovery)) this.#local.keep(execution.job);
    try {
      const [rings, code, restored] = await Promise.all([
        this.#channels.ringsOf(deployment),
        this.#code.get(deployment.code, execution.job),
        restore === undefined ? undefined : readRestore(restore, this.#local.before(storageAt(restore.folder)), this.#session.signal),
      ]);
      const { subtask, attempt } = execution;
      task.start({
        jobName,
        vertex,
        vertexIndex,
        subtask,
        attempt,
        code,
        ...rings,
        options: configuration.toRecord(),
        heap,
        checkpoints: deployment.checkpoints !== undefined,
        ...(restored === undefined ? {} : { restored }),
      });
    } catch (error) {
      task.fail(error as Error);
    }
  }

  /** The thread is gone and the final state told; what it held goes back. */
  #ended({ task, slot, share }: Running, finished: boolean): void {
    const { deployment } = task;
    this.#channels.remove(deployment, finished);
    this.#snapshots.ended(deployment.execution, finished);
    slot.giveBack(share);
    this.#running.delete(executionKey(deployment.execution));
  }

  #cancel(executions: readonly ExecutionAddress[]): void {
    for (const execution of executions) this.#running.get(executionKey(execution))?.task.cancel();
  }

  /** Sources of the job that run here send the barrier; the others learn from it, and where their files go from this. */
  #triggerCheckpoint({ job, trigger, executions, folder }: RequestOf<TaskManagerConversation, "triggerCheckpoint">): void {
    this.#snapshots.begin(job, trigger, folder);
    for (const execution of executions) this.#running.get(executionKey(execution))?.task.tell({ kind: "trigger", trigger });
  }

  async #queryState(job: JobId, name: string, key: Uint8Array | undefined): Promise<ReplyWithAttachments<StateFound>> {
    if (key === undefined) throw new ProtocolError("a question for state came without its key.");
    const tasks = [...this.#running.values()].filter(({ task }) => task.deployment.execution.job === job);
    const answers = await Promise.all(tasks.map(({ task }) => task.ask(name, key, QUERY_MS)));
    const answer = answers.find((it) => it?.declared === true);
    if (answer?.error !== undefined) throw fromWire(answer.error);
    return new ReplyWithAttachments(
      { declared: answer !== undefined, found: answer?.value !== undefined },
      answer?.value === undefined ? [] : [answer.value],
    );
  }

  async #profile(execution: ExecutionAddress, durationMs: number): Promise<TaskProfile> {
    const task = this.#running.get(executionKey(execution))?.task;
    const { job, vertex, subtask, attempt } = execution;
    if (task === undefined) throw new NotFoundError(`${vertex}/${subtask} of job ${job} runs here no more.`);
    const { durationMs: watchedMs, samples, frames } = await task.profile(durationMs);
    return { job, vertex, name: task.deployment.vertex.name, subtask, attempt, durationMs: watchedMs, samples, frames };
  }

  #tellTasks(job: JobId, command: Extract<ThreadCommand, { readonly kind: "completed" | "aborted" }>): void {
    for (const { task } of this.#running.values()) if (task.deployment.execution.job === job) task.tell(command);
  }

  async #releaseJob(job: JobId): Promise<void> {
    await this.#endTasks(job);
    await this.#snapshots.releaseJob(job);
    this.#release(job);
  }

  #release(job: JobId): void {
    this.#channels.releaseJob(job);
    this.#local.release(job);
    this.#code.release(job);
    this.#slots.release(job);
  }

  /** Ends the tasks of a job, or all; resolves when their threads are gone and what they held is free. */
  async #endTasks(job?: JobId): Promise<void> {
    const running = [...this.#running.values()].filter(({ task }) => job === undefined || task.deployment.execution.job === job);
    for (const { task } of running) task.kill();
    await Promise.all(running.map(({ task }) => task.ended));
    // `#ended` of each runs in the same turn as `ended`; let it.
    await Promise.resolve();
  }

  async #fetchCode(code: string): Promise<Uint8Array> {
    const { attachments } = await this.#client.callForAttachments(
      "fetchCode",
      { code },
      { signal: this.#session.signal, deadlineMs: 60_000 },
    );
    const [bytes] = attachments;
    if (bytes === undefined) throw new InvariantError(`The JobManager answered fetchCode(${code}) without the code.`);
    return bytes;
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const { task } of this.#running.values()) task.watch(nowMs);
    if (!this.#registered) return;
    this.#client.notify("metrics", this.#metrics.report());
    this.#clients.repeatGrants();
  }

  #later(ms: number, what: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      what();
    }, ms);
    this.#timers.add(timer);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#later(ms, resolve));
  }

  #log(text: string): void {
    if (this.#options.log !== undefined) this.#options.log(text);
    else process.stderr.write(`${text}\n`);
  }
}

/** As many calls may wait for its end as there are tasks, without a warning. */
function newSession(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

/** The tasks of each slot of each job, in the order in which they came. */
function bySlot(tasks: readonly TaskDeployment[]): readonly (readonly TaskDeployment[])[] {
  const groups = new Map<string, TaskDeployment[]>();
  for (const task of tasks) {
    const key = `${task.slot}/${task.execution.job}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [task]);
    else group.push(task);
  }
  return [...groups.values()];
}

/** Data travels as the control messages do: beside a socket file, or over the same kind of interface. */
function dataAddressOf(configuration: Configuration, jobManager: string, id: TaskManagerId): string {
  const host = configuration.get(options.taskManagerBindHost);
  if (host !== "") return formatAddress({ transport: "tcp", host, port: 0 });
  const [address] = jobManager === "" ? [] : parseAddresses(jobManager, options.jobManagerAddress.key);
  if (address?.transport === "ipc") return formatAddress({ transport: "ipc", path: join(dirname(address.path), id) });
  return "tcp://127.0.0.1:*";
}
