/**
 * `reduceGroup`: a function of all rows of a group, in the order asked for; called once per group, when the last row has come. Groups that
 * don't fit into memory are sorted on disk.
 *
 * With `partial` (`combineGroup`) it may be called several times for a group, each time with a part of its rows: what fits into memory.
 */
import { keyToken } from "../../data/keys.ts";
import type { KeyToken } from "../../data/keys.ts";
import type { KeySelector, OperatorSpec } from "../../graph/stream-graph.ts";
import { KeyTable } from "../../state/key-table.ts";
import type { Collector } from "../function.ts";
import type { Operator, OperatorContext, OperatorKind } from "../operator.ts";
import { Emission } from "./emission.ts";
import type { Compare } from "./external-sort.ts";
import { KeptRows, afterInput } from "./kept-rows.ts";
import { MemoryBudget } from "./memory-budget.ts";
import { options } from "../../types/options.ts";

/** The rows of one group, to be gone through once, during the call. */
export type ReduceGroup<In, Out> = (rows: Iterable<In>, out: Collector<Out>) => void;

export interface GroupReduceSpec extends OperatorSpec {
  readonly kind: "groupReduce";
  readonly key: KeySelector;
  readonly reduceGroup: ReduceGroup<never, unknown>;
  /** Order within a group. */
  readonly order?: Compare<never>;
  readonly partial?: boolean;
}

export const groupReduceOperator: OperatorKind<GroupReduceSpec> = {
  kind: "groupReduce",
  inputs: 1,
  create: (spec, context) => (spec.partial === true ? combiner(spec, context) : reducer(spec, context)),
};

function reducer(spec: GroupReduceSpec, context: OperatorContext): Operator {
  const kept = new KeptRows(context);
  const rows = kept.grouped(spec.key as (row: unknown) => unknown, spec.order as Compare<unknown> | undefined);
  const reduce = spec.reduceGroup as ReduceGroup<unknown, unknown>;
  const out: Collector<unknown> = { collect: (value) => context.emit(value, Number.NaN) };
  return {
    process: (value) => rows.add(value),
    ...afterInput(context, kept, function* () {
      for (const group of rows.groups()) {
        reduce(group.rows, out);
        yield;
      }
    }),
  };
}

function combiner(spec: GroupReduceSpec, context: OperatorContext): Operator {
  const key = spec.key as (row: unknown) => unknown;
  const combine = spec.reduceGroup as ReduceGroup<unknown, unknown>;
  const order = spec.order as Compare<unknown> | undefined;
  const budget = new MemoryBudget(context.configuration.get(options.managedMemory), context.classes);
  const out: Collector<unknown> = { collect: (value) => context.emit(value, Number.NaN) };
  let groups = new KeyTable<unknown[]>();
  const handOn = function* (): Generator<void, void> {
    const full: unknown[][] = [];
    groups.forEach((rows) => full.push(rows));
    groups = new KeyTable();
    budget.clear();
    for (const rows of full) {
      combine(order === undefined ? rows : rows.sort(order), out);
      yield;
    }
  };
  const emission = new Emission(context, handOn);
  return {
    process(value) {
      const token: KeyToken = keyToken(key(value));
      const rows = groups.get(token);
      if (rows === undefined) groups.set(token, [value]);
      else rows.push(value);
      if (budget.add(value)) return;
      const parts = handOn();
      while (parts.next().done !== true);
    },
    owes: () => emission.owes(),
  };
}
