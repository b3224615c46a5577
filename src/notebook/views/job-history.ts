/**
 * What a job went through, as far as somebody watched it. Details of a job tell of the latest attempt of each subtask and of the latest
 * time that a state was entered; whoever adds all details as they come keeps the attempts before, their errors, and every state in order.
 * Bounded: of past attempts the latest MOST_ATTEMPTS stay, of states the latest MOST_STATES.
 */
import type { ExecutionInfo, JobDetails } from "../../core/graph/job-status.ts";
import type { WireError } from "../../core/types/errors.ts";

const MOST_ATTEMPTS = 2_000;
const MOST_STATES = 500;

/** A state of the job and when it was entered, milliseconds since the epoch. */
export interface StateEntered {
  readonly state: string;
  readonly atMs: number;
}

/** An attempt that failed. */
export interface FailedAttempt extends ExecutionInfo {
  readonly error: WireError;
  readonly failedAtMs: number;
}

/** The past of one job. Use it from one place; what it gives are copies. */
export class JobHistory {
  #states: StateEntered[] = [];
  readonly #attempts = new Map<string, ExecutionInfo>();

  /** The history that these details alone tell. */
  static of(details: JobDetails): JobHistory {
    const history = new JobHistory();
    history.add(details);
    return history;
  }

  /** Takes what details tell. Call it with each change, in order; the same details twice add nothing. */
  add(details: JobDetails): void {
    const fresh = Object.entries(details.timestamps)
      .map(([state, atMs]): StateEntered => ({ state, atMs }))
      .filter((it) => Number.isFinite(it.atMs) && !this.#states.some(({ state, atMs }) => state === it.state && atMs === it.atMs));
    if (fresh.length > 0) this.#states = [...this.#states, ...fresh].sort((a, b) => a.atMs - b.atMs).slice(-MOST_STATES);
    for (const it of details.executions) this.#attempts.set(`${it.vertex}/${it.subtask}#${it.attempt}`, it);
    const surplus = this.#attempts.size - details.executions.length - MOST_ATTEMPTS;
    if (surplus <= 0) return;
    const present = new Set(details.executions.map((it) => `${it.vertex}/${it.subtask}#${it.attempt}`));
    for (const key of [...this.#attempts.keys()].filter((it) => !present.has(it)).slice(0, surplus)) this.#attempts.delete(key);
  }

  /** Every state that the job entered, in order of time. */
  get states(): readonly StateEntered[] {
    return this.#states;
  }

  /** All attempts of a subtask, the first one first. */
  attemptsOf(vertex: string, subtask: number): readonly ExecutionInfo[] {
    return this.attempts.filter((it) => it.vertex === vertex && it.subtask === subtask);
  }

  /** All attempts of all subtasks, in order of attempts. */
  get attempts(): readonly ExecutionInfo[] {
    return [...this.#attempts.values()].sort((a, b) => a.attempt - b.attempt);
  }

  /** Attempts that failed, in order of time. */
  get failures(): readonly FailedAttempt[] {
    return this.attempts
      .flatMap((it) => (it.error === undefined ? [] : [{ ...it, error: it.error, failedAtMs: it.timestamps["FAILED"] ?? 0 }]))
      .sort((a, b) => a.failedAtMs - b.failedAtMs);
  }

  /** How often the job began anew. */
  get restarts(): number {
    return this.#states.filter(({ state }) => state === "RESTARTING").length;
  }

  /** The same as of now; what is added later does not change it. */
  copy(): JobHistory {
    const copy = new JobHistory();
    copy.#states = this.#states;
    for (const [key, it] of this.#attempts) copy.#attempts.set(key, it);
    return copy;
  }
}
