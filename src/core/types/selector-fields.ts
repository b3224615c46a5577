/**
 * What is known of key selectors that were made of names of fields: which fields they read. Of other functions their text tells
 * (cluster/code/fields-read.ts), but these all have the same text.
 */

const known = new WeakMap<object, readonly string[]>();

/** Remembers the fields that a selector reads of its argument, and nothing else of it. @returns the selector. */
export function withFields<F extends (value: never) => unknown>(selector: F, fields: readonly string[]): F {
  known.set(selector, fields);
  return selector;
}

/** The fields that a selector reads; undefined when it was not made of names. */
export function fieldsOf(selector: object): readonly string[] | undefined {
  return known.get(selector);
}
