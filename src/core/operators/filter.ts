/** `filter`: a record passes when the predicate is truthy. */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import { type OperatorKind, eitherUse } from "./operator.ts";

export interface FilterSpec extends OperatorSpec {
  readonly kind: "filter";
  readonly predicate: (value: never) => unknown;
}

export const filterOperator: OperatorKind<FilterSpec> = {
  kind: "filter",
  inputs: 1,
  fields: (spec, { of, consumers }) => eitherUse(of(spec.predicate, 0), consumers),
  create: (spec) => ({
    inline: (code, value, timestamp) => `if (${code.constant("predicate", spec.predicate)}(${value})) {\n${code.emit(value, timestamp)}\n}`,
  }),
};
