/** `reduce` on a keyed stream: per key the running combination of all records so far, emitted after each record. */
import { keyToken } from "../data/keys.ts";
import type { KeyTable } from "../state/key-table.ts";
import { flattenKept } from "../data/text.ts";
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import type { Operator, OperatorContext, OperatorKind } from "./operator.ts";

export interface ReduceSpec extends OperatorSpec {
  readonly kind: "reduce";
  readonly key: KeySelector;
  readonly reduce: (accumulated: never, value: never) => unknown;
}

export const reduceOperator: OperatorKind<ReduceSpec> = {
  kind: "reduce",
  inputs: 1,
  create: (spec, context) => new ReduceOperator(spec, context),
};

/** In place, so that changing it costs no second look-up. */
interface Accumulated {
  value: unknown;
}

class ReduceOperator implements Operator {
  readonly #key: (value: unknown) => unknown;
  readonly #reduce: (accumulated: unknown, value: unknown) => unknown;
  readonly #context: OperatorContext;
  readonly #accumulated: KeyTable<Accumulated>;

  constructor(spec: ReduceSpec, context: OperatorContext) {
    this.#key = spec.key as (value: unknown) => unknown;
    this.#reduce = spec.reduce as (accumulated: unknown, value: unknown) => unknown;
    this.#context = context;
    this.#accumulated = context.states
      .tables<Accumulated>("accumulated", { store: ({ value }) => value, load: (value) => ({ value }) })
      .table(0);
  }

  process(value: unknown, timestamp: number): void {
    const token = keyToken(this.#key(value));
    let accumulated = this.#accumulated.get(token);
    if (accumulated === undefined) {
      accumulated = { value: flattenKept(value) };
      this.#accumulated.set(token, accumulated);
    } else accumulated.value = flattenKept(this.#reduce(accumulated.value, value), accumulated.value);
    this.#context.emit(accumulated.value, timestamp);
  }
}
