/**
 * A source that computes its rows: row `i` is `generate(i)`, for `i` from 0 to `count` − 1, at full speed or at a given rate. Subtask
 * `k` of `p` makes the rows k, k + p, k + 2p, …
 *
 * What a subtask makes is a stride: where it is, and how far it steps. After a change of parallelism a subtask may have several strides,
 * which it takes in turns of a batch, or none.
 */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorContext, OperatorKind, SourceOperator } from "../operators/operator.ts";
import { OwnItems } from "../operators/own-items.ts";
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

interface Stride {
  next: number;
  readonly step: number;
}

class Generator implements SourceOperator {
  readonly #generate: (index: number) => unknown;
  readonly #count: number;
  readonly #pace: Pace;
  readonly #positions: OwnItems<Stride>;
  #strides: Stride[];
  #turn = 0;

  constructor(spec: GeneratorSpec, context: OperatorContext) {
    this.#generate = spec.generate;
    this.#count = spec.count;
    this.#positions = new OwnItems(context, "positions");
    this.#strides = [{ next: context.subtask, step: context.parallelism }];
    this.#pace = new Pace(spec.rowsPerSecond / context.parallelism, context);
  }

  open(): void {
    const restored = this.#positions.restored;
    if (restored !== undefined) this.#strides = restored.map(({ next, step }) => ({ next, step }));
  }

  prepareSnapshot(): void {
    // Strides at their end are kept too: without any, the next attempt would begin anew.
    this.#positions.keep(this.#strides.length === 0 ? [{ next: this.#count, step: 1 }] : this.#strides.map((stride) => ({ ...stride })));
  }

  read(rows: unknown[], _timestamps: Float64Array, max: number): number {
    const stride = this.#stride();
    if (stride === undefined) return -1;
    const generate = this.#generate;
    const { step } = stride;
    let index = stride.next;
    const until = Math.min(this.#count, index + Math.min(max, this.#pace.due()) * step);
    let made = 0;
    for (; index < until; index += step) rows[made++] = generate(index);
    stride.next = index;
    this.#pace.made += made;
    return made;
  }

  nextReadMs(): number {
    return this.#pace.nextMs();
  }

  /** The stride whose turn it is, among those that are not at their end. */
  #stride(): Stride | undefined {
    const strides = this.#strides;
    for (let tried = 0; tried < strides.length; tried++) {
      this.#turn = this.#turn + 1 >= strides.length ? 0 : this.#turn + 1;
      const stride = strides[this.#turn] as Stride;
      if (stride.next < this.#count) return stride;
    }
    return undefined;
  }
}
