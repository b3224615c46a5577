/**
 * A table on disk behind a cache in memory that takes all writes: what is used again and again is never written, the rest goes to disk in
 * transactions of many entries, when the cache is full.
 *
 * It is incremental: a checkpoint writes what changed since the last one that is known to be complete, and refers to that one's files for
 * the rest. Each freeze begins a new set of changed keys; the sets of checkpoints that did not complete are written once more by the next
 * one. When what was added outgrows what it was added to, all is written anew.
 *
 * Like a table in memory (key-table.ts) it is written while it is in use: an entry that is asked for is written before it is given out.
 * Invariant: the cache is right; the disk is right for what the cache does not hold.
 */
import type { KeyToken } from "../data/keys.ts";
import { flattenKept } from "../data/text.ts";
import { diskKey, type DiskStore, ofDiskKey, WRITTEN_AT_ONCE } from "./disk-store.ts";
import type { EntryBytes } from "./entry-bytes.ts";
import type { WriteEntry } from "./key-table.ts";
import { fileOfCheckpoint, type SnapshotSection } from "./snapshot.ts";
import type { Table, TableCodec } from "./table.ts";

/** Entries that a scan reads from disk at once. */
const READ_AT_ONCE = 64;
/** Checkpoints that build upon each other at the most. */
const LONGEST_CHAIN = 20;
/** Checkpoints of which it is open whether they complete. */
const MOST_EPOCHS = 8;

interface Cached<Value> {
  /** Undefined: there is nothing, which is worth knowing too. */
  value: Value | undefined;
  /** The disk has something else. */
  dirty: boolean;
  /** Asked for since the cache was full last. */
  used: boolean;
}

/** A checkpoint that this table is in, from its freeze until a later one is known to be complete. */
interface Epoch {
  readonly checkpoint: number;
  /** Keys that changed since the freeze before. */
  readonly changed: ReadonlySet<KeyToken>;
  /** It holds everything itself. */
  readonly alone: boolean;
  /** Undefined until it is written. */
  sections: readonly SnapshotSection[] | undefined;
}

/** What is being written. */
interface Writing<Value> {
  readonly write: WriteEntry<Value | undefined>;
  /** Only these keys; undefined: all. */
  readonly only: ReadonlySet<KeyToken> | undefined;
  /** Keys that are written, or are new. */
  readonly done: Set<KeyToken>;
  /** Keys of `only` that were not looked at yet; without it, cached keys. */
  readonly rest: Iterator<KeyToken>;
  restIsEmpty: boolean;
  /** Keys on disk up to this one are written. */
  last: Buffer | undefined;
}

/** Where tables are, and what they share. */
export interface DiskTableOptions<Value> {
  readonly store: DiskStore;
  /** Number of the state in the store. */
  readonly state: number;
  readonly bytes: EntryBytes;
  readonly codec: TableCodec<Value>;
  readonly cachedEntries: number;
  groupOf(token: KeyToken): number;
}

/** One state's table on disk. */
export class DiskTable<Value> implements Table<Value> {
  readonly #options: DiskTableOptions<Value>;
  /** In order of use, roughly: what was used lately stands behind. */
  readonly #cache = new Map<KeyToken, Cached<Value>>();
  #size = 0;
  #changed = new Set<KeyToken>();
  /** Checkpoints that may still complete. */
  #epochs: Epoch[] = [];
  /** The last complete checkpoint, as later ones name its files. */
  #base: readonly SnapshotSection[] | undefined;
  #writing: Writing<Value> | undefined;

  constructor(options: DiskTableOptions<Value>) {
    this.#options = options;
  }

  get size(): number {
    return this.#size;
  }

