/** Checks and small constructors that the typed surface shares. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { StreamNodeOptions } from "../graph/stream-graph.ts";
import { GraphError, describe } from "../types/errors.ts";

/** A spec of an operator kind. */
export function specOf(kind: string, parameters: Readonly<Record<string, unknown>>): StreamNodeOptions["spec"] {
  return { kind, ...parameters };
}

/** @throws GraphError naming `where` unless the value is a function. */
export function functionOf<F>(value: F, where: string): F {
  if (typeof value !== "function") throw new GraphError(`${where} got ${describe(value)}; it takes a function.`);
  return value;
}

/** A path as seen from this program's folder; `file:` URLs too. @throws GraphError unless it is a text or a URL. */
export function absolute(path: string | URL, where: string): string {
  if (path instanceof URL || (typeof path === "string" && path.startsWith("file:"))) return fileURLToPath(path);
  if (typeof path !== "string" || path === "") throw new GraphError(`${where} got ${describe(path)}; it takes a path.`);
  return resolve(path);
}
