/** `sortPartition`: the rows of each subtask in an order; on disk what does not fit into memory. */
import type { OperatorSpec } from "../../graph/stream-graph.ts";
import type { OperatorKind } from "../operator.ts";
import type { Compare } from "./external-sort.ts";
import { KeptRows, afterInput } from "./kept-rows.ts";

export interface SortPartitionSpec extends OperatorSpec {
  readonly kind: "sortPartition";
  readonly order: Compare<never>;
}

export const sortPartitionOperator: OperatorKind<SortPartitionSpec> = {
  kind: "sortPartition",
  inputs: 1,
  create(spec, context) {
    const kept = new KeptRows(context);
    const rows = kept.sorted(spec.order as Compare<unknown>);
    return {
      process: (value) => rows.add(value),
      ...afterInput(context, kept, function* () {
        for (const row of rows.rows()) {
          context.emit(row, Number.NaN);
          yield;
        }
      }),
    };
  },
};
