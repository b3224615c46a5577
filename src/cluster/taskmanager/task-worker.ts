/**
 * The thread of one subtask. It loads the engine, waits for an assignment, brings the shipped code to life, runs core's Task on rings, and
 * ends. It owns no socket: whatever leaves the process goes through rings and reports to the main thread.
 *
 * Invariants: it says `ended` exactly once, as its last word, unless it is ended from outside; a command is obeyed within a turn of the
 * task's loop, parked or not (the bell's flag wakes it); what user code writes to the console is posted before the next statement runs.
 *
 * Trusts the main thread to end it when user code never comes back, and to keep its rings until it is gone.
 */
import { receiveMessageOnPort, parentPort, workerData } from "node:worker_threads";
import { ClassRegistry } from "../../core/data/classes.ts";
import type { TaskSpec } from "../../core/graph/job-graph.ts";
import type { Doorbell } from "../../core/runtime/channel.ts";
import type { CheckpointHost } from "../../core/runtime/checkpoint.ts";
import { Task } from "../../core/runtime/task.ts";
import type { TaskHost } from "../../core/runtime/task.ts";
import { CheckpointError, InvariantError, UserFunctionError, toWire } from "../../core/types/errors.ts";
import type { WireError } from "../../core/types/errors.ts";
import { Configuration } from "../../core/types/options.ts";
import { decodeBundle } from "../code/bundle.ts";
import type { CodeBundle } from "../code/bundle.ts";
import { revive } from "../code/revive.ts";
import { ThreadDoorbell, controlWord, ringBell, takeFlag, waitForBell } from "../exchange/doorbell.ts";
import { RingInput, RingOutput } from "../exchange/ring-channel.ts";
import { ConsoleLines } from "./console-lines.ts";
import { failureReport } from "./failure-report.ts";
import { SlotHeap } from "./slot-heap.ts";
import { taskRestore } from "./restored-state.ts";
import { ThreadProfiler } from "./thread-profiler.ts";
import { SNAPSHOT_BYTES, snapshotFile, subtaskName } from "./thread-messages.ts";
import { answerOf } from "./state-query.ts";
import type { StateAnswer, StateQuestion, TaskAssignment, ThreadBirth, ThreadCommand, ThreadReport } from "./thread-messages.ts";

/** A waiting task looks around after so long even if nobody rings: its count of turns shows that it lives. */
const LOOK_MS = 500;

const birth = workerData as ThreadBirth;
/** While it is 1, whoever wants to end this thread waits: Node never closes files that a thread was about to read. */
const loading = new Int32Array(birth.loading);
const endThread = process.exit.bind(process);
const report = (what: ThreadReport): void => parentPort?.postMessage(what);

/** What the thread is asked by the main thread, wherever it is when it is asked. */
class Commands {
  canceled = false;
  readonly whenCanceled: Promise<void>;
  #cancel: () => void = () => {};
  readonly #run: (assignment: TaskAssignment) => void;
  /** Set while it can take part in checkpoints. */
  task: Task | undefined;
  /** The task has come to its end, and will say so when it is closed. */
  over = false;
  /** Answers questions about its state. */
  answer: (question: StateQuestion) => StateAnswer = ({ id }) => ({ kind: "answer", id, declared: false });
  /** The job's code, for profiles. */
  bundle: CodeBundle | undefined;
  readonly #profiler = new ThreadProfiler();

