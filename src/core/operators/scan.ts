/** `scan`: the running accumulation of a sequence, emitted after each record (RxJS); per key on a keyed stream. */
import type { OperatorKind } from "./operator.ts";
import { KeyedStep, type KeyedStepSpec } from "./keyed-step.ts";

export interface ScanSpec extends KeyedStepSpec {
  readonly kind: "scan";
  readonly scan: (accumulated: never, value: never) => unknown;
  /** Makes what each key begins with. Absent: a key's first record is its first accumulation. */
  readonly seed?: () => unknown;
}

export const scanOperator: OperatorKind<ScanSpec> = {
  kind: "scan",
  inputs: 1,
  create: (spec, context) => {
    const scan = spec.scan as (accumulated: unknown, value: unknown) => unknown;
    const { seed } = spec;
    return new KeyedStep<{ readonly accumulated: unknown }>(spec, context, (value, timestamp, kept) => {
      let accumulated = value;
      if (kept !== undefined) accumulated = scan(kept.accumulated, value);
      else if (seed !== undefined) accumulated = scan(seed(), value);
      context.emit(accumulated, timestamp);
      return { accumulated };
    });
  },
};
