/**
 * What is told about a task that failed: the error as it left the task, in the user's own coordinates. Stack frames in shipped code become
 * the user's file or notebook cell, line and column; the innermost of them ends the message and stands in the details. The bundle knows
 * them all, so no file is read.
 */
import { basename } from "node:path";
import { CaptureError, DreyError, UserFunctionError, toWire } from "../../core/types/errors.ts";
import type { WireError } from "../../core/types/errors.ts";
import type { JobVertex } from "../../core/graph/job-graph.ts";
import type { CodeBundle } from "../code/bundle.ts";
import { remapStack } from "../code/stack.ts";
import type { UserFrame } from "../code/stack.ts";
import { subtaskName } from "./thread-messages.ts";

/** Where something went wrong. */
export interface FailurePlace {
  readonly vertex: JobVertex;
  readonly subtask: number;
  /** Absent when the code could not be read. */
  readonly bundle: CodeBundle | undefined;
}

/**
 * The failure of a task for the JobManager. Errors that are drey's own keep their class; anything else becomes a UserFunctionError.
 * `details` gains vertex and subtask and, where the user's code is in the stack, `file`, `line`, `column` and `text`.
 * @param doing what the task was doing, for errors that do not say it: "loading its code".
 */
export function failureReport(thrown: unknown, place: FailurePlace, doing = "running"): WireError {
  const { vertex, subtask, bundle } = place;
  const error =
    thrown instanceof DreyError
      ? thrown
      : new UserFunctionError(`${subtaskName(vertex, subtask)} failed while ${doing}: ${sayOf(thrown)}`, { cause: thrown });
  const found: UserFrame[] = [];
  const wire = remapped(toWire(error), bundle, found);
  const [frame] = found;
  const details = { vertex: vertex.id, vertexName: vertex.name, subtask, ...wire.details, ...frame };
  // A CaptureError tells the way to a value, not a line that ran.
  if (frame === undefined || error instanceof CaptureError) return { ...wire, details };
  return { ...wire, message: `${wire.message} at ${lineOf(frame)}`, details };
}

/** `rides.ts:17:22`, or `Cell [3]:2:5`. */
const lineOf = ({ file, line, column }: UserFrame): string =>
  `${/^(?:\/|[A-Za-z]:\\|file:)/.test(file) ? basename(file) : file}:${line}${column === undefined ? "" : `:${column}`}`;

/** Rewrites stacks from the deepest cause up: the cause is where the user's code threw. */
function remapped(wire: WireError, bundle: CodeBundle | undefined, found: UserFrame[]): WireError {
  const cause = wire.cause === undefined ? undefined : remapped(wire.cause, bundle, found);
  let { stack } = wire;
  if (stack !== undefined && bundle !== undefined) {
    const { stack: rewritten, firstUserFrame } = remapStack(stack, bundle);
    stack = rewritten;
    if (firstUserFrame !== undefined) found.push(firstUserFrame);
  }
  return { ...wire, ...(stack === undefined ? {} : { stack }), ...(cause === undefined ? {} : { cause }) };
}

const sayOf = (thrown: unknown): string => (thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : toWire(thrown).message);
