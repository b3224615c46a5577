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
  readonly #paceOf: (share: number) => Pace;
  readonly #positions: OwnItems<Stride>;
  #pace: Pace;
  #strides: Stride[];

  constructor(spec: GeneratorSpec, context: OperatorContext) {
    this.#generate = spec.generate;
    this.#count = spec.count;
    this.#positions = new OwnItems(context, "positions");
    this.#strides = [{ next: context.subtask, step: context.parallelism }];
    this.#paceOf = (share) => new Pace(spec.rowsPerSecond * share, context);
    this.#pace = this.#paceOf(1 / context.parallelism);
  }

  open(): void {
    const restored = this.#positions.restored;
    if (restored === undefined) return;
    this.#strides = restored.map(({ next, step }) => ({ next, step }));
    this.#pace = this.#paceOf(this.#strides.reduce((share, { step }) => share + 1 / step, 0));
  }

  prepareSnapshot(): void {
    // Strides at their end are kept too: without any, the next attempt would begin anew.
    this.#positions.keep(this.#strides.length === 0 ? [{ next: this.#count, step: 1 }] : this.#strides.map((stride) => ({ ...stride })));
  }

  read(rows: unknown[], _timestamps: Float64Array, max: number): number {
    const [first, second] = this.#strides;
    if (this.#strides.every(({ next }) => next >= this.#count)) return -1;
    const due = Math.min(max, this.#pace.due());
    const made = second === undefined ? this.#run(first as Stride, rows, due) : this.#merge(rows, due);
    this.#pace.made += made;
    return made;
  }

  nextReadMs(): number {
    return this.#pace.nextMs();
  }

  #run(stride: Stride, rows: unknown[], due: number): number {
    const generate = this.#generate;
    const { step } = stride;
    let index = stride.next;
    const until = Math.min(this.#count, index + due * step);
    let made = 0;
    for (; index < until; index += step) rows[made++] = generate(index);
    stride.next = index;
    return made;
  }

  /** Several strides after a change of the parallelism: in the order of their rows, so that none falls behind the others' event time. */
  #merge(rows: unknown[], due: number): number {
    for (let made = 0; made < due; made++) {
      const stride = this.#strides.reduce((a, b) => (b.next < a.next ? b : a));
      if (stride.next >= this.#count) return made;
      rows[made] = this.#generate(stride.next);
      stride.next += stride.step;
    }
    return due;
  }
}
