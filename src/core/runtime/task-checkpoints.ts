/**
 * The checkpoints of one task: from the barrier to the acknowledgement. Everything that is asked of it (a trigger, a completion, an
 * abort) may come at any time, also in the middle of a record; it waits until the task stands between two steps.
 *
 *     begin: operators prepare · barrier leaves on all outputs · states are frozen        the task stands still for this
 *     then, between steps, slices of at most SLICE_MS: frozen state ─▶ bytes ─▶ host      the task works on, most of the time
 *     last byte handed over, all that was overtaken stored: acknowledge
 *
 * One snapshot is written at a time: when the next one begins before that, the older one is declined. What fails on the way (a
 * value that can't be written) declines the checkpoint, and the coordinator decides what that means for the job.
 */
import type { SnapshotInProgress } from "../state/snapshot.ts";
import { CheckpointError } from "../types/errors.ts";
import type { AlignmentStep } from "./barrier-aligner.ts";
import type { ChannelState, CheckpointAck, CheckpointHost, CheckpointTrigger } from "./checkpoint.ts";
import type { ChannelLog, InputGate } from "./input-gate.ts";
import { metricIndex } from "./metrics.ts";
import type { ChainMember } from "./operator-chain.ts";

/** The task, as far as its checkpoints need it. */
export interface CheckpointedTask {
  readonly name: string;
  readonly members: readonly ChainMember[];
  readonly gate: InputGate;
  readonly metrics: Float64Array;
  /** Its checkpoints are triggered here, not by barriers: a source, or a task that takes a feed. */
  readonly isSource: boolean;
  /** All input has been taken and all operators have finished. */
  readonly ended: boolean;
  /** It ends with its next step, and whoever waits for its part hears that. */
  readonly over: boolean;
  /** See `CheckpointAck.feedRows`. */
  readonly feedRows: number | undefined;
  /** Takes over a savepoint that can't begin yet, because operators finish first. @returns false: it can. */
  defer(trigger: CheckpointTrigger): boolean;
  /** Between two steps: sends a barrier behind everything that was emitted. */
  emitBarrier(trigger: CheckpointTrigger): void;
  /** Right before operators are asked to prepare. */
  prepareSnapshot(): void;
  /** No more input is taken: the job ends with this savepoint. */
  stop(trigger: CheckpointTrigger): void;
  completed(checkpoint: number): void;
  aborted(checkpoint: number): void;
  now(): number;
}

/** What was asked and waits for the end of the step. At most a few per checkpoint. */
type Request =
  | { readonly do: "trigger"; readonly trigger: CheckpointTrigger }
  | { readonly do: "completed" | "aborted"; readonly checkpoint: number };

/** Time between two segments that goes into writing a snapshot. */
const SLICE_MS = 4;
/** A busy task works on for so many times as long as the slice took before the next one: records don't pile up while state is written. */
const REST = 2;

const ALIGNMENT = metricIndex("checkpointAlignmentTime");
const START_DELAY = metricIndex("checkpointStartDelayNanos");
const NS_PER_MS = 1e6;

interface Snapshot {
  readonly trigger: CheckpointTrigger;
  readonly file: string;
  readonly parts: readonly SnapshotInProgress[];
  /** Where in the file each part begins. */
  readonly offsets: number[];
  readonly finished: boolean;
  readonly feedRows: number | undefined;
  readonly startDelayMs: number;
  readonly alignmentMs: number;
  readonly syncMs: number;
  readonly frozenMs: number;
  /** The barrier has left the task, and all rows in front of it. */
  sent: boolean;
  /** The part that is being written. */
  part: number;
  written: number;
  /** Undefined while records that belong to the checkpoint are still to come by. */
  logs: readonly ChannelLog[] | undefined;
  readonly channels: ChannelState[];
}

/** See the head of the file. Used by the task's thread. */
export class TaskCheckpoints {
  readonly #host: CheckpointHost;
  readonly #task: CheckpointedTask;
  readonly #requests: Request[] = [];
  readonly #write: (bytes: Uint8Array) => boolean;
  #snapshot: Snapshot | undefined;
  #refused = false;
  /** The highest checkpoint that has begun here. */
  #begun = 0;
  /** On the clock of `performance`: no slice before that in a task that has other work. */
  #restUntilMs = 0;

