/**
 * The strings of the value that a state gave out last. A record that is read, changed and put back mostly has the strings that it had: they
 * were flattened when they were first kept, and are not copied again (measured: a value with two strings, 1.1 million keys: each row
 * made 200 bytes that outlived it, and collecting them took 40 % of the task's time).
 *
 * Invariant: a string counts as known only if it stood in a value as the state kept it, before the program got that value.
 */
import { FLATTENED_FIELDS, SHORTEST_SLICE, flattenKept, flattenString, isPlainToFlatten } from "../data/text.ts";

/** When it did not pay, one in so many values is looked at to see whether it does now. */
const PROBED = 16;

/** One per state, not per key: between a `lend` and the `keep` of the same key mostly nothing else happens. */
export class LentStrings {
  readonly #strings: string[] = [];
  #count = 0;
  #value: unknown;
  #pays = true;
  #passed = 0;

  /** A kept value is about to be given out. @returns it. */
  lend<T>(value: T): T {
    if (typeof value !== "object" || value === this.#value) return value;
    // The one before was only read.
    if (this.#value !== undefined) this.#pays = false;
    this.#value = undefined;
    this.#count = 0;
    if ((!this.#pays && ++this.#passed % PROBED !== 0) || !isPlainToFlatten(value)) return value;
    let looked = 0;
    for (const name in value as Record<string, unknown>) {
      if (++looked > FLATTENED_FIELDS) break;
      const field = (value as Record<string, unknown>)[name];
      if (typeof field === "string" && field.length >= SHORTEST_SLICE) this.#strings[this.#count++] = field;
    }
    this.#value = value;
    return value;
  }

  /** A value is about to be kept: its strings are flattened, in place, but for known ones. @returns it. */
  keep(value: unknown): unknown {
    const count = this.#count;
    if (this.#value !== undefined) this.#pays = false;
    this.#value = undefined;
    this.#count = 0;
    if (count === 0 || !isPlainToFlatten(value)) return flattenKept(value);
    let [looked, at] = [0, 0];
    for (const name in value) {
      if (++looked > FLATTENED_FIELDS) break;
      const field = value[name];
      if (typeof field !== "string" || field.length < SHORTEST_SLICE) continue;
      const known = at < count ? this.#strings[at++] : undefined;
      // Another string with the same characters may hold a batch's text: the known one takes its place.
      if (known === field) {
        value[name] = known;
        this.#pays = true;
      } else value[name] = flattenString(field);
    }
    return value;
  }
}
