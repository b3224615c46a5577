/** What compiles cells, and knows what may stand in one: with types, or by erasing them. */
import type { Compiled, Completeness, Completions, DiagnosticsMode } from "./protocol.ts";

/** A compiler of one notebook's cells. Stateful: it remembers what earlier cells declare. */
export interface CellCompiler {
  readonly about: { readonly compiler: string; readonly checksTypes: boolean };
  /** Never throws for what stands in a cell: problems are diagnostics. */
  compile(cell: number, code: string, mode: DiagnosticsMode): Compiled;
  complete(code: string, cursor: number): Completions;
  /** What stands at the cursor, as text: its type and its documentation. */
  inspect(code: string, cursor: number): string | undefined;
  isComplete(code: string): Completeness;
  /** From now on no cell has declared anything. */
  forget(): void;
}
