/**
 * The front process's end of its evaluator: starts it, gives it orders, reads its answers, interrupts it, and starts another when it has
 * ended.
 */
import { type ChildProcess, fork } from "node:child_process";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Answer, AnswerReader, DESCRIPTORS, type Order, type RequestNumber } from "./evaluator/protocol.ts";

/** Who hears the evaluator. */
export interface EvaluatorListener {
  answer(answer: Answer): void;
  /** What the process wrote to its own stdout or stderr: native code, child processes. */
  raw(name: "stdout" | "stderr", text: string): void;
  /** It has ended without being asked to. @param again another one is starting. */
  ended(how: string, again: boolean): void;
}

/** How long a healthy evaluator may take to hear of an interrupt before it is taken for stuck in a loop. */
const HEARS_WITHIN_MS = 250;
/** How long it may take to end. */
const END_MS = 4_000;
const MOST_STILLBORN = 2;

/** One evaluator at a time. Main thread of the front process. */
export class EvaluatorProcess {
  readonly #listener: EvaluatorListener;
  #child: ChildProcess;
  #stuck: NodeJS.Timeout | undefined;
  #ending = false;
  /** Orders for an evaluator that is starting: it would not hear them. */
  #early: Order[] | undefined = [];
  /** Evaluators that ended before they were ready, one after the other. */
  #stillborn = 0;

  constructor(listener: EvaluatorListener) {
    this.#listener = listener;
    this.#child = this.#start();
  }

  /** Gives an order, as soon as the evaluator hears. One that has just died loses it; `ended` tells. */
  order(order: Order): void {
    if (this.#early !== undefined) this.#early.push(order);
    else if (this.#child.connected) this.#child.send(order, () => undefined);
  }

  /** Interrupts what runs, whatever it does. */
  interrupt(request: RequestNumber): void {
    this.order({ kind: "interrupt", request });
    clearTimeout(this.#stuck);
    const interrupts = pipeOf(this.#child, DESCRIPTORS.interrupts);
    this.#stuck = setTimeout(() => interrupts.write("!"), HEARS_WITHIN_MS);
  }

  /** Answers the evaluator's question; null when nobody can or will. */
  input(text: string | null): void {
    const body = Buffer.from(text ?? "");
    const head = Buffer.alloc(4);
    head.writeInt32LE(text === null ? -1 : body.length);
    pipeOf(this.#child, DESCRIPTORS.input).write(Buffer.concat([head, body]));
  }

  /** Stops reading until `resume`: an evaluator that writes on is held up. */
  pause(): void {
    pipeOf(this.#child, DESCRIPTORS.answers).pause();
  }

  resume(): void {
    pipeOf(this.#child, DESCRIPTORS.answers).resume();
  }

  /** Ends it, with the notebook's cluster; resolves when it is gone. */
  async end(): Promise<void> {
    this.#ending = true;
    clearTimeout(this.#stuck);
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    this.order({ kind: "end" });
    const late = setTimeout(() => child.kill("SIGKILL"), END_MS);
    await gone;
    clearTimeout(late);
  }

  #ready(): void {
    this.#stillborn = 0;
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const order of early) this.order(order);
  }

  #start(): ChildProcess {
    this.#early = [];
    const child = fork(fileURLToPath(new URL("./evaluator/main.js", import.meta.url)), {
      stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe", "ipc"],
      serialization: "advanced",
      // Node calls it experimental; what it does here, finding packages from the notebook's folder, is old.
      execArgv: nodeKnowsDisableWarning() ? ["--disable-warning=ExperimentalWarning"] : [],
    });
    const reader = new AnswerReader();
    pipeOf(child, DESCRIPTORS.answers).on("data", (bytes: Buffer) => {
      for (const answer of reader.read(bytes)) {
        if (answer.kind === "ready") this.#ready();
        if (answer.kind === "interrupting") clearTimeout(this.#stuck);
        else this.#listener.answer(answer);
      }
    });
    for (const name of ["stdout", "stderr"] as const) {
      const decoder = new TextDecoder();
      child[name]?.on("data", (bytes: Buffer) => this.#listener.raw(name, decoder.decode(bytes, { stream: true })));
    }
    for (const stream of child.stdio) stream?.on("error", () => undefined);
    child.on("error", () => undefined);
    // After its last answers: `close` comes when the pipes are empty.
    child.once("close", (code, signal) => {
      if (this.#ending || this.#child !== child) return;
      clearTimeout(this.#stuck);
      const again = this.#stillborn++ < MOST_STILLBORN;
      if (again) this.#child = this.#start();
      this.#listener.ended(signal === null ? `exit code ${code}` : String(signal), again);
    });
    return child;
  }
}

/** One of the pipes beyond the standard three. */
const pipeOf = (child: ChildProcess, descriptor: number): Duplex => (child.stdio as readonly unknown[])[descriptor] as Duplex;

/** From 20.11 and 21.3 on. */
function nodeKnowsDisableWarning(): boolean {
  return process.allowedNodeEnvironmentFlags.has("--disable-warning");
}
