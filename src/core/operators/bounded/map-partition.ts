/** `mapPartition`: a function of all rows of a subtask. It is called once, when the last row has come. */
import type { OperatorSpec } from "../../graph/stream-graph.ts";
import type { Collector } from "../function.ts";
import type { OperatorKind } from "../operator.ts";
import { KeptRows, afterInput } from "./kept-rows.ts";

/** Rows in, results out. The rows can be gone through as often as wanted, but only during the call. */
export type MapPartition<In, Out> = (rows: Iterable<In>, out: Collector<Out>) => void;

export interface MapPartitionSpec extends OperatorSpec {
  readonly kind: "mapPartition";
  readonly mapPartition: MapPartition<never, unknown>;
}

export const mapPartitionOperator: OperatorKind<MapPartitionSpec> = {
  kind: "mapPartition",
  inputs: 1,
  create(spec, context) {
    const kept = new KeptRows(context);
    const rows = kept.rows();
    const run = spec.mapPartition as MapPartition<unknown, unknown>;
    return {
      process: (value) => rows.add(value),
      ...afterInput(context, kept, function* () {
        run(rows, { collect: (value) => context.emit(value, Number.NaN) });
      }),
    };
  },
};
