/**
 * `startWith`: some values before the first record, with its timestamp; per key on a keyed stream (RxJS, which does not wait for the first
 * record). An unkeyed stream without any record is the values alone, without timestamps.
 */
import type { Operator, OperatorContext, OperatorKind } from "./operator.ts";
import { KeyedStep, type KeyedStepSpec } from "./keyed-step.ts";

export interface StartWithSpec extends KeyedStepSpec {
  readonly kind: "startWith";
  readonly values: readonly unknown[];
}

export const startWithOperator: OperatorKind<StartWithSpec> = {
  kind: "startWith",
  inputs: 1,
  create: (spec, context): Operator => {
    const step = new KeyedStep<true>(spec, context, (value, timestamp, started) => {
      if (started === undefined) emitAll(spec.values, timestamp, context);
      context.emit(value, timestamp);
      return true;
    });
    if (spec.key !== undefined) return step;
    return {
      process: (value, timestamp) => step.process(value, timestamp),
      finish: () => {
        if (context.states.keyed.entries === 0) emitAll(spec.values, Number.NaN, context);
      },
    };
  },
};

function emitAll(values: readonly unknown[], timestamp: number, context: OperatorContext): void {
  for (const value of values) context.emit(value, timestamp);
}
