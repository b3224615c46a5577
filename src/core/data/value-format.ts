/**
 * The bytes of one value, of any kind that can travel. A value is a tag and what belongs to it; strings stand in a text of their
 * own beside the bytes, in the order of their appearance, and only their lengths in the bytes.
 *
 * Objects are numbered from 0 in the order in which they begin, within one *row*; a second meeting with one is written as a
 * reference to its number, which is how cycles and shared parts survive. An object that is referred to bears `SHARED` in its tag,
 * so that a reader has to remember those only.
 *
 * Field lists are written once per *message* and then referred to (a shape). These bytes are also those of state in snapshots:
 * a tag keeps its meaning for ever.
 */

export const Tag = {
  undefined: 0,
  null: 1,
  true: 2,
  false: 3,
  /** Zigzag varint. */
  int: 4,
  float: 5,
  /** Varint of 2 × byte count + sign, then the magnitude, little end first. */
  bigint: 6,
  /** Varint of the length. */
  string: 7,
  /** Varint of the object's number. */
  reference: 8,
  /** A new shape: class name (string), count, names (strings); then the values. */
  newShape: 9,
  /** Varint of the shape's number; then the values. */
  shape: 10,
  /** Varint of the length, then the items. */
  array: 11,
  /** Length as float, varint of the count of items, then pairs of index (float) and value. */
  sparseArray: 12,
  map: 13,
  set: 14,
  date: 15,
  /** Source, flags (strings), lastIndex (float). */
  regexp: 16,
  /** Kind byte, varint of the byte count, bytes. */
  view: 17,
  arrayBuffer: 18,
  /** Class name, bit set of present own fields, those fields, own enumerable fields. */
  error: 19,
  /** The primitive. */
  boxed: 20,
  /** A record without prototype: count, then pairs of name and value. */
  nullPrototype: 21,
  /** A plain record with so many fields that it is no record but a dictionary: count, then pairs of name and value. */
  dictionary: 22,
  /** An instance of a class that extends a built-in one: class name, the built-in's value, own fields. */
  extended: 23,
} as const;

/** Added to the tag of an object that is referred to later. */
export const SHARED = 0x20;
/** Tags from here on are short strings: the tag minus this is the length, 0 … 63. */
export const SHORT_STRING = 0x40;
/** Tags from here on are the whole numbers 0 … 127. */
export const SMALL_INT = 0x80;

/** Levels of nesting in one value, well below what the stack of a thread can take. */
export const MAX_DEPTH = 1_000;
/** Fields of a shape at the most; a record with more is written as a dictionary. */
export const MAX_SHAPE_FIELDS = 64;
/** Shapes per message; further ones are written as dictionaries. Keeps writer and reader bounded on records with random names. */
export const MAX_SHAPES = 256;

/** What sees a piece of memory: the index is on the wire. */
export const viewKinds: readonly string[] = [
  "Buffer", "DataView", "Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array",
  "Float32Array", "Float64Array", "BigInt64Array", "BigUint64Array", "Float16Array",
];

/** Own fields of an Error that are not enumerable, in the order of their bits. */
export const errorFields: readonly string[] = ["message", "stack", "cause", "errors", "name"];
