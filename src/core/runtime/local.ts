/**
 * The executor that runs a whole job in the calling thread: for tests, first steps, and runtimes without worker threads. Tasks take
 * turns; every edge that would be an exchange on a cluster is one here too, through the same codec, so that records are copied and
 * what can't travel fails in the same way. With `ship`, functions are copied for each subtask as well.
 */
import type { ClassRegistry, ShippedClass } from "../data/classes.ts";
import type { CompiledJob, JobGraph } from "../graph/job-graph.ts";
import {
  type ExecutionInfo,
  type JobDetails,
  type JobState,
  type MetricsReport,
  type SubtaskMetrics,
  type TaskState,
  isFinal,
} from "../graph/job-status.ts";
import { NotFoundError, JobCanceledError, JobFailedError, toWire } from "../types/errors.ts";
import { type JobId, newJobId, taskManagerId } from "../types/ids.ts";
import { Configuration, options } from "../types/options.ts";
import { ResultDecoder } from "./client-channel.ts";
import type { JobControl, JobExecutor, JobListener, ResultReader, RowFeed, SubmitOptions } from "./executor.ts";
import { type ShippedJob, localTasks } from "./local-tasks.ts";
import type { MemoryChannel } from "./memory-channel.ts";
import { metricRates, readTaskMetrics } from "./metrics.ts";
import { type Output, output } from "./output.ts";
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
const FEED_ROWS = 256;
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
  readonly task: Task;
  readonly metrics: Float64Array;
  readonly execution: { vertex: ExecutionInfo["vertex"]; subtask: number; state: TaskState; timestamps: Record<string, number> };
  before: Record<string, number>;
}

class LocalJob implements JobControl {
  readonly id: JobId = newJobId();
  readonly name: string;
  readonly #graph: JobGraph;
  readonly #configuration: Configuration;
  readonly #feeds: ReadonlyMap<string, RowFeed>;
  readonly #listeners = new Set<JobListener>();
  readonly #timestamps: Record<string, number> = {};
  readonly #history: MetricsReport[] = [];
  readonly #results = new Map<
    string,
    { readonly channels: readonly MemoryChannel[]; readonly decoders: readonly ResultDecoder[]; readonly ended: boolean[] }
  >();
  #tasks: LocalTask[] = [];
  #state: JobState = "CREATED";
  #failure: Error | undefined;
  #canceled = false;
  #wakeUp: (() => void) | undefined;
  readonly #readers = new Set<() => void>();

  constructor(graph: JobGraph, feeds: ReadonlyMap<string, RowFeed>) {
    this.name = graph.name;
    this.#graph = graph;
    this.#configuration = Configuration.of(graph.options, "the job");
    this.#feeds = feeds;
    this.#timestamps["CREATED"] = Date.now();
  }

  async run(shipped: ShippedJob): Promise<void> {
    try {
      await this.#start(shipped);
      this.#enter("RUNNING");
      await this.#loop();
      for (const it of this.#tasks) this.#enterTask(it, this.#canceled ? "CANCELED" : "FINISHED");
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      for (const it of this.#tasks) this.#enterTask(it, "FAILED");
    }
    for (const feed of this.#feeds.values()) feed.close();
    for (const { task } of this.#tasks) await task.close();
    this.#report();
    this.#enter(this.#failure !== undefined ? "FAILED" : this.#canceled ? "CANCELED" : "FINISHED");
    for (const wake of this.#readers) wake();
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
    return () => this.#listeners.delete(listener);
  }

  async metricsHistory(): Promise<readonly MetricsReport[]> {
    return this.#history;
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
            const rows = take(result);
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
    const { tasks, results, feeds } = await localTasks(this.#graph, shipped, wake, () => ({
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
    for (const [name, { channels, classes }] of results) {
      this.#results.set(name, { channels, decoders: classes.map((it) => new ResultDecoder(it)), ended: channels.map(() => false) });
    }
    for (const [name, { channel, classes }] of feeds) {
      const rows = this.#feeds.get(name);
      if (rows !== undefined) void this.#pump(rows, channel, classes);
    }
    this.#tasks = tasks.map(({ task, metrics, vertex, subtask }) => {
      const execution = { vertex: vertex.id, subtask, state: "CREATED" as TaskState, timestamps: {} };
      return { task, metrics, execution, before: readTaskMetrics(metrics) };
    });
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
        worked = true;
      }
      for (const wake of this.#readers) wake();
      if (Date.now() - reportedMs >= intervalMs) {
        this.#report(Date.now() - reportedMs);
        reportedMs = Date.now();
      }
      if (worked && performance.now() - turnMs < TURN_MS) continue;
      const nextMs = worked ? 0 : Math.min(reportedMs + intervalMs, ...[...running].map((it) => it.task.nextWakeMs())) - Date.now();
      await this.#pause(Math.max(0, nextMs));
      turnMs = performance.now();
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

  /** Moves a feed's rows into its channel, as far as there is room. */
  async #pump(rows: RowFeed, channel: MemoryChannel, classes: ClassRegistry): Promise<void> {
    const edge: Output = output({ kind: "global" }, [channel], { classes, batchRows: FEED_ROWS, wrote: () => undefined }, 1, 0);
    const room = async (): Promise<void> => {
      while (!edge.drain() && !isFinal(this.#state)) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    try {
      for (let batch = await rows.next(FEED_ROWS); batch !== null && !isFinal(this.#state); batch = await rows.next(FEED_ROWS)) {
        for (const row of batch) edge.emit(row, Number.NaN);
        edge.flush();
        await room();
      }
      edge.end();
      await room();
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
      this.#canceled = true;
      this.#wake();
    }
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
        attempt: 0,
        slot: it.execution.subtask,
        values: { ...values, ...rates },
      };
    });
    const report: MetricsReport = { taskManager: LOCAL, atMs: Date.now(), process: {}, subtasks };
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
        attempt: 0,
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

/** Rows that wait on any channel of a result; null once all channels have ended. */
function take(result: {
  readonly channels: readonly MemoryChannel[];
  readonly decoders: readonly ResultDecoder[];
  readonly ended: boolean[];
}): unknown[] | null {
  const rows: unknown[] = [];
  for (const [index, channel] of result.channels.entries()) {
    for (let offset = channel.tryPeek(); offset >= 0 && result.ended[index] !== true; offset = channel.tryPeek()) {
      const decoded = (result.decoders[index] as ResultDecoder).decode(channel.memory, offset);
      channel.release();
      if (decoded === null) result.ended[index] = true;
      else for (const row of decoded) rows.push(row);
    }
  }
  return rows.length === 0 && result.ended.every(Boolean) ? null : rows;
}
