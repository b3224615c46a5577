/** A map in memory whose keys are compared by structure: broadcast state. Iteration is in order of first insertion. */
import { type KeyToken, keyToken } from "../data/keys.ts";
import { flattenKept } from "../data/text.ts";
import type { MapState } from "./descriptors.ts";

/** The map of one broadcast state in one subtask. */
export class HeapMap implements MapState<unknown, unknown> {
  readonly #entries = new Map<KeyToken, [unknown, unknown]>();

  get(key: unknown): unknown {
    return this.#entries.get(keyToken(key))?.[1];
  }

  put(key: unknown, value: unknown): void {
    const token = keyToken(key);
    const entry = this.#entries.get(token);
    if (entry === undefined) this.#entries.set(flattenKept(token), [flattenKept(key), flattenKept(value)]);
    else entry[1] = flattenKept(value);
  }

  remove(key: unknown): void {
    this.#entries.delete(keyToken(key));
  }

  contains(key: unknown): boolean {
    return this.#entries.has(keyToken(key));
  }

  *entries(): IterableIterator<[unknown, unknown]> {
    for (const [key, value] of this.#entries.values()) yield [key, value];
  }

  *keys(): IterableIterator<unknown> {
    for (const [key] of this.#entries.values()) yield key;
  }

  *values(): IterableIterator<unknown> {
    for (const [, value] of this.#entries.values()) yield value;
  }

  isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  clear(): void {
    this.#entries.clear();
  }
}
