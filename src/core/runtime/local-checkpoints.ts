/**
 * Checkpoints of tasks that share a thread, kept in its memory: what a checkpoint coordinator and a storage do for a cluster, for the
 * one-thread executor and the test harness. The tasks take part as they do anywhere: barriers, frozen states, acknowledgements.
 *
 * Invariant: a snapshot exists when every task that ran at its trigger has acknowledged it, and never else.
 */
import type { JobVertex } from "../graph/job-graph.ts";
import { type OperatorSnapshot, redistribute } from "../state/snapshot.ts";
import { CheckpointError, InvariantError } from "../types/errors.ts";
import type { ChannelState, CheckpointAck, CheckpointHost, CheckpointTrigger, TaskRestore } from "./checkpoint.ts";
import type { LocalTask } from "./local-tasks.ts";

/** A job at one moment. Immutable. */
export interface LocalSnapshot {
  readonly checkpoint: number;
  /** By state id (uid or id), what each subtask kept; undefined for subtasks that had finished. */
  readonly operators: ReadonlyMap<string, readonly (OperatorSnapshot | undefined)[]>;
  /** State ids of operators that had finished in all subtasks. */
  readonly finished: ReadonlySet<string>;
  /** In-flight segments, by vertex, then by subtask. */
  readonly channels: ReadonlyMap<string, readonly (readonly ChannelState[])[]>;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** What a subtask begins with, at whatever parallelism its vertex runs now. */
export function restoreOf(snapshot: LocalSnapshot, vertex: JobVertex, subtask: number): TaskRestore {
  const ids = vertex.operators.map(stateIdOf);
  const channels = snapshot.channels.get(vertex.id) ?? [];
  return {
    checkpoint: snapshot.checkpoint,
    operators: ids.flatMap((id) => {
      const old = snapshot.operators.get(id) ?? [];
      return redistribute(old, subtask, vertex.parallelism, vertex.maxParallelism) ?? [];
    }),
    ...(channels.length === vertex.parallelism ? { channels: channels[subtask] as readonly ChannelState[] } : {}),
    ...(ids.every((id) => snapshot.finished.has(id)) ? { finished: true } : {}),
    read: (file, start, end) => {
      const bytes = snapshot.files.get(file);
      if (bytes === undefined) throw new InvariantError(`The snapshot ${snapshot.checkpoint} has no file ${file}.`);
      return bytes.subarray(start, end);
    },
  };
}

/** A checkpoint on its way. */
interface Pending {
  readonly trigger: CheckpointTrigger;
  /** All tasks of the job. */
  readonly tasks: readonly LocalTask[];
  /** Names of tasks that have not answered. */
  readonly open: Set<string>;
  readonly acks: Map<string, CheckpointAck>;
  readonly files: Map<string, Uint8Array[]>;
}

/** Takes checkpoints, one at a time. */
export class LocalCheckpoints {
  #pending: Pending | undefined;
  #outcome: LocalSnapshot | CheckpointError | undefined;

  /** The host of a subtask's checkpoints. */
  hostOf(vertex: JobVertex, subtask: number): CheckpointHost {
    const name = nameOf(vertex, subtask);
    return {
      fileOf: (checkpoint) => fileOf(checkpoint, name),
      write: (checkpoint, bytes) => {
        this.#pending?.files.get(fileOf(checkpoint, name))?.push(bytes);
        return true;
      },
      acknowledge: (ack) => {
        if (ack.checkpoint === this.#pending?.trigger.checkpoint) this.#answered(name, ack);
      },
      decline: (checkpoint, error) => {
        if (checkpoint !== this.#pending?.trigger.checkpoint) return;
        this.#pending = undefined;
        this.#outcome = new CheckpointError(`Checkpoint ${checkpoint} failed at "${vertex.name}": ${error.message}`, { cause: error });
      },
    };
  }

  /** A checkpoint is on its way. */
  get pending(): boolean {
    return this.#pending !== undefined;
  }

  /**
   * Begins a checkpoint. The tasks have to be stepped until `outcome` answers.
   * @param isFed whether a running task gets its barriers from another one; all others are triggered.
   * @throws InvariantError while another is on its way.
   */
  begin(
    trigger: CheckpointTrigger, tasks: readonly LocalTask[], running: ReadonlySet<LocalTask>, isFed: (task: LocalTask) => boolean,
  ): void {
    if (this.#pending !== undefined) throw new InvariantError("A checkpoint begins while another is on its way.");
    const names = [...running].map(({ vertex, subtask }) => nameOf(vertex, subtask));
    this.#outcome = undefined;
    this.#pending = {
      trigger, tasks, open: new Set(names), acks: new Map(),
      files: new Map(names.map((name) => [fileOf(trigger.checkpoint, name), []])),
    };
    if (running.size === 0) this.#complete(this.#pending);
    for (const it of running) if (!isFed(it)) it.task.triggerCheckpoint(trigger);
  }

  /** How the last checkpoint ended; undefined while it has not. */
  get outcome(): LocalSnapshot | CheckpointError | undefined {
    return this.#outcome;
  }

  /** Gives up the checkpoint that is on its way. */
  abort(): void {
    this.#pending = undefined;
  }

  #answered(name: string, ack: CheckpointAck): void {
    const pending = this.#pending as Pending;
    pending.acks.set(name, ack);
    if (pending.open.delete(name) && pending.open.size === 0) this.#complete(pending);
  }

  #complete({ trigger, tasks, acks, files }: Pending): void {
    const operators = new Map<string, (OperatorSnapshot | undefined)[]>();
    const finished = new Set(tasks.flatMap(({ vertex }) => vertex.operators.map(stateIdOf)));
    const channels = new Map<string, (readonly ChannelState[])[]>();
    for (const { vertex, subtask } of tasks) {
      const ack = acks.get(nameOf(vertex, subtask));
      for (const operator of vertex.operators) {
        const id = stateIdOf(operator);
        const bySubtask = operators.get(id) ?? new Array<OperatorSnapshot | undefined>(vertex.parallelism).fill(undefined);
        operators.set(id, bySubtask);
        bySubtask[subtask] = ack?.operators.find((it) => it.operator === id);
        if (ack !== undefined && ack.finished !== true) finished.delete(id);
      }
      channels.set(vertex.id, [...(channels.get(vertex.id) ?? []), ack?.channels ?? []]);
    }
    this.#pending = undefined;
    this.#outcome = {
      checkpoint: trigger.checkpoint,
      operators, finished, channels,
      files: new Map([...files].map(([name, pieces]): [string, Uint8Array] => [name, Buffer.concat(pieces)])),
    };
  }
}

const stateIdOf = ({ id, uid }: JobVertex["operators"][number]): string => uid ?? id;
const nameOf = (vertex: JobVertex, subtask: number): string => `${vertex.id}/${subtask}`;
const fileOf = (checkpoint: number, task: string): string => `${checkpoint}/${task}`;
