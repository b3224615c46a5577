/**
 * A table from key tokens to what state keeps for them. As long as all keys are 32-bit integers, which ids mostly are, it is an open
 * addressing table over a typed array (measured against a Map, with values that are changed in place: 53 to 18 M look-ups per CPU-second on
 * a thousand keys, 7 to 2.6 on a million); with the first other key it becomes a Map from token to place and stays one.
 *
 * A table can be written out while it is in use. `freeze` costs next to nothing: from then on each entry is written once, by `scan` when
 * its turn comes, or, before it is given out, replaced or removed, because whoever asks for a value may change it. So what is written is
 * the table as it was when it was frozen, no value is copied, and while nothing is being written the cost is one comparison. A large table
 * is written in order of key groups: then one block fills at a time, and what it is made of is garbage while it is young (in the order of
 * the table, where 128 blocks fill at once, collecting garbage took more time than writing).
 *
 * Values are never undefined: that marks a free place. Order of iteration: none that may be relied on.
 */
import type { KeyToken } from "../data/keys.ts";
import { flattenString } from "../data/text.ts";
import type { Table } from "./table.ts";

const FIRST_CAPACITY = 16;
/** 2³² divided by the golden ratio: spreads neighbouring numbers over the whole table (Knuth's multiplicative hashing). */
const SPREAD = 0x9e3779b1;
/** Places looked at between two looks at the clock. */
const SCANNED_AT_ONCE = 16;
/** Places that one call of `sweep` looks at. */
const SWEPT_AT_ONCE = 4;

/** Places sorted between two looks at the clock. */
const SORTED_AT_ONCE = 1_024;
/** Tables with fewer keys are written in the order in which they lie. */
const SORTED_FROM = 2_048;

const zero = (): number => 0;

/** Takes an entry of a frozen table, and its key group. */
export type WriteEntry<Value> = (token: KeyToken, value: Value, group: number) => void;

/** The places of a large table, on their way into the order in which they are written. */
interface Sorting {
  /** By place: its key group + 1, or 0 where there is nothing to write. */
  readonly groups: Uint16Array;
  /** By key group: how many places; once `order` is there, where its next place goes. */
  readonly counts: number[];
  order: Int32Array | undefined;
  /** All places stand in `order`. */
  sorted: boolean;
}

export class KeyTable<Value> implements Table<Value> {
  /** Places of the tokens, once there is one that is no 32-bit integer. */
  #places: Map<KeyToken, number> | undefined;
  /** Tokens by place, and free places; used with `#places`. */
  #tokens: (KeyToken | undefined)[] = [];
  #free: number[] = [];
  #keys = new Int32Array(FIRST_CAPACITY);
  #values: (Value | undefined)[] = new Array<Value | undefined>(FIRST_CAPACITY).fill(undefined);
  #shift = 32 - Math.log2(FIRST_CAPACITY);
  #size = 0;

  /** While the table is being written: by place, 1 where nothing is left to write. Places beyond its end are new. */
  #written: Uint8Array | undefined;
  #write: WriteEntry<Value> | undefined;
  #groupOf: (token: KeyToken) => number = zero;
  #sorting: Sorting | undefined;
  /** How far the scan has come: through the places, or through their order. */
  #cursor = 0;
  /** Objects among the values looked at last. See `#touch`. */
  touched = 0;
  #sweepAt = 0;

  /** Number of keys. */
  get size(): number {
    return this.#places === undefined ? this.#size : this.#places.size;
  }

