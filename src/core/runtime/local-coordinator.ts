/**
 * Checkpoints of a job that runs in one thread, kept in its memory: what the JobManager's coordinator is to a cluster, in small. One
 * checkpoint at a time, at the job's interval; the latest complete one is kept. The tasks are the very ones that run on a cluster, so what
 * recovers here recovers there.
 *
 * Invariant: a checkpoint is complete when every task that had not finished before its trigger has acknowledged it; a task that finishes
 * without that makes it void.
 */
import { type JobGraph, type JobVertex, targetsOf } from "../graph/job-graph.ts";
import type { CheckpointInfo, CheckpointOverview } from "../graph/job-status.ts";
import { redistribute } from "../state/snapshot.ts";
import { CheckpointError, CorruptCheckpointError } from "../types/errors.ts";
import type { JobId } from "../types/ids.ts";
import { type Configuration, options } from "../types/options.ts";
import type { CheckpointAck, CheckpointHost, CheckpointTrigger, TaskRestore } from "./checkpoint.ts";
import type { Task } from "./task.ts";

/** A task that takes part. */
export interface CheckpointParty {
  readonly vertex: JobVertex;
  readonly subtask: number;
  readonly task: Task;
}

/** A checkpoint that a job can go back to. */
export interface LocalCheckpoint {
  readonly id: number;
  /** By task (`vertex/subtask`); missing: it had finished before. */
  readonly acks: ReadonlyMap<string, CheckpointAck>;
  /** Bytes of files by name. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

interface Pending {
  readonly trigger: CheckpointTrigger;
  readonly waitsFor: Set<string>;
  readonly acks: Map<string, CheckpointAck>;
  readonly chunks: Map<string, Uint8Array[]>;
}

/** Checkpoints told of at once. */
const MAX_TOLD = 50;

/** See the head of the file. */
export class LocalCoordinator {
  readonly #graph: JobGraph;
  readonly #configuration: Configuration;
  readonly #completed: (checkpoint: LocalCheckpoint) => void;
  #parties: readonly CheckpointParty[] = [];
  readonly #finished = new Set<string>();
  #latest: LocalCheckpoint | undefined;
  #pending: Pending | undefined;
  #lastId = 0;
  #nextMs = 0;
  #failedInARow = 0;
  #failure: Error | undefined;
  readonly #told: CheckpointInfo[] = [];
  readonly #counts = { completed: 0, failed: 0, restored: 0 };
  #restoredFrom: number | undefined;
  /** Those who asked for a checkpoint: told at its end. */
  readonly #asked: { readonly resolve: (id: number) => void; readonly reject: (error: Error) => void }[] = [];

  /** @param completed told of each complete checkpoint, before the tasks are. */
  constructor(graph: JobGraph, configuration: Configuration, completed: (checkpoint: LocalCheckpoint) => void) {
    this.#graph = graph;
    this.#configuration = configuration;
    this.#completed = completed;
  }

  /** The job takes checkpoints. */
  get enabled(): boolean {
    return this.#configuration.get(options.checkpointInterval) > 0;
  }

  /** What the job goes back to. */
  get latest(): LocalCheckpoint | undefined {
    return this.#latest;
  }

  /** When `tick` wants to be called, milliseconds. */
  get nextMs(): number {
    return !this.enabled || this.#pending !== undefined ? Number.POSITIVE_INFINITY : this.#nextMs;
  }

