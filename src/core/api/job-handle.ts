/** One submitted job, for the program that submitted it or attached to it. */
import { Observable } from "rxjs";
import type { CheckpointOverview, JobDetails, LogLine, MetricsReport } from "../graph/job-status.ts";
import { isFinal } from "../graph/job-status.ts";
import { LONGEST_PROFILE_MS, type TaskProfile } from "../graph/task-profile.ts";
import type { JobControl, JobListener, ResultReader, SnapshotControl } from "../runtime/executor.ts";
import { ConfigurationError, JobCanceledError, JobFailedError, NotFoundError, describe, fromWire } from "../types/errors.ts";
import type { JobId } from "../types/ids.ts";
import { tellAwaited } from "./awaited-jobs.ts";
import { place } from "./checkpointing.ts";
import { absolute } from "./spec.ts";

/** What a job came to. */
export interface JobResult {
  readonly id: JobId;
  readonly name: string;
  /** From submission to the last task's end, milliseconds. */
  readonly durationMs: number;
  readonly details: JobDetails;
}

/** Which subtask, and for how long. */
export interface ProfileOptions {
  readonly vertex?: string;
  readonly subtask?: number;
  readonly seconds?: number;
}

/**
 * A submitted job. Everything that changes over time is an Observable; nothing here is thenable, so a handle can be returned from
 * asynchronous functions as it is.
 */
export class JobHandle<Outputs extends Readonly<Record<string, unknown>> = Record<never, never>> {
  readonly id: JobId;
  readonly name: string;
  readonly #control: JobControl;
  /** The results that were asked for with `submit({ outputs })`, each to be subscribed once. */
  readonly outputs: { readonly [Name in keyof Outputs]: Observable<Outputs[Name]> };

  constructor(control: JobControl, outputs: readonly string[] = []) {
    this.#control = control;
    this.id = control.id;
    this.name = control.name;
    this.outputs = Object.fromEntries(outputs.map((name) => [name, this.output(name)])) as never;
  }

  /** The job's status: the present one at once, then each change; completes when the job has ended, however it ended. */
  get status$(): Observable<JobDetails> {
    return this.#listen<JobDetails>((next) => ({ status: next }));
  }

  /** Metrics of all subtasks as they are reported, once per `metrics.interval` and TaskManager. */
  get metrics$(): Observable<MetricsReport> {
    return this.#listen<MetricsReport>((next) => ({ metrics: next }));
  }

  /** Lines that user code and `print()` wrote to the console. */
  get log$(): Observable<LogLine> {
    return this.#listen<LogLine>((next) => ({ log: (lines) => lines.forEach(next) }));
  }

  /** The job's checkpoints: as they are at once, then each change; completes when the job has ended. */
  get checkpoints$(): Observable<CheckpointOverview> {
    return this.#listen<CheckpointOverview>((next) => ({ checkpoints: next }));
  }

