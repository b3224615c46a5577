/**
 * One job as its client sees it: what the JobManager last said of it, who listens, which results are read, what is fed in.
 *
 * Invariant: once a final state is known, or the connection is lost, every reader is answered and every feed stopped. A job holds the
 * connection while somebody waits for it: it is attached and runs, somebody listens and it runs, or rows are on their way.
 */
import { outcome } from "../../core/api/job-handle.ts";
import { BatchDecoder, BatchEncoder } from "../../core/data/codec.ts";
import { ClassRegistry, type ShippedClass } from "../../core/data/classes.ts";
import { type CheckpointOverview, type JobDetails, type LogLine, type MetricsReport, isFinal } from "../../core/graph/job-status.ts";
import type { TaskProfile } from "../../core/graph/task-profile.ts";
import type { JobControl, JobListener, ResultReader, RowFeed, SnapshotControl } from "../../core/runtime/executor.ts";
import { ConnectionError, NotFoundError, toWire } from "../../core/types/errors.ts";
import type { JobId, VertexId } from "../../core/types/ids.ts";
import type { JobTopic, ResultPosition } from "../protocol/messages.ts";
import type { Connection } from "./connection.ts";
import { FeedSender } from "./feed-sender.ts";
import { ResultStream } from "./result-reader.ts";

export interface ClientJobOptions {
  readonly id: JobId;
  readonly name: string;
  readonly connection: Connection;
  /** Classes of the program whose instances may be in rows. */
  readonly classes: readonly ShippedClass[];
  /** Makes sure that the client hands on what it hears of this job. */
  readonly register: () => void;
}

/** The control of one job on a cluster. Main thread. */
export class ClientJob implements JobControl {
  readonly id: JobId;
  readonly name: string;
  readonly #connection: Connection;
  readonly #register: () => void;
  readonly #classes: ClassRegistry;
  readonly #results = new Map<string, ResultStream>();
  readonly #feeds = new Map<string, FeedSender>();
  readonly #listeners = new Set<JobListener>();
  /** What the JobManager was asked to tell, on this connection. */
  readonly #watched = new Set<JobTopic>();
  /** Where results go on that wait for the connection to come back. */
  readonly #positions = new Map<string, readonly ResultPosition[]>();
  #last: JobDetails | undefined;
  #lastCheckpoints: CheckpointOverview | undefined;
  #attached = false;
  #feedFailure: Error | undefined;
  #release: (() => void) | undefined;
  /** At the end of this turn it is asked for what is wanted. */
  #asks = false;

  constructor({ id, name, connection, classes, register }: ClientJobOptions) {
    this.id = id;
    this.name = name;
    this.#connection = connection;
    this.#register = register;
    this.#classes = new ClassRegistry(classes);
  }

  async details(): Promise<JobDetails> {
    return this.#withFeedFailure(await this.#connection.call("job", { job: this.id }));
  }

  async cancel(): Promise<void> {
    await this.#connection.call("cancel", { job: this.id });
  }

  /** Cancels for a client that closes: asks once, and waits for the end of the job; each for so long at the most. */
  async leave(deadlineMs: number): Promise<void> {
    await this.#connection.use((jobManager) => jobManager.call("cancel", { job: this.id }, { deadlineMs }));
    await this.#over(deadlineMs);
  }

