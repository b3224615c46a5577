/** `print`: writes each record as a line to the console of its subtask; attached clients see the lines. */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "../operators/operator.ts";

export interface PrintSpec extends OperatorSpec {
  readonly kind: "print";
  readonly label: string;
}

export const printSink: OperatorKind<PrintSpec> = {
  kind: "print",
  inputs: 1,
  create(spec, context) {
    // As Flink: `label:2> row`, the number only where there are several subtasks.
    const number = context.parallelism > 1 ? String(context.subtask + 1) : "";
    const prefix = spec.label === "" && number === "" ? "" : `${spec.label}${spec.label !== "" && number !== "" ? ":" : ""}${number}> `;
    return { process: (value) => console.log(prefix + printed(value)) };
  },
};

/** A record on one line: strings as they are, anything else as JSON where that says it all. */
export function printed(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return String(value);
  const text = JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === "bigint") return `${inner}n`;
    if (inner instanceof Map) return Object.fromEntries(inner);
    return inner instanceof Set ? [...inner] : inner;
  });
  return text ?? String(value);
}
