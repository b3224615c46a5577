/**
 * One subtask, seen from the main thread: the states it goes through, and the thread that runs it.
 *
 *     DEPLOYING ─▶ INITIALIZING ─▶ RUNNING ─▶ FINISHED
 *          └──────────────┴────────────┴────▶ CANCELING ─▶ CANCELED
 *          └──────────────┴────────────┴────▶ FAILED
 *
 * Invariants: there is one final state, and it is told when the thread is gone and its results have left, so whoever hears it may reuse
 * what the task held; the final state comes in any case, whatever user code does: a thread that doesn't stop in time is ended, and a
 * thread that can't be ended (native code without end) ends the TaskManager.
 *
 * Who fails it: the thread itself (user code threw), the thread's death (out of memory, process.exit), its host (a channel broke, the
 * watchdog). The first reason is the one that is told.
 */
import {
  ConflictError, DeadlineError, type DreyError, InvariantError, NotFoundError, OutOfMemoryError, UserFunctionError, fromWire, toWire,
} from "../../core/types/errors.ts";
import type { WireError } from "../../core/types/errors.ts";
import { formatDuration } from "../../core/types/duration.ts";
import type { TaskState } from "../../core/graph/job-status.ts";
import { options } from "../../core/types/options.ts";
import { metricIndex } from "../../core/runtime/metrics.ts";
import type { TaskDeployment, TaskStateChange } from "../protocol/messages.ts";
import type { Thread, ThreadExit } from "./thread-pool.ts";
import { subtaskName } from "./thread-messages.ts";
import type {
  CheckpointReport, ConsoleLine, StateAnswer, TaskAssignment, ThreadCommand, ThreadProfile, ThreadReport,
} from "./thread-messages.ts";

/** A thread that said its last word ends by itself; after so long it is helped. */
const GOODBYE_MS = 1_000;
/** V8 ends a thread within milliseconds unless native code runs; longer than this, it is taken for endless. */
const STUCK_MS = 30_000;

/** A thread that has not told its profile so long after the time that it was to last does not come round. */
const PROFILE_GRACE_MS = 20_000;

const TURNS = metricIndex("turns");

export interface TaskThreadOptions {
  readonly deployment: TaskDeployment;
  readonly thread: Thread;
  /** How long a cancelled task may go on before its thread is ended. */
  readonly cancellationTimeoutMs: number;
  /** Fail the task when its thread makes no turn for so long while it runs; 0: never. */
  readonly watchdogTimeoutMs: number;
  /** Heap limit of the slot, for messages. */
  readonly heapBytes: number;
  /** Resolves when what the finished task wrote for clients has been sent. */
  readonly drained: () => Promise<void>;
  /** Hears every change, the final one last. */
  readonly onState: (change: TaskStateChange) => void;
  readonly onLine: (line: ConsoleLine) => void;
  /** Hears what the thread says of checkpoints, in order, before its final state. */
  readonly onCheckpoint: (report: CheckpointReport) => void;
  /** The thread can't be ended. */
  readonly onStuck: (error: Error) => void;
  readonly stuckMs?: number;
}

type Outcome = { readonly state: "FINISHED" | "CANCELED" } | { readonly state: "FAILED"; readonly error: WireError };

/** The life of one execution. In the hands of the main thread. */
export class TaskThread {
  readonly deployment: TaskDeployment;
  readonly thread: Thread;
  /** Settles when the final state is known and the thread is gone. Never rejects. */
  readonly ended: Promise<TaskState>;
  readonly #options: TaskThreadOptions;
  readonly #name: string;
  readonly #timers = new Set<NodeJS.Timeout>();
  #state: TaskState = "DEPLOYING";
  #started = false;
  #outcome: Outcome | undefined;
  #canceling: () => void = () => {};
  readonly #canceled: Promise<void>;
  #lastQuestion = 0;
  readonly #questions = new Map<number, (answer: StateAnswer | undefined) => void>();
  /** While it is profiled: hears when that has begun, and what was seen. */
  #profiling: { readonly begun: () => void; readonly ended: (profile: ThreadProfile | undefined) => void } | undefined;
  #turns = -1;
  #turnedAtMs = 0;

  constructor(taskOptions: TaskThreadOptions) {
    this.#options = taskOptions;
    this.deployment = taskOptions.deployment;
    this.thread = taskOptions.thread;
    this.#name = subtaskName(this.deployment.vertex, this.deployment.execution.subtask);
    this.#canceled = new Promise((resolve) => (this.#canceling = resolve));
    this.ended = this.#live();
    this.#tell("DEPLOYING", Date.now());
  }

  get state(): TaskState {
    return this.#state;
  }

