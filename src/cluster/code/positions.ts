/**
 * Where shipped text was written. Positions are worked out when a function is captured, because only the client has its source
 * maps, its files and its notebook's cells; the bundle then carries them, and a stack can be read on any machine.
 *
 * Two mappings are joined: shipped text → script (the emitter renames and cuts) and script → original (source map or cell).
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { FunctionPosition, LineSegment } from "./bundle.ts";
import { scriptFileUrl } from "./identities.ts";
import type { ScriptLocation, ScriptSource } from "./inspector.ts";
import { alignLines } from "./line-alignment.ts";
import { cellMapping, cellOf } from "./notebook-cells.ts";
import { decodeMappings, inlineSourceMap, parseSourceMap } from "./source-map.ts";
import type { MappedSegment, SourceMapJson } from "./source-map.ts";

/** A piece of shipped text that is a piece of the function's own text: both start there and run on alike. */
export interface KeptPiece {
  /** Shipped line, counted from the function's first, and column. */
  readonly line: number;
  readonly column: number;
  /** Line within the function's text, and column in that line. */
  readonly textLine: number;
  readonly textColumn: number;
}

/** How a script maps to what its author wrote. */
interface Original {
  readonly file: string;
  readonly columns: FunctionPosition["columns"];
  /** Undefined when the script is itself the original. */
  readonly mappings: readonly (readonly MappedSegment[])[] | undefined;
  /** Source the segments must name; the file belongs to it. */
  readonly sources: readonly { readonly file: string; readonly lines: readonly string[] }[];
}

const MAX_LINE_TEXT = 200;
const originals = new WeakMap<ScriptSource, Original>();

/**
 * Positions of one shipped function.
 * @param firstLine of its text in the bundle's code, 0-based.
 * @param pieces per shipped line, by rising column.
 */
export function functionPosition(
  at: {
    readonly path: string;
    readonly text: string;
    readonly script: ScriptSource | undefined;
    readonly location: ScriptLocation | undefined;
  },
  firstLine: number,
  lineCount: number,
  pieces: readonly KeptPiece[],
): FunctionPosition {
  const unknown: FunctionPosition = {
    path: at.path,
    firstLine,
    file: "",
    columns: "unknown",
    lines: Array.from({ length: lineCount }, () => []),
    texts: {},
  };
  const start = at.script === undefined || at.location === undefined ? undefined : startInScript(at.text, at.script.source, at.location);
  if (at.script === undefined || start === undefined) return unknown;
  const original = originalOf(at.script);
  const lines: LineSegment[][] = Array.from({ length: lineCount }, () => []);
  let source: number | undefined;
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as KeptPiece;
    const next = pieces[i + 1];
    const end = next?.line === piece.line ? next.column : Number.POSITIVE_INFINITY;
    const line = lines[piece.line];
    if (line === undefined) continue;
    const scriptLine = start.line + piece.textLine;
    const scriptColumn = piece.textColumn + (piece.textLine === 0 ? start.column : 0);
    if (original.mappings === undefined) {
      line.push([piece.column, scriptLine, scriptColumn]);
      continue;
    }
    const segments = original.mappings[scriptLine] ?? [];
    let first = segments.findLastIndex((segment) => segment[0] <= scriptColumn);
    if (first < 0) first = 0;
    for (let k = first; k < segments.length; k++) {
      const [column, segmentSource, originalLine, originalColumn] = segments[k] as MappedSegment;
      const shipped = piece.column + Math.max(0, column - scriptColumn);
      if (shipped >= end) break;
      source ??= segmentSource;
      if (segmentSource === source) line.push([shipped, originalLine, originalColumn]);
    }
  }
  const { file, lines: written } = original.sources[source ?? 0] ?? { file: original.file, lines: [] };
  const texts: Record<number, string> = {};
  for (const segments of lines) for (const [, line] of segments) texts[line] ??= (written[line] ?? "").trim().slice(0, MAX_LINE_TEXT);
  return { path: at.path, firstLine, file, columns: original.columns, lines, texts };
}