  constructor(run: (assignment: TaskAssignment) => void) {
    this.#run = run;
    this.whenCanceled = new Promise((resolve) => (this.#cancel = resolve));
    // The listening port also keeps the thread alive while user code awaits something that does not.
    birth.commands.on("message", (command: ThreadCommand) => this.#obey(command));
  }

  /** Obeys what came meanwhile. @returns true once the task is cancelled. */
  poll(): boolean {
    if (takeFlag(birth.bell)) {
      for (let got = receiveMessageOnPort(birth.commands); got !== undefined; got = receiveMessageOnPort(birth.commands)) {
        this.#obey(got.message as ThreadCommand);
      }
    }
    return this.canceled;
  }

  #obey(command: ThreadCommand): void {
    switch (command.kind) {
      case "run":
        return this.#run(command.assignment);
      case "cancel":
        this.canceled = true;
        return this.#cancel();
      case "trigger":
        if (this.task !== undefined) return this.task.triggerCheckpoint(command.trigger);
        // Its end is on its way, and tells the JobManager that all its records went before the barrier. To decline would fail the
        // checkpoint, and with it, where no failure is tolerated, the job.
        if (this.over) return;
        return declineCheckpoint(command.trigger.checkpoint, new CheckpointError("the task does not run yet."));
      case "query":
        return report(this.answer(command));
      case "profile":
        return this.#profile(command.on);
      case "completed":
        return this.task?.checkpointCompleted(command.checkpoint);
      case "aborted":
        return this.task?.checkpointAborted(command.checkpoint);
    }
  }

  #profile(on: boolean): void {
    try {
      if (!on) return report({ kind: "profiled", ...this.#profiler.stop(this.bundle) });
      this.#profiler.start();
      report({ kind: "profiling" });
    } catch (error) {
      report({ kind: "profiled", durationMs: 0, samples: 0, frames: [], error: toWire(error) });
    }
  }
}

/** Parks the thread; looks around now and then. */
class PatientDoorbell implements Doorbell {
  readonly #bell = new ThreadDoorbell(birth.bell);

  park(timeoutMs: number, ready: () => boolean): void {
    this.#bell.park(Math.min(timeoutMs, LOOK_MS), ready);
  }
}

/** One subtask in this thread. */
class Subtask {
  readonly #assignment: TaskAssignment;
  readonly #lines: ConsoleLines;
  #bundle: CodeBundle | undefined;
  #over = false;

  constructor(assignment: TaskAssignment, lines: ConsoleLines) {
    this.#assignment = assignment;
    this.#lines = lines;
    process.on("uncaughtException", (error) => this.fail(error, "outside of its functions (an uncaught exception)"));
    process.on("unhandledRejection", (reason) => this.fail(reason, "outside of its functions (a rejected promise that nobody awaits)"));
    process.exit = ((code?: number | string | null) => {
      const name = subtaskName(assignment.vertex, assignment.subtask);
      this.fail(
        new UserFunctionError(`${name} called process.exit(${code ?? ""}). A task ends when its input ends; throw an error to fail it.`),
        "running",
      );
    }) as typeof process.exit;
  }

  async run(): Promise<void> {
    report({ kind: "state", state: "INITIALIZING", atMs: Date.now() });
    let doing = "loading its code";
    try {
      const task = await this.#load();
      doing = "running";
      try {
        await Promise.race([task.open(), commands.whenCanceled]);
        if (commands.poll()) return this.#say("CANCELED");
        commands.task = task;
        report({ kind: "state", state: "RUNNING", atMs: Date.now() });
        const outcome = await task.run();
        commands.task = undefined;
        commands.over = true;
        commands.answer = ({ id }) => ({ kind: "answer", id, declared: false });
        // Rejections that nobody handles show only when the event loop turns.
        await new Promise((resolve) => setImmediate(resolve));
        await task.close();
        this.#say(outcome === "finished" ? "FINISHED" : "CANCELED");
      } catch (error) {
        await Promise.race([task.close(), commands.whenCanceled]);
        throw error;
      }
    } catch (error) {
      this.fail(error, doing);
    }
  }

  /** The last word: the task failed. Ends the thread. */
  fail(thrown: unknown, doing: string): void {
    const { vertex, subtask } = this.#assignment;
    let error: WireError;
    try {
      error = failureReport(thrown, { vertex, subtask, bundle: this.#bundle }, doing);
    } catch (failure) {
      error = toWire(new InvariantError(`The failure of ${subtaskName(vertex, subtask)} can't be described: ${String(failure)}.`));
    }
    this.#say("FAILED", error);
  }

  async #load(): Promise<Task> {
    const assignment = this.#assignment;
    this.#bundle = commands.bundle = decodeBundle(new Uint8Array(assignment.code));
    Atomics.store(loading, 0, 1);
    const { values, classes, warnings } = await revive(this.#bundle, { resolve: resolveDrey }).finally(() => Atomics.store(loading, 0, 0));
    for (const warning of warnings) console.warn(warning);
    const spec = values[assignment.vertexIndex] as TaskSpec | undefined;
    if (spec === undefined) {
      throw new InvariantError(`The job's code has ${values.length} task specs, and vertex number ${assignment.vertexIndex} was deployed.`);
    }
    const registry = new ClassRegistry(classes);
    const task = new Task(hostOf(assignment, registry), spec);
    commands.answer = (question) => answerOf(question, task, assignment, registry);
    return task;
  }

  #say(state: "FINISHED" | "CANCELED" | "FAILED", error?: WireError): void {
    if (this.#over) return;
    this.#over = true;
    this.#lines.end();
    report({ kind: "ended", state, atMs: Date.now(), ...(error === undefined ? {} : { error }) });
    endThread(0);
  }
}

function hostOf(assignment: TaskAssignment, classes: ClassRegistry): TaskHost {
  const { jobName, vertex, subtask, attempt } = assignment;
  const heap = new SlotHeap(assignment.heap);
  return {
    ...(assignment.checkpoints ? { checkpoints: checkpointHost(assignment) } : {}),
    ...(assignment.restored === undefined ? {} : { restored: taskRestore(assignment.restored) }),
    info: { jobName, vertex, subtask, attempt },
    inputs: assignment.inputs.map(({ edge, input, rings }) => ({ edge, input, channels: rings.map((ring) => new RingInput(ring)) })),
    outputs: assignment.outputs.map(({ edge, rings }) => ({ edge, channels: rings.map((ring) => new RingOutput(ring)) })),
    doorbell: new PatientDoorbell(),
    metrics: new Float64Array(birth.metrics),
    classes,
    configuration: Configuration.of(assignment.options, "the job's options"),
    poll: () => commands.poll(),
    controlWord: controlWord(birth.bell),
    wait: (timeoutMs, ready) =>
      timeoutMs <= 0 ? turnOfEventLoop() : waitForBell(birth.bell, Math.min(timeoutMs, LOOK_MS), undefined, ready),
    wake: () => ringBell(birth.bell),
    now: Date.now,
    get heapLimitBytes(): number {
      return heap.limitBytes;
    },
    heapUsed: () => heap.usedBytes(),
    collectGarbage: () => heap.collectGarbage(),
  };
}

const declineCheckpoint = (checkpoint: number, error: Error): void => report({ kind: "decline", checkpoint, error: toWire(error) });

/** Bytes of snapshots go to the main thread, which writes them, up to a bound. */
function checkpointHost(assignment: TaskAssignment): CheckpointHost {
  const file = snapshotFile(assignment);
  const onTheWay = new Int32Array(birth.snapshotBytesOnTheWay);
  return {
    fileOf: () => file,
    write(checkpoint, bytes) {
      const waiting = Atomics.load(onTheWay, 0);
      if (waiting > 0 && waiting + bytes.byteLength > SNAPSHOT_BYTES) return false;
      Atomics.add(onTheWay, 0, bytes.byteLength);
      // Bytes are taken for good; those that share their memory with others are copied.
      const { buffer } = bytes;
      const own = buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength ? bytes : new Uint8Array(bytes);
      parentPort?.postMessage({ kind: "snapshot", checkpoint, bytes: own } satisfies ThreadReport, [own.buffer as ArrayBuffer]);
      return true;
    },
    acknowledge: (ack) => report({ kind: "acknowledge", ack }),
    decline: declineCheckpoint,
    requestFinal: () => report({ kind: "requestCheckpoint" }),
  };
}

const turnOfEventLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Shipped code that names drey means this copy of it: classes must be the same ones, and a thread must not load sockets. */
const doors: Readonly<Record<string, string>> = {
  "drey/functions": "../../core/functions.js",
  "drey/core": "../../core/index.js",
  drey: "../../core/index.js",
};
const resolveDrey = (specifier: string): string | undefined => {
  const file = doors[specifier];
  return file === undefined ? undefined : new URL(file, import.meta.url).href;
};

const lines = new ConsoleLines((line) => report({ kind: "line", line }), new Int32Array(birth.linesOnTheWay));
lines.takeOver();
const commands = new Commands((assignment) => void new Subtask(assignment, lines).run());
Atomics.store(loading, 0, 0);
report({ kind: "ready" });
