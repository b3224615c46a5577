/**
 * Functions with broadcast variables: small data sets that every subtask has in full before it sees its first row (Flink:
 * `withBroadcastSet`). The rows wait, on disk if they must, until the variables are complete.
 */
import type { OperatorSpec } from "../../graph/stream-graph.ts";
import type { Collector } from "../function.ts";
import type { OperatorKind } from "../operator.ts";
import { KeptRows, afterInput } from "./kept-rows.ts";

/** A row of a variable, on its way. */
export type VariableRow = readonly [name: string, row: unknown];

/** The variables by name. */
export type BroadcastVariables = Readonly<Record<string, readonly unknown[]>>;

export interface BroadcastVariablesSpec extends OperatorSpec {
  readonly kind: "broadcastVariables";
  readonly names: readonly string[];
  readonly flatMap: (value: never, variables: never, out: Collector<unknown>) => void;
}

export const broadcastVariablesOperator: OperatorKind<BroadcastVariablesSpec> = {
  kind: "broadcastVariables",
  inputs: 2,
  create(spec, context) {
    const kept = new KeptRows(context);
    const rows = kept.rows();
    const variables: Record<string, unknown[]> = Object.fromEntries(spec.names.map((name) => [name, []]));
    const flatMap = spec.flatMap as (value: unknown, variables: BroadcastVariables, out: Collector<unknown>) => void;
    const out: Collector<unknown> = { collect: (value) => context.emit(value, Number.NaN) };
    return {
      process: (value) => rows.add(value),
      process2(value) {
        const [name, row] = value as VariableRow;
        variables[name]?.push(row);
      },
      ...afterInput(context, kept, function* () {
        for (const row of rows) {
          flatMap(row, variables, out);
          yield;
        }
      }),
    };
  },
};
