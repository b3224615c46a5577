/**
 * The cells of a notebook, so that an error in a worker names `Cell [3]:6` instead of a line of compiled text. A kernel registers
 * each cell it runs under the URL that the engine knows the compiled script by. Our own kernel does so with a source map; into
 * tslab a tracker is put that does it from outside.
 */
import { createRequire } from "node:module";
import { alignLines } from "./line-alignment.ts";
import { decodeMappings, parseSourceMap } from "./source-map.ts";
import type { MappedSegment, SourceMapJson } from "./source-map.ts";

/** One run of one cell. */
export interface NotebookCell {
  /** As users see it, e.g. `Cell [3]`. */
  readonly label: string;
  /** URL of the compiled script. */
  readonly url: string;
  /** What stands in the cell. */
  readonly typescript: string;
  /** What ran. */
  readonly javascript: string;
  /** From `javascript` to `typescript`. Without it lines are found by comparing with `transpile`, else left unknown. */
  readonly sourceMap?: SourceMapJson;
  /** Compiles the cell again in much the same way, but with a source map. */
  readonly transpile?: () => { readonly javascript: string; readonly sourceMap: SourceMapJson } | undefined;
}

/** How a cell's compiled lines map to the cell. */
export interface CellMapping {
  readonly columns: "start" | "unknown";
  readonly lines: readonly (readonly MappedSegment[])[];
}

type KnownCells = Map<string, { readonly cell: NotebookCell; mapping?: CellMapping }>;
const KNOWN = Symbol.for("drey.notebook.cells");
const kept = globalThis as { [KNOWN]?: KnownCells };

/**
 * Cells run so far, by URL. A notebook that is left running for long forgets its oldest runs. They hang on the process and not on this
 * module, because a kernel and its notebook may each have a copy of it.
 */
const cells: KnownCells = (kept[KNOWN] ??= new Map());
const MAX_CELLS = 2_000;

/** Remembers a cell; a later cell with the same URL takes its place. Called by kernels before the cell runs. */
export function registerCell(cell: NotebookCell): void {
  cells.delete(cell.url);
  if (cells.size >= MAX_CELLS) cells.delete(cells.keys().next().value as string);
  cells.set(cell.url, { cell });
}

/** The cell that was compiled to the script at a URL. */
export const cellOf = (url: string): NotebookCell | undefined => cells.get(url)?.cell;

/** The mapping of a registered cell's compiled lines; worked out once. */
export function cellMapping(url: string): CellMapping | undefined {
  const entry = cells.get(url);
  if (entry === undefined) return undefined;
  entry.mapping ??= mappingOf(entry.cell);
  return entry.mapping;
}

function mappingOf(cell: NotebookCell): CellMapping {
  if (cell.sourceMap !== undefined) return { columns: "start", lines: decodeMappings(cell.sourceMap.mappings) };
  const again = cell.transpile?.();
  if (again === undefined) return { columns: "unknown", lines: [] };
  const mappings = decodeMappings(again.sourceMap.mappings);
  const partners = alignLines(cell.javascript.split("\n").map(normalised), again.javascript.split("\n").map(normalised));
  return {
    columns: "unknown",
    lines: partners.map((partner): MappedSegment[] => {
      const segment = partner === undefined ? undefined : mappings[partner]?.[0];
      return segment === undefined ? [] : [[0, segment[1], segment[2], segment[3]]];
    }),
  };
}

/** A line without the ways in which compilers spell imported and exported names. */
const normalised = (line: string): string =>
  line
    .replace(/\(0, exports\.([\w$]+)\)|\bexports\.([\w$]+)/g, "$1$2")
    .replace(/\b[\w$]+_\d+\.(?:default\.)?/g, "")
    .replace(/\s+/g, " ")
    .trim();

interface TslabHandler {
  execCount?: number;
  dreyTracked?: boolean;
  handleExecute?: (request: { code: string }, ...rest: unknown[]) => unknown;
  handleExecuteImpl?: (request: { code: string }, ...rest: unknown[]) => unknown;
}

/**
 * Lets drey see the cells of the tslab kernel that this process is, from the next cell on. tslab runs compiled cells without a file
 * name and without a source map; so its request handler and `vm.runInThisContext` are wrapped, which changes nothing else.
 * @returns whether this process is a tslab kernel; elsewhere nothing is done. Calling it again does nothing.
 */
export function installCellTracker(): boolean {
  const require = createRequire(import.meta.url);
  const loaded = (pattern: RegExp): unknown => {
    const file = Object.keys(require.cache ?? {}).find((name) => pattern.test(name));
    return file === undefined ? undefined : require.cache[file]?.exports;
  };
  const handler = (loaded(/[\\/]tslab[\\/]dist[\\/]jupyter\.js$/) as { JupyterHandlerImpl?: { prototype: TslabHandler } } | undefined)
    ?.JupyterHandlerImpl?.prototype;
  if (handler === undefined) return false;
  if (handler.dreyTracked === true) return true;
  const name = handler.handleExecuteImpl === undefined ? "handleExecute" : "handleExecuteImpl";
  const execute = handler[name];
  if (execute === undefined) return false;
  handler.dreyTracked = true;

  let current: { number: number; typescript: string } | undefined;
  handler[name] = function (this: TslabHandler, request, ...rest) {
    current = { number: (this.execCount ?? 0) + 1, typescript: request.code };
    return execute.call(this, request, ...rest);
  };
  // The module object, not the import: an ES module's binding of runInThisContext can't be replaced.
  const vm = require("node:vm") as { runInThisContext: (code: string, options?: object) => unknown };
  const run = vm.runInThisContext;
  vm.runInThisContext = function (code, options) {
    if (current === undefined || typeof code !== "string" || !code.endsWith("(__tslab__.exports, __tslab__.require)"))
      return run.call(vm, code, options);
    const { number, typescript } = current;
    const url = `Cell[${number}].js`;
    const transpile = (): ReturnType<NonNullable<NotebookCell["transpile"]>> =>
      transpileWith(loaded(/typescript-for-tslab[\\/]lib[\\/]typescript\.js$/) as TypeScriptApi | undefined, typescript);
    registerCell({ label: `Cell [${number}]`, url, typescript, javascript: code, transpile });
    return run.call(vm, code, { ...options, filename: url });
  };
  return true;
}

interface TypeScriptApi {
  ScriptTarget: { ES2022: number };
  ModuleKind: { ESNext: number };
  transpileModule(text: string, options: object): { outputText: string; sourceMapText?: string };
}

function transpileWith(typescript: TypeScriptApi | undefined, text: string): { javascript: string; sourceMap: SourceMapJson } | undefined {
  if (typescript === undefined) return undefined;
  const compilerOptions = {
    target: typescript.ScriptTarget.ES2022,
    module: typescript.ModuleKind.ESNext,
    sourceMap: true,
    experimentalDecorators: true,
    useDefineForClassFields: true,
  };
  const { outputText, sourceMapText } = typescript.transpileModule(text, { compilerOptions });
  const sourceMap = parseSourceMap(sourceMapText ?? "");
  return sourceMap === undefined ? undefined : { javascript: outputText, sourceMap };
}
