/** What became of the checkpoints of a job, as numbers for people: counts since its submission, and the latest ones in detail. */
import type { CheckpointInfo, CheckpointOverview, CheckpointSubtaskInfo } from "../../core/graph/job-status.ts";
import type { JobId } from "../../core/types/ids.ts";

/** Checkpoints told of at once. */
const MAX_CHECKPOINTS = 50;
/** Subtasks told of in all; older checkpoints are told without theirs. */
const MAX_SUBTASKS = 2_000;

type Changing<T> = { -readonly [K in keyof T]: T[K] };
type Entry = Changing<Omit<CheckpointInfo, "subtasks">> & { subtasks: CheckpointSubtaskInfo[] };

/** The statistics of one job. */
export class CheckpointStatistics {
  readonly #job: JobId;
  #entries: Entry[] = [];
  #completed = 0;
  #failed = 0;
  #restored = 0;
  #restoredFrom: number | undefined;

  constructor(job: JobId) {
    this.#job = job;
  }

  began(checkpoint: Pick<CheckpointInfo, "id" | "kind" | "triggeredAtMs" | "expected" | "location">): void {
    this.#entries.push({ ...checkpoint, state: "IN_PROGRESS", bytes: 0, writtenBytes: 0, acknowledged: 0, subtasks: [] });
    this.#entries = this.#entries.slice(-MAX_CHECKPOINTS);
    let subtasks = 0;
    for (const entry of this.#entries.toReversed()) {
      subtasks += entry.expected;
      if (subtasks > MAX_SUBTASKS) entry.subtasks = [];
    }
  }

  acknowledged(id: number, subtask: CheckpointSubtaskInfo): void {
    const entry = this.#find(id);
    if (entry === undefined) return;
    entry.acknowledged++;
    entry.bytes += subtask.bytes;
    entry.writtenBytes += subtask.writtenBytes;
    entry.subtasks.push(subtask);
  }

  completed(id: number, durationMs: number): void {
    this.#completed++;
    const entry = this.#find(id);
    if (entry !== undefined) Object.assign(entry, { state: "COMPLETED", durationMs } satisfies Partial<Entry>);
  }

  failed(id: number, durationMs: number, failure: string): void {
    this.#failed++;
    const entry = this.#find(id);
    if (entry === undefined) return;
    Object.assign(entry, { state: "FAILED", durationMs, failure } satisfies Partial<Entry>);
    delete entry.location;
  }

  restored(id: number): void {
    this.#restored++;
    this.#restoredFrom = id;
  }

  overview(): CheckpointOverview {
    return {
      job: this.#job,
      completed: this.#completed,
      failed: this.#failed,
      inProgress: this.#entries.filter(({ state }) => state === "IN_PROGRESS").length,
      restored: this.#restored,
      ...(this.#restoredFrom === undefined ? {} : { restoredFrom: this.#restoredFrom }),
      latest: this.#entries.map((entry) => ({ ...entry, subtasks: [...entry.subtasks] })),
    };
  }

  #find(id: number): Entry | undefined {
    return this.#entries.findLast((entry) => entry.id === id);
  }
}