  /** Rows of one result, by name. One reader at a time. Unsubscribing stops reading, not the job. */
  output<T>(name: string): Observable<T> {
    return rowsOf(() => this.#open(name), (row) => row as T);
  }

  /**
   * The same, for results that come at once (`execution.results.release: at-once`, and jobs without checkpoints): after a failure rows come
   * again, and are marked. Of each subtask as many are marked as it had sent since the checkpoint that it goes on from; they are the very
   * same if it gets its input in the same order again. After rescaling, or with another JobManager, all are until a checkpoint completes.
   */
  markedOutput<T>(name: string): Observable<MarkedRow<T>> {
    return rowsOf(() => this.#open(name), (row, repeated) => ({ row: row as T, repeated }));
  }

  #open(name: string): Promise<ResultReader> {
    tellAwaited(this.#control);
    return this.#control.openResult(name);
  }

  /** The status now. */
  details(): Promise<JobDetails> {
    return this.#control.details();
  }

  /** Reports of metrics so far, oldest first, up to `metrics.history`. */
  metricsHistory(): Promise<readonly MetricsReport[]> {
    return this.#control.metricsHistory();
  }

  /**
   * A keyed state of the running job, by the name that its descriptor has, to be asked for what a key has: a value, the items of a list,
   * the pairs of a map. It is the state of now, whatever checkpoints cover.
   * `get` throws NotFoundError when no running task has such a state.
   */
  state<Value = unknown>(name: string): { get(key: unknown): Promise<Value | undefined> } {
    return {
      get: async (key) => {
        if (this.#control.queryState === undefined) {
          throw new ConfigurationError(`Job "${this.name}" runs where its state can't be asked for; run it on a cluster.`);
        }
        return (await this.#control.queryState(name, key)) as Value | undefined;
      },
    };
  }

  /**
   * Watches for a while where the thread of one subtask spends its time; the picture `flame` of drey/notebook draws it. The task is slowed
   * by some percent meanwhile.
   * @param options.vertex its id or its name; may be left out where the job has only one. @param options.subtask default 0.
   * @param options.seconds default 5, at most 60.
   * @throws NotFoundError when there is no such task, or it does not run; ConflictError while somebody profiles it.
   */
  async profile({ vertex, subtask = 0, seconds = 5 }: ProfileOptions = {}): Promise<TaskProfile> {
    const durationMs = Math.round(seconds * 1_000);
    if (!(durationMs >= 1 && durationMs <= LONGEST_PROFILE_MS)) {
      throw new ConfigurationError(`profile() got seconds: ${describe(seconds)}; give a number up to ${LONGEST_PROFILE_MS / 1_000}.`);
    }
    if (!Number.isInteger(subtask) || subtask < 0) {
      throw new ConfigurationError(`profile() got subtask: ${describe(subtask)}; give an integer ≥ 0.`);
    }
    if (this.#control.profile === undefined) {
      throw new ConfigurationError(`Job "${this.name}" runs where its tasks can't be profiled; run it on a cluster.`);
    }
    const { vertices } = (await this.#control.details()).graph;
    const named = vertices.filter(({ id, name }) => vertex === undefined || id === vertex || name === vertex);
    const [found] = named;
    if (found === undefined || (vertex === undefined && named.length > 1)) {
      const asked = vertex === undefined ? "profile() was not told which task" : `Job "${this.name}" has no task ${describe(vertex)}`;
      throw new NotFoundError(`${asked}; it has ${vertices.map(({ id, name }) => `${id} (${name})`).join(", ")}.`);
    }
    return this.#control.profile(found.id, subtask, durationMs);
  }

  /** The checkpoints now. */
  async checkpoints(): Promise<CheckpointOverview> {
    return this.#snapshots.overview();
  }

  /**
   * Takes a checkpoint now, whatever the interval says.
   * @returns its number, once it is complete.
   * @throws CheckpointError when it does not come about.
   */
  async checkpoint(): Promise<number> {
    return this.#snapshots.trigger();
  }

  /**
   * Takes a savepoint: a snapshot of all state that a job can be started from, `submit({ from })`, also a changed one and at another
   * parallelism. The job goes on. A savepoint stays until somebody removes it.
   * @param folder where it is put, as the JobManager sees it; relative: to this program's folder. Default:
   * `execution.checkpointing.savepoint-dir`.
   * @returns its place.
   * @throws CheckpointError when it does not come about; ConfigurationError without any folder.
   */
  async savepoint(folder?: string): Promise<string> {
    return this.#snapshots.savepoint(folder === undefined ? undefined : placeOf(folder, "savepoint()"));
  }

  /**
   * Takes a savepoint and ends the job with it: what it wrote is exactly what the savepoint covers. With `drain`, all windows and timers
   * fire first, as if all input had ended; use it when the job shall not be continued.
   * @returns the savepoint's place, when the job has finished.
   * @throws CheckpointError when it does not come about; the job goes on then.
   */
  async stopWithSavepoint({ drain = false, folder }: { readonly drain?: boolean; readonly folder?: string } = {}): Promise<string> {
    return this.#snapshots.stop({ drain, ...(folder === undefined ? {} : { target: placeOf(folder, "stopWithSavepoint()") }) });
  }

  /**
   * Runs the job at another parallelism from now on, with its state. Operators whose parallelism the program set keep theirs.
   * Resolves when all tasks run again.
   * @throws CheckpointError when its state can't be saved: the job goes on as it was; ConfigurationError beyond `pipeline.max-parallelism`.
   */
  async rescale(parallelism: number): Promise<void> {
    if (!Number.isInteger(parallelism) || parallelism < 1) {
      throw new ConfigurationError(`rescale() got ${describe(parallelism)}; give an integer ≥ 1.`);
    }
    await this.#snapshots.rescale(parallelism);
  }

  get #snapshots(): SnapshotControl {
    const { snapshots } = this.#control;
    if (snapshots !== undefined) return snapshots;
    throw new ConfigurationError(`Job "${this.name}" runs where no checkpoints can be asked for; run it on a cluster.`);
  }

  /**
   * Waits for the end.
   * @throws JobFailedError with the failure as its cause; JobCanceledError; ConnectionError when the cluster is lost.
   */
  result(): Promise<JobResult> {
    tellAwaited(this.#control);
    return new Promise((resolve, reject) => {
      const stop = this.#control.watch({
        status: (details) => {
          if (!isFinal(details.state)) return;
          queueMicrotask(() => stop());
          const error = outcome(details);
          if (error !== undefined) reject(error);
          else resolve({ id: this.id, name: this.name, durationMs: (details.endedAtMs ?? 0) - details.startedAtMs, details });
        },
        lost: reject,
      });
    });
  }

  /** Cancels the job and waits until it has ended. Does nothing when it has ended already. */
  async cancel(): Promise<void> {
    await this.#control.cancel();
    await new Promise<void>((resolve, reject) => {
      const stop = this.#control.watch({
        status: ({ state }) => {
          if (!isFinal(state)) return;
          queueMicrotask(() => stop());
          resolve();
        },
        lost: reject,
      });
    });
  }

