/**
 * `take`, `skip`, `takeWhile`, `skipWhile`: the beginning of a sequence, or the rest of it (RxJS); per key on a keyed stream. What comes
 * after the beginning is dropped; unlike in RxJS the source goes on, since others may read it.
 */
import type { OperatorKind } from "./operator.ts";
import { KeyedStep, type KeyedStepSpec } from "./keyed-step.ts";

export interface TakeSpec extends KeyedStepSpec {
  readonly kind: "take";
  /** Whether the beginning passes, or what follows it. */
  readonly which: "beginning" | "rest";
  /** The beginning is so many records … */
  readonly count?: number;
  /** … or lasts as long as this holds. */
  readonly during?: (value: never, index: number) => unknown;
  /** The record that ended it belongs to it. */
  readonly inclusive?: boolean;
}

/** Kept for a key whose beginning is over. */
const OVER = -1;

export const takeOperator: OperatorKind<TakeSpec> = {
  kind: "take",
  inputs: 1,
  create: (spec, context) => {
    const { which, count = Number.POSITIVE_INFINITY, inclusive = false } = spec;
    const during = (spec.during ?? ((): boolean => true)) as (value: unknown, index: number) => unknown;
    return new KeyedStep<number>(spec, context, (value, timestamp, seen = 0) => {
      const inside = seen !== OVER && seen < count && Boolean(during(value, seen));
      const last = !inside && seen !== OVER && inclusive;
      if ((inside || last) === (which === "beginning")) context.emit(value, timestamp);
      return inside ? seen + 1 : OVER;
    });
  },
};
