/**
 * A failure as a person reads it: one sentence, the user's line with its neighbours, and a hint. No stack of ours; with
 * DREY_DEBUG=1 the full stacks follow.
 */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { plainText } from "./table.ts";

/** A place in the user's code. Line and column from 1. */
interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number | undefined;
}

const CONTEXT_LINES = 2;
/** The folder of this build: frames in it are not the user's. */
const HOUSE: string = fileURLToPath(new URL("../../", import.meta.url));

/** Several lines of text without a newline at the end. `thrown` may come from another copy of drey. */
export function describeFailure(thrown: unknown): string {
  if (!(thrown instanceof Error)) return `The program threw a value that is not an Error: ${inspect(thrown)}`;
  const chain = causesOf(thrown);
  const debug = process.env["DREY_DEBUG"] ? [`\n${inspect(thrown, { depth: 5 })}`] : [];
  // What is not ours was thrown by the program or a library of it: Node's own report says most.
  if (!isOurs(thrown)) return thrown.name === "SyntaxError" && placeOf(chain) === undefined ? thrown.message : inspect(thrown);
  const deepest = chain.at(-1) as Error;
  const place = placeOf(chain);
  return [
    withoutStack(thrown.message),
    ...(place === undefined ? [] : [`  at ${placeText(place)}`, ...excerpt(place)]),
    ...hint(deepest, thrown),
    ...debug,
  ].join("\n");
}

type OurError = Error & { readonly code: string; readonly domain: string; readonly details: Readonly<Record<string, unknown>> };

/** By shape: the program may have another copy of drey. */
const isOurs = (error: Error): error is OurError =>
  String((error as Partial<OurError>).code ?? "").startsWith("DREY_") && "domain" in error;

function causesOf(error: Error): Error[] {
  const chain: Error[] = [];
  for (let it: unknown = error; it instanceof Error && !chain.includes(it); it = it.cause) chain.push(it);
  return chain;
}

/** Messages may hold line breaks of users' own errors, but no other control characters. */
const withoutStack = (message: string): string => message.split("\n").map(plainText).join("\n");

/** Where the user's code is to blame: what the task reported, else the first frame that is neither ours, nor Node's, nor a package's. */
function placeOf(chain: readonly Error[]): Place | undefined {
  for (const error of chain) {
    if (!isOurs(error)) continue;
    const { file, line, column } = error.details as { file?: unknown; line?: unknown; column?: unknown };
    if (typeof file === "string" && typeof line === "number")
      return { file, line, column: typeof column === "number" ? column : undefined };
  }
  for (const error of chain) {
    for (const [, where, line, column] of (error.stack ?? "").matchAll(
      /^\s+at (?:async )?(?:.*? \()?((?:file:\/\/)?\/[^()]*?):(\d+):(\d+)\)?$/gm,
    )) {
      const file = (where as string).startsWith("file://") ? fileURLToPath(where as string) : (where as string);
      if (file.startsWith(HOUSE) || file.includes("/node_modules/") || file.startsWith("node:")) continue;
      return { file, line: Number(line), column: Number(column) };
    }
  }
  return undefined;
}

function placeText({ file, line, column }: Place): string {
  const path = file.startsWith("file://") ? fileURLToPath(file) : file;
  const near = relative(process.cwd(), path);
  return `${near === "" || near.startsWith("..") ? path : near}:${line}${column === undefined ? "" : `:${column}`}`;
}

/** The line and its neighbours with a mark, where the file can be read. */
function excerpt({ file, line, column }: Place): string[] {
  let lines: string[];
  try {
    lines = readFileSync(file.startsWith("file://") ? fileURLToPath(file) : file, "utf8").split(/\r?\n/);
  } catch {
    return [];
  }
  if (line > lines.length) return [];
  const first = Math.max(1, line - CONTEXT_LINES);
  const last = Math.min(lines.length, line + CONTEXT_LINES);
  const width = String(last).length;
  const shown: string[] = [""];
  for (let number = first; number <= last; number++) {
    const text = plainText((lines[number - 1] as string).replaceAll("\t", " ")).slice(0, 160);
    shown.push(`  ${number === line ? ">" : " "} ${String(number).padStart(width)} | ${text}`);
    if (number === line && column !== undefined)
      shown.push(`    ${" ".repeat(width)} | ${" ".repeat(Math.max(0, Math.min(column, 160) - 1))}^`);
  }
  return shown;
}

/** What helps with failures whose message does not say it. */
function hint(deepest: Error, outermost: OurError): string[] {
  const code = isOurs(deepest) ? deepest.code : outermost.code;
  const text = {
    DREY_TASK_MANAGER_LOST:
      "hint: the log of the TaskManager says why; a record or a state too large for its memory is the most common reason.",
    DREY_USER_FUNCTION: "hint: run with DREY_DEBUG=1 for the full stack.",
    DREY_INVARIANT: "hint: run with DREY_DEBUG=1 for the full stack.",
    DREY_USAGE: "hint: `drey --help` and `drey <command> --help` say what is possible.",
  }[code];
  if (text === undefined && !isOurs(deepest)) return ["", "hint: run with DREY_DEBUG=1 for the full stack."];
  return text === undefined ? [] : ["", text];
}
