/**
 * The code of a job: the specs of its vertices with the user's functions in them, captured together, one root per vertex in the order of
 * the job graph. A worker finds its vertex at that position.
 */
import type { ShippedClass } from "../../core/data/classes.ts";
import type { CompiledJob, TaskSpec } from "../../core/graph/job-graph.ts";
// The door itself, and not its parts: its exports travel by name, so its namespace is what is needed.
import * as functions from "../../core/functions.ts";
import * as core from "../../core/index.ts";
import { CaptureError } from "../../core/types/errors.ts";
import { projectEdges } from "../../core/runtime/projection.ts";
import type { CodeBundle } from "../code/bundle.ts";
import { fieldsRead } from "../code/fields-read.ts";
import { capture, originalClasses, warmUp } from "../code/capture.ts";
import type { KnownModule } from "../code/identities.ts";

/** In order of preference: what functions mostly need is light to load; the door of core, under both its names, has everything else. */
const knownModules: readonly KnownModule[] = [
  { specifier: "drey/functions", namespace: functions },
  { specifier: "drey/core", namespace: core },
  { specifier: "drey", namespace: core },
];

/** Makes the first capture fast, at the cost of a tenth of a second now. */
export const warmUpCapture = (): void => warmUp(knownModules);

export interface JobCode {
  readonly bundle: CodeBundle;
  /** The classes of the bundle, as this program knows them: rows that come back become their instances. */
  readonly classes: readonly ShippedClass[];
}

/**
 * Captures a job's functions.
 * @param classes classes of records that no function mentions.
 * @throws CaptureError when something can't travel; its message begins with the operator: `map(parse) → conn: captures …`.
 */
export async function captureJob(job: CompiledJob, classes: readonly (new (...args: never) => unknown)[]): Promise<JobCode> {
  const roots = [
    ...projectEdges(job, fieldsRead).tasks.map((value, index) => ({ label: `task ${index}`, value })),
    ...classes.map((value) => ({ label: `registerClass(${value.name})`, value })),
  ];
  try {
    const captured = await capture(roots, { knownModules });
    const named = (text: string): string => inOperators(text, job.tasks);
    const bundle: CodeBundle = {
      ...captured,
      roots: captured.roots.map((label, index) => job.graph.vertices[index]?.name ?? label),
      map: captured.map.map((position) => ({ ...position, path: named(position.path) })),
      warnings: captured.warnings.map(named),
    };
    return { bundle, classes: originalClasses(captured) };
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    const { path } = error.details as { path?: readonly string[] };
    throw new CaptureError(inOperators(error.message, job.tasks), {
      cause: error.cause ?? error,
      details: { ...error.details, ...(path === undefined ? {} : { path: inOperators(path.join(ARROW), job.tasks).split(ARROW) }) },
    });
  }
}

const ARROW = " → ";
const IN_TASK = /\btask (\d+)(?: → operators → (\d+)(?: → spec(?: → ([\w$]+))?)?| → edges → (\d+)(?: → partitioning(?: → ([\w$]+))?)?)/g;

/** Paths through the specs of tasks, as the user wrote them: `task 0 → operators → 2 → spec → map → conn` is `map(parse) → conn`. */
function inOperators(text: string, tasks: readonly TaskSpec[]): string {
  return text.replace(IN_TASK, (whole, task: string, operator?: string, member?: string, edge?: string, edgeMember?: string) => {
    const spec = tasks[Number(task)];
    if (operator !== undefined) {
      const found = spec?.operators[Number(operator)];
      return found === undefined ? whole : `${found.name}${inBrackets(found.spec, member)}`;
    }
    const partitioning = spec?.edges[Number(edge)]?.partitioning;
    if (partitioning === undefined) return whole;
    return `${partitioning.kind === "hash" ? "keyBy" : "partition"}${inBrackets(partitioning, edgeMember)}`;
  });
}

/** What was given to an operator, by its own name, or by the parameter's: `(parse)`. An arrow function that stands in the call has none. */
function inBrackets(owner: object, member: string | undefined): string {
  if (member === undefined) return "";
  const value = (owner as Readonly<Record<string, unknown>>)[member];
  if (typeof value !== "function") return `(${member})`;
  return value.name === "" || value.name === member ? "" : `(${value.name})`;
}
