/** What the front process and its compiling thread say to each other. */
import type { CellScript } from "./cell-script.ts";

/** Whether problems of types stop a cell, are told, or are not looked for. */
export type DiagnosticsMode = "error" | "warning" | "off";

/** The mode that a text names. */
export const diagnosticsMode = (text: string | undefined): DiagnosticsMode | undefined =>
  text === "error" || text === "warning" || text === "off" ? text : undefined;

/** A problem that the compiler found. Lines and columns count from 1. */
export interface Diagnostic {
  readonly message: string;
  readonly line: number;
  readonly column: number;
  /** The cell's line. */
  readonly text: string;
  /** How many characters of the line are meant. */
  readonly length: number;
  /** The compiler's number, as TS2304; absent where it has none. */
  readonly code?: string;
  /** The text can't be read at all. */
  readonly syntax: boolean;
}

/** A cell that compiled, or why it did not. */
export interface Compiled {
  /** Absent: the cell can't run. */
  readonly script?: CellScript;
  readonly diagnostics: readonly Diagnostic[];
}

/** What could stand at the cursor. Offsets in UTF-16 units. */
export interface Completions {
  readonly matches: readonly { readonly text: string; readonly type: string }[];
  readonly start: number;
  readonly end: number;
}

/** Whether a front end's Enter key should run the text. */
export interface Completeness {
  readonly status: "complete" | "incomplete" | "invalid" | "unknown";
  readonly indent?: string;
}

/** The questions, with what is asked and what is answered. */
export interface Questions {
  /** The cell is remembered: later cells know its names. */
  compile: [asked: { readonly cell: number; readonly code: string; readonly mode: DiagnosticsMode }, answered: Compiled];
  complete: [asked: { readonly code: string; readonly cursor: number }, answered: Completions];
  inspect: [asked: { readonly code: string; readonly cursor: number }, answered: string | undefined];
  isComplete: [asked: { readonly code: string }, answered: Completeness];
  /** The evaluator has lost its variables. */
  forget: [asked: Record<string, never>, answered: undefined];
  /** What compiles. */
  about: [asked: Record<string, never>, answered: { readonly compiler: string; readonly checksTypes: boolean }];
}
