/**
 * Decides when a job takes a checkpoint, and whether it has one. In the theory it is the initiator of a distributed snapshot (Chandy and
 * Lamport): it lets the tasks without running producers emit barriers, and gathers what every task says it has stored.
 *
 *     due or asked ─▶ acknowledging ─ all have ─▶ storing ─ manifest durable ─▶ completed ─▶ every task is told
 *                          │ declined, late,         │ certainly not written
 *                          ▼ a task was lost         ▼
 *                       failed ◀─────────────────────┘
 *
 * Invariants: numbers rise and are never used twice; a task's answer counts once and only from the attempt that was asked; a checkpoint is
 * completed only after its manifest is durable, and only then are tasks told; what a failure goes back to is a completed checkpoint, and
 * while a manifest is being stored nobody goes back (`isStoring`), as it may turn out to exist.
 *
 * It trusts a task that ended as FINISHED to have nothing more to tell: if it had something to commit, it ended only after a checkpoint
 * that covers its end (`finished` in its answer). It trusts that tasks drop triggers with a number that is not higher than the last.
 * Facts in, effects out; its clock is given.
 */
import { isTaskFinal, type CheckpointOverview } from "../../core/graph/job-status.ts";
import { type JobGraph, targetsOf } from "../../core/graph/job-graph.ts";
import { fileOfCheckpoint } from "../../core/state/snapshot.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { CheckpointError, ConfigurationError, InvariantError } from "../../core/types/errors.ts";
import { type JobId, type SubtaskId, type TaskManagerId, subtaskId } from "../../core/types/ids.ts";
import type { CheckpointAck, CheckpointTrigger } from "../protocol/checkpoint-messages.ts";
import type { CheckpointManifest, ManifestSubtask } from "../storage/manifest.ts";
import { selfContained } from "../storage/self-contained.ts";
import { type CheckpointSettings, under } from "./checkpoint-settings.ts";
import { CheckpointStatistics } from "./checkpoint-statistics.ts";
import type { Clocks } from "./clocks.ts";
import { type CompletedCheckpoint, CompletedCheckpoints } from "./completed-checkpoints.ts";
import type { Emit } from "./effect.ts";
import type { Execution, ExecutionGraph } from "./execution-graph.ts";

/** Time between two attempts to take a checkpoint that tasks wait for, in a job that takes none by itself. */
const AGAIN_MS = 1_000;

/** What came of a checkpoint or savepoint that somebody asked for. */
export type Outcome = { readonly completed: CompletedCheckpoint } | { readonly error: CheckpointError };

/** A checkpoint that somebody asked for. */
export interface CheckpointRequest {
  readonly kind: "checkpoint" | "savepoint";
  /** Folder of the savepoint. */
  readonly folder?: string;
  readonly stop?: "drain" | "suspend";
  /** Also where checkpoints are unaligned by themselves: only so it can be restored at another parallelism. */
  readonly aligned?: boolean;
  /** Told once. */
  readonly whenDone: (outcome: Outcome) => void;
}

export interface CheckpointCoordinatorOptions {
  readonly job: JobId;
  readonly jobName: string;
  readonly settings: CheckpointSettings;
  /** Of this JobManager. */
  readonly epoch: number;
  readonly clocks: Clocks;
  readonly emit: Emit;
  /** Too many checkpoints failed in a row. Called last, from the call that made it so. */
  readonly whenIntolerable: (error: CheckpointError) => void;
  /** Something that people can see has changed. */
  readonly changed: () => void;
  /** A checkpoint is complete that tasks may rely on. */
  readonly whenCompleted?: (checkpoint: number) => void;
  /** What the manifest of a checkpoint says of rows for clients. All that it covers have arrived when all tasks have acknowledged it. */
  readonly results?: (checkpoint: number) => unknown;
}

interface Pending {
  readonly trigger: CheckpointTrigger;
  readonly folder: string;
  readonly startedMs: number;
  readonly asked: Map<SubtaskId, number>;
  readonly acks: Map<SubtaskId, CheckpointAck>;
  /** Barriers were started there. */
  readonly started: Set<SubtaskId>;
  readonly request: CheckpointRequest | undefined;
  /** Once all have answered: it is being stored. */
  manifest: CheckpointManifest | undefined;
}

/** Where the tasks run that take part. */
export interface Participants {
  readonly graph: JobGraph;
  readonly executions: ExecutionGraph;
}

