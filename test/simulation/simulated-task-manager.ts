/**
 * A TaskManager in the simulation. What runs in it is production code: core's Task with its gate, aligner, state and sinks, the files of
 * snapshots, the reports of states. Threads, rings and sockets are events and queues in memory.
 */
import { setMaxListeners } from "node:events";
import { ClassRegistry } from "../../src/core/data/classes.ts";
import { MemoryChannel } from "../../src/core/runtime/memory-channel.ts";
import { taskMetricsArray } from "../../src/core/runtime/metrics.ts";
import { Task } from "../../src/core/runtime/task.ts";
import type { TaskState } from "../../src/core/graph/job-status.ts";
import { ConnectionError, toWire } from "../../src/core/types/errors.ts";
import { type JobId, type TaskManagerId, taskManagerId } from "../../src/core/types/ids.ts";
import { Configuration } from "../../src/core/types/options.ts";
import type { RequestOf } from "../../src/cluster/protocol/conversation.ts";
import type { CallOptions } from "../../src/cluster/protocol/link.ts";
import type { ExecutionAddress, Registration, TaskDeployment, TaskManagerConversation } from "../../src/cluster/protocol/messages.ts";
import { readRestore, taskRestore } from "../../src/cluster/taskmanager/restored-state.ts";
import { SnapshotFiles } from "../../src/cluster/taskmanager/snapshot-files.ts";
import { StateReports, executionKey } from "../../src/cluster/taskmanager/state-reports.ts";
import { snapshotFile } from "../../src/cluster/taskmanager/thread-messages.ts";
import type { Cluster } from "./cluster.ts";
import { bent, inside, isMeant, misread, outside } from "./mutants.ts";
import { SimulatedProcess } from "./process.ts";
import { SimulatedClient } from "./wire.ts";

const SLOTS = 2;
const SEGMENT_BYTES = 2_048;
const SEGMENTS = 3;
const ANSWER_MS = 400;
const RETRY_MS = 100;
/** A trigger that comes twice comes again after so long. */
const TWIN_MS = 20;
/** Virtual time that a step of a task takes. */
const STEP_MS = 1;

interface Running {
  readonly deployment: TaskDeployment;
  task: Task | undefined;
  state: TaskState;
  canceled: boolean;
  scheduledMs: number;
  file: string;
}

