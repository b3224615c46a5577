/**
 * Threads that wait for work. To start a thread and load the engine into it takes about a hundred milliseconds, so a TaskManager keeps a
 * few started ahead, and a deployment costs none of it. A thread runs one subtask and ends: whatever user code left in it goes with it.
 *
 * All threads are alike: the heap limit that V8 wants to know at the start follows from the whole slot's (see `slot-heap.ts`).
 *
 * Bounds: at most `spares` threads wait; one is started at a time, in the background; threads at work are bounded by the slots of the
 * TaskManager and what the JobManager deploys there. Spares do not keep the process alive.
 */
import { MessageChannel, Worker } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";
import { TASK_METRICS_BYTES, taskMetricsArray } from "../../core/runtime/metrics.ts";
import { createBell, raiseFlag, ringBell } from "../exchange/doorbell.ts";
import type { BellDescriptor } from "../exchange/doorbell.ts";
import type { TaskAssignment, ThreadBirth, ThreadCommand, ThreadReport } from "./thread-messages.ts";

/**
 * V8's limit for a thread, as a multiple of the slot's heap limit. A task is held to the slot's limit by its own guard, between batches;
 * V8's limit is for what the guard can't see, one long call. It has to leave room for one structure to grow in between: a Map or Set that
 * doubles holds three times its table for a moment, and if that meets V8's limit it is not the thread that ends but the whole process
 * (measured: with 1, a Map of numbers ended the TaskManager each time; with 3, only its task).
 */
const HEADROOM = 3;
/** With this much, the largest Map that V8 allows (2^24 entries) fits, and one call that fills a Map ends in a RangeError. */
const LEAST_HEAP_BYTES = 1024 * 1024 * 1024;

/** How long a thread that is to end may take to load modules, and how often it is looked at meanwhile. */
const LOADING_MS = 10_000;
const LOOK_MS = 20;

/** How a thread went: its exit code, and the error that ended it if there was one. */
export interface ThreadExit {
  readonly code: number;
  readonly error?: Error;
}

/** Hears a thread that runs a subtask. */
export type ThreadListener = (report: ThreadReport) => void;

/** A worker thread of this process, good for one subtask. In the hands of the main thread. */
export class Thread {
  readonly bell: BellDescriptor = createBell();
  /** The metrics of whatever runs in it. */
  readonly metrics: Float64Array;
  /** Settles when the thread is gone and everything that it said has been heard. Never rejects. */
  readonly exited: Promise<ThreadExit>;
  /** True once the engine is loaded. */
  ready = false;
  readonly #worker: Worker;
  readonly #commands: MessagePort;
  readonly #linesOnTheWay = new Int32Array(new SharedArrayBuffer(4));
  readonly #loading = new Int32Array(new SharedArrayBuffer(4)).fill(1);
  readonly #snapshotBytesOnTheWay = new Int32Array(new SharedArrayBuffer(4));
  #listener: ThreadListener | undefined;
  #onReady: () => void = () => {};
  readonly #loaded = new Promise<void>((resolve) => (this.#onReady = resolve));

