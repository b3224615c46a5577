/**
 * A worker's stack trace in the user's own terms: frames in shipped code become the file, line and column where the code was
 * written, or the notebook cell. The bundle alone knows; no file is read, so it works on any machine.
 */
import type { CodeBundle, FunctionPosition, LineSegment } from "./bundle.ts";
import { HEADER_LINES } from "./revive.ts";

/** A place in what the user wrote; line and column count from 1. */
export interface UserFrame {
  /** Absolute path, URL, or the label of a notebook cell. */
  readonly file: string;
  readonly line: number;
  readonly column?: number;
  /** The line's text, trimmed. */
  readonly text?: string;
}

export interface RemappedStack {
  readonly stack: string;
  /** The innermost frame in the user's code. */
  readonly firstUserFrame?: UserFrame;
}

/** Rewrites the frames of `stack` that lie in `bundle`'s code; the rest stays as it is. */
export function remapStack(stack: string, bundle: CodeBundle): RemappedStack {
  let firstUserFrame: UserFrame | undefined;
  // Frames read `at name (folder/file:line:column)` or `at folder/file:line:column`, and the folder may hold spaces.
  const name = bundle.fileName.replace(/[.$]/g, "\\$&");
  const frame = new RegExp(`^(\\s*at (?:async )?(?:[^\\n]*? \\()?)([^()\\n]*?)${name}(?:, <anonymous>)?:(\\d+):(\\d+)`, "gm");
  const rewritten = stack.replace(frame, (whole: string, before: string, _folder: string, lineText: string, columnText: string) => {
    const found = locate(bundle.map, Number(lineText) - 1 - HEADER_LINES, Number(columnText) - 1);
    if (found === undefined) return whole;
    if ("path" in found) return `${before}${found.path}:${found.line}`;
    firstUserFrame ??= found;
    return `${before}${found.file}:${found.line}${found.column === undefined ? "" : `:${found.column}`}`;
  });
  return firstUserFrame === undefined ? { stack: rewritten } : { stack: rewritten, firstUserFrame };
}

/**
 * Where a place in the bundle's code, counted from 0, was written; undefined outside of the user's functions. A function whose file nobody
 * knows is told by its path, with the line in it.
 */
export function locate(
  map: readonly FunctionPosition[], line: number, column: number,
): UserFrame | { readonly path: string; readonly line: number } | undefined {
  const position = map.find((one) => line >= one.firstLine && line < one.firstLine + one.lines.length);
  if (position === undefined) return undefined;
  const index = line - position.firstLine;
  const segments = position.lines[index] ?? [];
  const segment: LineSegment | undefined = segments.findLast((one) => one[0] <= column) ?? segments[0];
  if (segment === undefined || position.file === "") return nearestLine(position, index) ?? { path: position.path, line: index + 1 };
  const text = position.texts[segment[1]];
  const originalColumn = position.columns === "exact" ? segment[2] + Math.max(0, column - segment[0]) : segment[2];
  return {
    file: position.file,
    line: segment[1] + 1,
    ...(position.columns === "unknown" ? {} : { column: originalColumn + 1 }),
    ...(text === undefined || text === "" ? {} : { text }),
  };
}

/** A line that the compiler added belongs to the line before it. */
function nearestLine(position: FunctionPosition, index: number): UserFrame | undefined {
  if (position.file === "") return undefined;
  for (let i = index; i >= 0; i--) {
    const segment = position.lines[i]?.at(-1);
    if (segment === undefined) continue;
    const text = position.texts[segment[1]];
    return { file: position.file, line: segment[1] + 1, ...(text === undefined || text === "" ? {} : { text }) };
  }
  return undefined;
}
