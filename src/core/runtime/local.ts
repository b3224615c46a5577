/**
 * The executor that runs a whole job in the calling thread: for tests, first steps, and runtimes without worker threads. Tasks take
 * turns; every edge that would be an exchange on a cluster is one here too, through the same codec, so that records are copied and
 * what can't travel fails in the same way. With `ship`, functions are copied for each subtask as well.
 *
 * A job with checkpoints (`execution.checkpointing.interval`) goes back to the latest one when it fails, as on a cluster; they are kept
 * in memory (local-coordinator.ts).
 */
import type { ShippedClass } from "../data/classes.ts";
import type { CompiledJob, JobGraph, JobVertex } from "../graph/job-graph.ts";
import { WatermarkAlignment } from "../graph/watermark-alignment.ts";
import {
  type ExecutionInfo,
  type JobDetails,
  type JobState,
  type MetricsReport,
  type SubtaskMetrics,
  type TaskState,
  isFinal,
} from "../graph/job-status.ts";
import { CheckpointError, NotFoundError, JobCanceledError, JobFailedError, toWire } from "../types/errors.ts";
import { type JobId, newJobId, taskManagerId } from "../types/ids.ts";
import { Configuration, options } from "../types/options.ts";
import type { JobControl, JobExecutor, JobListener, ResultReader, RowFeed, SnapshotControl, SubmitOptions } from "./executor.ts";
import { type LocalCheckpoint, LocalCoordinator, nameOf } from "./local-coordinator.ts";
import { LocalFeed } from "./local-feed.ts";
import { LocalResult } from "./local-result.ts";
import { type ShippedJob, localTasks } from "./local-tasks.ts";
import { WATERMARK_LIMIT, metricRates, readTaskMetrics } from "./metrics.ts";
import { ownInstances } from "./own-instances.ts";
import type { Task } from "./task.ts";

export interface LocalExecutorOptions {
  /**
   * Captures the functions of a job as for a cluster. Absent: each subtask gets function objects (process functions, sinks) of its own,
   * copied field by field (those with #private fields are used as they are, and only once), but plain functions are called as they are
   * and share what they captured.
   */
  readonly ship?: (job: CompiledJob, classes: SubmitOptions["classes"]) => Promise<ShippedJob>;
}

const LOCAL = taskManagerId("this-thread");
/** The thread's event loop turns at least this often. */
const TURN_MS = 5;

export class LocalExecutor implements JobExecutor {
  readonly #options: LocalExecutorOptions;
  readonly #jobs = new Set<LocalJob>();

  constructor(executorOptions: LocalExecutorOptions = {}) {
    this.#options = executorOptions;
  }

  async submit(compiled: CompiledJob, submitOptions: SubmitOptions): Promise<JobControl> {
    const byHand = submitOptions.classes.map((constructor): ShippedClass => ({ name: constructor.name, constructor, privateFields: [] }));
    const shipped: ShippedJob =
      this.#options.ship === undefined
        ? async () => ({ tasks: compiled.tasks.map((task, index) => ownInstances(task, compiled.graph.vertices[index]!)), classes: byHand })
        : await this.#options.ship(compiled, submitOptions.classes);
    const job = new LocalJob(compiled.graph, submitOptions.feeds);
    this.#jobs.add(job);
    void job.run(shipped).finally(() => this.#jobs.delete(job));
    return job;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#jobs].map((job) => job.cancel()));
  }
}

interface LocalTask {
  readonly vertex: JobVertex;
  readonly task: Task;
  readonly metrics: Float64Array;
  readonly execution: { vertex: ExecutionInfo["vertex"]; subtask: number; state: TaskState; timestamps: Record<string, number> };
  before: Record<string, number>;
}

class LocalJob implements JobControl {
  readonly id: JobId = newJobId();
  readonly name: string;
  readonly #graph: JobGraph;
  readonly #alignment: WatermarkAlignment;
  readonly #configuration: Configuration;
  readonly #feeds: ReadonlyMap<string, LocalFeed>;
  readonly #checkpoints: LocalCoordinator;
  readonly #listeners = new Set<JobListener>();
  readonly #timestamps: Record<string, number> = {};
  readonly #history: MetricsReport[] = [];
  readonly #results: ReadonlyMap<string, LocalResult>;
  #tasks: LocalTask[] = [];
  #attempt = 0;
  /** When the job was restarted, newest last. */
  readonly #restarts: number[] = [];
  #state: JobState = "CREATED";
  #failure: Error | undefined;
  #canceled = false;
  #wakeUp: (() => void) | undefined;
  readonly #readers = new Set<() => void>();