  /** @param heapBytes heap limit of the slot; 0: none but V8's own. */
  constructor(heapBytes: number) {
    const metrics = new SharedArrayBuffer(TASK_METRICS_BYTES);
    this.metrics = taskMetricsArray(metrics);
    const { port1, port2 } = new MessageChannel();
    this.#commands = port1;
    const birth: ThreadBirth = {
      bell: this.bell,
      commands: port2,
      metrics,
      linesOnTheWay: this.#linesOnTheWay.buffer as SharedArrayBuffer,
      loading: this.#loading.buffer as SharedArrayBuffer,
      snapshotBytesOnTheWay: this.#snapshotBytesOnTheWay.buffer as SharedArrayBuffer,
    };
    this.#worker = new Worker(new URL("./task-worker.js", import.meta.url), {
      workerData: birth,
      transferList: [port2],
      stdout: true,
      stderr: true,
      execArgv: [],
      ...(heapBytes === 0
        ? {}
        : { resourceLimits: { maxOldGenerationSizeMb: Math.ceil(Math.max(LEAST_HEAP_BYTES, heapBytes * HEADROOM) / (1024 * 1024)) } }),
    });
    // The thread posts what is written there as lines; the streams themselves stay empty, and unread they would grow.
    this.#worker.stdout.resume();
    this.#worker.stderr.resume();
    this.#worker.on("message", (report: ThreadReport) => this.#hear(report));
    this.exited = new Promise((resolve) => {
      let error: Error | undefined;
      this.#worker.on("error", (thrown: unknown) => (error = thrown instanceof Error ? thrown : new Error(String(thrown))));
      this.#worker.on("exit", (code) => {
        this.#commands.close();
        resolve(error === undefined ? { code } : { code, error });
      });
    });
    this.#worker.unref();
  }

  /** Resolves when the engine is loaded, or the thread is gone. */
  get settled(): Promise<void> {
    if (this.ready) return Promise.resolve();
    return Promise.race([this.#loaded, this.exited.then(() => undefined)]);
  }

  /** Starts the thread's subtask; once. */
  run(assignment: TaskAssignment, listener: ThreadListener): void {
    this.#listener = listener;
    const { restored } = assignment;
    // State is given away, not copied.
    const given = new Set((restored?.ranges ?? []).map(({ bytes }) => bytes.buffer).filter((buffer) => buffer instanceof ArrayBuffer));
    this.#commands.postMessage({ kind: "run", assignment } satisfies ThreadCommand, [...given]);
    raiseFlag(this.bell);
  }

  /** Asks something of the subtask, once it has been started. After `cancel` it says `ended` if it can. */
  tell(command: Exclude<ThreadCommand, { readonly kind: "run" }>): void {
    this.#commands.postMessage(command);
    raiseFlag(this.bell);
  }

  /** So many bytes of its snapshots are written: it may hand over more. */
  written(bytes: number): void {
    Atomics.sub(this.#snapshotBytesOnTheWay, 0, bytes);
    ringBell(this.bell);
  }

  /**
   * Ends the thread wherever it is. The end shows in `exited`; native code that runs is waited for. A thread that loads modules, the
   * engine's or the job's, is given the time to do so: Node never closes the files that a thread was about to read (measured: 6 handles
   * per thread, up to 30).
   */
  terminate(waitMs: number = LOADING_MS): void {
    if (Atomics.load(this.#loading, 0) === 0 || waitMs <= 0) this.terminateNow();
    else setTimeout(() => this.terminate(waitMs - LOOK_MS), LOOK_MS).unref();
  }

  /** The same without waiting, for a process that ends. */
  terminateNow(): void {
    void this.#worker.terminate();
  }

  #hear(report: ThreadReport): void {
    if (report.kind === "line") Atomics.sub(this.#linesOnTheWay, 0, 1);
    if (report.kind === "ready") {
      this.ready = true;
      this.#onReady();
    } else if (this.#listener !== undefined) {
      this.#listener(report);
    } else if (report.kind === "line") {
      process.stderr.write(`${report.line.text}\n`);
    }
  }
}

export interface ThreadPoolOptions {
  /** Heap limit of a slot, bytes. */
  readonly heapBytes: number;
  /** Threads to keep ready. */
  readonly spares: number;
  /** How long after a thread was taken a new one is started, so that it doesn't compete with the task that begins; default 100 ms. */
  readonly refillDelayMs?: number;
}

const DEFAULT_REFILL_DELAY_MS = 100;

/** The spare threads of a TaskManager. Its owner closes it. */
export class ThreadPool {
  readonly #options: ThreadPoolOptions;
  readonly #spares: Thread[] = [];
  #refilling: NodeJS.Timeout | undefined;
  #starting = false;
  #closed = false;

  constructor(options: ThreadPoolOptions) {
    this.#options = options;
  }

  /** Threads that are ready to be taken now. */
  get ready(): number {
    return this.#spares.filter((thread) => thread.ready).length;
  }

  /** Starts to fill the pool in the background. */
  fill(): void {
    if (this.#closed || this.#starting || this.#spares.length >= this.#options.spares) return;
    this.#starting = true;
    const thread = this.#start();
    this.#spares.push(thread);
    void thread.exited.then(() => this.#drop(thread));
    void thread.settled.then(() => {
      this.#starting = false;
      // A thread that dies while it loads would die again: the next deployment finds out why.
      if (thread.ready) this.fill();
    });
  }

  /** A thread for one subtask: a ready one if there is one, else one that is still starting. The caller sees to its end. */
  take(): Thread {
    const ready = this.#spares.findIndex((thread) => thread.ready);
    const index = ready >= 0 ? ready : this.#spares.length - 1;
    const [spare] = index >= 0 ? this.#spares.splice(index, 1) : [];
    // The first one taken starts the clock, not the last: under a steady stream of short jobs the pool must not run dry.
    this.#refilling ??= setTimeout(() => {
      this.#refilling = undefined;
      this.fill();
    }, this.#options.refillDelayMs ?? DEFAULT_REFILL_DELAY_MS).unref();
    return spare ?? this.#start();
  }

  /** Takes back a thread that was taken and did not run anything. */
  giveBack(thread: Thread): void {
    if (this.#closed) thread.terminateNow();
    else if (thread.ready && this.#spares.length < this.#options.spares) this.#spares.push(thread);
    else thread.terminate();
  }

  /** Ends the spares; resolves when they are gone. Threads that were taken are their takers'. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#refilling);
    const spares = this.#spares.splice(0);
    for (const thread of spares) thread.terminateNow();
    await Promise.all(spares.map((thread) => thread.exited));
  }

  #start(): Thread {
    return new Thread(this.#options.heapBytes);
  }

  #drop(thread: Thread): void {
    const index = this.#spares.indexOf(thread);
    if (index >= 0) this.#spares.splice(index, 1);
  }
}
