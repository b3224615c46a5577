/** A source of rows that the program already has. They travel with the job; one subtask reads them, in order. */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "../operators/operator.ts";
import { OwnItems } from "../operators/own-items.ts";

export interface CollectionSpec extends OperatorSpec {
  readonly kind: "collection";
  readonly rows: readonly unknown[];
}

export const collectionSource: OperatorKind<CollectionSpec> = {
  kind: "collection",
  inputs: 0,
  create(spec, context) {
    const positions = new OwnItems<number>(context, "positions");
    let next = 0;
    return {
      open(): void {
        next = positions.restored?.[0] ?? 0;
      },
      prepareSnapshot: () => positions.keep([next]),
      read(rows: unknown[], _timestamps: Float64Array, max: number): number {
        const count = Math.min(max, spec.rows.length - next);
        if (count === 0) return -1;
        for (let i = 0; i < count; i++) rows[i] = spec.rows[next + i];
        next += count;
        return count;
      },
    };
  },
};