/** Coordinates the checkpoints of one job. */
export class CheckpointCoordinator {
  readonly #options: CheckpointCoordinatorOptions;
  readonly #completed: CompletedCheckpoints;
  readonly #statistics: CheckpointStatistics;
  readonly #pending = new Map<number, Pending>();
  /** The last answers of tasks that had come to their ends with them. */
  readonly #finals = new Map<SubtaskId, CheckpointAck>();
  #participants: Participants | undefined;
  /** Executions that wait at their ends. */
  readonly #awaiting = new Set<Execution>();
  #lastId = 0;
  #dueMs = Number.POSITIVE_INFINITY;
  #lastEndMs = Number.NEGATIVE_INFINITY;
  #failuresInRow = 0;
  /** A savepoint is complete with which the job ends, and its tasks are ending. */
  #ends = false;
  /** The job has ended, and this folder goes as soon as nothing is being stored in it. */
  #leaves: string | undefined;

  constructor(options: CheckpointCoordinatorOptions) {
    this.#options = options;
    const { retained, incremental, maxConcurrent } = options.settings;
    this.#completed = new CompletedCheckpoints(retained, incremental ? maxConcurrent : 0);
    this.#statistics = new CheckpointStatistics(options.job);
  }

  // ------------------------------------------------------------------------------------------------- what others ask

  /** What a failure goes back to; undefined: to the beginning. */
  get latest(): CompletedCheckpoint | undefined {
    return this.#completed.latest;
  }

  /** Whether a failure may go back to the checkpoint or savepoint in a folder. */
  needs(folder: string): boolean {
    return this.#completed.all.some((completed) => completed.folder === folder);
  }

  /** There was a checkpoint, and none can be read any more. */
  get areLost(): boolean {
    return this.#completed.areLost;
  }