  /** What is kept for a key; undefined when there is nothing. The caller may change it in place. */
  get(token: KeyToken): Value | undefined {
    if (this.#places !== undefined) {
      const place = this.#places.get(token);
      if (place === undefined) return undefined;
      if (this.#written !== undefined) this.#save(place);
      return this.#values[place];
    }
    if (typeof token !== "number" || (token | 0) !== token) return undefined;
    const keys = this.#keys;
    const values = this.#values;
    const mask = keys.length - 1;
    for (let at = Math.imul(token, SPREAD) >>> this.#shift; ; at = (at + 1) & mask) {
      const value = values[at];
      if (value === undefined) return undefined;
      if (keys[at] === token) {
        if (this.#written !== undefined) this.#save(at);
        return value;
      }
    }
  }

  /** The same as `get`: values are changed where they are. */
  edit(token: KeyToken): Value | undefined {
    return this.get(token);
  }

  /** Keeps a value for a key, in place of the one before. A string key is copied out of the batch that it is a slice of. */
  set(token: KeyToken, value: Value): void {
    if (this.#places === undefined && (typeof token !== "number" || (token | 0) !== token)) this.#leaveIntegers();
    if (this.#places !== undefined) {
      this.#setPlace(this.#places, token, value);
      return;
    }
    if ((this.#size + 1) * 4 > this.#keys.length * 3) this.#grow();
    this.#put(token as number, value, 1);
  }

  /** @returns whether there was something. */
  delete(token: KeyToken): boolean {
    if (this.#places !== undefined) return this.#deletePlace(this.#places, token);
    if (typeof token !== "number" || (token | 0) !== token) return false;
    const keys = this.#keys;
    const values = this.#values;
    const mask = keys.length - 1;
    let free = Math.imul(token, SPREAD) >>> this.#shift;
    while (values[free] !== undefined && keys[free] !== token) free = (free + 1) & mask;
    if (values[free] === undefined) return false;
    if (this.#written !== undefined) this.#save(free);
    // Those behind that could not have their own place move up, so that no search ends at the gap.
    for (let at = (free + 1) & mask; values[at] !== undefined; at = (at + 1) & mask) {
      const home = Math.imul(keys[at] as number, SPREAD) >>> this.#shift;
      if (((at - home) & mask) < ((at - free) & mask)) continue;
      // An entry that moves may pass the cursor: it is written before.
      if (this.#written !== undefined) this.#save(at);
      keys[free] = keys[at] as number;
      values[free] = values[at];
      free = at;
    }
    values[free] = undefined;
    this.#size--;
    return true;
  }

  /** Calls a function for each key, with a value that it only reads. The table must not change meanwhile. */
  forEach(each: (value: Value, token: KeyToken) => void): void {
    const values = this.#values;
    for (let at = 0; at < values.length; at++) {
      const value = values[at];
      if (value !== undefined) each(value, this.#tokenAt(at));
    }
  }

  /** Calls a function for each key, with a value that it may change. The table itself must not change meanwhile. */
  forEachChanging(each: (value: Value, token: KeyToken) => void): void {
    if (this.#written !== undefined) for (let at = 0; at < this.#values.length; at++) this.#save(at);
    this.forEach(each);
  }

  /**
   * Makes all entries as they are now be written, each once: by `scan`, or before they change. One at a time.
   * @param groupOf the key group of a token. @param write must not throw, and must not touch the table.
   */
  freeze(groupOf: (token: KeyToken) => number, write: WriteEntry<Value>): void {
    this.#written = new Uint8Array(this.#values.length);
    this.#write = write;
    this.#groupOf = groupOf;
    this.#restart();
  }

  /**
   * Writes on.
   * @param more asked now and then whether to go on.
   * @returns whether everything is written; the table is then no longer frozen.
   */
  scan(more: () => boolean): boolean {
    if (this.#written === undefined) return true;
    const sorting = this.#sorting;
    if (sorting !== undefined && !sorting.sorted && !this.#sort(this.#written, sorting, more)) return false;
    const order = sorting?.order;
    const end = order?.length ?? this.#written.length;
    while (this.#cursor < end) {
      const stop = Math.min(end, this.#cursor + SCANNED_AT_ONCE);
      this.#touch(order, stop);
      for (; this.#cursor < stop; this.#cursor++) this.#save(order === undefined ? this.#cursor : (order[this.#cursor] as number));
      if (!more()) return false;
    }
    this.thaw();
    return true;
  }

  /**
   * Looks at the next values before they are written one by one: they lie scattered over memory that no cache holds, and the processor
   * fetches several at once only if nothing else stands between the looks (measured: a fifth less time for a million objects).
   */
  #touch(order: Int32Array | undefined, stop: number): void {
    const values = this.#values;
    let objects = 0;
    for (let at = this.#cursor; at < stop; at++) {
      if (typeof values[order === undefined ? at : (order[at] as number)] === "object") objects++;
    }
    this.touched = objects;
  }

  /** Sorts the places by key group, as a counting sort does. @returns whether it is through. */
  #sort(written: Uint8Array, sorting: Sorting, more: () => boolean): boolean {
    const { groups, counts } = sorting;
    for (const counting of sorting.order === undefined ? [true, false] : [false]) {
      while (this.#cursor < groups.length) {
        const stop = Math.min(groups.length, this.#cursor + SORTED_AT_ONCE);
        for (let place = this.#cursor; place < stop; place++) {
          if (counting) {
            if (written[place] !== 0 || this.#values[place] === undefined) continue;
            const group = this.#groupOf(this.#tokenAt(place));
            groups[place] = group + 1;
            counts[group] = (counts[group] ?? 0) + 1;
          } else if (groups[place] !== 0) {
            const group = (groups[place] as number) - 1;
            const at = counts[group] as number;
            (sorting.order as Int32Array)[at] = place;
            counts[group] = at + 1;
          }
        }
        this.#cursor = stop;
        if (!more()) return false;
      }
      this.#cursor = 0;
      if (!counting) continue;
      let total = 0;
      for (let group = 0; group < counts.length; group++) {
        const count = counts[group] ?? 0;
        counts[group] = total;
        total += count;
      }
      sorting.order = new Int32Array(total);
    }
    sorting.sorted = true;
    return true;
  }

  /** The places are new: the scan begins again, and skips what is written. */
  #restart(): void {
    this.#cursor = 0;
    this.#sorting =
      this.size < SORTED_FROM ? undefined : { groups: new Uint16Array(this.#values.length), counts: [], order: undefined, sorted: false };
  }

  /** Ends the writing, whatever is left. */
  thaw(): void {
    this.#written = undefined;
    this.#write = undefined;
    this.#sorting = undefined;
  }

  /** All tokens, in no particular order. The table must not change meanwhile. */
  *tokens(): IterableIterator<KeyToken> {
    for (let at = 0; at < this.#values.length; at++) if (this.#values[at] !== undefined) yield this.#tokenAt(at);
  }

  /** Removes what is over among the next few entries, beginning where the last call ended. */
  sweep(isOver: (value: Value) => boolean): void {
    for (let left = SWEPT_AT_ONCE; left > 0; left--) {
      if (this.#sweepAt >= this.#values.length) this.#sweepAt = 0;
      const value = this.#values[this.#sweepAt];
      // When one goes, another may have come to its place.
      if (value !== undefined && isOver(value)) this.delete(this.#tokenAt(this.#sweepAt));
      else this.#sweepAt++;
    }
  }

  #tokenAt(place: number): KeyToken {
    return this.#places === undefined ? (this.#keys[place] as number) : (this.#tokens[place] as KeyToken);
  }

  /** Writes the entry of a place unless that is done. */
  #save(place: number): void {
    const written = this.#written as Uint8Array;
    // Undefined beyond the end: a place that came later.
    if (written[place] !== 0) return;
    written[place] = 1;
    const value = this.#values[place];
    if (value === undefined) return;
    const token = this.#tokenAt(place);
    // A place that was free when it was sorted is one that came later, and never gets here.
    const group = this.#sorting?.groups[place];
    (this.#write as WriteEntry<Value>)(token, value, group === undefined || group === 0 ? this.#groupOf(token) : group - 1);
  }

  /** @param written what the place says of a new entry: 1 unless the entry comes from another place. */
  #put(token: number, value: Value, written: number): void {
    const keys = this.#keys;
    const values = this.#values;
    const mask = keys.length - 1;
    for (let at = Math.imul(token, SPREAD) >>> this.#shift; ; at = (at + 1) & mask) {
      if (values[at] === undefined) {
        keys[at] = token;
        values[at] = value;
        this.#size++;
        if (this.#written !== undefined) this.#written[at] = written;
        return;
      }
      if (keys[at] === token) {
        if (this.#written !== undefined) this.#save(at);
        values[at] = value;
        return;
      }
    }
  }

  #grow(): void {
    const keys = this.#keys;
    const values = this.#values;
    const written = this.#written;
    const capacity = keys.length * 2;
    this.#keys = new Int32Array(capacity);
    this.#values = new Array<Value | undefined>(capacity).fill(undefined);
    if (written !== undefined) this.#written = new Uint8Array(capacity);
    this.#shift--;
    this.#size = 0;
    for (let at = 0; at < keys.length; at++) {
      const value = values[at];
      if (value !== undefined) this.#put(keys[at] as number, value, written?.[at] ?? 1);
    }
    if (written !== undefined) this.#restart();
  }

  #setPlace(places: Map<KeyToken, number>, token: KeyToken, value: Value): void {
    let place = places.get(token);
    if (place === undefined) {
      place = this.#free.pop() ?? this.#values.length;
      const kept = typeof token === "string" ? flattenString(token) : token;
      places.set(kept, place);
      this.#tokens[place] = kept;
      // The place of one that went before the table was frozen: what stands there now is new.
      if (this.#written !== undefined) this.#written[place] = 1;
    } else if (this.#written !== undefined) this.#save(place);
    this.#values[place] = value;
  }

  #deletePlace(places: Map<KeyToken, number>, token: KeyToken): boolean {
    const place = places.get(token);
    if (place === undefined) return false;
    if (this.#written !== undefined) this.#save(place);
    places.delete(token);
    this.#values[place] = undefined;
    this.#tokens[place] = undefined;
    this.#free.push(place);
    return true;
  }

  #leaveIntegers(): void {
    const [keys, values, written] = [this.#keys, this.#values, this.#written];
    const places = new Map<KeyToken, number>();
    this.#tokens = [];
    this.#values = [];
    const flags: number[] = [];
    for (let at = 0; at < keys.length; at++) {
      const value = values[at];
      if (value === undefined) continue;
      places.set(keys[at] as number, this.#values.length);
      this.#tokens.push(keys[at] as number);
      this.#values.push(value);
      flags.push(written?.[at] ?? 1);
    }
    this.#places = places;
    this.#keys = new Int32Array(0);
    this.#size = 0;
    if (written === undefined) return;
    this.#written = Uint8Array.from(flags);
    this.#restart();
  }
}
