/**
 * A source that computes its rows: row `i` is `generate(i)`, for `i` from 0 to `count` − 1, at full speed or at a given rate. Subtask
 * `k` of `p` makes the rows k, k + p, k + 2p, …
 */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorContext, OperatorKind, SourceOperator } from "../operators/operator.ts";
import { Pace } from "./pace.ts";

export interface GeneratorSpec extends OperatorSpec {
  readonly kind: "generator";
  readonly generate: (index: number) => unknown;
  /** Infinity: for ever. */
  readonly count: number;
  /** Over all subtasks; Infinity: as fast as possible. */
  readonly rowsPerSecond: number;
}

export const generatorSource: OperatorKind<GeneratorSpec> = {
  kind: "generator",
  inputs: 0,
  create: (spec, context) => new Generator(spec, context),
};

class Generator implements SourceOperator {
  readonly #generate: (index: number) => unknown;
  readonly #count: number;
  readonly #step: number;
  readonly #pace: Pace;
  #index: number;

  constructor(spec: GeneratorSpec, context: OperatorContext) {
    this.#generate = spec.generate;
    this.#count = spec.count;
    this.#step = context.parallelism;
    this.#index = context.subtask;
    this.#pace = new Pace(spec.rowsPerSecond / context.parallelism, context);
  }

  read(rows: unknown[], _timestamps: Float64Array, max: number): number {
    if (this.#index >= this.#count) return -1;
    const generate = this.#generate;
    const step = this.#step;
    let index = this.#index;
    const until = Math.min(this.#count, index + Math.min(max, this.#pace.due()) * step);
    let made = 0;
    for (; index < until; index += step) rows[made++] = generate(index);
    this.#index = index;
    this.#pace.made += made;
    return made;
  }

  nextReadMs(): number {
    return this.#pace.nextMs();
  }
}