  /** What is asked of its checkpoints. */
  readonly snapshots: SnapshotControl = {
    overview: () => this.#connection.call("checkpoints", { job: this.id }),
    trigger: async () => (await this.#connection.call("triggerCheckpoint", { job: this.id })).checkpoint,
    savepoint: async (target) => {
      return (await this.#connection.call("savepoint", { job: this.id, ...(target === undefined ? {} : { target }) })).location;
    },
    stop: async (how) => (await this.#connection.call("stopWithSavepoint", { job: this.id, ...how })).location,
    rescale: (parallelism) => this.#connection.call("rescale", { job: this.id, parallelism }),
  };

  async queryState(name: string, key: unknown): Promise<unknown> {
    const attachments = [new Uint8Array(new BatchEncoder({ classes: this.#classes }).encodeRow(key, Number.NaN))];
    const { reply, attachments: values } = await this.#connection.callForAttachments("queryState", { job: this.id, name }, attachments);
    if (!reply.declared) {
      throw new NotFoundError(`no running task of job "${this.name}" has a keyed state ${JSON.stringify(name)} for this key.`);
    }
    const [value] = values;
    return value === undefined ? undefined : new BatchDecoder({ classes: this.#classes }).decodeRow(value).row;
  }

  profile(vertex: VertexId, subtask: number, durationMs: number): Promise<TaskProfile> {
    return this.#connection.call("profile", { job: this.id, vertex, subtask, durationMs });
  }

  async metricsHistory(): Promise<readonly MetricsReport[]> {
    return (await this.#connection.call("metricsHistory", { job: this.id })).reports;
  }

  watch(listener: JobListener): () => void {
    // A listener of its own, so that one object can listen twice.
    const own = { ...listener };
    this.#listeners.add(own);
    const last = this.#last;
    const lastCheckpoints = this.#lastCheckpoints;
    if (lastCheckpoints !== undefined) queueMicrotask(() => this.#listeners.has(own) && own.checkpoints?.(lastCheckpoints));
    if (last !== undefined) queueMicrotask(() => this.#listeners.has(own) && own.status?.(last));
    this.#reconsider();
    return () => {
      if (this.#listeners.delete(own)) this.#reconsider();
    };
  }

  openResult(name: string): Promise<ResultReader> {
    return this.#connection.begin("openResult", { job: this.id, name }, ({ subtasks, skip, from }) => {
      const stream: ResultStream = new ResultStream({
        name: `result "${name}" of job "${this.name}"`,
        subtasks,
        skip,
        from,
        classes: this.#classes,
        grant: (subtask, granted) =>
          this.#connection.present?.notify("grantResult", { job: this.id, name, subtask, attempt: 0, granted }),
        onEnd: (taken) => {
          if (this.#results.get(name) === stream) this.#results.delete(name);
          void this.#connection.present?.call("closeResult", { job: this.id, name, taken }).catch(() => undefined);
          this.#reconsider();
        },
      });
      this.#results.set(name, stream);
      this.#reconsider();
      stream.start();
      if (this.#last !== undefined) this.#tellEnd(this.#last);
      return stream;
    });
  }

  /** The job runs and is cancelled when this client is lost. */
  get isAttached(): boolean {
    return this.#attached && !this.#ended;
  }

  /** Somebody waits for something of this job. */
  get isBusy(): boolean {
    return this.#release !== undefined;
  }

  /** From now on the end of the job is waited for. */
  attach(): void {
    this.#attached = true;
    this.#reconsider();
  }

  /** Sends the rows of a feed as the job takes them. A feed that fails ends the job, and is the reason that this client then gives. */
  feed(name: string, feed: RowFeed, segmentBytes: number): void {
    const sender: FeedSender = new FeedSender({
      feed,
      classes: this.#classes,
      segmentBytes,
      send: (attempt, sequence, segment) =>
        this.#connection.present?.notify("feedSegments", { job: this.id, name, subtask: 0, attempt, sequence }, [segment]),
      onFailure: (error) => {
        this.#feedFailure ??= error;
        this.cancel().catch(() => undefined);
      },
      onEnd: () => {
        this.#feeds.delete(name);
        this.#reconsider();
      },
    });
    this.#feeds.set(name, sender);
    this.#reconsider();
    sender.start();
  }

  /** The feed of this name, while it sends. */
  feedOf(name: string): FeedSender | undefined {
    return this.#feeds.get(name);
  }

  /** The result of this name, while it is read. */
  resultOf(name: string): ResultStream | undefined {
    return this.#results.get(name);
  }

  /** The JobManager said how the job is. */
  status(told: JobDetails): void {
    // A final state is the last word, whatever arrives late.
    if (this.#ended) return;
    const details = this.#withFeedFailure(told);
    this.#last = details;
    for (const listener of [...this.#listeners]) listener.status?.(details);
    this.#tellEnd(details);
    this.#reconsider();
  }

  metrics(report: MetricsReport): void {
    for (const listener of [...this.#listeners]) listener.metrics?.(report);
  }

  log(lines: readonly LogLine[]): void {
    for (const listener of [...this.#listeners]) listener.log?.(lines);
  }

  checkpoints(overview: CheckpointOverview): void {
    this.#lastCheckpoints = overview;
    for (const listener of [...this.#listeners]) listener.checkpoints?.(overview);
  }

  /** Resolves when the job has ended, or after `deadlineMs`. */
  async #over(deadlineMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    let stop: (() => void) | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadlineMs);
      stop = this.watch({ status: ({ state }) => isFinal(state) && resolve(), lost: () => resolve() });
    });
    clearTimeout(timer);
    stop?.();
  }

  /** The connection broke and may come back: what this job was to tell it forgets. */
  interrupted(): void {
    this.#watched.clear();
    for (const [name, stream] of this.#results) this.#positions.set(name, stream.interrupt());
    for (const feed of this.#feeds.values()) feed.interrupt();
  }

  /** The connection is back: asks anew for what somebody wants, and goes on reading where it was. */
  resumed(): void {
    if (this.#release === undefined) return;
    this.#askToBeTold();
    for (const [name, stream] of this.#results) void this.#reopen(name, stream);
    for (const feed of this.#feeds.values()) feed.resume();
  }

  async #reopen(name: string, stream: ResultStream): Promise<void> {
    const from = this.#positions.get(name);
    if (from === undefined) return;
    try {
      const request = { job: this.id, name, from };
      // Once: should this connection break, too, the next one asks.
      const { deadlineMs } = this.#connection;
      const opened = await this.#connection.use((jobManager) => jobManager.call("openResult", request, { deadlineMs }));
      this.#positions.delete(name);
      if (this.#results.get(name) === stream) stream.resume(opened, from);
    } catch (error) {
      // Interrupted once more: the next connection tries again.
      if (!(error instanceof ConnectionError)) stream.fail(error as Error);
    }
  }

  /** The connection is lost, or this program closes it: nothing more will be heard. */
  lost(error: Error, closed = false): void {
    const [feeds, streams, listeners] = [[...this.#feeds.values()], [...this.#results.values()], [...this.#listeners]];
    // Emptied first: while one is told, the others must not ask for a new connection.
    this.#feeds.clear();
    this.#results.clear();
    this.#listeners.clear();
    this.#attached = false;
    this.#reconsider();
    for (const feed of feeds) feed.stop();
    for (const stream of streams) stream.fail(error);
    // Who listens to a job that has ended has heard everything.
    if (this.#ended) return;
    for (const listener of listeners) {
      if (closed && listener.closed !== undefined) listener.closed();
      else listener.lost?.(error);
    }
  }

  get #ended(): boolean {
    return this.#last !== undefined && isFinal(this.#last.state);
  }

  #tellEnd(details: JobDetails): void {
    if (!isFinal(details.state)) return;
    for (const feed of [...this.#feeds.values()]) feed.stop();
    if (details.state === "FINISHED") return;
    for (const stream of [...this.#results.values()]) stream.fail(outcome(details)!);
  }

  /** Takes or gives back the hold on the connection, and asks the JobManager to tell what somebody wants to hear. */
  #reconsider(): void {
    const waitsForEnd = !this.#ended && (this.#attached || this.#listeners.size > 0);
    if (!waitsForEnd && this.#results.size === 0 && this.#feeds.size === 0) {
      this.#watched.clear();
      this.#release?.();
      this.#release = undefined;
      return;
    }
    this.#register();
    this.#release ??= this.#connection.hold();
    if (this.#ended || this.#asks || this.#wanted.every((topic) => this.#watched.has(topic))) return;
    // Once for all who come in this turn: who wants status and lines must not hear of the end before the lines that were said before it.
    this.#asks = true;
    setImmediate(() => {
      this.#asks = false;
      this.#askToBeTold();
    });
  }

  /** What somebody wants to hear. */
  get #wanted(): readonly JobTopic[] {
    const listeners = [...this.#listeners];
    return [
      "status",
      ...(listeners.some(({ metrics }) => metrics !== undefined) ? (["metrics"] as const) : []),
      ...(listeners.some(({ log }) => log !== undefined) ? (["log"] as const) : []),
      ...(listeners.some(({ checkpoints }) => checkpoints !== undefined) ? (["checkpoints"] as const) : []),
    ];
  }

  #askToBeTold(): void {
    if (this.#release === undefined || this.#ended) return;
    for (const topic of this.#wanted) this.#watched.add(topic);
    const topics = [...this.#watched];
    this.#connection
      .use((jobManager) => jobManager.call("watchJob", { job: this.id, topics }, { deadlineMs: this.#connection.deadlineMs }))
      .catch((error: Error) => {
        // Interrupted: it is asked again when the connection is back. One that is lost is told by the connection itself.
        if (!(error instanceof ConnectionError) || !this.#connection.isInterrupted) this.lost(error);
      });
  }

  /** A job whose feed failed was cancelled for that reason: to this program it failed. */
  #withFeedFailure(details: JobDetails): JobDetails {
    if (this.#feedFailure === undefined) return details;
    if (details.state === "CANCELED") return { ...details, state: "FAILED", failure: toWire(this.#feedFailure) };
    return details.state === "CANCELLING" ? { ...details, state: "FAILING", failure: toWire(this.#feedFailure) } : details;
  }
}
