/** From a descriptor to its state: the kinds of keyed state. A state works over any table, in memory or on disk. */
import type { KeyedBackend } from "./backend.ts";
import type { Aggregation, StateDescriptor, StateOf, ValueState } from "./descriptors.ts";
import { TabledAggregation, TabledReduction } from "./folding-state.ts";
import type { Lifetime } from "./lifetime.ts";
import { ExpiringList, listCodec, stampedListCodec, TabledList } from "./list-state.ts";
import { mapCodec, TabledMap } from "./map-state.ts";
import type { Table, TableCodec } from "./table.ts";
import { ExpiringValue, stampedCodec, TabledValue, valueCodec } from "./value-state.ts";

/** How what the state of a descriptor keeps is written. */
export function codecOf({ kind }: StateDescriptor, lifetime: Lifetime | undefined): TableCodec<unknown> {
  // What a table's values are is known to the state and its codec alone.
  const any = <Value>(codec: TableCodec<Value>): TableCodec<unknown> => codec as TableCodec<unknown>;
  if (kind === "map") return any(mapCodec(lifetime));
  if (kind === "list") return lifetime === undefined ? any(listCodec) : any(stampedListCodec(lifetime));
  return lifetime === undefined ? valueCodec(kind) : any(stampedCodec(kind, lifetime));
}

/** The state of a descriptor over a table. The table holds only what this state puts into it. */
export function stateOver(
  descriptor: StateDescriptor, backend: KeyedBackend, table: Table<unknown>, lifetime: Lifetime | undefined,
): unknown {
  const single = (initial: unknown): ValueState<unknown> =>
    lifetime === undefined
      ? new TabledValue(backend, table, initial)
      : new ExpiringValue(backend, table as Table<never>, initial, lifetime);
  switch (descriptor.kind) {
    case "value":
      return single(descriptor.initial);
    case "reducing":
      return new TabledReduction(single(undefined), descriptor.reduce as (a: unknown, b: unknown) => unknown);
    case "aggregating":
      return new TabledAggregation(single(undefined), descriptor.aggregate as Aggregation<unknown, unknown, unknown>);
    case "list":
      return lifetime === undefined
        ? new TabledList(backend, table as Table<unknown[]>)
        : new ExpiringList(backend, table as Table<never>, lifetime);
    case "map":
      return new TabledMap(backend, table as Table<never>, lifetime);
  }
}

/** Whether two declarations of a name are the same. Functions are made anew for each subtask, so they are not compared. */
export function sameDeclaration(a: StateDescriptor, b: StateDescriptor): boolean {
  return (
    a.kind === b.kind &&
    a.ttl?.timeMs === b.ttl?.timeMs &&
    a.ttl?.refresh === b.ttl?.refresh &&
    (a.kind !== "value" || b.kind !== "value" || Object.is(a.initial, b.initial))
  );
}

/** What a state holds for the current key, for people: a value, a list, or pairs of a map; undefined for nothing. */
export function plainValue(descriptor: StateDescriptor, state: unknown): unknown {
  switch (descriptor.kind) {
    case "value":
      return (state as StateOf<typeof descriptor>).value();
    case "list":
      return [...(state as StateOf<typeof descriptor>).get()];
    case "map":
      return [...(state as StateOf<typeof descriptor>).entries()];
    case "reducing":
    case "aggregating":
      return (state as { get(): unknown }).get();
  }
}
