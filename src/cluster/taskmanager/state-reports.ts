/**
 * Tells the JobManager what became of each execution: every state, in order, until the JobManager has said that it knows.
 *
 * Invariant: the states of one execution arrive in the order in which they were entered, and none is skipped while the session with the
 * JobManager lasts; one may arrive twice (an acknowledgement can get lost), which the JobManager tells by the execution and the state.
 * When the session is lost the JobManager has given up every execution here, so what was not told yet is forgotten (`forget`).
 *
 * Bounds: an execution has at most five states to tell, one of them on its way; executions are bounded by slots and threads.
 */
import { DreyError } from "../../core/types/errors.ts";
import type { WireError } from "../../core/types/errors.ts";
import type { ExecutionAddress, TaskStateChange } from "../protocol/messages.ts";

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
/** With growing pauses, this is about a minute. */
const MAX_TRIES = 30;

/** Names an execution in this process. */
export const executionKey = ({ job, vertex, subtask, attempt }: ExecutionAddress): string => `${job}/${vertex}/${subtask}#${attempt}`;

export interface StateReportsOptions {
  /** Sends one change; resolves when the JobManager has acknowledged it. */
  readonly send: (change: TaskStateChange) => Promise<void>;
  /** Waits. Given by tests; default: a timer that does not keep the process alive. */
  readonly pause?: (ms: number) => Promise<void>;
  /** A change could not be told. */
  readonly onGivenUp: (change: TaskStateChange, error: Error) => void;
}

/** Lives on the main thread of a TaskManager. */
export class StateReports {
  readonly #options: StateReportsOptions;
  readonly #waiting = new Map<string, TaskStateChange[]>();
  #session = 0;

  constructor(options: StateReportsOptions) {
    this.#options = options;
  }

  /** Executions with something left to tell. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Tells a change, after those of the same execution that were reported before. */
  report(change: TaskStateChange): void {
    const key = executionKey(change.execution);
    const queue = this.#waiting.get(key);
    if (queue !== undefined) {
      queue.push(change);
      return;
    }
    this.#waiting.set(key, [change]);
    void this.#tell(key, this.#session);
  }

  /** Drops what was not told. */
  forget(): void {
    this.#session += 1;
    this.#waiting.clear();
  }

  async #tell(key: string, session: number): Promise<void> {
    for (;;) {
      const queue = this.#waiting.get(key) as TaskStateChange[];
      const change = queue[0];
      if (change === undefined) {
        this.#waiting.delete(key);
        return;
      }
      await this.#tellOne(change, session);
      if (session !== this.#session) return;
      queue.shift();
    }
  }

  async #tellOne(change: TaskStateChange, session: number): Promise<void> {
    const { send, pause = quietly, onGivenUp } = this.#options;
    let form = change;
    for (let tries = 1, retryMs = FIRST_RETRY_MS; session === this.#session; tries++, retryMs = Math.min(LAST_RETRY_MS, retryMs * 2)) {
      try {
        return await send(form);
      } catch (error) {
        if (session !== this.#session) return;
        const code = error instanceof DreyError ? error.code : "";
        const unsendable = code === "DREY_PROTOCOL" && form.error !== undefined && form === change;
        if (unsendable) form = { ...change, error: bare(form.error as WireError) };
        else if (tries >= MAX_TRIES || (code !== "DREY_DEADLINE" && code !== "DREY_CONNECTION")) return onGivenUp(change, error as Error);
        else await pause(retryMs);
      }
    }
  }
}

/** An error without what may not travel: its state must be told in any case. */
const bare = ({ name, code, domain, message }: WireError): WireError => ({
  name: name.slice(0, 200),
  code: code.slice(0, 200),
  domain,
  message: message.slice(0, 4_000),
});

const quietly = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
