/**
 * Files as sources. A source reads a file, a folder or a list of them; the format says how bytes become rows. Files whose
 * format is made of lines are cut into ranges of bytes, so that one large file keeps several subtasks busy; a line belongs to the
 * range in which it begins.
 *
 * Every subtask works out the same list of ranges from names and sizes and takes each p-th, so nothing has to hand them out. Paths are
 * opened where the subtask runs; relative ones are made absolute in the program that wrote them.
 *
 * A subtask's place in a checkpoint are the ranges that are left to it: of one that is being read, the byte at which its next line begins,
 * or, for formats that aren't made of lines, the rows that were taken. The files must not change in between, except for growing.
 */
import { type Stats, closeSync, openSync, readSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorContext, OperatorKind, SourceOperator } from "../operators/operator.ts";
import { OwnItems } from "../operators/own-items.ts";
import { RecordError, describe } from "../types/errors.ts";
import type { LineFormat, RowFormat } from "./formats/format.ts";
import { lineFormat, rowFormat } from "./formats/index.ts";

/** What happens to input that the format can't read: fail the job, or leave it out and count it (`numRecordsSkipped`). */
export type MalformedPolicy = "fail" | "skip";

export interface FileSourceSpec extends OperatorSpec {
  readonly kind: "files";
  /** Absolute paths of files and folders (their files, not those of folders inside). */
  readonly paths: readonly string[];
  readonly format: RowFormat | LineFormat;
  readonly malformed: MalformedPolicy;
}

/** Ranges of one file are at least this long. */
const RANGE_BYTES = 8 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
/** A longer line is taken for a mistake (a binary file). */
const MAX_LINE_BYTES = 64 * 1024 * 1024;
const NEWLINE = 10;
/** Stands in a checkpoint for "no range is left". */
const NO_FILE = "";

interface Range {
  readonly path: string;
  readonly start: number;
  /** Infinity: to the end of the file. */
  readonly end: number;
}

/** A range that is being read. */
interface Reading {
  readonly range: Range;
  readonly rows: Iterator<unknown>;
  /** Where the next line begins. */
  position: number;
  /** Rows taken. */
  taken: number;
}

/** A range that is left to be read, of which so many rows are to be left out. */
interface RangeLeft {
  readonly path: string;
  readonly start: number;
  readonly end: number;
  readonly skip: number;
}

export const fileSource: OperatorKind<FileSourceSpec> = {
  kind: "files",
  inputs: 0,
  create: (spec, context) => new FileSource(spec, context),
};

class FileSource implements SourceOperator {
  readonly #spec: FileSourceSpec;
  readonly #context: OperatorContext;
  readonly #left: OwnItems<RangeLeft>;
  #ranges: RangeLeft[] = [];
  #reading: Reading | undefined;

  constructor(spec: FileSourceSpec, context: OperatorContext) {
    this.#spec = spec;
    this.#context = context;
    this.#left = new OwnItems(context, "ranges");
  }