  /** `map -> filter (subtask 1 of 4)`. */
  get name(): string {
    return this.#name;
  }

  /** True while the thread runs, or may run. */
  get live(): boolean {
    return this.#outcome === undefined;
  }

  /** Starts the subtask in its thread; nothing happens when it was cancelled or failed meanwhile. */
  start(assignment: TaskAssignment): void {
    if (this.#started || this.#outcome !== undefined || this.#state === "CANCELING") return;
    this.#started = true;
    this.thread.run(assignment, (report) => this.#hear(report));
  }

  /** Asks the task to stop; ends its thread if it doesn't in time. The final state tells. */
  cancel(): void {
    if (this.#state === "CANCELING" || this.#final) return;
    this.#tell("CANCELING", Date.now());
    this.#canceling();
    if (this.#outcome !== undefined) return;
    if (!this.#started) return this.#end({ state: "CANCELED" });
    this.thread.tell({ kind: "cancel" });
    this.#after(this.#options.cancellationTimeoutMs, () => this.#end({ state: "CANCELED" }));
  }

  /** Passes on what concerns a checkpoint. A task that does not run yet, or not any more, has no part in it. */
  tell(command: Extract<ThreadCommand, { readonly kind: "trigger" | "completed" | "aborted" }>): void {
    if (this.#started && this.#outcome === undefined) this.thread.tell(command);
  }

  /** Asks for the state of a key; undefined when the task does not run (any more), or does not answer in time. */
  ask(name: string, key: Uint8Array, deadlineMs: number): Promise<StateAnswer | undefined> {
    if (this.#state !== "RUNNING" || this.#outcome !== undefined) return Promise.resolve(undefined);
    const id = ++this.#lastQuestion;
    return new Promise((resolve) => {
      this.#questions.set(id, resolve);
      this.thread.tell({ kind: "query", id, name, key });
      this.#after(deadlineMs, () => this.#answered(id, undefined));
    });
  }

  #answered(id: number, answer: StateAnswer | undefined): void {
    this.#questions.get(id)?.(answer);
    this.#questions.delete(id);
  }

  /**
   * Watches for so long where the thread spends its time.
   * @throws NotFoundError when it does not run, or ends meanwhile; ConflictError while it is profiled; DeadlineError when it hangs.
   */
  async profile(durationMs: number): Promise<ThreadProfile> {
    if (this.#state !== "RUNNING" || this.#outcome !== undefined) {
      throw new NotFoundError(`${this.#name} does not run (${this.#state}); only a running task can be profiled.`);
    }
    if (this.#profiling !== undefined) throw new ConflictError(`${this.#name} is being profiled already; wait until that has ended.`);
    let hangs = false;
    const profile = await new Promise<ThreadProfile | undefined>((ended) => {
      const begun = (): void => this.#after(durationMs, () => this.thread.tell({ kind: "profile", on: false }));
      this.#profiling = { begun, ended };
      this.#after(durationMs + PROFILE_GRACE_MS, () => {
        hangs = true;
        ended(undefined);
      });
      this.thread.tell({ kind: "profile", on: true });
    });
    this.#profiling = undefined;
    if (hangs) {
      throw new DeadlineError(
        `${this.#name} did not come round within ${formatDuration(PROFILE_GRACE_MS)} after its profile: a function of it does not return.`,
        { details: this.#whose },
      );
    }
    if (profile === undefined) throw new NotFoundError(`${this.#name} ended while it was profiled.`);
    if (profile.error !== undefined) throw fromWire(profile.error);
    return profile;
  }

  /** Ends the task's thread at once; the task has failed with `error`, unless it is being cancelled or at its end already. */
  fail(error: Error): void {
    if (this.#final || this.#outcome !== undefined) return;
    this.#end(this.#state === "CANCELING" ? { state: "CANCELED" } : { state: "FAILED", error: toWire(error) });
  }

  /** Ends the task's thread at once and without words; its final state is CANCELED. For when nobody listens any more. */
  kill(): void {
    if (this.#final) return;
    this.#state = "CANCELING";
    this.#canceling();
    this.#end({ state: "CANCELED" });
  }

  /** Looks whether the task's loop still comes round. Call it now and then. @param nowMs a monotonic clock. */
  watch(nowMs: number): void {
    const { watchdogTimeoutMs } = this.#options;
    const turns = this.thread.metrics[TURNS] as number;
    if (this.#state !== "RUNNING" || turns !== this.#turns) {
      this.#turns = turns;
      this.#turnedAtMs = nowMs;
    } else if (watchdogTimeoutMs > 0 && nowMs - this.#turnedAtMs > watchdogTimeoutMs) {
      this.fail(
        new UserFunctionError(
          `${this.#name} hangs: its thread made no turn for ${formatDuration(nowMs - this.#turnedAtMs)}. ` +
            `Look for an endless loop in its functions, or raise ${options.watchdogTimeout.key}.`,
          { details: this.#whose },
        ),
      );
    }
  }

  get #final(): boolean {
    return this.#state === "FINISHED" || this.#state === "CANCELED" || this.#state === "FAILED";
  }

  get #whose(): Readonly<Record<string, unknown>> {
    const { vertex, execution } = this.deployment;
    return { vertex: vertex.id, vertexName: vertex.name, subtask: execution.subtask };
  }

  async #live(): Promise<TaskState> {
    const exit = await this.thread.exited;
    for (const timer of this.#timers) clearTimeout(timer);
    for (const id of [...this.#questions.keys()]) this.#answered(id, undefined);
    this.#profiling?.ended(undefined);
    const outcome = (this.#outcome ??= this.#deathOf(exit));
    if (outcome.state === "FINISHED") await Promise.race([this.#options.drained(), this.#canceled]);
    // Cancelled while its rows were on their way: they are not wanted any more.
    const state = outcome.state === "FINISHED" && this.#state === "CANCELING" ? "CANCELED" : outcome.state;
    this.#tell(state, Date.now(), outcome.state === "FAILED" ? outcome.error : undefined);
    return state;
  }

  #hear(report: ThreadReport): void {
    switch (report.kind) {
      case "ready":
        return;
      case "line":
        return this.#options.onLine(report.line);
      case "answer":
        return this.#answered(report.id, report);
      case "profiling":
        return this.#profiling?.begun();
      case "profiled":
        return this.#profiling?.ended(report);
      case "snapshot":
      case "acknowledge":
      case "decline":
      case "requestCheckpoint":
        return this.#options.onCheckpoint(report);
      case "state":
        if (this.#state === "DEPLOYING" || this.#state === "INITIALIZING") this.#tell(report.state, report.atMs);
        return;
      case "ended": {
        const { state, error } = report;
        // What goes wrong in a task that is being cancelled is of no interest.
        const failed = state === "FAILED" && this.#state !== "CANCELING";
        this.#outcome ??= failed
          ? { state: "FAILED", error: error ?? toWire(new InvariantError(`${this.#name} failed without a reason.`)) }
          : { state: state === "FINISHED" ? "FINISHED" : "CANCELED" };
        return this.#after(GOODBYE_MS, () => this.#terminate());
      }
    }
  }

  #end(outcome: Outcome): void {
    this.#outcome ??= outcome;
    this.#terminate();
  }

  #terminate(): void {
    this.thread.terminate();
    const { stuckMs = STUCK_MS } = this.#options;
    this.#after(stuckMs, () =>
      this.#options.onStuck(
        new DeadlineError(
          `The thread of ${this.#name} could not be ended within ${formatDuration(stuckMs)}: it runs native code that does not return.`,
          {
            details: this.#whose,
          },
        ),
      ),
    );
  }

  #after(ms: number, what: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      what();
    }, ms);
    this.#timers.add(timer);
  }

  /** What it means that the thread is gone without a word. */
  #deathOf({ code, error }: ThreadExit): Outcome {
    if (this.#state === "CANCELING") return { state: "CANCELED" };
    return { state: "FAILED", error: toWire(this.#reasonOf(code, error)) };
  }

  #reasonOf(code: number, error: Error | undefined): DreyError {
    const details = this.#whose;
    if (error === undefined) {
      return new UserFunctionError(
        `${this.#name} ended its thread with exit code ${code} and without a word. ` +
          "User code must not end the process; throw an error to fail the task.",
        {
          details,
        },
      );
    }
    if ((error as { code?: unknown }).code === "ERR_WORKER_OUT_OF_MEMORY") {
      const megabytes = Math.round(this.#options.heapBytes / (1024 * 1024));
      return new OutOfMemoryError(
        `${this.#name} needs more heap than the ${megabytes} MB of its slot. ` +
          `Raise ${options.taskManagerHeap.key}, or keep less state per subtask (a higher parallelism spreads it).`,
        { details: { ...details, option: options.taskManagerHeap.key } },
      );
    }
    if (!this.thread.ready)
      return new InvariantError(`The thread of ${this.#name} could not be started: ${error.name}: ${error.message}.`, {
        cause: error,
        details,
      });
    return new UserFunctionError(`${this.#name} ended its thread: ${error.name}: ${error.message}`, { cause: error, details });
  }

  #tell(state: TaskState, atMs: number, error?: WireError): void {
    this.#state = state;
    const { execution } = this.deployment;
    this.#options.onState({ execution, state, atMs, ...(error === undefined ? {} : { error }) });
  }
}
