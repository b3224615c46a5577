/** `distinctUntilChanged`: a record passes when it differs from the one before it (RxJS); per key on a keyed stream. */
import { keyToken } from "../data/keys.ts";
import type { OperatorKind } from "./operator.ts";
import { KeyedStep, type KeyedStepSpec } from "./keyed-step.ts";

export interface ChangesSpec extends KeyedStepSpec {
  readonly kind: "changes";
  /** What is compared of a record; absent: all of it. */
  readonly of?: (value: never) => unknown;
  /** Absent: equal by structure, like keys. */
  readonly same?: (previous: never, current: never) => unknown;
}

export const changesOperator: OperatorKind<ChangesSpec> = {
  kind: "changes",
  inputs: 1,
  create: (spec, context) => {
    const of = (spec.of ?? ((value: never): unknown => value)) as (value: unknown) => unknown;
    const same = (spec.same ?? equal) as (previous: unknown, current: unknown) => unknown;
    return new KeyedStep<{ readonly last: unknown }>(spec, context, (value, timestamp, kept) => {
      const last = of(value);
      if (kept !== undefined && Boolean(same(kept.last, last))) return kept;
      context.emit(value, timestamp);
      return { last };
    });
  },
};

const equal = (a: unknown, b: unknown): boolean => Object.is(token(a), token(b));
/** Nothing is a value here, though not a key. */
const token = (value: unknown): unknown => (value === null || value === undefined ? value : keyToken(value));
