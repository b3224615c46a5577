/**
 * One role of a cluster (JobManager or TaskManager) as a child process of this one.
 *
 * The child is started with `--owned` and an IPC channel: it says through it when it is ready, and ends when the channel closes, which the
 * operating system sees to however this process dies. It has a process group of its own, so that ctrl-C reaches this process only, which
 * then decides what becomes of its jobs. Neither the child nor its pipes keep this process alive.
 */
import { type ChildProcess, fork } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { formatDuration } from "../../core/types/duration.ts";
import { ConnectionError, DeadlineError } from "../../core/types/errors.ts";
import type { Configuration } from "../../core/types/options.ts";
import { flagsOf } from "../configuration-file.ts";

/** What a process of a cluster is. */
export type Role = "jobmanager" | "taskmanager";

const entries: Readonly<Record<Role, URL>> = {
  jobmanager: new URL("../jobmanager/main.js", import.meta.url),
  taskmanager: new URL("../taskmanager/main.js", import.meta.url),
};

/** The file that runs a role, for whoever starts one in another way. */
export const roleEntry = (role: Role): string => fileURLToPath(entries[role]);

export interface RoleProcessOptions {
  readonly role: Role;
  /** Names the process in messages: "TaskManager 2". */
  readonly name: string;
  readonly configuration: Configuration;
  /** Further arguments of the role. */
  readonly args?: readonly string[];
}

/** Of each output stream of a child, so many characters at the end are kept, to be shown if it fails. */
const KEPT_CHARACTERS = 16_384;

/** A role that runs as a child of this process. Whoever started it stops it. */
export class RoleProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  #output = "";
  #wasReady = false;
  #expected = false;
  #outcome: string | undefined;

  /** @param onUnexpectedEnd the process was ready and has ended, and neither `stop` nor `kill` was called. */
  constructor({ role, name, configuration, args = [] }: RoleProcessOptions, onUnexpectedEnd: (process: RoleProcess) => void) {
    this.name = name;
    this.#child = fork(roleEntry(role), ["--owned", ...args, ...flagsOf(configuration)], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      detached: true,
      // This program's own --import, --inspect and the like are not for its children.
      execArgv: [],
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) this.#keep(stream);
    this.#child.unref();
    this.#child.channel?.unref();
    this.#ended = new Promise((resolve) => {
      const end = (outcome: string): void => {
        if (this.#outcome !== undefined) return;
        this.#outcome = outcome;
        if (this.#wasReady && !this.#expected) onUnexpectedEnd(this);
        resolve();
      };
      this.#child.once("exit", (code, signal) => end(signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`));
      this.#child.once("error", (error) => end(`it could not be started (${error.message})`));
    });
  }

  /** undefined when it could not even be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#outcome === undefined;
  }

  /** What the process wrote last, each line with the process's name before it. */
  get lastWords(): string {
    return this.#output
      .split("\n")
      .filter((line) => line.trim() !== "")
      .map((line) => `[${this.name}] ${line}`)
      .join("\n");
  }

  /** It ended by itself and said that all was well. */
  get endedInOrder(): boolean {
    return this.#child.exitCode === 0;
  }

  /** How the process ended, as part of a sentence; undefined while it runs. */
  get outcome(): string | undefined {
    return this.#outcome;
  }

  /**
   * Resolves with what the child says when it is ready.
   * @throws ConnectionError when it ends before; DeadlineError after `timeoutMs`.
   */
  ready(timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const done = (act: () => void): void => {
        clearTimeout(timer);
        this.#child.off("message", onMessage);
        act();
      };
      const onMessage = (message: unknown): void => {
        if (typeof message !== "object" || message === null || !("ready" in message)) return;
        this.#wasReady = true;
        done(() => resolve(message.ready));
      };
      // A program that waits for its cluster must not end for lack of other work: this timer keeps it.
      const timer = setTimeout(
        () => done(() => reject(new DeadlineError(`${this.name} was not ready within ${formatDuration(timeoutMs)}.${this.#said()}`))),
        timeoutMs,
      );
      this.#child.on("message", onMessage);
      void this.#ended.then(() => done(() => reject(new ConnectionError(`${this.name} did not start: ${this.#outcome}.${this.#said()}`))));
    });
  }

  /** Sends a signal as an accident would: an end that follows is a surprise. */
  strike(signal: NodeJS.Signals): void {
    if (this.isRunning) this.#child.kill(signal);
  }

  /** Sends a signal; its end is then no surprise. Without effect when it has ended. */
  kill(signal: NodeJS.Signals): void {
    if (signal !== "SIGSTOP" && signal !== "SIGCONT") this.#expected = true;
    if (this.isRunning) this.#child.kill(signal);
  }

  /** Asks the process to end, and makes it end after `graceMs`. Resolves when it has ended. */
  async stop(graceMs: number): Promise<void> {
    if (!this.isRunning) return;
    this.kill("SIGTERM");
    // A stopped process gets signals only when it goes on.
    this.kill("SIGCONT");
    const killing = setTimeout(() => this.kill("SIGKILL"), graceMs);
    await this.ended();
    clearTimeout(killing);
  }

  /** Resolves when the process has ended. */
  ended(): Promise<void> {
    // Who waits must not end for lack of other work.
    this.#child.ref();
    return this.#ended;
  }

  #said(): string {
    return this.#output.trim() === "" ? "" : ` It said:\n${this.lastWords}`;
  }

  #keep(stream: Readable | null): void {
    if (stream === null) return;
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      this.#output = (this.#output + text).slice(-KEPT_CHARACTERS);
    });
    (stream as Readable & { unref?: () => void }).unref?.();
  }
}
