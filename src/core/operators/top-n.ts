/**
 * `topN` on a keyed stream: per key the highest records so far, best first, emitted whenever they change. Of equal records the earlier
 * stands first.
 */
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "./operator.ts";
import { KeyedStep } from "./keyed-step.ts";

export interface TopNSpec extends OperatorSpec {
  readonly kind: "topN";
  readonly key: KeySelector;
  readonly count: number;
  /** What to compare: higher is better. */
  readonly by: (value: never) => number;
}

export const topNOperator: OperatorKind<TopNSpec> = {
  kind: "topN",
  inputs: 1,
  create: (spec, context) => {
    const by = spec.by as (value: unknown) => number;
    return new KeyedStep<readonly unknown[]>(spec, context, (value, timestamp, best = []) => {
      const next = withRecord(best, value, spec.count, by);
      if (next !== best) context.emit(next, timestamp);
      return next;
    });
  },
};

/** The best with another record; the same array when it is not among them. */
export function withRecord<T>(best: readonly T[], value: T, count: number, by: (value: T) => number): readonly T[] {
  const score = by(value);
  let at = best.length;
  while (at > 0 && by(best[at - 1] as T) < score) at--;
  return at >= count ? best : [...best.slice(0, at), value, ...best.slice(at, count - 1)];
}
