/**
 * A dispatcher without sockets: time is moved by hand, and what it wants done is carried out by TaskManagers made of plain data, which do
 * what they are told at once unless a test says otherwise.
 */
import type { JobGraph } from "../../../src/core/graph/job-graph.ts";
import type { JobDetails, TaskState } from "../../../src/core/graph/job-status.ts";
import { type WireError, toWire } from "../../../src/core/types/errors.ts";
import { type JobId, type TaskManagerId, jobId, taskManagerId, vertexId } from "../../../src/core/types/ids.ts";
import { Configuration } from "../../../src/core/types/options.ts";
import { Dispatcher } from "../../../src/cluster/jobmanager/dispatcher.ts";
import type { Effect, Tell } from "../../../src/cluster/jobmanager/effect.ts";
import type { JobStoreBounds } from "../../../src/cluster/jobmanager/job-store.ts";
import type { CheckpointAck } from "../../../src/cluster/protocol/checkpoint-messages.ts";
import type { CheckpointManifest } from "../../../src/cluster/storage/manifest.ts";
import type { TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import { CODE, CODE_DIGEST } from "./graphs.ts";

/** Whether a manifest can be stored. */
export type Storing = "durable" | "hangs" | Error;

export interface Behaviour {
  /** Tasks report that they run as soon as they are deployed; default true. */
  readonly starts?: boolean;
  /** Cancelled tasks report it at once; default true. */
  readonly obeys?: boolean;
  /** A deployment is refused with this. */
  readonly refuses?: Error;
  /** Jobs are released when asked; default true. */
  readonly releases?: boolean;
  /** Tasks acknowledge checkpoints as soon as they are triggered; default true. */
  readonly acknowledges?: boolean;
}

interface FakeTaskManager {
  readonly id: TaskManagerId;
  behaviour: Behaviour;
  readonly tasks: TaskDeployment[];
}

export class ControlPlane {
  nowMs = 1_000;
  readonly effects: Effect[] = [];
  readonly taskManagers = new Map<TaskManagerId, FakeTaskManager>();
  readonly dispatcher: Dispatcher;
  /** By folder. */
  readonly manifests = new Map<string, CheckpointManifest>();
  storing: Storing = "durable";
  #jobs = 0;

  constructor(
    raw: Readonly<Record<string, unknown>> = {},
    bounds: Partial<JobStoreBounds> = {},
    { epoch = 1, checkpointRoot = "memory://checkpoints" } = {},
  ) {
    // Names of jobs differ from leader to leader.
    this.#jobs = (epoch - 1) * 100;
    this.dispatcher = new Dispatcher({
      configuration: Configuration.of(raw),
      clocks: { wallMs: () => 1_700_000_000_000 + this.nowMs, elapsedMs: () => this.nowMs },
      address: () => "ipc:///test",
      epoch,
      checkpointRoot,
      random: () => 0.5,
      version: "0.0.0",
      pid: 1,
      silentMs: () => 0,
      newJobId: () => jobId(`job${++this.#jobs}`),
      bounds,
    });
  }

  /** A TaskManager joins. */
  join(name: string, slots: number, behaviour: Behaviour = {}): TaskManagerId {
    const id = taskManagerId(name);
    this.taskManagers.set(id, { id, behaviour, tasks: [] });
    this.dispatcher.register({
      taskManager: id,
      slots,
      dataAddress: `ipc:///${name}`,
      host: "host",
      pid: 7,
      slotHeapBytes: 1,
      version: "0.0.0",
    });
    this.settle();
    return id;
  }

  lose(id: TaskManagerId, reason = "connection lost"): void {
    this.taskManagers.delete(id);
    this.dispatcher.taskManagerLost(id, reason);
    this.settle();
  }

  /** @param from folder of a savepoint. */
  submit(graph: JobGraph, { client = "client", attached = false, from = "", allowNonRestoredState = false } = {}): JobId {
    this.dispatcher.clientConnected(client);
    const begins = from === "" ? {} : { from: { savepoint: from, allowNonRestoredState } };
    const id = this.dispatcher.submit(client, { graph, code: CODE_DIGEST, attached, ...begins }, CODE, this.manifests.get(from));
    this.settle();
    return id;
  }

  /** Does something to the dispatcher, and all that follows. */
  act<T>(what: (dispatcher: Dispatcher) => T): T {
    const answer = what(this.dispatcher);
    this.settle();
    return answer;
  }

  /** Lets time pass, waking the dispatcher whenever it wants. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.dispatcher.nextWakeMs <= endMs) {
      this.nowMs = Math.max(this.nowMs, this.dispatcher.nextWakeMs);
      this.settle();
    }
    this.nowMs = endMs;
    this.settle();
  }

  /** Carries out everything that is to be done. */
  settle(): void {
    for (let round = 0; round < 1_000; round++) {
      this.dispatcher.tick();
      const effects = this.dispatcher.takeEffects();
      if (effects.length === 0) return;
      for (const effect of effects) {
        this.effects.push(effect);
        this.#perform(effect);
      }
    }
    throw new Error("the dispatcher never settles");
  }

  /** A task of a job reports its state. */
  report(job: JobId, vertex: string, subtask: number, state: TaskState, error?: WireError): void {
    for (const { id, tasks } of this.taskManagers.values()) {
      const task = tasks.find(
        ({ execution }) => execution.job === job && execution.vertex === vertexId(vertex) && execution.subtask === subtask,
      );
      if (task === undefined) continue;
      this.act((dispatcher) =>
        dispatcher.taskState(id, { execution: task.execution, state, atMs: this.nowMs, ...(error === undefined ? {} : { error }) }),
      );
      return;
    }
    throw new Error(`${vertex}/${subtask} of ${job} is not deployed`);
  }

  /** All tasks of a job report a state. */
  reportAll(job: JobId, state: TaskState): void {
    for (const { execution } of this.tasksOf(job)) this.report(job, execution.vertex, execution.subtask, state);
  }

  /** All tasks of a job acknowledge a checkpoint, or those that `which` picks. */
  acknowledge(job: JobId, checkpoint: number, which: (task: TaskDeployment) => boolean = () => true): void {
    for (const { id, tasks } of [...this.taskManagers.values()]) {
      for (const task of tasks.filter((it) => it.execution.job === job && which(it))) {
        this.act((dispatcher) => dispatcher.acknowledgeCheckpoint(id, task.execution, ackOf(task, checkpoint)));
      }
    }
  }

  tasksOf(job: JobId): readonly TaskDeployment[] {
    return [...this.taskManagers.values()].flatMap(({ tasks }) => tasks.filter(({ execution }) => execution.job === job));
  }

  details(job: JobId): JobDetails {
    return this.dispatcher.job(job);
  }

  /** What was told to a client, in order. */
  told<E extends Tell["event"]>(client: string, event: E): readonly Extract<Tell, { event: E }>[] {
    return this.effects.filter(
      (effect): effect is Extract<Tell, { event: E }> => effect.kind === "tell" && effect.client === client && effect.event === event,
    );
  }

  did<K extends Effect["kind"]>(kind: K): readonly Extract<Effect, { kind: K }>[] {
    return this.effects.filter((effect): effect is Extract<Effect, { kind: K }> => effect.kind === kind);
  }

  #perform(effect: Effect): void {
    if (effect.kind === "storeManifest") {
      if (this.storing === "hangs") return;
      if (this.storing === "durable") this.manifests.set(effect.folder, effect.manifest);
      this.dispatcher.manifestStored(effect.job, effect.checkpoint, this.storing === "durable" ? undefined : this.storing);
      return;
    }
    if (effect.kind === "discard") {
      for (const folder of effect.folders) {
        for (const known of [...this.manifests.keys()]) if (`${known}/`.startsWith(`${folder}/`)) this.manifests.delete(known);
      }
      return;
    }
    if (!("taskManager" in effect)) return;
    const taskManager = this.taskManagers.get(effect.taskManager);
    if (taskManager === undefined) return;
    const { behaviour, tasks } = taskManager;
    switch (effect.kind) {
      case "deploy":
        if (behaviour.refuses !== undefined) return this.dispatcher.deployed(taskManager.id, effect.job, behaviour.refuses);
        // A later attempt takes the place of an earlier one.
        for (const task of effect.tasks) {
          const { job, vertex, subtask } = task.execution;
          const former = tasks.findIndex((it) => it.execution.job === job && it.execution.vertex === vertex && it.execution.subtask === subtask);
          if (former >= 0) tasks.splice(former, 1);
        }
        tasks.push(...effect.tasks);
        this.dispatcher.deployed(taskManager.id, effect.job);
        if (behaviour.starts === false) return;
        for (const { execution } of effect.tasks) {
          this.dispatcher.taskState(taskManager.id, { execution, state: "RUNNING", atMs: this.nowMs });
        }
        return;
      case "cancel":
        if (behaviour.obeys === false) return;
        for (const execution of effect.executions) {
          this.dispatcher.taskState(taskManager.id, { execution, state: "CANCELED", atMs: this.nowMs });
        }
        return;
      case "release":
        if (behaviour.releases === false) return this.dispatcher.released(taskManager.id, effect.job, new Error("it is stuck"));
        tasks.splice(0, tasks.length, ...tasks.filter(({ execution }) => execution.job !== effect.job));
        return this.dispatcher.released(taskManager.id, effect.job);
      case "triggerCheckpoint": {
        if (behaviour.acknowledges === false) return;
        for (const task of tasks.filter(({ execution }) => execution.job === effect.job)) {
          this.dispatcher.acknowledgeCheckpoint(taskManager.id, task.execution, ackOf(task, effect.trigger.checkpoint));
        }
        return;
      }
      default:
        return;
    }
  }
}

/** A task's part of a checkpoint: a keyed section with one block per key group that it owns, and a list with one item. */
export function ackOf({ execution, vertex }: TaskDeployment, checkpoint: number, finished = false): CheckpointAck {
  const file = `${vertex.id}-${execution.subtask}-${execution.attempt}`;
  const blocks: number[] = [];
  for (let group = 0; group < vertex.maxParallelism; group++) {
    if (Math.floor((group * vertex.parallelism) / vertex.maxParallelism) === execution.subtask) blocks.push(group, group * 10, 10);
  }
  return {
    checkpoint,
    operators: vertex.operators.map((operator) => ({
      operator: operator.uid ?? operator.id,
      sections: [
        { name: "counts", kind: "keyed", type: "value", format: 1, file, blocks },
        { name: "offsets", kind: "list", type: "list", format: 1, file, blocks: [1, 10_000, 8] },
      ],
    })),
    bytes: 100,
    writtenBytes: 50,
    startDelayMs: 1,
    alignmentMs: 2,
    syncMs: 3,
    asyncMs: 4,
    channelBytes: 0,
    ...(finished ? { finished } : {}),
  };
}

export const boom: WireError = toWire(new TypeError("Cannot read properties of undefined"));
