/**
 * What the front process and its evaluator say to each other.
 *
 * Orders go through Node's IPC channel: the evaluator hears them between two turns of its loop. What it answers goes through a pipe that it
 * writes to synchronously: outputs, results and the end of a cell keep their order, a cell that prints faster than the front end reads is
 * held up instead of filling the memory, and what was printed before a crash has arrived.
 */
import { deserialize, serialize } from "node:v8";
import { ProtocolError } from "../../../core/types/errors.ts";
import type { SourceMapJson } from "../../../cluster/code/source-map.ts";

/** File descriptors of the evaluator beside the standard ones. */
export const DESCRIPTORS = {
  /** The evaluator's answers. */
  answers: 3,
  /** What the user typed, for `prompt`: read synchronously. */
  input: 4,
  /** To the thread that interrupts: a byte per interrupt; its end is the end of the front process. */
  interrupts: 5,
} as const;

/** A number that stands for the request that outputs belong to. */
export type RequestNumber = number;

/** A cell, compiled. */
export interface CellToRun {
  readonly label: string;
  readonly url: string;
  readonly typescript: string;
  readonly javascript: string;
  readonly sourceMap: SourceMapJson;
  /** Names that the cell declares, as the script spells them: variables of the whole notebook. */
  readonly declares: readonly string[];
}

/** A line that begins with `%`. */
export interface MagicToRun {
  readonly name: string;
  readonly argument: string;
  /** What stands below the line, for `%%`. */
  readonly body: string;
}

/** Front process → evaluator. */
export type Order =
  | { readonly kind: "run"; readonly request: RequestNumber; readonly cell: CellToRun; readonly show: boolean }
  | { readonly kind: "magic"; readonly request: RequestNumber; readonly magic: MagicToRun }
  | { readonly kind: "interrupt"; readonly request: RequestNumber }
  | ({ readonly kind: "comm"; readonly request: RequestNumber } & CommMessage)
  | { readonly kind: "end" };

/** A message of a comm, in either direction. */
export interface CommMessage {
  readonly type: "comm_open" | "comm_msg" | "comm_close";
  readonly id: string;
  /** Of `comm_open`. */
  readonly target?: string;
  readonly data: unknown;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly buffers: readonly Uint8Array[];
}

/** How a cell failed, as a front end shows it. */
export interface Failure {
  readonly ename: string;
  readonly evalue: string;
  readonly traceback: readonly string[];
}

/** MIME type → content. */
export type Bundle = Readonly<Record<string, unknown>>;

/** Evaluator → front process. */
export type Answer =
  | { readonly kind: "ready" }
  | { readonly kind: "interrupting" }
  | { readonly kind: "stream"; readonly request: RequestNumber; readonly name: "stdout" | "stderr"; readonly text: string }
  | {
      readonly kind: "display";
      readonly request: RequestNumber;
      readonly data: Bundle;
      readonly id: string | undefined;
      readonly update: boolean;
    }
  | { readonly kind: "clear"; readonly request: RequestNumber; readonly wait: boolean }
  | { readonly kind: "done"; readonly request: RequestNumber; readonly result?: Bundle; readonly failure?: Failure }
  | ({ readonly kind: "comm"; readonly request: RequestNumber } & CommMessage)
  | { readonly kind: "ask"; readonly request: RequestNumber; readonly prompt: string; readonly password: boolean };

const HEAD = 4;
/** A single answer larger than this can only be a mistake. */
const LARGEST = 1 << 30;

/** An answer as bytes: its length, then its value. */
export function encodeAnswer(answer: Answer): Buffer {
  const body = serialize(answer);
  const head = Buffer.alloc(HEAD);
  head.writeUInt32LE(body.length);
  return Buffer.concat([head, body]);
}

/** Cuts a stream of bytes into answers. */
export class AnswerReader {
  #parts: Buffer[] = [];
  #length = 0;

  /** The answers that are complete with these bytes. @throws ProtocolError when they are none. */
  read(bytes: Buffer): Answer[] {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    const answers: Answer[] = [];
    while (this.#length >= HEAD) {
      const head = this.#front(HEAD);
      const size = head.readUInt32LE(0);
      if (size > LARGEST) throw new ProtocolError(`the evaluator sent an answer of ${size} bytes.`);
      if (this.#length < HEAD + size) break;
      const all = this.#front(HEAD + size);
      answers.push(deserialize(all.subarray(HEAD, HEAD + size)) as Answer);
      this.#length -= HEAD + size;
      this.#parts = this.#length === 0 ? [] : [all.subarray(HEAD + size)];
    }
    return answers;
  }

  /** The first buffer, made to hold at least that many bytes. */
  #front(length: number): Buffer {
    if ((this.#parts[0] as Buffer).length < length) this.#parts = [Buffer.concat(this.#parts)];
    return this.#parts[0] as Buffer;
  }
}
