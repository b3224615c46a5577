/** `takeUntil`: records pass until another stream has its first record (RxJS). Which records come before it, the wall clock decides. */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "./operator.ts";

export interface TakeUntilSpec extends OperatorSpec {
  readonly kind: "takeUntil";
}

export const takeUntilOperator: OperatorKind<TakeUntilSpec> = {
  kind: "takeUntil",
  inputs: 2,
  create: (_spec, { states, emit }) => {
    const over = states.list<true>("over", "union");
    return {
      process(value, timestamp): void {
        if (over.get().length === 0) emit(value, timestamp);
      },
      process2: () => over.update([true]),
    };
  },
};
