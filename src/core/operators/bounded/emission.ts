/**
 * Results of an operator that had to see all its input: handed on in pieces after the end, so that a task that may not park gives its
 * consumers time to take them.
 */
import type { OperatorContext } from "../operator.ts";

/** Steps between two looks at the task's other duties. */
const STEPS = 256;

/** Runs `results` to its end, some steps per call of `owes`; each step may hand on any number of records. */
export class Emission {
  readonly #context: OperatorContext;
  readonly #start: () => Iterator<unknown, void>;
  #results: Iterator<unknown, void> | undefined;

  /** @param results started when all input has come. */
  constructor(context: OperatorContext, results: () => Iterator<unknown, void>) {
    this.#context = context;
    this.#start = results;
  }

  /** See `Operator.owes`. */
  owes(): boolean {
    this.#results ??= this.#start();
    for (let step = 0; step < STEPS; step++) if (this.#results.next().done === true) return false;
    this.#context.wake();
    return true;
  }
}