  constructor(graph: JobGraph, feeds: ReadonlyMap<string, RowFeed>) {
    this.name = graph.name;
    this.#graph = graph;
    this.#alignment = new WatermarkAlignment(graph);
    this.#configuration = Configuration.of(graph.options, "the job");
    this.#checkpoints = new LocalCoordinator(graph, this.#configuration, (checkpoint) => this.#completed(checkpoint));
    const { enabled } = this.#checkpoints;
    const holds = enabled && this.#configuration.get(options.resultRelease) === "with-checkpoint";
    this.#results = new Map(graph.results.map(({ name }) => [name, new LocalResult(holds)]));
    this.#feeds = new Map([...feeds].map(([name, rows]) => [name, new LocalFeed(rows, enabled)]));
    this.#timestamps["CREATED"] = Date.now();
  }

  async run(shipped: ShippedJob): Promise<void> {
    while (await this.#runOnce(shipped)) this.#attempt++;
    for (const feed of this.#feeds.values()) feed.close();
    this.#checkpoints.close();
    this.#report();
    if (this.#failure === undefined && !this.#canceled) for (const result of this.#results.values()) result.finish();
    this.#enter(this.#failure !== undefined ? "FAILED" : this.#canceled ? "CANCELED" : "FINISHED");
    for (const wake of this.#readers) wake();
  }

  /** One attempt. @returns true when the job is to be started again. */
  async #runOnce(shipped: ShippedJob): Promise<boolean> {
    let again = false;
    try {
      await this.#start(shipped);
      this.#enter("RUNNING");
      await this.#loop();
      for (const it of this.#tasks) this.#enterTask(it, this.#canceled ? "CANCELED" : "FINISHED");
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      const delayMs = this.#restartDelayMs();
      again = delayMs !== undefined && !this.#canceled;
      if (!again) this.#failure ??= error;
      for (const it of this.#tasks) this.#enterTask(it, "FAILED");
      if (again) {
        this.#enter("RESTARTING");
        await this.#pause(delayMs as number);
      }
    }
    for (const { task } of this.#tasks) await task.close();
    return again && !this.#canceled;
  }

  /** How long to wait before the next attempt; undefined: there is none. The strategies are those of a cluster. */
  #restartDelayMs(): number | undefined {
    const { enabled } = this.#checkpoints;
    const get = this.#configuration.get.bind(this.#configuration);
    const now = Date.now();
    const restarts = this.#restarts;
    const strategy = get(options.restartStrategy) || (enabled ? "exponential-delay" : "none");
    if (strategy === "none") return undefined;
    if (strategy === "fixed-delay" && restarts.length >= get(options.fixedDelayAttempts)) return undefined;
    if (strategy === "failure-rate") {
      const recent = restarts.filter((at) => now - at < get(options.failureRateInterval)).length;
      if (recent >= get(options.failureRateMaxFailures)) return undefined;
    }
    restarts.push(now);
    if (strategy === "fixed-delay") return get(options.fixedDelay);
    if (strategy === "failure-rate") return get(options.failureRateDelay);
    const limit = get(options.exponentialAttempts);
    if (limit > 0 && restarts.length > limit) return undefined;
    return Math.min(
      get(options.exponentialMaxBackoff),
      get(options.exponentialInitialBackoff) * get(options.exponentialMultiplier) ** (restarts.length - 1),
    );
  }

  #completed(checkpoint: LocalCheckpoint): void {
    for (const listener of [...this.#listeners]) listener.checkpoints?.(this.#checkpoints.overview(this.id));
    for (const result of this.#results.values()) result.completed(checkpoint);
    for (const { name, vertex } of this.#graph.feeds) {
      const ack = checkpoint.acks.get(nameOf(vertex, 0));
      this.#feeds.get(name)?.completed(ack === undefined ? Number.POSITIVE_INFINITY : (ack.feedRows ?? 0));
    }
  }

  async details(): Promise<JobDetails> {
    return this.#details();
  }

  async cancel(): Promise<void> {
    if (isFinal(this.#state)) return;
    this.#canceled = true;
    this.#enter("CANCELLING");
    this.#wake();
  }

  watch(listener: JobListener): () => void {
    this.#listeners.add(listener);
    listener.status?.(this.#details());
    listener.checkpoints?.(this.#checkpoints.overview(this.id));
    return () => this.#listeners.delete(listener);
  }

  async metricsHistory(): Promise<readonly MetricsReport[]> {
    return this.#history;
  }

  /** Checkpoints are kept in memory, so there are no savepoints. */
  get snapshots(): SnapshotControl {
    const refuse = async (): Promise<never> => {
      throw new CheckpointError(
        `Job "${this.name}" runs in one thread, which has checkpoints but no savepoints; run it on a cluster, or put it into a testHarness().`,
      );
    };
    return {
      overview: async () => this.#checkpoints.overview(this.id),
      trigger: () => (this.#checkpoints.enabled && !isFinal(this.#state) ? this.#checkpoints.request() : refuse()),
      savepoint: refuse, stop: refuse, rescale: refuse,
    };
  }

  async openResult(name: string): Promise<ResultReader> {
    const declared = this.#graph.results.some((result) => result.name === name);
    if (!declared) throw new NotFoundError(`Job "${this.name}" has no result named "${name}".`);
    let closed = false;
    return {
      next: async () => {
        for (;;) {
          if (closed) return null;
          const result = this.#results.get(name);
          if (result !== undefined) {
            const rows = result.take();
            if (rows === null) return null;
            if (rows.length > 0) {
              this.#wake();
              return rows;
            }
          }
          if (isFinal(this.#state)) {
            if (this.#failure !== undefined)
              throw new JobFailedError(`Job "${this.name}" failed: ${this.#failure.message}`, { cause: this.#failure });
            if (this.#canceled) throw new JobCanceledError(`Job "${this.name}" was cancelled.`);
            return null;
          }
          await new Promise<void>((resolve) => {
            const wake = (): void => {
              this.#readers.delete(wake);
              resolve();
            };
            this.#readers.add(wake);
          });
        }
      },
      close: () => {
        closed = true;
        for (const wake of this.#readers) wake();
      },
    };
  }

  async #start(shipped: ShippedJob): Promise<void> {
    const wake = (): void => this.#wake();
    const { tasks, results, feeds } = await localTasks(this.#graph, shipped, wake, (vertex, subtask) => ({
      ...this.#checkpoints.hostOf(vertex, subtask),
      attempt: this.#attempt,
      doorbell: { park: () => undefined },
      configuration: this.#configuration,
      poll: () => this.#canceled,
      wait: async () => undefined,
      wake,
      now: () => Date.now(),
      heapLimitBytes: 0,
      heapUsed: () => 0,
      cooperative: true,
    }));
    for (const { name, vertex } of this.#graph.results) {
      const end = results.get(name);
      if (end !== undefined) this.#results.get(name)?.attach(vertex, end);
    }
    for (const [name, end] of feeds) {
      this.#feeds
        .get(name)
        ?.run(end, () => isFinal(this.#state))
        .catch((error: unknown) => {
          this.#failure ??= error instanceof Error ? error : new Error(String(error));
          this.#canceled = true;
          this.#wake();
        });
    }
    this.#tasks = tasks.map(({ task, metrics, vertex, subtask }) => {
      const execution = { vertex: vertex.id, subtask, state: "CREATED" as TaskState, timestamps: {} };
      return { vertex, task, metrics, execution, before: readTaskMetrics(metrics) };
    });
    this.#checkpoints.begin(tasks, Date.now());
    for (const it of this.#tasks) {
      await it.task.open();
      this.#enterTask(it, "RUNNING");
    }
  }

  async #loop(): Promise<void> {
    const running = new Set(this.#tasks);
    const intervalMs = this.#configuration.get(options.metricsInterval);
    let reportedMs = Date.now();
    let turnMs = performance.now();
    while (running.size > 0 && !this.#canceled) {
      let worked = false;
      for (const it of running) {
        const step = it.task.step();
        if (step === "worked") worked = true;
        if (step !== "finished") continue;
        running.delete(it);
        this.#enterTask(it, "FINISHED");
        this.#checkpoints.finished(it.vertex, it.execution.subtask);
        worked = true;
      }
      this.#checkpoints.tick(Date.now());
      for (const wake of this.#readers) wake();
      if (Date.now() - reportedMs >= intervalMs) {
        this.#report(Date.now() - reportedMs);
        reportedMs = Date.now();
        this.#align();
      }
      if (worked && performance.now() - turnMs < TURN_MS) continue;
      const nextMs = worked
        ? 0
        : Math.min(reportedMs + intervalMs, this.#checkpoints.nextMs, ...[...running].map((it) => it.task.nextWakeMs())) - Date.now();
      await this.#pause(Math.max(0, nextMs));
      turnMs = performance.now();
    }
  }

  /** Sources that are ahead of others of their group are told to wait. */
  #align(): void {
    if (!this.#alignment.needed) return;
    const reports = this.#tasks.map((it) => ({ ...it.execution, values: readTaskMetrics(it.metrics) }));
    for (const { vertex, limit } of this.#alignment.reported(reports)) {
      for (const it of this.#tasks) if (it.execution.vertex === vertex) it.metrics[WATERMARK_LIMIT] = limit;
    }
  }

  /** Lets the event loop turn, for at most so long, less when something happens. */
  #pause(timeoutMs: number): Promise<void> {
    if (timeoutMs === 0) return new Promise((resolve) => setImmediate(resolve));
    return new Promise((resolve) => {
      const done = (): void => {
        this.#wakeUp = undefined;
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#wakeUp = () => setImmediate(done);
    });
  }

  #wake(): void {
    const wake = this.#wakeUp;
    this.#wakeUp = undefined;
    wake?.();
  }

  #enter(state: JobState): void {
    this.#state = state;
    this.#timestamps[state] = Date.now();
    for (const listener of [...this.#listeners]) listener.status?.(this.#details());
  }

  #enterTask(it: LocalTask, state: TaskState): void {
    if (it.execution.state === "FINISHED") return;
    it.execution.state = state;
    it.execution.timestamps[state] = Date.now();
  }

  #report(elapsedMs = 1_000): void {
    const subtasks = this.#tasks.map((it): SubtaskMetrics => {
      const values = readTaskMetrics(it.metrics);
      const rates = metricRates(it.before, values, Math.max(1, elapsedMs));
      it.before = values;
      return {
        job: this.id,
        vertex: it.execution.vertex,
        subtask: it.execution.subtask,
        attempt: this.#attempt,
        slot: it.execution.subtask,
        values: { ...values, ...rates },
      };
    });
    const report: MetricsReport = { taskManager: LOCAL, atMs: Date.now(), process: {}, subtasks };
    for (const listener of [...this.#listeners]) listener.checkpoints?.(this.#checkpoints.overview(this.id));
    this.#history.push(report);
    if (this.#history.length > this.#configuration.get(options.metricsHistory)) this.#history.shift();
    for (const listener of [...this.#listeners]) listener.metrics?.(report);
  }

  #details(): JobDetails {
    const states: Record<string, number> = {};
    for (const { execution } of this.#tasks) states[execution.state] = (states[execution.state] ?? 0) + 1;
    return {
      job: this.id,
      name: this.name,
      state: this.#state,
      startedAtMs: this.#timestamps["CREATED"] as number,
      ...(isFinal(this.#state) ? { endedAtMs: this.#timestamps[this.#state] as number } : {}),
      tasks: states,
      graph: this.#graph,
      executions: this.#tasks.map(({ execution }): ExecutionInfo => ({
        vertex: execution.vertex,
        subtask: execution.subtask,
        attempt: this.#attempt,
        state: execution.state,
        taskManager: LOCAL,
        slot: execution.subtask,
        timestamps: { ...execution.timestamps },
      })),
      timestamps: { ...this.#timestamps },
      ...(this.#failure === undefined ? {} : { failure: toWire(this.#failure) }),
    };
  }
}
