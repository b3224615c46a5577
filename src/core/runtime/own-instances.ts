/**
 * Function objects (process functions, aggregates, sinks) copied for a subtask that shares its thread with others, so that what one
 * keeps in its fields another does not see, as on a cluster. Plain functions and rows are shared: nothing can copy what a function
 * captured.
 */
import type { JobVertex, TaskSpec } from "../graph/job-graph.ts";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import { GraphError } from "../types/errors.ts";

/** A task's spec with function objects of its own. @throws GraphError where that can't be had. */
export function ownInstances(task: TaskSpec, { parallelism }: JobVertex): TaskSpec {
  const operators = task.operators.map((operator) => {
    const copies = new Map<object, object>();
    const copy = (value: unknown): unknown => {
      try {
        return Array.isArray(value) ? value : copyOf(value, parallelism > 1, copies);
      } catch (error) {
        if (!(error instanceof PrivateFields)) throw error;
        throw new GraphError(
          `"${operator.name}" has parallelism ${parallelism} and an object with #private fields, which can't be copied for each subtask in one ` +
            `thread (${error.message}); let it have parallelism 1 here, or run it on a cluster.`,
        );
      }
    };
    const spec = Object.fromEntries(Object.entries(operator.spec).map(([key, value]) => [key, copy(value)])) as unknown as OperatorSpec;
    return { ...operator, spec };
  });
  return { ...task, operators };
}

class PrivateFields extends Error {}

/** A copy with the same classes. What has #private fields is handed on itself, unless there must be `several`. */
function copyOf(value: unknown, several: boolean, copies: Map<object, object>): unknown {
  if (typeof value !== "object" || value === null) return value;
  const known = copies.get(value);
  if (known !== undefined) return known;
  const inner = (it: unknown): unknown => copyOf(it, several, copies);
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (hasPrivateFields(prototype)) {
    if (several) throw new PrivateFields(`class ${prototype?.constructor.name}`);
    return value;
  }
  const remember = <T extends object>(copy: T): T => (copies.set(value, copy), copy);
  if (Array.isArray(value)) {
    const copy = remember(new Array<unknown>(value.length));
    for (const [index, item] of value.entries()) copy[index] = inner(item);
    return copy;
  }
  if (value instanceof Map) {
    const copy = remember(new Map());
    for (const [key, item] of value) copy.set(inner(key), inner(item));
    return copy;
  }
  if (value instanceof Set) {
    const copy = remember(new Set());
    for (const item of value) copy.add(inner(item));
    return copy;
  }
  if (value instanceof Date || value instanceof RegExp || ArrayBuffer.isView(value)) return remember(structuredClone(value) as object);
  // Other objects of the platform keep what they are in slots that nobody can copy.
  if (Object.prototype.toString.call(value) !== "[object Object]") return value;
  const copy = remember(Object.create(prototype) as Record<string, unknown>);
  for (const [key, item] of Object.entries(value)) copy[key] = inner(item);
  return copy;
}

function hasPrivateFields(prototype: object | null): boolean {
  for (let p = prototype; p !== null && p !== Object.prototype; p = Object.getPrototypeOf(p) as object | null) {
    if (typeof p.constructor === "function" && /\bthis\.#[\w$]/.test(Function.prototype.toString.call(p.constructor))) return true;
  }
  return false;
}
