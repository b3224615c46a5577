/** What `process()` is given, as an operator's parameters. */
import { GraphError, describe } from "../types/errors.ts";

/**
 * A process function written as an object: with fields of its own, which `this` knows. A type of its own, since instances of classes have
 * no index signature.
 */
export type Literal<F> = F & Own & ThisType<F & Own>;

// oxlint-disable-next-line typescript/no-explicit-any -- what the fields are, the literal says
type Own = { [own: string]: any };

/** A process function object as it is; a plain function as one. @throws GraphError for anything else. */
export function processOf(process: unknown): unknown {
  if (typeof process === "function") return { processElement: process };
  const methods = process as { processElement?: unknown; processElement1?: unknown } | null;
  if (typeof methods?.processElement === "function" || typeof methods?.processElement1 === "function") return process;
  throw new GraphError(`process() got ${describe(process)}; it takes a ProcessFunction or a function (value, context, out).`);
}

/** The name of the operator: the function's or its class's. */
export function nameOf(process: unknown, otherwise: string): string {
  const name = typeof process === "function" ? process.name : ((process as object | null)?.constructor?.name ?? "");
  return name === "" || name === "Object" || name === "processElement" ? otherwise : name;
}
