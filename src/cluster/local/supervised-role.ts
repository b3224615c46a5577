/**
 * One role of a local cluster that is kept running: when its process ends by accident, another takes its place (what systemd or Kubernetes
 * do for clusters of several machines).
 *
 * Invariant: at most one process of the role runs. A process that ends in order, or is stopped by its owner, is not replaced. One that ends
 * again and again is replaced after growing pauses, and MAX_RESTARTS times within WINDOW_MS at the most; then its owner is told.
 */
import { formatDuration } from "../../core/types/duration.ts";
import { RoleProcess, type RoleProcessOptions } from "./role-process.ts";

const PAUSES_MS: readonly number[] = [0, 200, 1_000, 2_000, 5_000];
const WINDOW_MS = 60_000;
const MAX_RESTARTS = 10;

export interface SupervisedRoleOptions {
  /** What to start; called for each process, with 0 for the first. */
  readonly process: (restarts: number) => RoleProcessOptions;
  /** Whether a process that ended by accident is replaced now. */
  readonly restarts: () => boolean;
  /** Takes a sentence about every accident. */
  readonly log: (text: string) => void;
  /** How long a process may take to start, milliseconds. */
  readonly startTimeoutMs: number;
}

/** A role with its present process. Whoever started it stops it. Main thread. */
export class SupervisedRole {
  readonly #options: SupervisedRoleOptions;
  #process: RoleProcess;
  #restarts = 0;
  /** When the latest ones happened. */
  readonly #recent: number[] = [];
  #pause: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: SupervisedRoleOptions) {
    this.#options = options;
    this.#process = this.#start();
  }

  /** The process of now, which may have ended. */
  get process(): RoleProcess {
    return this.#process;
  }

  /** How often it was replaced. */
  get restarts(): number {
    return this.#restarts;
  }

  /** A process runs, or will soon. */
  get isKept(): boolean {
    return this.#process.isRunning || this.#pause !== undefined;
  }

  /** Ends the process and replaces it no more. Resolves when it has ended. */
  async stop(graceMs: number): Promise<void> {
    this.abandon();
    await this.#process.stop(graceMs);
  }

  /** Replaces it no more. */
  abandon(): void {
    this.#stopped = true;
    clearTimeout(this.#pause);
    this.#pause = undefined;
  }

  #start(): RoleProcess {
    return new RoleProcess(this.#options.process(this.#restarts), (ended) => this.#endedByAccident(ended));
  }

  #endedByAccident(ended: RoleProcess): void {
    if (this.#stopped) return;
    const { log, restarts } = this.#options;
    const words = ended.lastWords === "" ? "" : `\n${ended.lastWords}`;
    const said = `${ended.name} of the local cluster ended unexpectedly: ${ended.outcome}.`;
    if (ended.endedInOrder || !restarts()) return log(`${said}${words}`);
    const nowMs = performance.now();
    while (nowMs - (this.#recent[0] ?? nowMs) > WINDOW_MS) this.#recent.shift();
    if (this.#recent.length >= MAX_RESTARTS) {
      return log(`${said} It is not started again: it ended ${MAX_RESTARTS + 1} times within ${formatDuration(WINDOW_MS)}.${words}`);
    }
    log(`${said} It is started again.${words}`);
    const pauseMs = PAUSES_MS[Math.min(this.#recent.length, PAUSES_MS.length - 1)] as number;
    this.#recent.push(nowMs);
    this.#pause = setTimeout(() => this.#replace(), pauseMs);
    this.#pause.unref();
  }

  #replace(): void {
    this.#pause = undefined;
    if (this.#stopped) return;
    this.#restarts++;
    const process = (this.#process = this.#start());
    process.ready(this.#options.startTimeoutMs).catch(() => {
      if (this.#stopped) return;
      // One that hangs makes room for the next.
      process.kill("SIGKILL");
      void process.ended().then(() => this.#endedByAccident(process));
    });
  }
}
