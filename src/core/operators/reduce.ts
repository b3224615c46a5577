/** `reduce` on a keyed stream: per key the running combination of all records so far, emitted after each record. */
import { type KeyToken, keyToken } from "../data/keys.ts";
import { flattenKept, flattenString } from "../data/text.ts";
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

class ReduceOperator implements Operator {
  readonly #key: (value: unknown) => unknown;
  readonly #reduce: (accumulated: unknown, value: unknown) => unknown;
  readonly #context: OperatorContext;
  readonly #accumulated = new Map<KeyToken, unknown>();

  constructor(spec: ReduceSpec, context: OperatorContext) {
    this.#key = spec.key as (value: unknown) => unknown;
    this.#reduce = spec.reduce as (accumulated: unknown, value: unknown) => unknown;
    this.#context = context;
  }

  process(value: unknown, timestamp: number): void {
    const token = keyToken(this.#key(value));
    const before = this.#accumulated.get(token);
    // `undefined` is never an accumulated value worth keeping: a first record stands for itself.
    const after = before === undefined ? value : this.#reduce(before, value);
    this.#accumulated.set(before === undefined && typeof token === "string" ? flattenString(token) : token, flattenKept(after));
    this.#context.emit(after, timestamp);
  }
}
