/** `map`: one record in, one out. */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "./operator.ts";

export interface MapSpec extends OperatorSpec {
  readonly kind: "map";
  readonly map: (value: never) => unknown;
}

export const mapOperator: OperatorKind<MapSpec> = {
  kind: "map",
  inputs: 1,
  fields: (spec, { of }) => of(spec.map, 0),
  create: (spec) => ({
    inline(code, value, timestamp) {
      const result = code.name("mapped");
      return `const ${result} = ${code.constant("map", spec.map)}(${value});\n${code.emit(result, timestamp)}`;
    },
  }),
};
