/**
 * Joins of two bounded inputs on equal keys: inner, left, right, full, and `coGroup`. Both inputs are kept until they have ended, so that
 * no shape of graph can block. Then the smaller is put into a hash table if it fits into memory and the larger one goes past it; else
 * both are sorted by key and merged (Flink: hybrid hash join, sort-merge join).
 */
import { keyToken } from "../../data/keys.ts";
import type { KeySelector, OperatorSpec } from "../../graph/stream-graph.ts";
import { KeyTable } from "../../state/key-table.ts";
import type { Collector } from "../function.ts";
import type { Operator, OperatorContext, OperatorKind } from "../operator.ts";
import { type Group, compareTokens } from "./grouped-rows.ts";
import { KeptRows, afterInput } from "./kept-rows.ts";
import type { SpillingRows } from "./spilling-rows.ts";

/** Which rows without partner are in the result, with undefined in its place. */
export type JoinType = "inner" | "left" | "right" | "full";
/** How the join is done; `auto` goes by size. */
export type JoinStrategy = "auto" | "hash" | "sort-merge";

export interface BoundedJoinSpec extends OperatorSpec {
  readonly kind: "boundedJoin";
  readonly key: KeySelector;
  readonly key2: KeySelector;
  readonly type: JoinType;
  readonly strategy: JoinStrategy;
  /** One result per pair. */
  readonly join: (left: never, right: never) => unknown;
}

/** Parameters of a `boundedCoGroup`. */
export interface CoGroupSpec extends OperatorSpec {
  readonly kind: "boundedCoGroup";
  readonly key: KeySelector;
  readonly key2: KeySelector;
  /** Called once per key that either input has. */
  readonly coGroup: (left: Iterable<never>, right: Iterable<never>, out: Collector<unknown>) => void;
}

export const boundedJoinOperator: OperatorKind<BoundedJoinSpec> = { kind: "boundedJoin", inputs: 2, create: joiner };
export const boundedCoGroupOperator: OperatorKind<CoGroupSpec> = { kind: "boundedCoGroup", inputs: 2, create: coGrouper };

type AnyKey = (row: unknown) => unknown;
type Pairing = (left: unknown, right: unknown) => unknown;

function joiner(spec: BoundedJoinSpec, context: OperatorContext): Operator {
  const kept = new KeptRows(context, 2);
  const left = kept.rows();
  const right = kept.rows();
  const join = spec.join as Pairing;
  const emit = (a: unknown, b: unknown): void => context.emit(join(a, b), Number.NaN);
  const keepsLeft = spec.type === "left" || spec.type === "full";
  const keepsRight = spec.type === "right" || spec.type === "full";
  return {
    process: (value) => left.add(value),
    process2: (value) => right.add(value),
    ...afterInput(context, kept, () => {
      const [key, key2] = [spec.key as AnyKey, spec.key2 as AnyKey];
      const hash = spec.strategy !== "sort-merge" && (left.inMemory || right.inMemory || spec.strategy === "hash");
      if (!hash) return mergeJoin(kept, left, right, key, key2, emit, keepsLeft, keepsRight);
      const buildRight = right.inMemory && (!left.inMemory || right.size <= left.size);
      return buildRight
        ? hashJoin(right, left, key2, key, (build, probe) => emit(probe, build), keepsRight, keepsLeft)
        : hashJoin(left, right, key, key2, emit, keepsLeft, keepsRight);
    }),
  };
}

interface Built {
  readonly rows: unknown[];
  met: boolean;
}

function* hashJoin(
  build: SpillingRows,
  probe: SpillingRows,
  buildKey: AnyKey,
  probeKey: AnyKey,
  emit: (build: unknown, probe: unknown) => void,
  keepsBuild: boolean,
  keepsProbe: boolean,
): Generator<void, void> {
  const table = new KeyTable<Built>();
  for (const row of build) {
    const token = keyToken(buildKey(row));
    const built = table.get(token);
    if (built === undefined) table.set(token, { rows: [row], met: false });
    else built.rows.push(row);
  }
  for (const row of probe) {
    const built = table.get(keyToken(probeKey(row)));
    if (built !== undefined) {
      built.met = true;
      for (const partner of built.rows) emit(partner, row);
    } else if (keepsProbe) emit(undefined, row);
    yield;
  }
  if (!keepsBuild) return;
  const alone: unknown[] = [];
  table.forEach(({ rows, met }) => {
    if (!met) for (const row of rows) alone.push(row);
  });
  for (const row of alone) {
    emit(row, undefined);
    yield;
  }
}