  /** A manifest is on its way; whether that checkpoint exists is not known yet. */
  get isStoring(): boolean {
    return [...this.#pending.values()].some(({ manifest }) => manifest !== undefined);
  }

  /** The job is being stopped with a savepoint, or ends with one. */
  get isStopping(): boolean {
    return this.#ends || [...this.#pending.values()].some(({ trigger }) => trigger.stop !== undefined);
  }

  /** When `tick` has something to do, on the elapsed clock. */
  get nextWakeMs(): number {
    let next = this.#allRun ? this.#triggerMs : Number.POSITIVE_INFINITY;
    for (const { startedMs, manifest } of this.#pending.values()) {
      if (manifest === undefined) next = Math.min(next, startedMs + this.#options.settings.timeoutMs);
    }
    return next;
  }

  overview(): CheckpointOverview {
    return this.#statistics.overview();
  }

  // -------------------------------------------------------------------------------------------------- what happens

  /** The job begins with this one, made by another run or another JobManager. */
  beginWith(checkpoint: CompletedCheckpoint): void {
    this.#completed.add(checkpoint);
    this.#lastId = Math.max(this.#lastId, checkpoint.id);
  }

  /** Checkpoints up to this number may exist, whoever made them; this one's are higher. */
  beginAfter(id: number): void {
    this.#lastId = Math.max(this.#lastId, id);
  }

  /** All tasks run (or have finished): checkpoints can be taken from now on. */
  resume(participants: Participants): void {
    if (this.#participants !== undefined) return;
    this.#participants = participants;
    const { clocks } = this.#options;
    for (const execution of this.#awaiting) if (isTaskFinal(execution.state)) this.#awaiting.delete(execution);
    this.#dueMs = clocks.elapsedMs() + (this.#awaiting.size > 0 ? 0 : this.#intervalMs);
  }

  /** Some tasks don't run any more: no checkpoint on its way can become complete, unless it is being stored already. */
  suspend(reason: string): void {
    if (this.#participants === undefined) return;
    this.#ends = false;
    for (const pending of [...this.#pending.values()]) if (pending.manifest === undefined) this.#abort(pending, reason, "harmless");
    this.#participants = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  /** Tasks go back to the latest checkpoint. The ends that they had come to since are forgotten. */
  restored(): void {
    this.#failuresInRow = 0;
    const { latest } = this;
    for (const [subtask, ack] of this.#finals) if (latest === undefined || ack.checkpoint > latest.id) this.#finals.delete(subtask);
    if (latest !== undefined) this.#statistics.restored(latest.id);
    this.#options.changed();
  }

  /** From now on subtasks are others, at another parallelism: what former ones stored at their ends is theirs no more. */
  reshaped(): void {
    this.#finals.clear();
  }

  /** Time passed: gives up what is late, and triggers what is due. */
  tick(): void {
    const nowMs = this.#options.clocks.elapsedMs();
    for (const pending of [...this.#pending.values()]) {
      const { timeoutMs } = this.#options.settings;
      if (pending.manifest !== undefined || nowMs < pending.startedMs + timeoutMs) continue;
      const missing = [...pending.asked.keys()].filter((subtask) => !pending.acks.has(subtask));
      this.#abort(
        pending,
        `${missing.length} of ${pending.asked.size} tasks (${missing.slice(0, 3).join(", ")}${missing.length > 3 ? ", …" : ""}) did not ` +
          `acknowledge it within ${formatDuration(timeoutMs)} (execution.checkpointing.timeout)`,
      );
    }
    if (this.#participants !== undefined && nowMs >= this.#triggerMs && this.#allRun) {
      this.#dueMs = nowMs + this.#intervalMs;
      this.#trigger(undefined);
    }
  }

  /**
   * Takes a checkpoint or savepoint as soon as possible; `request.whenDone` is told.
   * @throws CheckpointError when the job can't take one now; ConfigurationError when a savepoint has no place.
   */
  request(request: CheckpointRequest): void {
    const { jobName } = this.#options;
    if (this.#participants === undefined || !this.#allRun) {
      throw new CheckpointError(`job ${JSON.stringify(jobName)} can take no ${request.kind} now: not all of its tasks run. Try again when they do.`);
    }
    if (this.isStopping) throw new CheckpointError(`job ${JSON.stringify(jobName)} is being stopped with a savepoint already.`);
    if (request.kind === "savepoint" && (request.folder ?? this.#options.settings.savepointFolder) === undefined) {
      throw new ConfigurationError(
        `a savepoint of job ${JSON.stringify(jobName)} needs a place: name one, or set execution.checkpointing.savepoint-dir.`,
      );
    }
    this.#trigger(request);
  }

  /** A task has stored its part. Answers of tasks that weren't asked, or that come twice or late, change nothing. */
  acknowledged(execution: Execution, ack: CheckpointAck): boolean {
    const pending = this.#awaitingFrom(execution, ack.checkpoint);
    const subtask = idOf(execution);
    if (pending === undefined || pending.acks.has(subtask)) return false;
    pending.acks.set(subtask, ack);
    const { vertex, subtask: index } = execution.address;
    const { bytes, writtenBytes, startDelayMs, alignmentMs, syncMs, asyncMs, channelBytes } = ack;
    const durationMs = this.#sinceMs(pending);
    this.#statistics.acknowledged(ack.checkpoint, {
      vertex, subtask: index, durationMs, bytes, writtenBytes, startDelayMs, alignmentMs, syncMs, asyncMs, channelBytes,
    });
    this.#storeIfAcknowledged(pending);
    this.#options.changed();
    return true;
  }

  /** A task can't take part. */
  declined(execution: Execution, checkpoint: number, error: Error): boolean {
    const pending = this.#awaitingFrom(execution, checkpoint);
    if (pending === undefined) return false;
    // A task gives one up for a newer one, as when somebody asked for a savepoint meanwhile: that is no failure.
    const isReplaced = [...this.#pending.keys()].some((other) => other > checkpoint);
    this.#abort(pending, `${idOf(execution)} declined it: ${error.message}`, isReplaced ? "harmless" : "counts");
    return true;
  }

  /** A task has come to its end: whatever it was to store it has stored, and its consumers may have no producer any more. */
  taskFinished(execution: Execution): void {
    this.#awaiting.delete(execution);
    if (this.#awaiting.size === 0 && this.#options.settings.intervalMs === 0) this.#dueMs = Number.POSITIVE_INFINITY;
    if (this.#participants === undefined) return;
    const subtask = idOf(execution);
    for (const pending of [...this.#pending.values()]) {
      if (pending.manifest !== undefined || !pending.asked.has(subtask) || pending.acks.has(subtask)) continue;
      pending.asked.delete(subtask);
      this.#sendTrigger(pending);
      this.#storeIfAcknowledged(pending);
    }
  }

  /** Rows for clients wait for a checkpoint, and room is getting short: the next one is taken at once. */
  wanted(): void {
    if (this.#participants === undefined || this.#options.settings.intervalMs === 0) return;
    this.#dueMs = Math.min(this.#dueMs, this.#options.clocks.elapsedMs());
  }

  /** A task waits at its end for a checkpoint that covers it: the next one is taken at once, also where none come by themselves. */
  awaited(execution: Execution): void {
    this.#awaiting.add(execution);
    if (this.#participants !== undefined) this.#dueMs = Math.min(this.#dueMs, this.#options.clocks.elapsedMs());
  }

  /** A manifest was stored; `error`: it was certainly not. */
  stored(checkpoint: number, error?: Error): void {
    this.#stored(checkpoint, error);
    if (this.#leaves === undefined || this.isStoring) return;
    this.#options.emit({ kind: "discard", job: this.#options.job, folders: [this.#leaves] });
    this.#leaves = undefined;
  }

  #stored(checkpoint: number, error?: Error): void {
    const pending = this.#pending.get(checkpoint);
    if (pending?.manifest === undefined) return;
    if (error !== undefined) {
      return this.#abort(pending, `its manifest could not be stored: ${error.message}`);
    }
    const { trigger, folder, request, manifest } = pending;
    this.#pending.delete(checkpoint);
    this.#lastEndMs = this.#options.clocks.elapsedMs();
    this.#failuresInRow = 0;
    const owned = trigger.kind === "checkpoint";
    // A savepoint may be removed, or moved, and its files with it.
    if (owned) for (const [subtask, ack] of pending.acks) if (ack.finished === true) this.#finals.set(subtask, seenFromLater(ack));
    const completed = { id: checkpoint, folder, manifest, owned };
    this.#statistics.completed(checkpoint, this.#sinceMs(pending));
    // A savepoint is its owner's, who may remove it any time. So no failure goes back to it, and nothing is committed because of it,
    // unless the job ends with it: then what it covers is committed, and a task that fails now must not make it again.
    if (owned || trigger.stop !== undefined) {
      const surplus = this.#completed.add(completed);
      if (surplus.length > 0) this.#discard(surplus);
      for (const earlier of [...this.#pending.values()]) {
        if (earlier.trigger.checkpoint < checkpoint && earlier.trigger.kind === "checkpoint" && earlier.manifest === undefined) {
          this.#abort(earlier, `checkpoint ${checkpoint} was complete before it`, "harmless");
        }
      }
    }
    if (trigger.stop !== undefined) this.#ends = true;
    if (owned || trigger.stop !== undefined) {
      this.#tell("checkpointCompleted", checkpoint);
      this.#options.whenCompleted?.(checkpoint);
    }
    this.#options.changed();
    request?.whenDone({ completed });
  }

  /** A checkpoint turned out to be unreadable. Returns whether an earlier one can be tried, or it was not the latest anyway. */
  unreadable(checkpoint: number): boolean {
    this.#completed.drop(checkpoint);
    return !this.#completed.areLost;
  }

  /** The job has ended: what nobody needs is removed. */
  ended(state: "FINISHED" | "CANCELED" | "FAILED"): void {
    this.suspend(`the job is ${state}`);
    const { job, settings, emit } = this.#options;
    const { retention, folder } = settings;
    const retains = retention === "retain-on-cancellation" || (retention === "delete-on-cancellation" && state === "FAILED");
    if ((retains && state !== "FINISHED") || this.#lastId === 0) return;
    // What is being stored would come after.
    if (this.isStoring) this.#leaves = folder;
    else emit({ kind: "discard", job, folders: [folder] });
  }

  // ------------------------------------------------------------------------------------------------------------ inside

  /** The checkpoint, if it is gathering answers and this attempt was asked for one. */
  #awaitingFrom(execution: Execution, checkpoint: number): Pending | undefined {
    const pending = this.#pending.get(checkpoint);
    const isAsked = pending?.asked.get(idOf(execution)) === execution.address.attempt;
    return isAsked && pending?.manifest === undefined ? pending : undefined;
  }

  /** Where checkpoints don't come by themselves, they are repeated only for tasks that wait for one. */
  get #intervalMs(): number {
    const { intervalMs } = this.#options.settings;
    if (intervalMs > 0) return intervalMs;
    return this.#awaiting.size > 0 ? AGAIN_MS : Number.POSITIVE_INFINITY;
  }

  /** When the next periodic checkpoint is triggered. */
  get #triggerMs(): number {
    const { maxConcurrent, minPauseMs } = this.#options.settings;
    const underway = [...this.#pending.values()].filter(({ trigger }) => trigger.kind === "checkpoint").length;
    // Tasks that end with a savepoint need no other checkpoint, unless one says that it waits for it.
    if (underway >= maxConcurrent || (this.isStopping && !(this.#ends && this.#awaiting.size > 0))) return Number.POSITIVE_INFINITY;
    return Math.max(this.#dueMs, this.#lastEndMs + minPauseMs);
  }

  get #allRun(): boolean {
    const executions = this.#participants?.executions;
    return executions !== undefined && executions.count("RUNNING", "FINISHED") === executions.size && executions.count("RUNNING") > 0;
  }

  #trigger(request: CheckpointRequest | undefined): void {
    const { clocks, settings, job, changed } = this.#options;
    const { executions } = this.#participants as Participants;
    const id = ++this.#lastId;
    const kind = request?.kind ?? "checkpoint";
    const { mode, unaligned, alignedTimeoutMs } = settings;
    const stop = request?.stop;
    // One that comes after an aligned one must not take its place: the job could not go on from it at another parallelism.
    const aligned = request?.aligned === true || [...this.#pending.values()].some((pending) => pending.request?.aligned === true);
    const trigger: CheckpointTrigger = {
      checkpoint: id,
      timestampMs: clocks.wallMs(),
      kind,
      mode,
      unaligned: unaligned && kind === "checkpoint" && !aligned,
      alignedTimeoutMs,
      ...(stop === undefined ? {} : { stop }),
    };
    const name = kind === "checkpoint" ? `chk-${id}` : `savepoint-${job.slice(0, 6)}-${id}-${trigger.timestampMs.toString(36)}`;
    const folder = under(kind === "checkpoint" ? settings.folder : (request?.folder ?? (settings.savepointFolder as string)), name);
    const asked = new Map(executions.alive.map((execution) => [idOf(execution), execution.address.attempt]));
    const pending: Pending = {
      trigger, folder, startedMs: clocks.elapsedMs(), asked, acks: new Map(), started: new Set(), request, manifest: undefined,
    };
    this.#pending.set(id, pending);
    this.#statistics.began({ id, kind, triggeredAtMs: trigger.timestampMs, expected: asked.size, location: folder });
    this.#sendTrigger(pending);
    changed();
  }

  /** Barriers start at the tasks all of whose producers have ended, once at each. */
  #sendTrigger({ trigger, folder, started, asked }: Pending): void {
    const { graph, executions } = this.#participants as Participants;
    const fed = new Set<SubtaskId>();
    const parallelismOf = (id: string): number => graph.vertices.find((vertex) => vertex.id === id)?.parallelism ?? 0;
    for (const edge of graph.edges) {
      // What comes back round a loop has its barriers from the loop's head.
      if (edge.feedback === true) continue;
      const [producers, consumers] = [parallelismOf(edge.source), parallelismOf(edge.target)];
      for (let from = 0; from < producers; from++) {
        if (isTaskFinal(executions.at(edge.source, from).state)) continue;
        for (const to of targetsOf(edge, from, producers, consumers)) fed.add(subtaskId(edge.target, to));
      }
    }
    const starts = new Map<TaskManagerId, Execution["address"][]>();
    for (const execution of executions.alive) {
      if (execution.at === undefined) continue;
      const addresses = starts.get(execution.at.taskManager) ?? [];
      starts.set(execution.at.taskManager, addresses);
      const subtask = idOf(execution);
      if (fed.has(subtask) || !asked.has(subtask) || started.has(subtask)) continue;
      started.add(subtask);
      addresses.push(execution.address);
    }
    const { job, emit } = this.#options;
    for (const [taskManager, addresses] of starts) {
      emit({ kind: "triggerCheckpoint", taskManager, job, trigger, executions: addresses, folder });
    }
  }

  #storeIfAcknowledged(pending: Pending): void {
    if (pending.acks.size < pending.asked.size) return;
    // All tasks have ended without anything to tell.
    if (pending.asked.size === 0) return this.#abort(pending, "all tasks have finished", "harmless");
    const { folder, trigger: { checkpoint, kind } } = pending;
    const { job, emit, settings } = this.#options;
    const named = this.#manifestOf(pending);
    const { manifest, copies: files } = kind === "savepoint" ? selfContained(named) : { manifest: named, copies: [] };
    pending.manifest = manifest;
    const copies = files.length === 0 ? {} : { copies: { from: settings.folder, files } };
    emit({ kind: "storeManifest", job, checkpoint, folder, manifest, ...copies });
  }

  #manifestOf({ trigger, acks }: Pending): CheckpointManifest {
    if (this.#participants === undefined) throw new InvariantError(`checkpoint ${trigger.checkpoint} has no participants.`);
    const { job, jobName, epoch, results } = this.#options;
    const { graph } = this.#participants;
    const rows = results?.(trigger.checkpoint);
    return {
      job,
      jobName,
      checkpoint: trigger.checkpoint,
      kind: trigger.kind,
      timestampMs: trigger.timestampMs,
      epoch,
      vertices: graph.vertices.map(({ id, name, parallelism, maxParallelism, operators }) => ({
        id,
        name,
        parallelism,
        maxParallelism,
        operators: operators.map((operator) => ({ operator: operator.uid ?? operator.id, name: operator.name, kind: operator.kind })),
        subtasks: Array.from({ length: parallelism }, (_, subtask): ManifestSubtask => {
          const key = subtaskId(id, subtask);
          const ack = acks.get(key) ?? this.#finals.get(key);
          if (ack === undefined) return { operators: [], bytes: 0, finished: true };
          const { operators: states, channels, bytes, finished, feedRows } = ack;
          return {
            operators: states,
            bytes,
            ...(channels === undefined ? {} : { channels }),
            ...(finished === true ? { finished } : {}),
            ...(feedRows === undefined ? {} : { feedRows }),
          };
        }),
      })),
      ...(rows === undefined ? {} : { results: rows }),
    };
  }

  /** @param weight whether it counts against the tolerable failures. */
  #abort(pending: Pending, reason: string, weight: "counts" | "harmless" = "counts"): void {
    const { checkpoint, kind, stop } = pending.trigger;
    const { jobName, emit, job, settings, changed, clocks } = this.#options;
    // What follows from one failure may have ended others.
    if (!this.#pending.delete(checkpoint)) return;
    this.#lastEndMs = clocks.elapsedMs();
    const error = new CheckpointError(`${kind} ${checkpoint} of job ${JSON.stringify(jobName)} failed: ${reason.replace(/\.$/, "")}.`, {
      details: { job, checkpoint },
    });
    this.#statistics.failed(checkpoint, this.#sinceMs(pending), reason);
    this.#tell("checkpointAborted", checkpoint);
    // A manifest that could not be stored may be there because another JobManager has stored one.
    if (pending.manifest === undefined) emit({ kind: "discard", job, folders: [pending.folder] });
    emit({ kind: "note", text: error.message });
    changed();
    pending.request?.whenDone({ error });
    if (weight === "harmless" || (kind === "savepoint" && stop !== "drain")) return;
    // Tasks that drained have told their windows that time is over; only going back makes that undone.
    if (stop === "drain") return this.#options.whenIntolerable(error);
    if (++this.#failuresInRow > settings.tolerableFailures) this.#options.whenIntolerable(error);
  }

  /** Tells all TaskManagers that run tasks of the job. */
  #tell(kind: "checkpointCompleted" | "checkpointAborted", checkpoint: number): void {
    const { job, emit } = this.#options;
    const executions = this.#participants?.executions.alive ?? [];
    const taskManagers = new Set(executions.flatMap(({ at }) => (at === undefined ? [] : [at.taskManager])));
    for (const taskManager of taskManagers) emit({ kind, taskManager, job, checkpoint });
  }

  #discard(checkpoints: readonly CompletedCheckpoint[]): void {
    this.#options.emit({ kind: "discard", job: this.#options.job, folders: checkpoints.map(({ folder }) => folder) });
  }

  #sinceMs({ startedMs }: Pending): number {
    return this.#options.clocks.elapsedMs() - startedMs;
  }
}

const idOf = ({ address }: Execution): SubtaskId => subtaskId(address.vertex, address.subtask);

/** What a task stored, as the manifests of later checkpoints name it. */
function seenFromLater(ack: CheckpointAck): CheckpointAck {
  const renamed = <T extends { readonly file: string }>(part: T): T => ({ ...part, file: fileOfCheckpoint(ack.checkpoint, part.file) });
  return {
    ...ack,
    operators: ack.operators.map((operator) => ({ ...operator, sections: operator.sections.map(renamed) })),
    ...(ack.channels === undefined ? {} : { channels: (ack.channels as readonly { readonly file: string }[]).map(renamed) }),
  };
}
