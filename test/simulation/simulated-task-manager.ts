/**
 * A TaskManager in the simulation. What runs in it is production code: core's Task with its gate, aligner, state and sinks, the files of
 * snapshots, the reports of states. Threads, rings and sockets are events and queues in memory.
 */
import { ClassRegistry } from "../../src/core/data/classes.ts";
import { MemoryChannel } from "../../src/core/runtime/memory-channel.ts";
import { taskMetricsArray } from "../../src/core/runtime/metrics.ts";
import { Task } from "../../src/core/runtime/task.ts";
import type { CheckpointTrigger } from "../../src/core/runtime/checkpoint.ts";
import type { TaskState } from "../../src/core/graph/job-status.ts";
import { DeadlineError, fromWire, toWire } from "../../src/core/types/errors.ts";
import { type JobId, type TaskManagerId, taskManagerId } from "../../src/core/types/ids.ts";
import { Configuration } from "../../src/core/types/options.ts";
import type { ExecutionAddress, Registration, TaskDeployment } from "../../src/cluster/protocol/messages.ts";
import { readRestore, taskRestore } from "../../src/cluster/taskmanager/restored-state.ts";
import { SnapshotFiles } from "../../src/cluster/taskmanager/snapshot-files.ts";
import { StateReports, executionKey } from "../../src/cluster/taskmanager/state-reports.ts";
import { snapshotFile } from "../../src/cluster/taskmanager/thread-messages.ts";
import type { Dispatcher } from "../../src/cluster/jobmanager/dispatcher.ts";
import type { Cluster } from "./cluster.ts";
import { bent, misread } from "./mutants.ts";
import type { SimulatedJobManager } from "./simulated-job-manager.ts";
import type { Addressee } from "./wire.ts";

const SLOTS = 2;
const SEGMENT_BYTES = 2_048;
const SEGMENTS = 3;
const TIMEOUT_MS = 1_000;
const REGISTER_MS = 150;
const REPLY_MS = 400;
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