  constructor(host: CheckpointHost, task: CheckpointedTask) {
    this.#host = host;
    this.#task = task;
    this.#write = (bytes) => {
      const snapshot = this.#snapshot as Snapshot;
      // The host may give them to another thread: then they have no length any more.
      const { length } = bytes;
      if (!host.write(snapshot.trigger.checkpoint, bytes)) {
        this.#refused = true;
        return false;
      }
      snapshot.written += length;
      return true;
    };
  }

  /** `serve` has something to do. */
  get pending(): boolean {
    return this.#requests.length > 0 || this.#snapshot !== undefined;
  }

  /** A snapshot is not handed over yet. */
  get writing(): boolean {
    return this.#snapshot !== undefined;
  }

  /** The host's queue was full: ask again a little later. */
  get refused(): boolean {
    return this.#refused;
  }

  trigger(trigger: CheckpointTrigger): void {
    this.#requests.push({ do: "trigger", trigger });
  }

  completed(checkpoint: number): void {
    this.#requests.push({ do: "completed", checkpoint });
  }

  aborted(checkpoint: number): void {
    this.#requests.push({ do: "aborted", checkpoint });
  }

  /**
   * Between two steps: does what was asked meanwhile, and writes a slice.
   * @param idle the task has nothing else to do.
   */
  serve(idle: boolean): void {
    for (let request = this.#requests.shift(); request !== undefined; request = this.#requests.shift()) {
      if (request.do === "trigger") this.#trigger(request.trigger);
      else if (request.do === "completed") this.#completed(request.checkpoint);
      else this.#aborted(request.checkpoint);
    }
    if (this.#snapshot === undefined) return;
    const startMs = performance.now();
    if (!idle && startMs < this.#restUntilMs) return;
    this.#work(startMs + SLICE_MS);
    const endMs = performance.now();
    this.#restUntilMs = endMs + REST * (endMs - startMs);
  }

  /** All that was emitted so far is in the channels. */
  sent(): void {
    if (this.#snapshot !== undefined) this.#snapshot.sent = true;
  }

  /** Between two segments: what the barriers came to. */
  align(step: AlignmentStep): void {
    if (step.do === "begin") {
      if (!this.#task.defer(step.trigger)) this.#begin(step.trigger, step.sinceMs, step.overtaking);
    } else if (step.do === "abort") {
      this.#decline(
        step.checkpoint,
        new CheckpointError(`${this.#task.name} gave checkpoint ${step.checkpoint} up, because checkpoint ${step.newer} came in the meantime.`),
      );
    } else if (this.#snapshot?.trigger.checkpoint === step.checkpoint) this.#snapshot.logs = this.#task.gate.takeLogs();
  }

  /** Begins a checkpoint that waits for nothing. */
  begin(trigger: CheckpointTrigger): void {
    this.#begin(trigger, this.#task.now(), false);
  }

  #trigger(trigger: CheckpointTrigger): void {
    if (this.#task.over) return;
    // A task that ended after its barriers came is triggered too, by a coordinator that sees its producers gone.
    if (trigger.checkpoint <= this.#begun) return;
    if (!this.#task.isSource && !this.#task.ended) this.#task.gate.expect(trigger);
    else if (!this.#task.defer(trigger)) this.#begin(trigger, this.#task.now(), false);
  }

  #begin(trigger: CheckpointTrigger, sinceMs: number, overtaking: boolean): void {
    const { checkpoint } = trigger;
    const task = this.#task;
    this.#begun = Math.max(this.#begun, checkpoint);
    if (this.#snapshot !== undefined) {
      const older = this.#snapshot.trigger.checkpoint;
      this.#decline(older, new CheckpointError(`${task.name} had not written checkpoint ${older} when checkpoint ${checkpoint} began.`));
    }
    const startDelayMs = Math.max(0, sinceMs - trigger.timestampMs);
    const alignmentMs = Math.max(0, task.now() - sinceMs);
    task.metrics[START_DELAY] = startDelayMs * NS_PER_MS;
    task.metrics[ALIGNMENT] = alignmentMs * NS_PER_MS;
    const startedMs = performance.now();
    task.prepareSnapshot();
    for (const { operator } of task.members) operator.prepareSnapshot?.(checkpoint);
    task.emitBarrier(trigger);
    const parts: SnapshotInProgress[] = [];
    try {
      for (const { states } of task.members) parts.push(states.freeze(checkpoint, trigger.kind));
    } catch (error) {
      for (const part of parts) part.abort();
      this.#host.decline(checkpoint, error as Error);
      return;
    }
    const frozenMs = performance.now();
    this.#snapshot = {
      trigger,
      file: this.#host.fileOf(checkpoint),
      parts,
      offsets: [],
      finished: task.ended,
      feedRows: task.feedRows,
      startDelayMs,
      alignmentMs,
      syncMs: frozenMs - startedMs,
      frozenMs,
      sent: false,
      part: 0,
      written: 0,
      logs: overtaking ? undefined : [],
      channels: [],
    };
    if (trigger.stop !== undefined) task.stop(trigger);
  }

  #work(untilMs: number): void {
    const it = this.#snapshot as Snapshot;
    this.#refused = false;
    try {
      for (; it.part < it.parts.length; it.part++) {
        it.offsets[it.part] ??= it.written;
        const budgetMs = untilMs - performance.now();
        if (budgetMs <= 0 && it.part > 0) return;
        if (!(it.parts[it.part] as SnapshotInProgress).work(budgetMs, this.#write)) return;
      }
    } catch (error) {
      this.#decline(it.trigger.checkpoint, error as Error);
      return;
    }
    // Rows for the client that are not on their way yet would be lost with this attempt.
    if (it.logs === undefined || !it.sent) return;
    for (const log of it.logs.slice(it.channels.length)) {
      const start = it.written;
      if (!this.#write(log.bytes)) return;
      it.channels.push({ edge: log.edge, channel: log.channel, file: it.file, start, end: it.written });
    }
    this.#snapshot = undefined;
    this.#host.acknowledge(ackOf(it, this.#task.members));
  }

  #decline(checkpoint: number, error: Error): void {
    if (this.#snapshot?.trigger.checkpoint === checkpoint) this.#drop();
    this.#host.decline(checkpoint, error);
  }

  #drop(): void {
    for (const part of this.#snapshot?.parts ?? []) part.abort();
    this.#snapshot = undefined;
    this.#task.gate.dropLogs();
  }

  #completed(checkpoint: number): void {
    for (const { operator, states } of this.#task.members) {
      states.completed(checkpoint);
      operator.checkpointCompleted?.(checkpoint);
    }
    this.#task.completed(checkpoint);
  }

  #aborted(checkpoint: number): void {
    this.#task.gate.abort(checkpoint);
    if (this.#snapshot?.trigger.checkpoint === checkpoint) this.#drop();
    for (const { operator } of this.#task.members) operator.checkpointAborted?.(checkpoint);
    this.#task.aborted(checkpoint);
  }
}

function ackOf(it: Snapshot, members: readonly ChainMember[]): CheckpointAck {
  const operators = it.parts.map((part, index) => ({
    operator: (members[index] as ChainMember).stateId,
    sections: part.finish(it.file, it.offsets[index] as number).sections,
  }));
  const channelBytes = it.channels.reduce((sum, { start, end }) => sum + end - start, 0);
  const stored = operators.reduce((sum, { sections }) => sum + sections.reduce((all, { blocks }) => all + lengthOf(blocks), 0), 0);
  return {
    checkpoint: it.trigger.checkpoint,
    operators,
    bytes: stored + channelBytes,
    writtenBytes: it.written,
    startDelayMs: it.startDelayMs,
    alignmentMs: it.alignmentMs,
    syncMs: it.syncMs,
    asyncMs: performance.now() - it.frozenMs,
    channelBytes,
    ...(it.channels.length === 0 ? {} : { channels: it.channels }),
    ...(it.feedRows === undefined ? {} : { feedRows: it.feedRows }),
    ...(it.finished ? { finished: true } : {}),
  };
}

/** Bytes of a section's blocks: three numbers each, the last its length. */
function lengthOf(blocks: readonly number[]): number {
  let sum = 0;
  for (let at = 2; at < blocks.length; at += 3) sum += blocks[at] as number;
  return sum;
}
