/**
 * How a thrown value is told to a reader: its message, and the frames that lie in cells, by cell and line, with the line itself. Frames of
 * the kernel and of Node say nothing to whoever wrote the cell.
 */
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { cellMapping, cellOf } from "../../../cluster/code/notebook-cells.ts";
import type { Failure } from "./protocol.ts";

const RED = "\u001b[31m";
const DIM = "\u001b[2m";
const BOLD = "\u001b[1m";
const PLAIN = "\u001b[0m";
const KERNEL = fileURLToPath(new URL("../", import.meta.url));
/** Causes may form a ring. */
const MOST_CAUSES = 5;

/** The failure of a cell, as Jupyter's `error` message has it. */
export function failureOf(thrown: unknown): Failure {
  if (!isError(thrown)) {
    const evalue = typeof thrown === "string" ? thrown : inspect(thrown, { depth: 2 });
    return { ename: "Thrown", evalue, traceback: [`${RED}Thrown${PLAIN}: ${evalue}`] };
  }
  const traceback = tell(thrown);
  let cause = thrown.cause;
  for (let depth = 0; isError(cause) && depth < MOST_CAUSES; depth++) {
    traceback.push(`${DIM}caused by${PLAIN} ${tell(cause).join("\n")}`);
    cause = cause.cause;
  }
  return { ename: thrown.name, evalue: thrown.message, traceback };
}

/** Errors of other realms are no instances of ours. */
const isError = (value: unknown): value is Error =>
  value instanceof Error || (typeof value === "object" && value !== null && "stack" in value && "message" in value);

function tell(error: Error): string[] {
  const lines = [`${RED}${BOLD}${error.name}${PLAIN}: ${error.message}${cure(error)}`];
  const stack = String(error.stack ?? "");
  let shown = false;
  for (const frame of stack.split("\n").filter((line) => /^\s+at /.test(line))) {
    const place = placeInCell(frame);
    if (place !== undefined) {
      lines.push(`    at ${place.what}`);
      if (!shown && place.text !== "") lines.push(`${DIM}${String(place.line).padStart(7)} |${PLAIN} ${place.text}`);
      shown = true;
    } else if (!frame.includes(KERNEL) && !/\(?node:|<anonymous>/.test(frame)) lines.push(`${DIM}${frame}${PLAIN}`);
  }
  return lines;
}

function placeInCell(frame: string): { readonly what: string; readonly line: number; readonly text: string } | undefined {
  const match = /^\s+at (?:(async )?(.*?) \()?(Cell\[\d+\]\.js):(\d+):(\d+)\)?$/.exec(frame);
  if (match === null) return undefined;
  const [, , name, url, lineText, columnText] = match as unknown as [string, string, string | undefined, string, string, string];
  const cell = cellOf(url);
  const mapping = cellMapping(url);
  if (cell === undefined || mapping === undefined) return undefined;
  const segments = mapping.lines[Number(lineText) - 1] ?? [];
  const segment = segments.findLast(([column]) => column <= Number(columnText) - 1) ?? segments[0];
  if (segment === undefined) return { what: cell.label, line: 0, text: "" };
  const [, , line, column] = segment;
  const position = `${cell.label}:${line + 1}:${column + 1}`;
  const text = cell.typescript.split("\n")[line] ?? "";
  return { what: name === undefined ? position : `${name} (${position})`, line: line + 1, text };
}

/** What to do about an error that is worded for programs, not for cells. */
function cure(error: Error): string {
  // The package may be loaded twice, so the class may be another's.
  if (error.name === "ConnectionError") {
    return "\nIf this notebook's own cluster is lost: %cluster start, or notebookSession(), starts another; then run the cells that follow it again.";
  }
  const code = (error as { code?: unknown }).code;
  const missing = /Cannot find (?:package|module) '([^']+)'/.exec(error.message)?.[1];
  if ((code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") && missing !== undefined && !/^[./]/.test(missing)) {
    return `\nInstall it in the notebook's folder: npm install ${missing.split("/", missing.startsWith("@") ? 2 : 1).join("/")}`;
  }
  return "";
}
