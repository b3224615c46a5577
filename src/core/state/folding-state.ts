/** Reducing and aggregating state: a value state into which each added value is combined. */
import type { AggregatingState, Aggregation, ReducingState, ValueState } from "./descriptors.ts";

/** The combination of what was added, over a value state. */
export class TabledReduction implements ReducingState<unknown> {
  readonly #state: ValueState<unknown>;
  readonly #reduce: (accumulated: unknown, value: unknown) => unknown;

  constructor(state: ValueState<unknown>, reduce: (accumulated: unknown, value: unknown) => unknown) {
    this.#state = state;
    this.#reduce = reduce;
  }

  get(): unknown {
    return this.#state.value();
  }

  add(value: unknown): void {
    const accumulated = this.#state.value();
    this.#state.update(accumulated === undefined ? value : this.#reduce(accumulated, value));
  }

  clear(): void {
    this.#state.clear();
  }
}

/** The accumulator of what was added, over a value state. */
export class TabledAggregation implements AggregatingState<unknown, unknown> {
  readonly #state: ValueState<unknown>;
  readonly #aggregate: Aggregation<unknown, unknown, unknown>;

  constructor(state: ValueState<unknown>, aggregate: Aggregation<unknown, unknown, unknown>) {
    this.#state = state;
    this.#aggregate = aggregate;
  }

  get(): unknown {
    const accumulator = this.#state.value();
    return accumulator === undefined ? undefined : this.#aggregate.getResult(accumulator);
  }

  add(value: unknown): void {
    const accumulator = this.#state.value();
    this.#state.update(this.#aggregate.add(value, accumulator === undefined ? this.#aggregate.createAccumulator() : accumulator));
  }

  clear(): void {
    this.#state.clear();
  }
}