  get(token: KeyToken): Value | undefined {
    const cached = this.#load(token);
    // Whoever gets it may change it before saying so.
    if (this.#writing !== undefined) this.#save(token, cached.value);
    return cached.value;
  }

  edit(token: KeyToken): Value | undefined {
    const cached = this.#load(token);
    if (cached.value !== undefined) this.#change(token, cached);
    return cached.value;
  }

  set(token: KeyToken, value: Value): void {
    const cached = this.#load(token);
    this.#change(token, cached);
    if (cached.value === undefined) this.#size++;
    cached.value = value;
  }

  delete(token: KeyToken): boolean {
    const cached = this.#load(token);
    if (cached.value === undefined) return false;
    this.#change(token, cached);
    cached.value = undefined;
    this.#size--;
    return true;
  }

  *tokens(): IterableIterator<KeyToken> {
    for (const [token, { value, dirty }] of this.#cache) if (dirty && value !== undefined) yield token;
    const { store, state } = this.#options;
    for (let last: Buffer | undefined, more = true; more; ) {
      const entries = store.after(state, last, READ_AT_ONCE);
      for (const { key } of entries) {
        const { token } = ofDiskKey(key);
        if (this.#cache.get(token)?.dirty !== true) yield token;
      }
      last = entries.at(-1)?.key;
      more = entries.length === READ_AT_ONCE;
    }
  }

  /** What is over on disk goes when it is met, or is left out of the next full snapshot. */
  sweep(): void {
    // Looking for it would cost reads.
  }

  /**
   * Makes the table as it is now be written, by `scan` or before it changes.
   * @param checkpoint undefined for a savepoint, which stands alone and on which nothing is built.
   * @returns the sections that what is written adds to; none: all is written.
   */
  freeze(checkpoint: number | undefined, write: WriteEntry<Value | undefined>): readonly SnapshotSection[] {
    // When a checkpoint that stands alone completes, the files of those before it may go: nothing new is built upon them meanwhile.
    const alone = checkpoint === undefined || this.#epochs.some((it) => it.alone) || this.#base === undefined || outgrown(this.#base);
    const base = alone ? undefined : this.#base;
    let only: Set<KeyToken> | undefined;
    if (checkpoint !== undefined) {
      const changed = this.#changed;
      this.#changed = new Set();
      this.#epochs.push({ checkpoint, changed, alone, sections: undefined });
      if (this.#epochs.length > MOST_EPOCHS) this.#mergeOldest();
      if (base !== undefined) {
        only = changed;
        if (this.#epochs.length > 1) only = new Set(this.#epochs.flatMap((epoch) => [...epoch.changed]));
      }
    }
    this.#writing = {
      write, only, done: new Set(), rest: (only ?? this.#cache).keys(), restIsEmpty: false, last: undefined,
    };
    return base ?? [];
  }

  /** The oldest checkpoint that may complete counts as aborted, so that keys that change again and again are not kept without end. */
  #mergeOldest(): void {
    const [oldest, next, ...rest] = this.#epochs as [Epoch, Epoch, ...Epoch[]];
    this.#epochs = [{ ...next, changed: new Set([...oldest.changed, ...next.changed]) }, ...rest];
  }

  /** What a checkpoint's sections have become. */
  written(checkpoint: number, sections: readonly SnapshotSection[]): void {
    const epoch = this.#epochs.find((it) => it.checkpoint === checkpoint);
    if (epoch === undefined) return;
    epoch.sections = sections.map((section) => ({ ...section, file: fileOfCheckpoint(checkpoint, section.file) }));
  }

  /** The checkpoint is complete: the next one builds upon it. */
  completed(checkpoint: number): void {
    const epoch = this.#epochs.find((it) => it.checkpoint === checkpoint);
    if (epoch?.sections === undefined) return;
    this.#base = epoch.sections;
    this.#epochs = this.#epochs.filter((it) => it.checkpoint > checkpoint);
  }

  /** Writes on, as key-table.ts does. */
  scan(more: () => boolean): boolean {
    const writing = this.#writing;
    if (writing === undefined) return true;
    for (let left = READ_AT_ONCE; !writing.restIsEmpty; ) {
      const next = writing.rest.next();
      if (next.done === true) writing.restIsEmpty = true;
      else if (writing.only !== undefined) this.#save(next.value, this.#peek(next.value));
      else {
        const cached = this.#cache.get(next.value);
        if (cached?.dirty === true) this.#save(next.value, cached.value);
      }
      if (--left > 0) continue;
      left = READ_AT_ONCE;
      if (!more()) return false;
    }
    while (writing.only === undefined) {
      const { store, state, bytes, codec } = this.#options;
      const entries = store.after(state, writing.last, READ_AT_ONCE);
      for (const { key, value } of entries) {
        const { token, group } = ofDiskKey(key);
        writing.last = key;
        if (writing.done.has(token)) continue;
        const cached = this.#cache.get(token);
        const held = cached === undefined ? bytes.read(codec, value) : cached.value;
        if (held !== undefined) writing.write(token, held, group);
      }
      if (entries.length < READ_AT_ONCE) break;
      if (!more()) return false;
    }
    this.thaw();
    return true;
  }

  /** Ends the writing, whatever is left. */
  thaw(): void {
    this.#writing = undefined;
  }

  #load(token: KeyToken): Cached<Value> {
    let cached = this.#cache.get(token);
    if (cached !== undefined) {
      cached.used = true;
      return cached;
    }
    const { store, state, bytes, codec, groupOf } = this.#options;
    const found = store.get(diskKey(state, groupOf(token), token));
    const value = found === undefined ? undefined : bytes.read(codec, found);
    // What is over is nothing, and goes.
    const over = found !== undefined && value === undefined;
    if (over) this.#size--;
    cached = { value, dirty: over, used: true };
    if (this.#cache.size >= this.#options.cachedEntries) this.#evict();
    this.#cache.set(flattenKept(token), cached);
    return cached;
  }

  /** A value that is only looked at. */
  #peek(token: KeyToken): Value | undefined {
    const cached = this.#cache.get(token);
    if (cached !== undefined) return cached.value;
    const { store, state, bytes, codec, groupOf } = this.#options;
    const found = store.get(diskKey(state, groupOf(token), token));
    return found === undefined ? undefined : bytes.read(codec, found);
  }

  /** The value is about to be changed, replaced or removed. */
  #change(token: KeyToken, cached: Cached<Value>): void {
    if (this.#writing !== undefined) this.#save(token, cached.value);
    // Before the first checkpoint, which holds everything, it need not be known.
    if (this.#base !== undefined || this.#epochs.length > 0) this.#changed.add(token);
    cached.dirty = true;
  }

  /** Writes an entry of the frozen table unless that is done, or it is not to be written. */
  #save(token: KeyToken, value: Value | undefined): void {
    const { write, only, done, last } = this.#writing as Writing<Value>;
    if (done.has(token) || (only !== undefined && !only.has(token))) return;
    done.add(token);
    const group = this.#options.groupOf(token);
    if (only !== undefined) write(token, value, group);
    else if (value !== undefined && !(last !== undefined && this.#isBefore(token, group, last))) write(token, value, group);
  }

  /** Whether a scan of the disk has come by the entry and written it: it was there, and the cache held nothing newer. */
  #isBefore(token: KeyToken, group: number, last: Buffer): boolean {
    return Buffer.compare(diskKey(this.#options.state, group, token), last) <= 0;
  }

  /** Makes room: what was not used since the cache was full last goes, and before it goes to disk if it must. */
  #evict(): void {
    const { store, state, bytes, codec, groupOf } = this.#options;
    const entries: { key: Buffer; value: Buffer | undefined }[] = [];
    let [dropped, looked] = [0, 0];
    for (const [token, cached] of this.#cache) {
      if (dropped === WRITTEN_AT_ONCE || looked++ === 8 * WRITTEN_AT_ONCE) break;
      this.#cache.delete(token);
      if (cached.used && looked < 4 * WRITTEN_AT_ONCE) {
        cached.used = false;
        this.#cache.set(token, cached);
        continue;
      }
      dropped++;
      if (!cached.dirty) continue;
      const { value } = cached;
      entries.push({ key: diskKey(state, groupOf(token), token), value: value === undefined ? undefined : bytes.write(codec, value) });
    }
    store.write(entries);
  }
}

/** Whether what was added is more than what it was added to, or in too many pieces. */
function outgrown(sections: readonly SnapshotSection[]): boolean {
  const sizes = sections.map(({ blocks }) => blocks.reduce((sum, number, index) => (index % 3 === 2 ? sum + number : sum), 0));
  const [base = 0, ...added] = sizes;
  return sections.length > LONGEST_CHAIN || added.reduce((sum, size) => sum + size, 0) > base;
}
