/**
 * State of one window of one key, under the descriptors that users know from keyed state. It is kept in the window's pane and goes with
 * it: into snapshots, and out of the world when the window is over.
 */
import { keyToken, type KeyToken } from "../data/keys.ts";
import type {
  AggregatingState,
  Aggregation,
  ListState,
  MapState,
  ReducingState,
  StateDescriptor,
  StateOf,
  ValueState,
} from "../state/descriptors.ts";
import { GraphError, describe } from "../types/errors.ts";

/**
 * What is kept under a name: a value, the items of a list, or the entries of a map by the tokens of their keys. Of a reduction and an
 * aggregation, what is combined already: one thing, or several after windows have merged, until somebody asks who knows how to combine.
 */
type PaneEntry =
  | { readonly kind: "value"; value: unknown }
  | { readonly kind: "list" | "reducing" | "aggregating"; readonly items: unknown[] }
  | { readonly kind: "map"; readonly entries: Map<KeyToken, [unknown, unknown]> };

/** States of a pane by name. Plain data. */
export type PaneStates = Record<string, PaneEntry>;

/**
 * The state of a descriptor in a pane.
 * @param read where the pane keeps its states. @param write called before the first state is kept.
 * @throws GraphError when the name is taken by another kind of state, or the state has a lifetime of its own.
 */
export function paneState<Descriptor extends StateDescriptor>(
  read: () => PaneStates | undefined, write: (states: PaneStates) => void, descriptor: Descriptor,
): StateOf<Descriptor> {
  if (descriptor.ttl !== undefined) {
    throw new GraphError(`State ${describe(descriptor.name)} of a window has a ttl; it goes with its window, so declare it without one.`);
  }
  const place = new Place(read, write, descriptor);
  switch (descriptor.kind) {
    case "value":
      return new PaneValue(place, descriptor.initial) as unknown as StateOf<Descriptor>;
    case "list":
      return new PaneList(place) as unknown as StateOf<Descriptor>;
    case "map":
      return new PaneMap(place) as unknown as StateOf<Descriptor>;
    case "reducing":
      return new PaneReduction(place, descriptor.reduce as (a: unknown, b: unknown) => unknown) as unknown as StateOf<Descriptor>;
    case "aggregating":
      return new PaneAggregation(place, descriptor.aggregate as Aggregation<unknown, unknown, unknown>) as unknown as StateOf<Descriptor>;
  }
}

/**
 * The states of windows that became one: lists one after the other, maps joined, reductions and aggregations combined.
 * @throws GraphError for a value: two of them are not one.
 */
export function mergePaneStates(parts: readonly (PaneStates | undefined)[]): PaneStates | undefined {
  let merged: PaneStates | undefined;
  for (const states of parts) {
    for (const [name, entry] of Object.entries(states ?? {})) {
      merged ??= {};
      const present = merged[name];
      if (present === undefined) merged[name] = entry;
      else if ("items" in present && "items" in entry) present.items.push(...entry.items);
      else if (present.kind === "map" && entry.kind === "map") {
        for (const [token, pair] of entry.entries) present.entries.set(token, pair);
      } else {
        throw new GraphError(`Windows merge, and the state ${describe(name)} is a single value, which can't; keep a list or a map.`);
      }
    }
  }
  return merged;
}

class Place {
  readonly #read: () => PaneStates | undefined;
  readonly #write: (states: PaneStates) => void;
  readonly #descriptor: StateDescriptor;

  constructor(read: () => PaneStates | undefined, write: (states: PaneStates) => void, descriptor: StateDescriptor) {
    this.#read = read;
    this.#write = write;
    this.#descriptor = descriptor;
  }

  get(): PaneEntry | undefined {
    const entry = this.#read()?.[this.#descriptor.name];
    if (entry !== undefined && entry.kind !== this.#descriptor.kind) {
      throw new GraphError(`State ${describe(this.#descriptor.name)} of a window is declared twice, in different ways.`);
    }
    return entry;
  }

