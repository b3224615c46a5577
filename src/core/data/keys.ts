/**
 * Keys compare by structure, a JavaScript `Map` by identity. A *key token* bridges the two: a primitive that stands for the key,
 * so that equal keys have the same token and different keys different tokens (injective on keys, by prefix-free encoding).
 *
 * Two keys are equal when they are the same primitive (-0 is 0, NaN is NaN, 1 is not 1n and not "1"), Dates of the same instant,
 * arrays of equal items, or plain records with the same fields and equal values, in whatever order the fields stand.
 */
import { describe, InvariantError, RecordError } from "../types/errors.ts";
import { className, isPlainPrototype } from "./plain.ts";

/** A primitive that stands for a key in a Map. */
export type KeyToken = string | number | bigint | boolean;

/** Composite tokens start with it; a string key that does is escaped, so that no key can pose as another's token. */
const MARK = "\u0001";
const MARK_CODE = 1;

/** Levels of nesting in a key; more is a mistake (a cycle). */
const MAX_KEY_DEPTH = 32;

/**
 * The token of a key. For numbers, bigints, booleans and nearly all strings it is the key itself.
 * @throws RecordError if the key is null, undefined, or has a part that can't be compared by structure.
 */
export function keyToken(key: unknown): KeyToken {
  // Strings and numbers first: they are nearly all keys, and the branch is then perfectly predicted.
  if (typeof key === "string") return key.charCodeAt(0) === MARK_CODE ? `${MARK}s${key}` : key;
  // Adding 0 turns -0 into 0.
  if (typeof key === "number") return key + 0;
  if (typeof key === "boolean" || typeof key === "bigint") return key;
  if (key === null || key === undefined) {
    throw new RecordError(
      `the key is ${key}: records without a key have no place in a keyed stream; let the key selector return a value for every record, ` +
        "or filter such records out before keyBy",
    );
  }
  return MARK + part(key, key, 0);
}

/** Whether the key's token is the key itself, so that the key need not be kept beside it. */
export function isPrimitiveKey(key: unknown): key is KeyToken {
  if (typeof key === "string") return key.charCodeAt(0) !== MARK_CODE;
  return typeof key === "number" || typeof key === "boolean" || typeof key === "bigint";
}

/**
 * The key that a token stands for: equal to the one that it was made of (the fields of a record stand in alphabetical order). Tokens are
 * in snapshots; what one says stays so for ever.
 */
export function keyOfToken(token: KeyToken): unknown {
  if (typeof token !== "string" || token.charCodeAt(0) !== MARK_CODE) return token;
  return token.charCodeAt(1) === STRING_CODE && token.charCodeAt(2) === MARK_CODE ? token.slice(2) : new TokenReader(token).read();
}

const STRING_CODE = "s".charCodeAt(0);

/** Reads what `part` wrote. */
class TokenReader {
  readonly #text: string;
  #at = 1;

  constructor(token: string) {
    this.#text = token;
  }

  read(): unknown {
    const kind = this.#text[this.#at++];
    switch (kind) {
      case "s":
        return this.#characters(Number(this.#until(":")));
      case "n":
        return Number(this.#until(";"));
      case "b":
        return BigInt(this.#until(";"));
      case "t":
        return true;
      case "f":
        return false;
      case "u":
        return undefined;
      case "0":
        return null;
      case "d":
        return new Date(Number(this.#until(";")));
      case "[":
        return Array.from({ length: Number(this.#until(":")) }, () => this.read());
      case "{": {
        const entries: [string, unknown][] = [];
        for (let left = Number(this.#until(":")); left > 0; left--) entries.push([this.#characters(Number(this.#until(":"))), this.read()]);
        return Object.fromEntries(entries);
      }
      default:
        throw new InvariantError(`The key token ${describe(this.#text)} holds no key.`);
    }
  }

  #until(end: string): string {
    const at = this.#text.indexOf(end, this.#at);
    const text = this.#text.slice(this.#at, at);
    this.#at = at + 1;
    return text;
  }

  #characters(length: number): string {
    const start = this.#at;
    this.#at += length;
    return this.#text.slice(start, this.#at);
  }
}

/** A prefix-free text for one part of a key: no part's text is the beginning of another's. */
function part(value: unknown, key: unknown, depth: number): string {
  switch (typeof value) {
    case "string":
      return `s${value.length}:${value}`;
    case "number":
      return `n${value};`;
    case "bigint":
      return `b${value};`;
    case "boolean":
      return value ? "t" : "f";
    case "undefined":
      return "u";
    case "object":
      return value === null ? "0" : objectPart(value, key, depth);
    default:
      throw new RecordError(
        `the key ${describe(key)} holds a ${typeof value}; a key is made of primitives, Dates, arrays and plain records`,
      );
  }
}

function objectPart(value: object, key: unknown, depth: number): string {
  if (depth > MAX_KEY_DEPTH) {
    throw new RecordError(`a key is nested more than ${MAX_KEY_DEPTH} levels deep, or contains itself: ${describe(key)}`);
  }
  if (Array.isArray(value)) {
    let text = `[${value.length}:`;
    for (let i = 0; i < value.length; i++) text += part(value[i], key, depth + 1);
    return text;
  }
  if (value instanceof Date) return `d${value.getTime()};`;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (!isPlainPrototype(prototype)) {
    throw new RecordError(
      `the key ${describe(key)} holds an instance of ${className(value)}, which can't be compared by structure; ` +
        "use its fields as key, e.g. a tuple [a, b] or a plain record { a, b }",
    );
  }
  const names = Object.keys(value).toSorted();
  let text = `{${names.length}:`;
  for (const name of names) text += `${name.length}:${name}${part((value as Record<string, unknown>)[name], key, depth + 1)}`;
  return text;
}
