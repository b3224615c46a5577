/**
 * The characters of a batch: all strings of all its rows, joined and written at once. One native call per batch instead of one per
 * string is what makes strings cheap; and any JavaScript string survives, lone surrogates too, because the encoding is either
 * Latin-1 (every unit below 256) or UTF-16.
 *
 * Measured (Node 20, 86 KB of ASCII): joining by `+=` and flattening 26 µs, the regular expression next to nothing on a string that V8
 * holds in one byte per character, the write 3 µs; UTF-8 with a check of the written length was no faster, and two-byte on `é`.
 */
import type { SegmentMemory } from "./element.ts";

/** Bytes in front of the characters: i32 count of characters, i32 bytes per character. */
export const TEXT_HEADER_BYTES = 8;

const BEYOND_LATIN1 = /[^\0-\xff]/;

/** Bytes that each character of this text needs: 1 or 2. */
export const bytesPerCharacter = (text: string): 1 | 2 => (BEYOND_LATIN1.test(text) ? 2 : 1);

/** The next multiple of 8. */
export const align8 = (bytes: number): number => (bytes + 7) & ~7;

/**
 * Writes a text at `offset`, a multiple of 8.
 * @returns the offset behind it, a multiple of 8, or -1 if it does not end before `limit`; then nothing was written.
 */
export function writeText(memory: SegmentMemory, offset: number, limit: number, text: string, width: 1 | 2): number {
  const bytes = text.length * width;
  const start = offset + TEXT_HEADER_BYTES;
  const end = align8(start + bytes);
  if (end > limit) return -1;
  memory.i32[offset >> 2] = text.length;
  memory.i32[(offset >> 2) + 1] = width;
  if (bytes > 0) memory.buffer.write(text, start, bytes, width === 1 ? "latin1" : "utf16le");
  return end;
}

/** The text that `writeText` put at `offset`. */
export function readText(memory: SegmentMemory, offset: number): string {
  const length = memory.i32[offset >> 2] as number;
  const width = memory.i32[(offset >> 2) + 1] as number;
  const start = offset + TEXT_HEADER_BYTES;
  return memory.buffer.toString(width === 1 ? "latin1" : "utf16le", start, start + length * width);
}

/** The shortest string that V8 takes out of another one as a slice that keeps the other alive. */
export const SHORTEST_SLICE = 13;

/**
 * An equal string that keeps nothing else alive. A decoded string of 13 or more characters is a slice of its batch's text, and
 * holds that text (up to 128 KiB) as long as it lives: whoever keeps strings of rows in state flattens them.
 *
 * Measured (Node 20): 40 ns for 40 characters; 1,000 kept strings held 60 MB before and 0.1 MB after. A round trip through a Buffer
 * took 175 ns, through JSON 217 ns.
 */
export function flattenString(text: string): string {
  // Cutting a joined string makes the engine write the join out first: the slice is then one of that copy.
  return text.length < SHORTEST_SLICE ? text : `${text} `.slice(0, -1);
}

/** Records within records whose strings `flattenStrings` reaches. */
const FLATTENED_DEPTH = 4;

/**
 * Flattens the strings of a decoded record that is to be kept: a string itself, or those in plain records and arrays, in place.
 * Equal to the eye of a program; a frozen record stays as it is.
 * @returns the value, for use in an expression.
 */
export function flattenStrings<T>(value: T, depth = 0): T {
  if (typeof value === "string") return flattenString(value) as T;
  if (typeof value !== "object" || value === null || depth > FLATTENED_DEPTH) return value;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if ((prototype !== Object.prototype && prototype !== Array.prototype) || Object.isFrozen(value)) return value;
  const fields = value as Record<string, unknown>;
  for (const name in fields) {
    const field = fields[name];
    if (typeof field === "string") {
      if (field.length >= SHORTEST_SLICE) fields[name] = flattenString(field);
    } else if (typeof field === "object") flattenStrings(field, depth + 1);
  }
  return value;
}

/** Fields of a record that `flattenKept` looks at. */
export const FLATTENED_FIELDS = 32;

/**
 * What state does with each value that it is given: a string, or the string fields of a plain record, flattened in place. Looks at no more
 * than the first fields and into nothing below them, since a value may be large and given again after each record.
 * @param former what was kept before in its place: of strings that are equal there, the kept ones go on.
 * @returns the value, for use in an expression.
 */
export function flattenKept<T>(value: T, former?: unknown): T {
  if (typeof value === "string") return (value === former ? former : flattenString(value)) as T;
  if (!isPlainToFlatten(value)) return value;
  // Changed in place: its strings may be other ones than were kept.
  const known = typeof former === "object" && former !== value ? (former as Record<string, unknown> | null) : null;
  const fields: Record<string, unknown> = value;
  let looked = 0;
  for (const name in fields) {
    if (++looked > FLATTENED_FIELDS) break;
    const field = fields[name];
    if (typeof field !== "string" || field.length < SHORTEST_SLICE) continue;
    const kept = known?.[name];
    fields[name] = kept === field ? kept : flattenString(field);
  }
  return value;
}

/** Whether it is a plain record whose fields can be set. */
export const isPlainToFlatten = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype && !Object.isFrozen(value);