export class SimulatedTaskManager {
  readonly process: SimulatedProcess;
  readonly id: TaskManagerId;
  readonly #cluster: Cluster;
  readonly #running = new Map<string, Running>();
  readonly #client: SimulatedClient;
  readonly #reports: StateReports;
  readonly #snapshots: SnapshotFiles;
  /** Ends what is tried for the present session when that is lost. */
  #session = session();
  #cleared: Promise<void> = Promise.resolve();

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    const process = (this.process = new SimulatedProcess(cluster.world, name));
    this.id = taskManagerId(name);
    const pause = (ms: number): Promise<void> => process.sleep(ms);
    const log = (text: string): void => process.note(text);
    const inSession = (): CallOptions => ({ signal: this.#session.signal, deadlineMs: ANSWER_MS });
    this.#client = new SimulatedClient({
      process,
      wire: cluster.wire,
      dial: () => cluster.listening,
      handlers: {
        deploy: ({ tasks }: RequestOf<TaskManagerConversation, "deploy">) => this.#deploy(tasks),
        cancel: ({ executions }: RequestOf<TaskManagerConversation, "cancel">) => this.#cancel(executions),
        releaseJob: ({ job }: RequestOf<TaskManagerConversation, "releaseJob">) => this.#releaseJob(job),
        triggerCheckpoint: (what: RequestOf<TaskManagerConversation, "triggerCheckpoint">) => this.#triggerCheckpoint(what),
        checkpointCompleted: ({ job, checkpoint }: RequestOf<TaskManagerConversation, "checkpointCompleted">) => {
          this.#snapshots.completed(job, checkpoint);
          this.#tellTasks(job, (task) => task.checkpointCompleted(inside(cluster, checkpoint)));
        },
        checkpointAborted: ({ job, checkpoint }: RequestOf<TaskManagerConversation, "checkpointAborted">) => {
          this.#snapshots.aborted(job, checkpoint);
          this.#tellTasks(job, (task) => task.checkpointAborted(inside(cluster, checkpoint)));
        },
      },
      onConnected: () => void this.#register(),
      onLost: (reason) => this.#lost(reason),
    });
    this.#reports = new StateReports({
      pause,
      send: (change) => this.#client.call("taskState", change, inSession()),
      onGivenUp: (change, error) => log(`gave up telling ${change.state}: ${error.message}`),
    });
    this.#snapshots = new SnapshotFiles({
      pause,
      log,
      storageAt: (location) => cluster.storageAt(location, process),
      acknowledge: (execution, ack) => this.#client.call("acknowledgeCheckpoint", { execution, ack }, inSession()),
      decline: (execution, checkpoint, error) => this.#client.call("declineCheckpoint", { execution, checkpoint, error }, inSession()),
    });
    process.whenDead(() => {
      for (const { deployment } of this.#running.values()) cluster.links.lose(deployment, this);
    });
  }

  // -------------------------------------------------------------------------------------------- what the JobManager asks

  #deploy(tasks: readonly TaskDeployment[]): void {
    for (const deployment of tasks) {
      const key = executionKey(deployment.execution);
      if (this.#running.has(key)) continue;
      const running: Running = {
        deployment, task: undefined, state: "DEPLOYING", canceled: false, scheduledMs: Number.POSITIVE_INFINITY,
        file: snapshotFile({ vertexIndex: deployment.vertexIndex, ...deployment.execution }),
      };
      this.#running.set(key, running);
      this.process.after(this.#cluster.world.between(1, 20), () => void this.#begin(running));
    }
  }

  #cancel(executions: readonly ExecutionAddress[]): void {
    for (const running of executions.flatMap((execution) => this.#find(execution) ?? [])) {
      running.canceled = true;
      this.#schedule(running, STEP_MS);
    }
  }

  async #releaseJob(job: JobId): Promise<void> {
    for (const running of this.#of(job)) this.#end(running, "CANCELED");
    await this.#snapshots.releaseJob(job);
  }

  #triggerCheckpoint({ job, trigger, executions, folder }: RequestOf<TaskManagerConversation, "triggerCheckpoint">): void {
    this.#snapshots.begin(job, trigger, folder);
    for (const running of executions.flatMap((execution) => this.#find(execution) ?? [])) {
      for (const [twin, its] of bent(this.#cluster, trigger).entries()) {
        this.process.after(twin * TWIN_MS, () => {
          running.task?.triggerCheckpoint(its);
          this.#schedule(running, STEP_MS);
        });
      }
    }
  }

  #tellTasks(job: JobId, tell: (task: Task) => void): void {
    for (const running of this.#of(job)) {
      if (running.task !== undefined) tell(running.task);
      this.#schedule(running, STEP_MS);
    }
  }

  #of(job: JobId): readonly Running[] {
    return [...this.#running.values()].filter(({ deployment }) => deployment.execution.job === job);
  }

  #find(execution: ExecutionAddress): Running | undefined {
    return this.#of(execution.job).find(({ deployment }) => isMeant(this.#cluster, deployment.execution, execution));
  }

  /** A channel of a task broke. */
  linkLost(execution: ExecutionAddress): void {
    const running = this.#find(execution);
    if (this.process.isAlive && running !== undefined) this.#end(running, "FAILED", new Error("a channel broke (simulated)"));
  }

  /** Something changed in a channel of this execution. */
  ring(execution: ExecutionAddress): void {
    const running = this.#find(execution);
    if (running !== undefined) this.#schedule(running, 0);
  }

  // ------------------------------------------------------------------------------------------------------------- tasks

  async #begin(running: Running): Promise<void> {
    const { deployment } = running;
    const { execution, jobName, vertex, vertexIndex, restore } = deployment;
    this.#report(running, "INITIALIZING");
    try {
      const { world } = this.#cluster;
      const { signal } = this.#session;
      const restored =
        restore === undefined ? undefined : await readRestore(misread(this.#cluster, restore), this.#cluster.storageAt(restore.folder, this.process), signal);
      if (!this.#isRunning(running)) return;
      const spec = this.#cluster.oracle.compile(this.process).tasks[vertexIndex];
      if (spec === undefined) throw new Error(`no task spec ${vertexIndex}`);
      const configuration = Configuration.of(deployment.options);
      const channel = (id: string): MemoryChannel => new MemoryChannel(SEGMENT_BYTES, SEGMENTS, () => this.#cluster.links.moved(id));
      const task = new Task(
        {
          info: { jobName, vertex, subtask: execution.subtask, attempt: execution.attempt },
          inputs: deployment.inputs.map(({ edge, input, channels }) => ({
            edge,
            input,
            channels: channels.map((it) => this.#cluster.links.input(it.channel, this, execution, channel(it.channel))),
          })),
          outputs: deployment.outputs.map(({ edge, channels }) => ({
            edge,
            channels: channels.map((it) => this.#cluster.links.output(it.channel, this, execution, channel(it.channel))),
          })),
          doorbell: { park: () => undefined },
          metrics: taskMetricsArray(),
          classes: new ClassRegistry([]),
          configuration,
          poll: () => false,
          wait: () => Promise.resolve(),
          wake: () => this.#schedule(running, 0),
          now: () => world.nowMs,
          heapLimitBytes: 0,
          heapUsed: () => 0,
          cooperative: true,
          ...(restored === undefined ? {} : { restored: taskRestore(restored) }),
          ...(deployment.checkpoints === undefined
            ? {}
            : {
                checkpoints: {
                  fileOf: () => running.file,
                  write: (checkpoint: number, bytes: Uint8Array) => {
                    this.#snapshots.write(execution, outside(this.#cluster, checkpoint), running.file, bytes.slice(), () => undefined);
                    return true;
                  },
                  acknowledge: (ack) =>
                    this.#snapshots.acknowledge(execution, running.file, { ...ack, checkpoint: outside(this.#cluster, ack.checkpoint) }),
                  decline: (checkpoint: number, error: Error) => this.#snapshots.decline(execution, outside(this.#cluster, checkpoint), toWire(error)),
                  requestFinal: () => this.#client.notify("requestCheckpoint", { execution }),
                },
              }),
        },
        spec,
      );
      await task.open();
      if (!this.#isRunning(running)) return;
      running.task = task;
      this.#report(running, "RUNNING");
      this.#schedule(running, 0);
    } catch (error) {
      if (this.#isRunning(running)) this.#end(running, "FAILED", error as Error);
    }
  }

  #isRunning(running: Running): boolean {
    return this.process.isAlive && this.#running.get(executionKey(running.deployment.execution)) === running;
  }

  /** Steps a task after so long, unless that is planned for earlier. */
  #schedule(running: Running, delayMs: number): void {
    const atMs = this.#cluster.world.nowMs + delayMs;
    if (atMs >= running.scheduledMs) return;
    running.scheduledMs = atMs;
    this.process.after(delayMs, () => {
      if (running.scheduledMs !== atMs) return;
      running.scheduledMs = Number.POSITIVE_INFINITY;
      this.#step(running);
    });
  }

  #step(running: Running): void {
    const { task } = running;
    if (!this.#isRunning(running)) return;
    if (running.canceled) return this.#end(running, "CANCELED");
    if (task === undefined) return;
    try {
      const outcome = task.step();
      if (outcome === "finished") return this.#end(running, "FINISHED");
      const waitMs = task.nextWakeMs() - this.#cluster.world.nowMs;
      if (outcome === "worked") this.#schedule(running, STEP_MS);
      else if (Number.isFinite(waitMs)) this.#schedule(running, Math.max(STEP_MS, waitMs));
    } catch (error) {
      this.#end(running, "FAILED", error as Error);
    }
  }

  #end(running: Running, state: "FINISHED" | "CANCELED" | "FAILED", error?: Error): void {
    this.#running.delete(executionKey(running.deployment.execution));
    void running.task?.close();
    this.#snapshots.ended(running.deployment.execution, state === "FINISHED");
    if (state === "FINISHED") this.#cluster.links.ended(running.deployment);
    else this.#cluster.links.lose(running.deployment, this);
    this.#report(running, state, error);
  }

  #report(running: Running, state: TaskState, error?: Error): void {
    running.state = state;
    const { execution } = running.deployment;
    const why = error === undefined ? "" : `: ${error.message}`;
    this.process.note(`${execution.vertex}/${execution.subtask}#${execution.attempt} is ${state}${why}`);
    const change = { execution, state, atMs: this.process.clocks.wallMs(), ...(error === undefined ? {} : { error: toWire(error) }) };
    const { signal } = this.#session;
    if (signal.aborted) return;
    if (state !== "FINISHED" || this.#cluster.has("end before acknowledgement")) return this.#reports.report(change);
    void this.#snapshots.told(execution).then(() => {
      if (!signal.aborted) this.#reports.report(change);
    });
  }

  // ---------------------------------------------------------------------------------------------------------- sessions

  async #register(): Promise<void> {
    const { signal } = this.#session;
    const registration: Registration = {
      taskManager: this.id, slots: SLOTS, dataAddress: this.process.name, host: "simulation", pid: 1, slotHeapBytes: 0, version: "0",
    };
    await this.#cleared;
    while (!signal.aborted) {
      try {
        return await this.#client.call("register", registration, { signal });
      } catch {
        await this.process.sleep(RETRY_MS);
      }
    }
  }

  /** The session is over: nobody counts on what runs here. */
  #lost(reason: string): void {
    this.process.note(`lost its JobManager: ${reason}`);
    this.#session.abort(new ConnectionError(reason));
    this.#reports.forget();
    for (const running of [...this.#running.values()]) this.#end(running, "CANCELED");
    this.#session = session();
    this.#cleared = this.#snapshots.stop();
  }
}

/** As many calls as tasks may wait for its end. */
function session(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}