  #listen<T>(listener: (next: (value: T) => void) => JobListener): Observable<T> {
    return new Observable<T>((subscriber) => {
      tellAwaited(this.#control);
      const told = listener((value) => subscriber.next(value));
      return this.#control.watch({
        ...told,
        status: (details) => {
          told.status?.(details);
          if (isFinal(details.state)) queueMicrotask(() => subscriber.complete());
        },
        lost: (error) => subscriber.error(error),
        closed: () => subscriber.complete(),
      });
    });
  }
}

const placeOf = (folder: string, where: string): string => place(folder, (path) => absolute(path, where));

/** A row of a result that comes at once. */
export interface MarkedRow<T> {
  readonly row: T;
  /** It may have come before. */
  readonly repeated: boolean;
}

/** The error that a finished job's waiters get; undefined when it succeeded or still runs. */
export function outcome(details: JobDetails): Error | undefined {
  if (details.state === "CANCELED") return new JobCanceledError(`Job "${details.name}" (${details.job}) was cancelled.`);
  if (details.state !== "FAILED") return undefined;
  const cause = details.failure === undefined ? undefined : fromWire(details.failure);
  return new JobFailedError(`Job "${details.name}" failed: ${cause?.message ?? "for an unknown reason"}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { job: details.job, ...details.failure?.details },
  });
}

/**
 * The rows of a reader as an Observable; `open` is called for each subscription.
 * @param as makes what is given out of a row; `repeated`: it may have been given before.
 * @param left called when a subscription was ended before the last row.
 */
export function rowsOf<T>(
  open: () => Promise<ResultReader>,
  as: (row: unknown, repeated: boolean) => T,
  left: () => void = () => undefined,
): Observable<T> {
  return new Observable<T>((subscriber) => {
    let reader: ResultReader | undefined;
    let over = false;
    let unread = 0;
    const read = async (): Promise<void> => {
      reader = await open();
      if (!subscriber.closed) {
        for (let rows = await reader.next(); rows !== null; rows = await reader.next()) {
          unread = rows.length;
          const { repeated = 0 } = reader;
          for (const [index, row] of rows.entries()) {
            if (subscriber.closed) return;
            unread--;
            subscriber.next(as(row, index < repeated));
          }
        }
        over = true;
        subscriber.complete();
        return;
      }
      reader.close();
      left();
    };
    read().catch((error: unknown) => {
      over = true;
      subscriber.error(error);
    });
    return () => {
      reader?.close(unread);
      // Before `open` has answered there is nothing to leave yet; `read` does so when it has.
      if (!over && reader !== undefined) left();
    };
  });
}
