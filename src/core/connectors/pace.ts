/** How fast a source may go: a number of rows per second, counted from its first row. */
import type { OperatorContext } from "../operators/operator.ts";

export class Pace {
  /** Rows made so far; kept by the source. */
  made = 0;
  readonly #rowsPerMs: number;
  readonly #context: OperatorContext;
  #startedMs = Number.NaN;

  /** @param rowsPerSecond of this subtask; Infinity: no limit. */
  constructor(rowsPerSecond: number, context: OperatorContext) {
    this.#rowsPerMs = rowsPerSecond / 1_000;
    this.#context = context;
  }

  /** Rows that may be made now, Infinity without a limit. */
  due(): number {
    if (this.#rowsPerMs === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    const now = this.#context.now();
    if (Number.isNaN(this.#startedMs)) this.#startedMs = now;
    return Math.max(0, Math.floor((now - this.#startedMs) * this.#rowsPerMs) + 1 - this.made);
  }

  /** Wall-clock time at which the next row is due. */
  nextMs(): number {
    return this.#startedMs + this.made / this.#rowsPerMs;
  }
}