  overview(job: JobId): CheckpointOverview {
    return {
      job,
      ...this.#counts,
      inProgress: this.#pending === undefined ? 0 : 1,
      ...(this.#restoredFrom === undefined ? {} : { restoredFrom: this.#restoredFrom }),
      latest: [...this.#told],
    };
  }

  /** Takes a checkpoint as soon as possible. @returns its number. Rejects with a CheckpointError when it does not come about. */
  request(): Promise<number> {
    this.#nextMs = 0;
    return new Promise((resolve, reject) => void this.#asked.push({ resolve, reject }));
  }

  /** The job has ended: no checkpoint follows. */
  close(): void {
    for (const { reject } of this.#asked.splice(0)) reject(new CheckpointError(`Job "${this.#graph.name}" has ended.`));
  }

  /** What a task needs for its part in checkpoints, and what it begins with; to be spread over its host. */
  hostOf(vertex: JobVertex, subtask: number): { readonly checkpoints?: CheckpointHost; readonly restored?: TaskRestore } {
    if (!this.enabled) return {};
    const restored = this.#restore(vertex, subtask);
    return { checkpoints: this.#checkpointHost(nameOf(vertex.id, subtask)), ...(restored === undefined ? {} : { restored }) };
  }

  /** These tasks are running now. What was under way with former ones is void. */
  begin(parties: readonly CheckpointParty[], nowMs: number): void {
    if (this.#pending !== undefined) this.#tell({ state: "FAILED", failure: "the job is RESTARTING" });
    if (this.#latest !== undefined) {
      this.#counts.restored++;
      this.#restoredFrom = this.#latest.id;
    }
    this.#parties = parties;
    this.#finished.clear();
    this.#pending = undefined;
    this.#failure = undefined;
    this.#nextMs = nowMs + this.#configuration.get(options.checkpointInterval);
  }

  /** A task has come to its end. */
  finished(vertex: JobVertex, subtask: number): void {
    const name = nameOf(vertex.id, subtask);
    this.#finished.add(name);
    if (this.#pending?.waitsFor.has(name) === true) this.#abort("a task came to its end in the meantime", false);
  }

  /**
   * Time has passed: begins a checkpoint if one is due.
   * @throws CheckpointError when more checkpoints have failed in a row than the job tolerates.
   */
  tick(nowMs: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.enabled) return;
    const pending = this.#pending;
    if (pending !== undefined) {
      if (nowMs - pending.trigger.timestampMs > this.#configuration.get(options.checkpointTimeout)) this.#abort("it took too long", true);
      return;
    }
    if (nowMs < this.#nextMs) return;
    const running = this.#parties.filter(({ vertex, subtask }) => !this.#finished.has(nameOf(vertex.id, subtask)));
    if (running.length === 0) return;
    this.#nextMs = nowMs + this.#configuration.get(options.checkpointInterval);
    const trigger: CheckpointTrigger = {
      checkpoint: ++this.#lastId,
      timestampMs: nowMs,
      kind: "checkpoint",
      mode: this.#configuration.get(options.checkpointingMode) as CheckpointTrigger["mode"],
      unaligned: this.#configuration.get(options.unalignedCheckpoints),
      alignedTimeoutMs: this.#configuration.get(options.alignedCheckpointTimeout),
    };
    this.#told.push({
      id: trigger.checkpoint, kind: "checkpoint", state: "IN_PROGRESS", triggeredAtMs: nowMs, bytes: 0, writtenBytes: 0,
      acknowledged: 0, expected: running.length, subtasks: [],
    });
    if (this.#told.length > MAX_TOLD) this.#told.shift();
    const waitsFor = new Set(running.map(({ vertex, subtask }) => nameOf(vertex.id, subtask)));
    this.#pending = { trigger, waitsFor, acks: new Map(), chunks: new Map() };
    for (const party of running) if (!this.#hasRunningProducer(party, waitsFor)) party.task.triggerCheckpoint(trigger);
  }

  #hasRunningProducer({ vertex, subtask }: CheckpointParty, running: ReadonlySet<string>): boolean {
    return this.#graph.edges.some((edge) => {
      // What comes back round a loop has its barriers from the loop's head.
      if (edge.target !== vertex.id || edge.feedback === true) return false;
      const producers = this.#graph.vertices.find(({ id }) => id === edge.source)?.parallelism ?? 0;
      return Array.from({ length: producers }, (_, from) => from).some(
        (from) => running.has(nameOf(edge.source, from)) && targetsOf(edge, from, producers, vertex.parallelism).includes(subtask),
      );
    });
  }

  #checkpointHost(name: string): CheckpointHost {
    const ofThis = (checkpoint: number): Pending | undefined =>
      this.#pending?.trigger.checkpoint === checkpoint ? this.#pending : undefined;
    return {
      fileOf: (checkpoint) => `${checkpoint}/${name}`,
      write: (checkpoint, bytes) => {
        const pending = ofThis(checkpoint);
        const chunks = pending?.chunks.get(name) ?? [];
        pending?.chunks.set(name, chunks);
        chunks.push(bytes);
        return true;
      },
      acknowledge: (ack) => {
        const pending = ofThis(ack.checkpoint);
        if (pending === undefined) return;
        pending.acks.set(name, ack);
        pending.waitsFor.delete(name);
        if (pending.waitsFor.size === 0) this.#complete(pending);
      },
      decline: (checkpoint, error) => {
        if (ofThis(checkpoint) !== undefined) this.#abort(error.message, true, error);
      },
      requestFinal: () => {
        this.#nextMs = 0;
      },
    };
  }

  #complete({ trigger, acks, chunks }: Pending): void {
    this.#tell({ state: "COMPLETED" });
    this.#pending = undefined;
    this.#failedInARow = 0;
    const id = trigger.checkpoint;
    const files = new Map([...chunks].map(([name, parts]) => [`${id}/${name}`, joined(parts)]));
    this.#latest = { id, acks, files };
    this.#completed(this.#latest);
    for (const { task } of this.#parties) task.checkpointCompleted(id);
    for (const { resolve } of this.#asked.splice(0)) resolve(id);
  }

  /** The checkpoint on its way has come to this. */
  #tell(end: Pick<CheckpointInfo, "state" | "failure">): void {
    const { trigger, acks } = this.#pending as Pending;
    const place = this.#told.findIndex(({ id }) => id === trigger.checkpoint);
    if (end.state === "COMPLETED") this.#counts.completed++;
    else this.#counts.failed++;
    const info = this.#told[place];
    if (info === undefined) return;
    const durationMs = Date.now() - trigger.timestampMs;
    const subtasks = [...acks].map(([name, ack]) => {
      const [vertex, index] = name.split("/") as [JobVertex["id"], string];
      const { bytes, writtenBytes, startDelayMs, alignmentMs, syncMs, asyncMs, channelBytes } = ack;
      const subtask = Number(index);
      return { vertex, subtask, durationMs, bytes, writtenBytes, startDelayMs, alignmentMs, syncMs, asyncMs, channelBytes };
    });
    const sum = (of: "bytes" | "writtenBytes"): number => subtasks.reduce((total, it) => total + it[of], 0);
    this.#told[place] = {
      ...info, ...end, durationMs, subtasks, acknowledged: subtasks.length, bytes: sum("bytes"), writtenBytes: sum("writtenBytes"),
    };
  }

  #abort(why: string, counts: boolean, cause?: Error): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    this.#tell({ state: "FAILED", failure: why });
    this.#pending = undefined;
    const id = pending.trigger.checkpoint;
    for (const { task } of this.#parties) task.checkpointAborted(id);
    if (!counts || ++this.#failedInARow <= this.#configuration.get(options.tolerableFailedCheckpoints)) return;
    this.#failure = new CheckpointError(`Checkpoint ${id} of job "${this.#graph.name}" failed: ${why}`, cause === undefined ? {} : { cause });
  }

  #restore(vertex: JobVertex, subtask: number): TaskRestore | undefined {
    const checkpoint = this.#latest;
    if (checkpoint === undefined) return undefined;
    const { id, acks, files } = checkpoint;
    const ofVertex = Array.from({ length: vertex.parallelism }, (_, of) => acks.get(nameOf(vertex.id, of)));
    const own = ofVertex[subtask];
    const ids = new Set(ofVertex.flatMap((ack) => ack?.operators.map(({ operator }) => operator) ?? []));
    const operators = [...ids].flatMap((operator) => {
      const parts = ofVertex.map((ack) => ack?.operators.find((it) => it.operator === operator));
      return redistribute(parts, subtask, vertex.parallelism, vertex.maxParallelism) ?? [];
    });
    return {
      checkpoint: id,
      operators,
      ...(own?.channels === undefined ? {} : { channels: own.channels }),
      ...(own === undefined || own.finished === true ? { finished: true } : {}),
      read: (file, start, end) => {
        const bytes = files.get(file);
        if (bytes === undefined) throw new CorruptCheckpointError(`Checkpoint ${id} has no file ${file}.`);
        return bytes.subarray(start, end);
      },
    };
  }
}

/** How a task is known here. */
export const nameOf = (vertex: string, subtask: number): string => `${vertex}/${subtask}`;

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => {
    all.set(part, at);
    return at + part.length;
  }, 0);
  return all;
}
