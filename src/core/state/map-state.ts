/**
 * A map per key: map state over a table. A map is kept and written as a whole. Its keys are compared by structure, and it is iterated in
 * order of first insertion.
 */
import { type KeyToken, keyToken } from "../data/keys.ts";
import { flattenKept, flattenStrings } from "../data/text.ts";
import type { ValueReader } from "../data/value-reader.ts";
import type { ValueWriter } from "../data/value-writer.ts";
import type { KeyedBackend } from "./backend.ts";
import type { MapState } from "./descriptors.ts";
import type { Lifetime } from "./lifetime.ts";
import { STAMPED, type Table, type TableCodec } from "./table.ts";

/** An entry of a key's map. */
export interface MapEntry {
  readonly key: unknown;
  value: unknown;
  /** When it was written; 0 without a lifetime. */
  stampMs: number;
}

/** The map of one key, by the tokens of its own keys. */
export type EntryMap = Map<KeyToken, MapEntry>;

/** How maps stand in a snapshot: the count of entries, then key and value (and before them the time) of each. */
export function mapCodec(lifetime: Lifetime | undefined): TableCodec<EntryMap> {
  return {
    type: lifetime === undefined ? "map" : `map${STAMPED}`,
    write: (to: ValueWriter, map: EntryMap): void => {
      const alive = lifetime === undefined ? undefined : [...map.values()].filter(({ stampMs }) => !lifetime.isOver(stampMs));
      to.write(alive === undefined ? map.size : alive.length);
      for (const { key, value, stampMs } of alive ?? map.values()) {
        if (alive !== undefined) to.write(stampMs);
        to.write(key);
        to.write(value);
      }
    },
    read: (first: unknown, from: ValueReader, type: string): EntryMap | undefined => {
      const map: EntryMap = new Map();
      for (let left = first as number; left > 0; left--) {
        const stampMs = type.endsWith(STAMPED) ? (from.read() as number) : (lifetime?.now() ?? 0);
        const key = flattenStrings(from.read());
        const value = flattenStrings(from.read());
        if (lifetime?.isOver(stampMs) === true) continue;
        map.set(flattenKept(keyToken(key)), { key, value, stampMs: lifetime === undefined ? 0 : stampMs });
      }
      return map.size === 0 ? undefined : map;
    },
  };
}

/** The maps of all keys of one state. */
export class TabledMap implements MapState<unknown, unknown> {
  readonly #backend: KeyedBackend;
  readonly #maps: Table<EntryMap>;
  readonly #lifetime: Lifetime | undefined;

  constructor(backend: KeyedBackend, maps: Table<EntryMap>, lifetime: Lifetime | undefined) {
    this.#backend = backend;
    this.#maps = maps;
    this.#lifetime = lifetime;
  }

  get(key: unknown): unknown {
    return this.#entry(key)?.value;
  }

  put(key: unknown, value: unknown): void {
    const token = this.#backend.currentToken;
    let map = this.#maps.edit(token);
    if (map === undefined) this.#maps.set(token, (map = new Map()));
    const userToken = keyToken(key);
    const entry = map.get(userToken);
    const stampMs = this.#lifetime?.now() ?? 0;
    if (entry === undefined) map.set(flattenKept(userToken), { key: flattenKept(key), value: flattenKept(value), stampMs });
    else {
      entry.value = flattenKept(value, entry.value);
      entry.stampMs = stampMs;
    }
    if (this.#lifetime !== undefined) this.#sweep(this.#lifetime);
  }

  remove(key: unknown): void {
    const map = this.#maps.edit(this.#backend.currentToken);
    if (map?.delete(keyToken(key)) === true && map.size === 0) this.clear();
  }

  contains(key: unknown): boolean {
    return this.#entry(key) !== undefined;
  }

  *entries(): IterableIterator<[unknown, unknown]> {
    for (const { key, value } of this.#alive()) yield [key, value];
  }

  *keys(): IterableIterator<unknown> {
    for (const { key } of this.#alive()) yield key;
  }

  *values(): IterableIterator<unknown> {
    for (const { value } of this.#alive()) yield value;
  }

  isEmpty(): boolean {
    return this.#alive().next().done === true;
  }

  clear(): void {
    this.#maps.delete(this.#backend.currentToken);
  }

  #entry(key: unknown): MapEntry | undefined {
    const token = this.#backend.currentToken;
    const lifetime = this.#lifetime;
    if (lifetime === undefined) return this.#maps.get(token)?.get(keyToken(key));
    const map = lifetime.refreshedByReads ? this.#maps.edit(token) : this.#maps.get(token);
    const entry = map?.get(keyToken(key));
    if (entry === undefined || lifetime.isOver(entry.stampMs)) return undefined;
    if (lifetime.refreshedByReads) entry.stampMs = lifetime.now();
    return entry;
  }

  *#alive(): IterableIterator<MapEntry> {
    const token = this.#backend.currentToken;
    const lifetime = this.#lifetime;
    const map = lifetime?.refreshedByReads === true ? this.#maps.edit(token) : this.#maps.get(token);
    for (const entry of map?.values() ?? []) {
      if (lifetime?.isOver(entry.stampMs) === true) continue;
      if (lifetime?.refreshedByReads === true) entry.stampMs = lifetime.now();
      yield entry;
    }
  }

  /** Drops the entries that are over from a few maps, and maps that are empty then. */
  #sweep(lifetime: Lifetime): void {
    this.#maps.sweep((map) => {
      for (const [token, { stampMs }] of map) if (lifetime.isOver(stampMs)) map.delete(token);
      return map.size === 0;
    });
  }
}