  set(entry: PaneEntry): void {
    const states = this.#read() ?? {};
    states[this.#descriptor.name] = entry;
    this.#write(states);
  }

  clear(): void {
    const states = this.#read();
    if (states !== undefined) delete states[this.#descriptor.name];
  }
}

class PaneValue implements ValueState<unknown> {
  readonly #place: Place;
  readonly #initial: unknown;

  constructor(place: Place, initial: unknown) {
    this.#place = place;
    this.#initial = initial;
  }

  value(): unknown {
    const entry = this.#place.get();
    return entry?.kind === "value" ? entry.value : this.#initial;
  }

  update(value: unknown): void {
    if (value === undefined) this.clear();
    else this.#place.set({ kind: "value", value });
  }

  clear(): void {
    this.#place.clear();
  }
}

const NOTHING: readonly unknown[] = Object.freeze([]);

class PaneList implements ListState<unknown> {
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  get(): readonly unknown[] {
    const entry = this.#place.get();
    return entry?.kind === "list" ? entry.items : NOTHING;
  }

  add(value: unknown): void {
    const entry = this.#place.get();
    if (entry?.kind === "list") entry.items.push(value);
    else this.#place.set({ kind: "list", items: [value] });
  }

  update(values: readonly unknown[]): void {
    if (values.length === 0) this.clear();
    else this.#place.set({ kind: "list", items: [...values] });
  }

  clear(): void {
    this.#place.clear();
  }
}

class PaneReduction implements ReducingState<unknown> {
  readonly #place: Place;
  readonly #reduce: (a: unknown, b: unknown) => unknown;

  constructor(place: Place, reduce: (a: unknown, b: unknown) => unknown) {
    this.#place = place;
    this.#reduce = reduce;
  }

  get(): unknown {
    const entry = this.#place.get();
    return entry?.kind === "reducing" ? combined(entry.items, this.#reduce) : undefined;
  }

  add(value: unknown): void {
    const entry = this.#place.get();
    if (entry?.kind === "reducing") entry.items.splice(0, entry.items.length, this.#reduce(combined(entry.items, this.#reduce), value));
    else this.#place.set({ kind: "reducing", items: [value] });
  }

  clear(): void {
    this.#place.clear();
  }
}

class PaneAggregation implements AggregatingState<unknown, unknown> {
  readonly #place: Place;
  readonly #aggregate: Aggregation<unknown, unknown, unknown>;

  constructor(place: Place, aggregate: Aggregation<unknown, unknown, unknown>) {
    this.#place = place;
    this.#aggregate = aggregate;
  }

  get(): unknown {
    const entry = this.#place.get();
    return entry?.kind === "aggregating" ? this.#aggregate.getResult(this.#combined(entry.items)) : undefined;
  }

  add(value: unknown): void {
    const { createAccumulator, add } = this.#aggregate;
    const entry = this.#place.get();
    if (entry?.kind === "aggregating") {
      entry.items.splice(0, entry.items.length, add.call(this.#aggregate, value, this.#combined(entry.items)));
    } else this.#place.set({ kind: "aggregating", items: [add.call(this.#aggregate, value, createAccumulator.call(this.#aggregate))] });
  }

  clear(): void {
    this.#place.clear();
  }

  #combined(items: readonly unknown[]): unknown {
    return combined(items, (a, b) => {
      const { merge } = this.#aggregate as { merge?(a: unknown, b: unknown): unknown };
      if (merge === undefined) throw new GraphError("Windows merge, and the aggregate of a state of theirs has no merge(a, b); add it.");
      return merge.call(this.#aggregate, a, b);
    });
  }
}

/** What remains of items combined two by two; there is at least one. */
const combined = (items: readonly unknown[], combine: (a: unknown, b: unknown) => unknown): unknown =>
  items.length === 1 ? items[0] : items.reduce((a, b) => combine(a, b));

class PaneMap implements MapState<unknown, unknown> {
  readonly #place: Place;

  constructor(place: Place) {
    this.#place = place;
  }

  get(key: unknown): unknown {
    return this.#entries()?.get(keyToken(key))?.[1];
  }

  put(key: unknown, value: unknown): void {
    const entries = this.#entries();
    if (entries === undefined) this.#place.set({ kind: "map", entries: new Map([[keyToken(key), [key, value]]]) });
    else entries.set(keyToken(key), [key, value]);
  }

  remove(key: unknown): void {
    const entries = this.#entries();
    entries?.delete(keyToken(key));
    if (entries?.size === 0) this.clear();
  }

  contains(key: unknown): boolean {
    return this.#entries()?.has(keyToken(key)) ?? false;
  }

  *entries(): IterableIterator<[unknown, unknown]> {
    for (const [key, value] of this.#entries()?.values() ?? []) yield [key, value];
  }

  *keys(): IterableIterator<unknown> {
    for (const [key] of this.#entries()?.values() ?? []) yield key;
  }

  *values(): IterableIterator<unknown> {
    for (const [, value] of this.#entries()?.values() ?? []) yield value;
  }

  isEmpty(): boolean {
    return this.#entries() === undefined;
  }

  clear(): void {
    this.#place.clear();
  }

  #entries(): Map<KeyToken, [unknown, unknown]> | undefined {
    const entry = this.#place.get();
    return entry?.kind === "map" ? entry.entries : undefined;
  }
}
