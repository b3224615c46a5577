/** `pairwise`: each record with the one before it, from the second on (RxJS); per key on a keyed stream. */
import type { OperatorKind } from "./operator.ts";
import { KeyedStep, type KeyedStepSpec } from "./keyed-step.ts";

export interface PairwiseSpec extends KeyedStepSpec {
  readonly kind: "pairwise";
}

export const pairwiseOperator: OperatorKind<PairwiseSpec> = {
  kind: "pairwise",
  inputs: 1,
  create: (spec, context) =>
    new KeyedStep<{ readonly last: unknown }>(spec, context, (value, timestamp, kept) => {
      if (kept !== undefined) context.emit([kept.last, value], timestamp);
      return { last: value };
    }),
};
