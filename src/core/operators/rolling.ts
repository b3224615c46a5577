/**
 * `sum`, `min`, `max`, `minBy`, `maxBy` on a keyed stream: the running aggregation of one field, emitted after each record, as in Flink.
 *
 * sum, min and max change that field alone: the other fields are those of the key's first record. minBy and maxBy keep whole records: the
 * one with the lowest or highest value, the earlier of equal ones. Records are copied, never changed.
 */
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import { RecordError, describe } from "../types/errors.ts";
import type { Operator, OperatorContext, OperatorKind } from "./operator.ts";
import { KeyedStep } from "./keyed-step.ts";

export interface RollingSpec extends OperatorSpec {
  readonly kind: "rolling";
  readonly key: KeySelector;
  readonly how: "sum" | "min" | "max" | "minBy" | "maxBy";
  /** The field; absent: the records themselves are the values. */
  readonly field?: string;
  /** Of minBy and maxBy instead of a field: the value to compare. */
  readonly by?: (value: never) => unknown;
}

/** What can be compared with `<`. */
type Comparable = number | bigint | string | Date;

export const rollingOperator: OperatorKind<RollingSpec> = {
  kind: "rolling",
  inputs: 1,
  create: (spec, context): Operator => new KeyedStep<{ readonly record: unknown }>(spec, context, rolling(spec, context)),
};

function rolling(
  { how, field, by }: RollingSpec, context: OperatorContext,
): (value: unknown, timestamp: number, kept: { readonly record: unknown } | undefined) => { readonly record: unknown } {
  const read =
    by !== undefined
      ? (by as (value: unknown) => unknown)
      : field === undefined
        ? (value: unknown): unknown => value
        : (value: unknown): unknown => (value as Record<string, unknown>)[field];
  const valueOf = (record: unknown): Comparable => comparable(read(record), record, how, field, context.operatorName);
  const higher = how === "max" || how === "maxBy";
  return (value, timestamp, kept) => {
    const now = valueOf(value);
    let next = kept;
    if (kept === undefined) next = { record: value };
    else {
      const before = valueOf(kept.record);
      if (how === "sum") next = { record: withValue(kept.record, field, add(before, now)) };
      else if (higher ? now > before : now < before) {
        next = { record: how === "min" || how === "max" ? withValue(kept.record, field, now) : value };
      }
    }
    context.emit((next as { readonly record: unknown }).record, timestamp);
    return next as { readonly record: unknown };
  };
}

const add = (a: Comparable, b: Comparable): unknown => (a as number) + (b as number);

/** A copy of a record with another value in its field. */
function withValue(record: unknown, field: string | undefined, value: unknown): unknown {
  if (field === undefined) return value;
  const copy = (
    Array.isArray(record)
      ? [...(record as unknown[])]
      : Object.assign(Object.create(Object.getPrototypeOf(record) as object) as object, record)
  ) as Record<string, unknown>;
  copy[field] = value;
  return copy;
}

function comparable(value: unknown, record: unknown, how: string, field: string | undefined, operator: string): Comparable {
  const fits = how === "sum" ? typeof value === "number" || typeof value === "bigint" : value !== null && value !== undefined;
  if (fits) return value as Comparable;
  const where = field === undefined ? "" : `the field ${describe(field)} of `;
  throw new RecordError(
    `"${operator}" got ${describe(value)} in ${where}${describe(record)}; ${how}() needs ${how === "sum" ? "a number" : "a value to compare"} in every record.`,
  );
}
