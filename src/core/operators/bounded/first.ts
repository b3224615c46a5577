/** `first(n)`: any n rows of a subtask; what comes after is dropped. */
import type { OperatorSpec } from "../../graph/stream-graph.ts";
import type { OperatorKind } from "../operator.ts";

export interface FirstSpec extends OperatorSpec {
  readonly kind: "first";
  readonly count: number;
}

export const firstOperator: OperatorKind<FirstSpec> = {
  kind: "first",
  inputs: 1,
  create({ count }, context) {
    let left = count;
    return {
      process(value, timestamp) {
        if (left <= 0) return;
        left--;
        context.emit(value, timestamp);
      },
    };
  },
};
