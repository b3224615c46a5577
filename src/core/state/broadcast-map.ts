/**
 * Broadcast state: a map that is the same in every subtask, with keys compared by structure, iterated in order of first insertion. It is
 * written out while it is in use, as key-table.ts does it: an entry that is asked for is written before it is given out.
 */
import { type KeyToken, keyToken } from "../data/keys.ts";
import { flattenKept, flattenStrings } from "../data/text.ts";
import type { MapState } from "./descriptors.ts";
import type { Scan, SectionWriter } from "./section-writer.ts";
import type { ValueWriter } from "../data/value-writer.ts";

interface Entry {
  readonly key: unknown;
  value: unknown;
  /** The last snapshot that needs nothing more of the entry. */
  snapshot: number;
}

/** Entries written between two looks at the clock. */
const WRITTEN_AT_ONCE = 32;

/** The map of one broadcast state in one subtask. */
export class BroadcastMap implements MapState<unknown, unknown>, Scan {
  readonly #entries = new Map<KeyToken, Entry>();
  /** Counts snapshots. */
  #snapshot = 0;
  #section: SectionWriter | undefined;
  #rest: Iterator<Entry> | undefined;

  get(key: unknown): unknown {
    const entry = this.#entries.get(keyToken(key));
    if (entry === undefined) return undefined;
    this.#save(entry);
    return entry.value;
  }

  put(key: unknown, value: unknown): void {
    const token = keyToken(key);
    const entry = this.#entries.get(token);
    if (entry === undefined) {
      this.#entries.set(flattenKept(token), { key: flattenStrings(key), value: flattenKept(value), snapshot: this.#snapshot });
      return;
    }
    this.#save(entry);
    entry.value = flattenKept(value);
  }

  remove(key: unknown): void {
    const token = keyToken(key);
    const entry = this.#entries.get(token);
    if (entry === undefined) return;
    this.#save(entry);
    this.#entries.delete(token);
  }

  contains(key: unknown): boolean {
    return this.#entries.has(keyToken(key));
  }

  *entries(): IterableIterator<[unknown, unknown]> {
    for (const entry of this.#entries.values()) {
      this.#save(entry);
      yield [entry.key, entry.value];
    }
  }

  *keys(): IterableIterator<unknown> {
    for (const { key } of this.#entries.values()) yield key;
  }

  *values(): IterableIterator<unknown> {
    for (const [, value] of this.entries()) yield value;
  }

  isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  clear(): void {
    for (const entry of this.#entries.values()) this.#save(entry);
    this.#entries.clear();
  }

  /** Begins to be written. */
  freeze(section: SectionWriter): void {
    this.#snapshot++;
    this.#section = section;
    this.#rest = this.#entries.values();
  }

  scan(more: () => boolean): boolean {
    for (let left = WRITTEN_AT_ONCE; this.#rest !== undefined; ) {
      const next = this.#rest.next();
      if (next.done === true) this.thaw();
      else this.#save(next.value);
      if (--left === 0 && !more()) return this.#rest === undefined;
      if (left === 0) left = WRITTEN_AT_ONCE;
    }
    return true;
  }

  thaw(): void {
    this.#section = undefined;
    this.#rest = undefined;
  }

  #save(entry: Entry): void {
    if (this.#section === undefined || entry.snapshot === this.#snapshot) return;
    entry.snapshot = this.#snapshot;
    this.#section.entry(0, entry.key, entry.value, writeEntry);
  }
}

const writeEntry = (to: ValueWriter, key: unknown, value: unknown): void => {
  to.write(key);
  to.write(value);
};
