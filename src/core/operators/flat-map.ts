/** `flatMap`: one record in, any number out, each with the timestamp of the one it came from. */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import { RecordError, describe } from "../types/errors.ts";
import type { OperatorKind } from "./operator.ts";

export interface FlatMapSpec extends OperatorSpec {
  readonly kind: "flatMap";
  /** An array or any other synchronous iterable of results. */
  readonly flatMap: (value: never) => Iterable<unknown>;
}

export const flatMapOperator: OperatorKind<FlatMapSpec> = {
  kind: "flatMap",
  inputs: 1,
  fields: (spec, { of }) => of(spec.flatMap, 0),
  create: (spec, context) => ({
    inline(code, value, timestamp) {
      const results = code.name("results");
      const result = code.name("result");
      const check = code.constant("iterable", (returned: unknown): Iterable<unknown> => iterable(returned, context.operatorName));
      return `const ${results} = ${check}(${code.constant("flatMap", spec.flatMap)}(${value}));
for (const ${result} of ${results}) {
${code.emit(result, timestamp)}
}`;
    },
  }),
};

function iterable(returned: unknown, operator: string): Iterable<unknown> {
  if (Array.isArray(returned)) return returned as unknown[];
  if (returned !== null && typeof returned === "object" && Symbol.iterator in returned) return returned as Iterable<unknown>;
  throw new RecordError(
    `The function of "${operator}" returned ${describe(returned)}; flatMap needs an array or another iterable (return [] for nothing).`,
  );
}