  open(): void {
    const { subtask, parallelism } = this.#context;
    const restored = this.#left.restored;
    this.#ranges =
      restored === undefined
        ? rangesOf(this.#spec, parallelism)
            .filter((_, index) => index % parallelism === subtask)
            .map((range) => ({ ...range, skip: 0 }))
        : restored.filter(({ path }) => path !== NO_FILE);
  }

  prepareSnapshot(): void {
    const left = [...this.#ranges];
    if (this.#reading !== undefined) {
      const { range, position, taken } = this.#reading;
      left.unshift("lines" in this.#spec.format ? { ...range, start: position, skip: 0 } : { ...range, skip: taken });
    }
    // Without any, the next attempt would begin anew.
    this.#left.keep(left.length === 0 ? [{ path: NO_FILE, start: 0, end: 0, skip: 0 }] : left);
  }

  read(rows: unknown[], _timestamps: Float64Array, max: number): number {
    let count = 0;
    while (count < max) {
      this.#reading ??= this.#nextRange();
      if (this.#reading === undefined) break;
      const next = this.#reading.rows.next();
      if (next.done === true) this.#reading = undefined;
      else {
        rows[count++] = next.value;
        this.#reading.taken++;
      }
    }
    return count === 0 ? -1 : count;
  }

  close(): void {
    this.#reading?.rows.return?.();
  }

  #nextRange(): Reading | undefined {
    const next = this.#ranges.shift();
    if (next === undefined) return undefined;
    const { format } = this.#spec;
    const { skip, ...range } = next;
    const progress = { position: range.start };
    const rows = "lines" in format ? this.#lines(range, format, progress) : this.#rows(range, format);
    for (let skipped = 0; skipped < skip; skipped++) rows.next();
    // One object, whose position the lines move.
    return Object.assign(progress, { range, rows, taken: skip });
  }

  *#lines(range: Range, format: LineFormat, progress: { position: number }): Generator<unknown, undefined> {
    const { parse } = lineFormat(format);
    let number = 0;
    for (const line of linesOf(range, progress)) {
      number++;
      if (line === "") continue;
      let row: unknown;
      try {
        row = parse(line);
      } catch (error) {
        if (this.#skipped()) continue;
        throw malformed(range, number, line, format.lines, error);
      }
      yield row;
    }
    return undefined;
  }

  *#rows(range: Range, format: RowFormat): Generator<unknown, undefined> {
    const { start } = rowFormat(format);
    const parser = start((line, text, reason) => {
      if (!this.#skipped()) throw malformed(range, line, text, format.rows, reason);
    });
    for (const chunk of textOf(range)) yield* parser.push(chunk);
    yield* parser.end();
    return undefined;
  }

  #skipped(): boolean {
    if (this.#spec.malformed === "fail") return false;
    this.#context.count("numRecordsSkipped");
    return true;
  }
}

/** The files of the spec, cut where the format allows it. */
function rangesOf(spec: FileSourceSpec, parallelism: number): Range[] {
  const files = spec.paths.flatMap((path) => {
    const stat = statOf(path);
    if (!stat.isDirectory()) return [{ path, size: stat.size }];
    return readdirSync(path)
      .filter((name) => !name.startsWith(".") && !name.startsWith("_"))
      .sort()
      .map((name) => join(path, name))
      .filter((inner) => statOf(inner).isFile())
      .map((inner) => ({ path: inner, size: statOf(inner).size }));
  });
  return files.flatMap(({ path, size }) => {
    if (!("lines" in spec.format) || parallelism === 1) return [{ path, start: 0, end: Number.POSITIVE_INFINITY }];
    const pieces = Math.max(1, Math.min(parallelism, Math.floor(size / RANGE_BYTES)));
    return Array.from({ length: pieces }, (_, piece) => ({
      path,
      start: Math.floor((size * piece) / pieces),
      end: piece === pieces - 1 ? Number.POSITIVE_INFINITY : Math.floor((size * (piece + 1)) / pieces),
    }));
  });
}

function statOf(path: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, cause: unknown): RecordError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const why = code === "ENOENT" ? "does not exist" : code === "EACCES" ? "may not be read by this process" : message;
  return new RecordError(`The file ${path} ${why}. It must be readable where the TaskManager runs.`, { cause });
}

/** The lines that begin in a range, without their ends. `progress` is where the line after the present one begins. */
function* linesOf({ path, start, end }: Range, progress: { position: number }): Generator<string, undefined> {
  const file = openFile(path);
  try {
    // A line belongs to the range that its first byte is in: whether `start` begins one, the byte before it tells.
    let position = start === 0 ? 0 : start - 1;
    let skipping = start !== 0;
    let lineStart = start;
    let held: Buffer[] = [];
    let heldBytes = 0;
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const size = readSync(file, chunk, 0, CHUNK_BYTES, position);
      if (size === 0) break;
      let from = 0;
      for (let at = chunk.indexOf(NEWLINE); at >= 0 && at < size; at = chunk.indexOf(NEWLINE, at + 1)) {
        if (skipping) skipping = false;
        else {
          progress.position = position + at + 1;
          yield text([...held, chunk.subarray(from, at)]);
          held = [];
          heldBytes = 0;
        }
        from = at + 1;
        lineStart = position + from;
        if (lineStart >= end) return undefined;
      }
      if (!skipping && from < size) {
        held.push(chunk.subarray(from, size));
        heldBytes += size - from;
        if (heldBytes > MAX_LINE_BYTES)
          throw new RecordError(`${path} has a line of more than ${MAX_LINE_BYTES} bytes; is it a text file?`);
      }
      position += size;
    }
    progress.position = position;
    if (held.length > 0) yield text(held);
    return undefined;
  } finally {
    closeSync(file);
  }
}

/** A file as pieces of text, cut between characters. */
function* textOf({ path }: Range): Generator<string, undefined> {
  const file = openFile(path);
  try {
    const decoder = new TextDecoder();
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let size = readSync(file, chunk, 0, CHUNK_BYTES, null); size > 0; size = readSync(file, chunk, 0, CHUNK_BYTES, null)) {
      yield decoder.decode(chunk.subarray(0, size), { stream: true });
    }
    yield decoder.decode();
    return undefined;
  } finally {
    closeSync(file);
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
}

function text(pieces: readonly Buffer[]): string {
  const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
  const length = bytes.length > 0 && bytes[bytes.length - 1] === 13 ? bytes.length - 1 : bytes.length;
  return bytes.toString("utf8", 0, length);
}

/** @param line from 1, counted from where the range begins. */
function malformed(range: Range, line: number, content: string, format: string, cause: unknown): RecordError {
  const number = range.start === 0 ? line : line + linesBefore(range);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new RecordError(
    `${range.path}, line ${number} is not ${format}: ${describe(content, 80)} (${reason}). Correct it, or read the file with { malformed: "skip" }.`,
    { details: { file: range.path, line: number }, ...(cause instanceof Error ? { cause } : {}) },
  );
}

/** Lines that begin before a range. */
function linesBefore({ path, start }: Range): number {
  let count = 0;
  const file = openFile(path);
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let last = NEWLINE;
    for (let position = 0; position < start; position += CHUNK_BYTES) {
      const size = readSync(file, chunk, 0, Math.min(CHUNK_BYTES, start - position), position);
      for (let at = 0; at < size; at++) if (chunk[at] === NEWLINE) count++;
      if (size > 0) last = chunk[size - 1] as number;
    }
    return last === NEWLINE ? count : count + 1;
  } finally {
    closeSync(file);
  }
}
