/** `cross`: every row of the first input with every row of the second, which comes to each subtask in full. */
import type { OperatorSpec } from "../../graph/stream-graph.ts";
import type { OperatorKind } from "../operator.ts";
import { KeptRows, afterInput } from "./kept-rows.ts";

export interface CrossSpec extends OperatorSpec {
  readonly kind: "cross";
  readonly cross: (left: never, right: never) => unknown;
}

export const crossOperator: OperatorKind<CrossSpec> = {
  kind: "cross",
  inputs: 2,
  create(spec, context) {
    const kept = new KeptRows(context, 2);
    const left = kept.rows();
    const right = kept.rows();
    const cross = spec.cross as (left: unknown, right: unknown) => unknown;
    return {
      process: (value) => left.add(value),
      process2: (value) => right.add(value),
      ...afterInput(context, kept, function* () {
        for (const a of left) {
          for (const b of right) {
            context.emit(cross(a, b), Number.NaN);
            yield;
          }
        }
      }),
    };
  },
};
