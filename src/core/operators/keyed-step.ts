/**
 * Operators that look at one record at a time together with one thing that they keep for its key: what `scan`, `distinctUntilChanged` or
 * `take` are made of. Without a key there is one sequence, and the operator has one subtask.
 *
 * Invariant: what is kept is replaced, never changed in place, so that the state of a checkpoint stays what it was.
 */
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import type { KeyedBackend } from "../state/backend.ts";
import { type ValueState, valueState } from "../state/descriptors.ts";
import type { Operator, OperatorContext } from "./operator.ts";

/** What the specs of such operators share. */
export interface KeyedStepSpec extends OperatorSpec {
  /** Absent: one sequence of all records. */
  readonly key?: KeySelector;
}

/** A record and what its key keeps, undefined at first, to what it keeps from now on. Emits through the operator's context. */
export type Step<Kept> = (value: unknown, timestamp: number, kept: Kept | undefined) => Kept | undefined;

/** The one key of a stream without keys. */
const WHOLE = "";

/** Runs a step per record. */
export class KeyedStep<Kept> implements Operator {
  readonly #key: ((value: unknown) => unknown) | undefined;
  readonly #keyed: KeyedBackend;
  readonly #kept: ValueState<Kept>;
  readonly #step: Step<Kept>;

  constructor({ key }: KeyedStepSpec, { states }: OperatorContext, step: Step<Kept>) {
    this.#key = key as ((value: unknown) => unknown) | undefined;
    this.#keyed = states.keyed;
    this.#kept = states.keyed.state(valueState<Kept>("kept"));
    this.#step = step;
  }

  process(value: unknown, timestamp: number): void {
    this.#keyed.setCurrentKey(this.#key === undefined ? WHOLE : this.#key(value));
    const kept = this.#kept.value();
    const next = this.#step(value, timestamp, kept);
    if (next !== kept) this.#kept.update(next as Kept);
  }
}
