/**
 * The console of user code in a task's thread. Whatever `console.*` and `process.stdout/stderr.write` say becomes lines that are posted to
 * the main thread one by one and at once, so that nothing is lost when the code runs into an endless loop or the thread is ended.
 *
 * Bounds: a line has at most MAX_LINE_CHARACTERS; at most LINES_PER_SECOND are posted per second; and at most MAX_LINES_ON_THE_WAY are
 * posted and not yet taken, whatever the main thread does. What is beyond is dropped, and the next line that passes says how many were.
 */
import { Console } from "node:console";
import { Writable } from "node:stream";
import { format } from "node:util";
import type { ConsoleLine } from "./thread-messages.ts";

/** The bounds named above. */
export const LINES_PER_SECOND = 10_000;
export const MAX_LINES_ON_THE_WAY = 20_000;
export const MAX_LINE_CHARACTERS: number = 16 * 1024;

/** Cuts what is written into lines and lets them pass within the bounds. */
export class ConsoleLines {
  readonly #post: (line: ConsoleLine) => void;
  readonly #onTheWay: Int32Array;
  readonly #now: () => number;
  readonly #begun: Record<ConsoleLine["level"], string> = { log: "", warn: "", error: "" };
  #dropped = 0;
  #secondEndsMs = 0;
  #inThisSecond = 0;

  /**
   * @param post takes a line at once.
   * @param onTheWay one word: raised here for each line, lowered by whoever took it.
   * @param now milliseconds since the epoch.
   */
  constructor(post: (line: ConsoleLine) => void, onTheWay: Int32Array, now: () => number = Date.now) {
    this.#post = post;
    this.#onTheWay = onTheWay;
    this.#now = now;
  }

  /** Takes a text of any length; the part after its last line break waits for the rest of its line. */
  write(level: ConsoleLine["level"], text: string): void {
    const lines = (this.#begun[level] + text).split("\n");
    const rest = lines.pop() as string;
    for (const line of lines) this.#pass(level, line);
    this.#begun[level] = rest.length > MAX_LINE_CHARACTERS ? "" : rest;
    if (rest.length > MAX_LINE_CHARACTERS) this.#pass(level, rest);
  }

  /** Lets unfinished lines pass, and the count of dropped ones. */
  end(): void {
    for (const level of ["log", "warn", "error"] as const) {
      if (this.#begun[level] !== "") this.#pass(level, this.#begun[level]);
      this.#begun[level] = "";
    }
    if (this.#dropped > 0) this.#sayDropped();
  }

  /** Directs the console and the standard streams of this thread here. */
  takeOver(): void {
    const streamOf = (level: ConsoleLine["level"]): Writable =>
      new Writable({
        decodeStrings: false,
        write: (chunk: string | Buffer, _encoding, done) => {
          this.write(level, String(chunk));
          done();
        },
      });
    const ours = new Console({ stdout: streamOf("log"), stderr: streamOf("error") });
    // The methods are put into the console object that exists: modules may hold it already.
    for (const name of Object.keys(ours) as (keyof Console)[]) {
      if (typeof ours[name] === "function") (console as unknown as Record<string, unknown>)[name] = ours[name];
    }
    console.warn = (...values: unknown[]): void => this.write("warn", `${format(...values)}\n`);
    process.stdout.write = (chunk: Uint8Array | string): boolean => (this.write("log", textOf(chunk)), true);
    process.stderr.write = (chunk: Uint8Array | string): boolean => (this.write("error", textOf(chunk)), true);
  }

  #pass(level: ConsoleLine["level"], line: string): void {
    const atMs = this.#now();
    if (atMs >= this.#secondEndsMs) {
      this.#secondEndsMs = atMs + 1_000;
      this.#inThisSecond = 0;
    }
    if (this.#inThisSecond >= LINES_PER_SECOND || Atomics.load(this.#onTheWay, 0) >= MAX_LINES_ON_THE_WAY) {
      this.#dropped += 1;
      return;
    }
    if (this.#dropped > 0) this.#sayDropped();
    this.#say({ level, text: line.length > MAX_LINE_CHARACTERS ? `${line.slice(0, MAX_LINE_CHARACTERS - 1)}…` : line, atMs });
  }

  #sayDropped(): void {
    const text = `(${this.#dropped} lines were dropped here: more than ${LINES_PER_SECOND} per second)`;
    this.#dropped = 0;
    this.#say({ level: "warn", text, atMs: this.#now() });
  }

  #say(line: ConsoleLine): void {
    this.#inThisSecond += 1;
    Atomics.add(this.#onTheWay, 0, 1);
    this.#post(line);
  }
}

const textOf = (chunk: Uint8Array | string): string => (typeof chunk === "string" ? chunk : Buffer.from(chunk).toString("utf8"));
