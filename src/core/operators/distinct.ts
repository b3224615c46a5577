/**
 * `distinct`: the first record of each value (RxJS). Without an end of the stream the values seen only grow; `dedupe` forgets.
 */
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import { mapState } from "../state/descriptors.ts";
import type { OperatorKind } from "./operator.ts";

export interface DistinctSpec extends OperatorSpec {
  readonly kind: "distinct";
  readonly key: KeySelector;
  /** What must differ, per key. */
  readonly of: (value: never) => unknown;
}

export const distinctOperator: OperatorKind<DistinctSpec> = {
  kind: "distinct",
  inputs: 1,
  create: ({ key, of }, { states, emit }) => {
    const seen = states.keyed.state(mapState<unknown, true>("seen"));
    return {
      process(value, timestamp): void {
        states.keyed.setCurrentKey((key as (value: unknown) => unknown)(value));
        const what = (of as (value: unknown) => unknown)(value);
        if (seen.contains(what)) return;
        seen.put(what, true);
        emit(value, timestamp);
      },
    };
  },
};
