/**
 * `topN` on a keyed stream: per key the highest records so far, best first, emitted whenever they change. Of equal records the earlier
 * stands first.
 */
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import { GraphError, describe } from "../types/errors.ts";
import type { AggregateFunction } from "./aggregates.ts";
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

/**
 * The `count` highest records of a window or group, best first: `window(…).aggregate(top(3, (ride) => ride.fare))`. Of equal records the
 * earlier stands first.
 * @param by what to compare: higher is better.
 */
export function top<T>(count: number, by: (value: T) => number): AggregateFunction<T, readonly T[], readonly T[]> {
  if (!Number.isInteger(count) || count < 1) throw new GraphError(`top() got ${describe(count)}; give an integer ≥ 1.`);
  return {
    createAccumulator: () => [],
    add: (value, best) => withRecord(best, value, count, by),
    getResult: (best) => best,
    merge: (a, b) => b.reduce((best, value) => withRecord(best, value, count, by), a),
  };
}

/** The best with another record; the same array when it is not among them. */
export function withRecord<T>(best: readonly T[], value: T, count: number, by: (value: T) => number): readonly T[] {
  const score = by(value);
  let at = best.length;
  while (at > 0 && by(best[at - 1] as T) < score) at--;
  return at >= count ? best : [...best.slice(0, at), value, ...best.slice(at, count - 1)];
}