function* mergeJoin(
  kept: KeptRows,
  left: SpillingRows,
  right: SpillingRows,
  key: AnyKey,
  key2: AnyKey,
  emit: (left: unknown, right: unknown) => void,
  keepsLeft: boolean,
  keepsRight: boolean,
): Generator<void, void> {
  for (const [lefts, rights] of merged(kept, left, right, key, key2)) {
    if (lefts === undefined) {
      if (keepsRight) for (const row of rights ?? []) emit(undefined, row);
    } else if (rights === undefined) {
      if (keepsLeft) for (const row of lefts) emit(row, undefined);
    } else {
      // One key's rows of one side are gone through once per row of the other.
      const again = kept.rows();
      for (const row of rights) again.add(row);
      for (const row of lefts) for (const partner of again) emit(row, partner);
    }
    yield;
  }
}

function coGrouper(spec: CoGroupSpec, context: OperatorContext): Operator {
  const kept = new KeptRows(context, 2);
  const left = kept.rows();
  const right = kept.rows();
  const coGroup = spec.coGroup as (left: Iterable<unknown>, right: Iterable<unknown>, out: Collector<unknown>) => void;
  const out: Collector<unknown> = { collect: (value) => context.emit(value, Number.NaN) };
  return {
    process: (value) => left.add(value),
    process2: (value) => right.add(value),
    ...afterInput(context, kept, function* () {
      for (const [lefts, rights] of merged(kept, left, right, spec.key as AnyKey, spec.key2 as AnyKey)) {
        coGroup(lefts ?? [], rights ?? [], out);
        yield;
      }
    }),
  };
}

type Side = Iterable<unknown> | undefined;

/** The groups of both inputs side by side, each key once. */
function* merged(kept: KeptRows, left: SpillingRows, right: SpillingRows, key: AnyKey, key2: AnyKey): Generator<[Side, Side], void> {
  const a = inOrder(kept, left, key);
  const b = inOrder(kept, right, key2);
  let x = a.next();
  let y = b.next();
  while (x.done !== true || y.done !== true) {
    const order = x.done === true ? 1 : y.done === true ? -1 : compareTokens(x.value.token, y.value.token);
    yield [order <= 0 && x.done !== true ? x.value.rows : undefined, order >= 0 && y.done !== true ? y.value.rows : undefined];
    if (order <= 0) x = a.next();
    if (order >= 0) y = b.next();
  }
}

/** Groups in the order of their tokens. */
function* inOrder(kept: KeptRows, rows: SpillingRows, key: AnyKey): Generator<Group, void> {
  if (rows.inMemory) {
    const table = new KeyTable<unknown[]>();
    const groups: { token: Group["token"]; rows: unknown[] }[] = [];
    for (const row of rows) {
      const token = keyToken(key(row));
      const group = table.get(token);
      if (group !== undefined) group.push(row);
      else {
        const fresh = [row];
        table.set(token, fresh);
        groups.push({ token, rows: fresh });
      }
    }
    yield* groups.sort((a, b) => compareTokens(a.token, b.token));
    return;
  }
  const sort = kept.sorted((a, b) => compareTokens(keyToken(key(a)), keyToken(key(b))));
  for (const row of rows) sort.add(row);
  const sorted = sort.rows()[Symbol.iterator]();
  let next = sorted.next();
  while (next.done !== true) {
    const token = keyToken(key(next.value));
    const same = (): boolean => next.done !== true && compareTokens(keyToken(key(next.value)), token) === 0;
    const ofToken = function* (): Generator<unknown, void> {
      for (; same(); next = sorted.next()) yield next.value;
    };
    yield { token, rows: ofToken() };
    while (same()) next = sorted.next();
  }
}
