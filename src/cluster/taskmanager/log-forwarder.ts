/**
 * Lines of user code's console on their way to the JobManager: gathered for a moment, so that a chatty task costs one message and not a
 * thousand, and kept in the order in which they came.
 *
 * Bounds: at most MAX_WAITING lines wait, a message has about MESSAGE_CHARACTERS; what comes while more wait is dropped, and the next
 * message that goes says how many were. Lives on the TaskManager's main thread.
 */
import type { LogLine } from "../../core/graph/job-status.ts";

const GATHER_MS = 20;
const MAX_WAITING = 10_000;
const MESSAGE_CHARACTERS = 512 * 1024;
const MESSAGE_LINES = 2_000;

export class LogForwarder {
  readonly #send: (lines: readonly LogLine[]) => void;
  readonly #waiting: LogLine[] = [];
  #timer: NodeJS.Timeout | undefined;
  #dropped = 0;

  /** @param send sends one message; what can't be sent is lost. */
  constructor(send: (lines: readonly LogLine[]) => void) {
    this.#send = send;
  }

  /** Takes a line; it is sent within a moment. */
  take(line: LogLine): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#dropped += 1;
      return;
    }
    if (this.#dropped > 0) {
      this.#waiting.push({
        ...line,
        level: "warn",
        text: `(${this.#dropped} lines were dropped here: the JobManager takes them too slowly)`,
      });
      this.#dropped = 0;
    }
    this.#waiting.push(line);
    this.#timer ??= setTimeout(() => this.flush(), GATHER_MS);
  }

  /** Sends what waits, at once. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.length > 0) {
      let characters = 0;
      let count = 0;
      for (const { text } of this.#waiting) {
        if (count >= MESSAGE_LINES || (count > 0 && characters + text.length > MESSAGE_CHARACTERS)) break;
        characters += text.length;
        count += 1;
      }
      this.#send(this.#waiting.splice(0, count));
    }
  }
}
