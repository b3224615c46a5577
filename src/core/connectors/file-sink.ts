/**
 * Files as a sink, exactly once. A file is written under a hidden name, and renamed when the checkpoint that covers it is complete; so
 * whoever reads the folder (names that begin with a dot are not for readers) sees rows that will not be taken back, each once.
 *
 *     .part-0-3-0.jsonl.inprogress ──barrier: flushed, named in the checkpoint──▶ ──complete: rename──▶ part-0-3.jsonl
 *        subtask, number, attempt
 *
 * Without checkpoints each subtask writes one file, which is there when the job has finished: part-0.jsonl, in place of an older one.
 *
 * Invariants: a name that readers see is given once, and its file never changes afterwards; numbers rise over all attempts and subtasks.
 * It trusts the file system that a rename is atomic, and that nobody else writes names of this form into the folder.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "../operators/operator.ts";
import { RecordError } from "../types/errors.ts";
import type { LineFormat } from "./formats/format.ts";
import { lineFormat } from "./formats/index.ts";
import { type SinkContext, TwoPhaseOperator, type TwoPhaseWriter } from "./two-phase.ts";

export interface FileSinkSpec extends OperatorSpec {
  readonly kind: "fileSink";
  /** Absolute path of a folder. */
  readonly folder: string;
  readonly format: LineFormat;
}

export const fileSink: OperatorKind<FileSinkSpec> = {
  kind: "fileSink",
  inputs: 1,
  create: (spec, context) => new TwoPhaseOperator(new FileWriter(spec), context),
};

/** A file that is complete but not visible: names in the folder. */
interface PendingFile {
  readonly from: string;
  readonly to: string;
}

interface OpenFile {
  readonly handle: number;
  readonly names: PendingFile;
}

/** Characters that are gathered before they are written. */
const CHUNK_LENGTH = 256 * 1024;
const HIDDEN = /^\.part-(\d+)-\d+-(\d+)\..*\.inprogress$/;

class FileWriter implements TwoPhaseWriter<unknown, PendingFile> {
  readonly #folder: string;
  readonly #extension: string;
  readonly #line: (row: unknown) => string;
  #context: SinkContext | undefined;
  #number = 0;
  #file: OpenFile | undefined;
  #gathered = "";

  constructor(spec: FileSinkSpec) {
    const format = lineFormat(spec.format);
    this.#folder = spec.folder;
    this.#extension = format.extension;
    this.#line = format.write;
  }

  open(context: SinkContext, pending: readonly PendingFile[], others: readonly PendingFile[]): void {
    this.#context = context;
    try {
      mkdirSync(this.#folder, { recursive: true });
      const names = readdirSync(this.#folder);
      // After a change of the parallelism another subtask may be the one to commit what this one's number stands on.
      const kept = new Set([...pending, ...others].map(({ from }) => from));
      for (const name of names) if (this.#isLeftOver(name, context) && !kept.has(name)) rmSync(join(this.#folder, name), { force: true });
      const given = [...names, ...[...pending, ...others].map(({ to }) => to)];
      this.#number = 1 + Math.max(-1, ...given.map((name) => numberOf(name, context.subtask)));
      // A job without checkpoints makes its file at once: it is there even if no row comes.
      if (!context.checkpoints) this.#file = this.#begin();
    } catch (error) {
      throw this.#refused(error);
    }
  }

  write(value: unknown): void {
    this.#gathered += `${this.#line(value)}\n`;
    if (this.#gathered.length >= CHUNK_LENGTH) this.#flush();
  }

  prepareCommit(): readonly PendingFile[] {
    this.#flush();
    const file = this.#file;
    if (file === undefined) return [];
    // What the checkpoint names must be there after a crash of the machine, too.
    fsyncSync(file.handle);
    closeSync(file.handle);
    this.#file = undefined;
    return [file.names];
  }

  commit({ from, to }: PendingFile): void {
    try {
      renameSync(join(this.#folder, from), join(this.#folder, to));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT" && existsSync(join(this.#folder, to))) return;
      throw new RecordError(
        `The file ${from} in ${this.#folder}, which a checkpoint covers, could not become ${to}: ${(error as Error).message}. ` +
          "Were files removed from the folder?",
        { cause: error },
      );
    }
  }

  close(): void {
    if (this.#file === undefined) return;
    this.#flush();
    closeSync(this.#file.handle);
    this.#file = undefined;
  }

  #flush(): void {
    if (this.#gathered === "") return;
    this.#file ??= this.#begin();
    writeSync(this.#file.handle, this.#gathered);
    this.#gathered = "";
  }

  #begin(): OpenFile {
    const names = this.#names();
    try {
      const handle = openSync(join(this.#folder, names.from), "w");
      this.#number++;
      return { handle, names };
    } catch (error) {
      throw this.#refused(error);
    }
  }

  #names(): PendingFile {
    const { subtask, attempt, checkpoints } = this.#context as SinkContext;
    return {
      from: `.part-${subtask}-${this.#number}-${attempt}.${this.#extension}.inprogress`,
      to: checkpoints ? `part-${subtask}-${this.#number}.${this.#extension}` : `part-${subtask}.${this.#extension}`,
    };
  }

  /** A hidden file of an attempt before this one; those of subtasks that are no more are shared out. */
  #isLeftOver(name: string, { subtask, parallelism, attempt }: SinkContext): boolean {
    const match = HIDDEN.exec(name);
    return match !== null && Number(match[1]) % parallelism === subtask && Number(match[2]) < attempt;
  }

  #refused(cause: unknown): RecordError {
    return new RecordError(`The sink can't write ${join(this.#folder, this.#names().to)}: ${(cause as Error).message}`, { cause });
  }
}

/** The number in a visible name of a subtask; -1: it is none. */
function numberOf(name: string, subtask: number): number {
  const match = /^part-(\d+)-(\d+)\./.exec(name);
  return match !== null && Number(match[1]) === subtask ? Number(match[2]) : -1;
}