/** The engine's location of a function is its parameter list or its name; its text begins at or before that place. */
function startInScript(text: string, source: string, location: ScriptLocation): { line: number; column: number } | undefined {
  let offset = 0;
  for (let line = 0; line < location.lineNumber; line++) offset = source.indexOf("\n", offset) + 1 || source.length;
  offset += location.columnNumber;
  let start = source.lastIndexOf(text, offset);
  if (start < 0) start = source.indexOf(text);
  if (start < 0) return undefined;
  let line = 0;
  let lineStart = 0;
  for (let end = source.indexOf("\n"); end >= 0 && end < start; end = source.indexOf("\n", lineStart)) {
    line++;
    lineStart = end + 1;
  }
  return { line, column: start - lineStart };
}

function originalOf(script: ScriptSource): Original {
  const known = originals.get(script);
  if (known !== undefined) return known;
  const original = readOriginal(script);
  originals.set(script, original);
  return original;
}

function readOriginal(script: ScriptSource): Original {
  const cell = cellOf(script.url);
  if (cell !== undefined) {
    const mapping = cellMapping(script.url);
    const source = { file: cell.label, lines: cell.typescript.split("\n") };
    return { file: cell.label, columns: mapping?.columns ?? "unknown", mappings: mapping?.lines ?? [], sources: [source] };
  }
  const url = scriptFileUrl(script.url);
  const file = url === undefined ? script.url : fileURLToPath(url.replace(/[?#].*$/, ""));
  const map = script.sourceMapUrl === "" ? undefined : (inlineSourceMap(script.sourceMapUrl) ?? mapFile(script.sourceMapUrl, file));
  if (map === undefined) return withoutMap(script, file);
  return {
    file,
    columns: "start",
    mappings: decodeMappings(map.mappings),
    sources: map.sources.map((_name, index) => originalSource(map, index, file)),
  };
}

/** A script without a map is its own original, unless the runtime compiled TypeScript and keeps the map to itself (Deno). */
function withoutMap(script: ScriptSource, file: string): Original {
  const lines = script.source.split("\n");
  if (!/\.[cm]?tsx?$/.test(file)) return { file, columns: "exact", mappings: undefined, sources: [{ file, lines }] };
  let written: string[];
  try {
    written = readFileSync(file, "utf8").split("\n");
  } catch {
    return { file, columns: "unknown", mappings: [], sources: [] };
  }
  // Node replaces types by as many spaces.
  if (written.every((line, i) => line.length === lines[i]?.length))
    return { file, columns: "exact", mappings: undefined, sources: [{ file, lines: written }] };
  const trimmed = (text: readonly string[]): string[] => text.map((line) => line.trim());
  const partners = alignLines(trimmed(lines), trimmed(written));
  const mappings = partners.map((partner): MappedSegment[] => (partner === undefined ? [] : [[0, 0, partner, 0]]));
  return { file, columns: "unknown", mappings, sources: [{ file, lines: written }] };
}

function mapFile(name: string, scriptFile: string): SourceMapJson | undefined {
  try {
    return parseSourceMap(readFileSync(path.resolve(path.dirname(scriptFile), decodeURIComponent(name)), "utf8"));
  } catch {
    return undefined;
  }
}

function originalSource(map: SourceMapJson, index: number, scriptFile: string): { file: string; lines: readonly string[] } {
  const name = `${map.sourceRoot ?? ""}${map.sources[index] ?? ""}`;
  const file =
    name === ""
      ? scriptFile
      : name.startsWith("file:")
        ? fileURLToPath(name)
        : /^[a-z]{2,}:/i.test(name)
          ? name
          : path.resolve(path.dirname(scriptFile), name);
  let content = map.sourcesContent?.[index] ?? undefined;
  if (content === undefined) {
    try {
      content = readFileSync(file, "utf8");
    } catch {
      content = "";
    }
  }
  return { file, lines: content.split("\n") };
}
