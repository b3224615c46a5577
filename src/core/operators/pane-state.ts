/**
 * State of one window of one key, under the descriptors that users know from keyed state. It is kept in the window's pane and goes with
 * it: into snapshots, and out of the world when the window is over.
 */
import { keyToken, type KeyToken } from "../data/keys.ts";
import type { ListState, MapState, StateDescriptor, StateOf, ValueState } from "../state/descriptors.ts";
import { GraphError, describe } from "../types/errors.ts";

/** What is kept under a name: a value, the items of a list, or the entries of a map by the tokens of their keys. */
type PaneEntry =
  | { readonly kind: "value"; value: unknown }
  | { readonly kind: "list"; readonly items: unknown[] }
  | { readonly kind: "map"; readonly entries: Map<KeyToken, [unknown, unknown]> };

/** States of a pane by name. Plain data. */
export type PaneStates = Record<string, PaneEntry>;

/**
 * The state of a descriptor in a pane.
 * @param read where the pane keeps its states. @param write called before the first state is kept.
 * @throws GraphError when the name is taken by another kind of state, or the kind can't be kept per window.
 */
export function paneState<Descriptor extends StateDescriptor>(
  read: () => PaneStates | undefined, write: (states: PaneStates) => void, descriptor: Descriptor,
): StateOf<Descriptor> {
  const place = new Place(read, write, descriptor);
  switch (descriptor.kind) {
    case "value":
      return new PaneValue(place, descriptor.initial) as unknown as StateOf<Descriptor>;
    case "list":
      return new PaneList(place) as unknown as StateOf<Descriptor>;
    case "map":
      return new PaneMap(place) as unknown as StateOf<Descriptor>;
    default:
      throw new GraphError(`State ${describe(descriptor)} can't be kept per window; use a value, a list or a map.`);
  }
}

/**
 * The states of windows that became one: lists one after the other, maps joined.
 * @throws GraphError for a value: two of them are not one.
 */
export function mergePaneStates(parts: readonly (PaneStates | undefined)[]): PaneStates | undefined {
  let merged: PaneStates | undefined;
  for (const states of parts) {
    for (const [name, entry] of Object.entries(states ?? {})) {
      merged ??= {};
      const present = merged[name];
      if (present === undefined) merged[name] = entry;
      else if (present.kind === "list" && entry.kind === "list") present.items.push(...entry.items);
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