export class SimulatedTaskManager implements Addressee {
  readonly name: string;
  readonly id: TaskManagerId;
  isAlive = true;
  isPaused = false;
  readonly #cluster: Cluster;
  readonly #running = new Map<string, Running>();
  readonly #resumed: (() => void)[] = [];
  readonly #reports: StateReports;
  readonly #snapshots: SnapshotFiles;
  #leader: SimulatedJobManager | undefined;
  #session = 0;
  #heardMs = 0;

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
    this.id = taskManagerId(name);
    const pause = (ms: number): Promise<void> => cluster.world.sleep(ms);
    const log = (text: string): void => cluster.world.note(`${name} ${text}`);
    this.#reports = new StateReports({
      pause,
      send: (change) => this.#ask((dispatcher) => dispatcher.taskState(this.id, change)),
      onGivenUp: (change, error) => log(`gave up telling ${change.state}: ${error.message}`),
    });
    this.#snapshots = new SnapshotFiles({
      pause,
      log,
      storageAt: (location) => cluster.storageAt(location),
      acknowledge: (execution, ack) => this.#ask((dispatcher) => dispatcher.acknowledgeCheckpoint(this.id, execution, ack)),
      decline: (execution, checkpoint, error) =>
        this.#ask((dispatcher) => dispatcher.declineCheckpoint(this.id, execution, checkpoint, fromWire(error))),
    });
    this.#live();
  }

  get tasks(): readonly Running[] {
    return [...this.#running.values()];
  }

  /** Whether this leader and this session are the ones it knows. */
  isInSession(leader: SimulatedJobManager, session: number): boolean {
    return this.isAlive && this.#leader === leader && this.#session === session;
  }

  heartbeat(leader: SimulatedJobManager, session: number): void {
    if (!this.isInSession(leader, session)) return;
    this.#heardMs = this.#cluster.world.nowMs;
    this.#cluster.wire.send(this, leader, () => void leader.hear(this.id, session, () => undefined));
  }

  crash(): void {
    this.isAlive = false;
    for (const { deployment } of this.#running.values()) this.#cluster.links.lose(deployment, this);
    this.#running.clear();
  }

  pause(ms: number): void {
    this.isPaused = true;
    this.#cluster.world.after(ms, () => {
      this.isPaused = false;
      for (const what of this.#resumed.splice(0)) if (this.isAlive) what();
    });
  }

  whenResumed(what: () => void): void {
    this.#resumed.push(what);
  }

  // -------------------------------------------------------------------------------------------- what the JobManager asks

  deploy(tasks: readonly TaskDeployment[], done: (error?: Error) => void): void {
    for (const deployment of tasks) {
      const key = executionKey(deployment.execution);
      if (this.#running.has(key)) continue;
      const running: Running = {
        deployment, task: undefined, state: "DEPLOYING", canceled: false, scheduledMs: Number.POSITIVE_INFINITY,
        file: snapshotFile({ vertexIndex: deployment.vertexIndex, ...deployment.execution }),
      };
      this.#running.set(key, running);
      this.#cluster.world.after(this.#cluster.world.between(1, 20), () => this.#whenAwake(() => this.#begin(running)));
    }
    done();
  }

  cancel(executions: readonly ExecutionAddress[]): void {
    for (const execution of executions) {
      const running = this.#running.get(executionKey(execution));
      if (running === undefined) continue;
      running.canceled = true;
      this.#schedule(running, STEP_MS);
    }
  }

  release(job: JobId, done: (error?: Error) => void): void {
    for (const running of [...this.#running.values()]) {
      if (running.deployment.execution.job !== job) continue;
      this.#end(running, "CANCELED");
    }
    void this.#snapshots.releaseJob(job).then(() => done());
  }

  triggerCheckpoint(job: JobId, trigger: CheckpointTrigger, executions: readonly ExecutionAddress[], folder: string): void {
    this.#snapshots.begin(job, trigger, folder);
    for (const execution of executions) {
      const running = this.#running.get(executionKey(execution));
      running?.task?.triggerCheckpoint(bent(this.#cluster, trigger));
      if (running !== undefined) this.#schedule(running, STEP_MS);
    }
  }

  checkpointOver(how: "checkpointCompleted" | "checkpointAborted", job: JobId, checkpoint: number): void {
    if (how === "checkpointCompleted") this.#snapshots.completed(job, checkpoint);
    else this.#snapshots.aborted(job, checkpoint);
    for (const running of this.#running.values()) {
      if (running.deployment.execution.job !== job) continue;
      running.task?.[how](checkpoint);
      this.#schedule(running, STEP_MS);
    }
  }

  /** A channel of a task broke. */
  linkLost(execution: ExecutionAddress): void {
    const running = this.#running.get(executionKey(execution));
    if (running !== undefined) this.#end(running, "FAILED", new Error("a channel broke (simulated)"));
  }

  /** Something changed in a channel of this execution. */
  ring(execution: ExecutionAddress): void {
    const running = this.#running.get(executionKey(execution));
    if (running !== undefined) this.#schedule(running, 0);
  }

  // ------------------------------------------------------------------------------------------------------------- tasks

  async #begin(running: Running): Promise<void> {
    const { deployment } = running;
    const { execution, jobName, vertex, vertexIndex, restore } = deployment;
    this.#report(running, "INITIALIZING");
    try {
      const { world } = this.#cluster;
      const signal = new AbortController().signal;
      const restored =
        restore === undefined ? undefined : await readRestore(misread(this.#cluster, restore), this.#cluster.storageAt(restore.folder), signal);
      if (!this.#isRunning(running)) return;
      const spec = this.#cluster.oracle.compile().tasks[vertexIndex];
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
                    this.#snapshots.write(execution, checkpoint, running.file, bytes.slice(), () => undefined);
                    return true;
                  },
                  acknowledge: (ack) => this.#snapshots.acknowledge(execution, running.file, ack),
                  decline: (checkpoint: number, error: Error) => this.#snapshots.decline(execution, checkpoint, toWire(error)),
                  requestFinal: () => void this.#ask((dispatcher) => dispatcher.requestCheckpoint(this.id, execution)).catch(() => undefined),
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
    return this.isAlive && this.#running.get(executionKey(running.deployment.execution)) === running;
  }

  /** Steps a task after so long, unless that is planned for earlier. */
  #schedule(running: Running, delayMs: number): void {
    const atMs = this.#cluster.world.nowMs + delayMs;
    if (atMs >= running.scheduledMs) return;
    running.scheduledMs = atMs;
    this.#cluster.world.after(delayMs, () => {
      if (running.scheduledMs !== atMs) return;
      running.scheduledMs = Number.POSITIVE_INFINITY;
      this.#whenAwake(() => this.#step(running));
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
    this.#cluster.world.note(`${this.name} ${execution.vertex}/${execution.subtask}#${execution.attempt} is ${state}${why}`);
    const change = { execution, state, atMs: this.#cluster.world.nowMs, ...(error === undefined ? {} : { error: toWire(error) }) };
    if (state !== "FINISHED" || this.#cluster.has("end before acknowledgement")) return this.#reports.report(change);
    const session = this.#session;
    void this.#snapshots.told(execution).then(() => {
      if (session === this.#session) this.#reports.report(change);
    });
  }

  #whenAwake(what: () => void): void {
    if (!this.isAlive) return;
    if (this.isPaused) this.whenResumed(what);
    else what();
  }

  // ---------------------------------------------------------------------------------------------------------- sessions

  /** Says something to the leader until it was heard; rejects when no answer came in time. */
  #ask(what: (dispatcher: Dispatcher) => void): Promise<void> {
    const { wire, world } = this.#cluster;
    const leader = this.#leader;
    const session = this.#session;
    return new Promise((resolve, reject) => {
      world.after(REPLY_MS, () => reject(new DeadlineError("no answer (simulated)")));
      if (leader === undefined || !this.isAlive) return;
      wire.send(this, leader, () => {
        if (leader.hear(this.id, session, what)) wire.send(leader, this, resolve);
      });
    });
  }

  /** Looks for a leader, and leaves one that is silent. */
  #live(): void {
    const { world, wire } = this.#cluster;
    if (!this.isAlive) return;
    if (!this.isPaused) {
      if (this.#leader !== undefined && world.nowMs - this.#heardMs > TIMEOUT_MS) this.#leave();
      const leader = this.#cluster.leader;
      if (this.#leader === undefined && leader !== undefined) {
        const registration: Registration = {
          taskManager: this.id, slots: SLOTS, dataAddress: this.name, host: "simulation", pid: 1, slotHeapBytes: 0, version: "0",
        };
        wire.send(this, leader, () => {
          const session = leader.register(this, registration);
          wire.send(leader, this, () => {
            if (this.#leader !== undefined) return;
            this.#leader = leader;
            this.#session = session;
            this.#heardMs = world.nowMs;
          });
        });
      }
    }
    world.after(REGISTER_MS, () => this.#live());
  }

  /** The session is over: nobody counts on what runs here. */
  #leave(): void {
    this.#leader = undefined;
    this.#reports.forget();
    for (const running of [...this.#running.values()]) this.#end(running, "CANCELED");
    this.#reports.forget();
    void this.#snapshots.stop();
  }
}
