/**
 * Record types, found by looking at records: JavaScript has none at run time. A batch of records of one shape is written as
 * columns, and a column type says what a column may hold without loss. Types form a lattice: `widen` gives the least type that
 * holds both of two, up to `any`, which holds everything; so a stream whose records change shape comes to rest after finitely
 * many steps, and no step makes a value unrepresentable.
 *
 * A guess is never trusted: the generated encoders check every value against its column type.
 */
import { describe, ProtocolError } from "../types/errors.ts";
import type { ClassRegistry } from "./classes.ts";

/**
 * One column, or one part of a record.
 * - `int` 32-bit whole numbers without -0; `float` every number; `string`, `boolean`; `date` a Date of its own.
 * - `null` nothing but null and undefined was seen.
 * - `record` exactly these fields in this order, of a plain record or of a registered class; its parts are columns of their own.
 * - `tuple` an array without holes of exactly this length.
 * - `any` every value that can travel.
 *
 * `nullable`: null and undefined may stand in place of the value, and are told apart.
 */
export type ColumnType =
  | { readonly kind: "int" | "float" | "string" | "boolean" | "date"; readonly nullable: boolean }
  | { readonly kind: "null"; readonly nullable: true }
  | { readonly kind: "record"; readonly nullable: boolean; readonly className: string; readonly fields: readonly Field[] }
  | { readonly kind: "tuple"; readonly nullable: boolean; readonly items: readonly ColumnType[] }
  | { readonly kind: "any"; readonly nullable: false };

/** A field of a record: a column. */
export interface Field {
  readonly name: string;
  readonly type: ColumnType;
}

const ANY: ColumnType = { kind: "any", nullable: false };
const NULL: ColumnType = { kind: "null", nullable: true };

/** Columns of one record at the most; wider parts of it become `any`. */
const MAX_FIELDS = 128;
/** Items of a tuple at the most; a longer array is data of varying length rather than a record. */
const MAX_ITEMS = 16;
/** Records within records that get columns of their own. */
const MAX_DEPTH = 4;

/** The least column type of one value. */
export function typeOfValue(value: unknown, classes: ClassRegistry, depth = 0): ColumnType {
  switch (typeof value) {
    case "number":
      return { kind: (value | 0) === value && !Object.is(value, -0) ? "int" : "float", nullable: false };
    case "string":
      return { kind: "string", nullable: false };
    case "boolean":
      return { kind: "boolean", nullable: false };
    case "undefined":
      return NULL;
    case "object":
      return value === null ? NULL : typeOfObject(value, classes, depth);
    default:
      return ANY;
  }
}

function typeOfObject(value: object, classes: ClassRegistry, depth: number): ColumnType {
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === Date.prototype) return { kind: "date", nullable: false };
  if (depth >= MAX_DEPTH) return ANY;
  if (prototype === Array.prototype && Array.isArray(value)) {
    if (value.length > MAX_ITEMS) return ANY;
    const items: ColumnType[] = [];
    for (let i = 0; i < value.length; i++) {
      if (!(i in value)) return ANY;
      items.push(typeOfValue(value[i], classes, depth + 1));
    }
    return { kind: "tuple", nullable: false, items };
  }
  let name = "";
  if (prototype !== Object.prototype) {
    const known = prototype === null ? undefined : classes.ofPrototype(prototype);
    if (known === undefined || known.base !== "object" || known.privateFields.length > 0) return ANY;
    name = known.wireName;
  }
  const names = Object.keys(value);
  if (names.length > MAX_FIELDS) return ANY;
  const values = value as Record<string, unknown>;
  const fields = names.map((field): Field => ({ name: field, type: typeOfValue(values[field], classes, depth + 1) }));
  return { kind: "record", nullable: false, className: name, fields };
}

/** The least column type that holds everything that either holds. */
export function widen(a: ColumnType, b: ColumnType): ColumnType {
  if (a.kind === "any" || b.kind === "any") return ANY;
  if (a.kind === "null") return orNull(b);
  if (b.kind === "null") return orNull(a);
  const nullable = a.nullable || b.nullable;
  if (a.kind === "record" && b.kind === "record") {
    if (shapeOf(a) !== shapeOf(b)) return ANY;
    const fields = a.fields.map((field, i): Field => ({ name: field.name, type: widen(field.type, (b.fields[i] as Field).type) }));
    return { kind: "record", nullable, className: a.className, fields };
  }
  if (a.kind === "tuple" && b.kind === "tuple") {
    if (a.items.length !== b.items.length) return ANY;
    return { kind: "tuple", nullable, items: a.items.map((item, i) => widen(item, b.items[i] as ColumnType)) };
  }
  if (a.kind === b.kind) return a.nullable || !b.nullable ? a : b;
  if ((a.kind === "int" && b.kind === "float") || (a.kind === "float" && b.kind === "int")) return { kind: "float", nullable };
  return ANY;
}

function orNull(type: ColumnType): ColumnType {
  return type.kind === "any" || type.nullable ? type : { ...type, nullable: true };
}

/**
 * The outermost form of a record as a text: two records of one shape differ at most in the values of their fields or items.
 * Numbers of every kind have one shape.
 */
export function shapeOf(type: ColumnType): string {
  switch (type.kind) {
    case "record":
      return `${type.className}{${type.fields.map((field) => JSON.stringify(field.name)).join()}}`;
    case "tuple":
      return `[${type.items.length}]`;
    case "int":
    case "float":
      return "number";
    default:
      return type.kind;
  }
}

/** How many columns a type takes in the bytes: a measure of the cost of a batch. */
export function columnCount(type: ColumnType): number {
  const own = type.nullable ? 1 : 0;
  if (type.kind === "record") return type.fields.reduce((sum, field) => sum + columnCount(field.type), own);
  if (type.kind === "tuple") return type.items.reduce((sum, item) => sum + columnCount(item), own);
  return own + 1;
}

const letters = { int: "i", float: "f", string: "s", boolean: "b", date: "d", null: "n", any: "a" } as const;
const kinds: Readonly<Record<string, keyof typeof letters>> = {
  i: "int", f: "float", s: "string", b: "boolean", d: "date", n: "null", a: "any",
};

/** A type as it is announced on a channel: a letter, or an array beginning with one; in capitals if nullable. */
export type WireType = string | readonly WireType[];

/** `i f s b d n a`, `["r", class, name, type, …]`, `["t", type, …]`. Plain data for JSON. */
export function typeToWire(type: ColumnType): WireType {
  const cased = (letter: string): string => (type.nullable ? letter.toUpperCase() : letter);
  if (type.kind === "record") return [cased("r"), type.className, ...type.fields.flatMap((field) => [field.name, typeToWire(field.type)])];
  if (type.kind === "tuple") return [cased("t"), ...type.items.map(typeToWire)];
  return cased(letters[type.kind]);
}

/** The type that `typeToWire` wrote. @throws ProtocolError if it is none. */
export function typeFromWire(wire: WireType): ColumnType {
  const letter = typeof wire === "string" ? wire : (wire[0] as string);
  const nullable = letter !== letter.toLowerCase();
  const kind = kinds[letter.toLowerCase()];
  if (typeof wire === "string" && kind !== undefined) return { kind, nullable } as ColumnType;
  if (letter.toLowerCase() === "t") return { kind: "tuple", nullable, items: (wire.slice(1) as WireType[]).map(typeFromWire) };
  if (letter.toLowerCase() !== "r") {
    throw new ProtocolError(`A channel announced a row type that this version of drey does not know: ${describe(wire)}`);
  }
  const fields: Field[] = [];
  for (let i = 2; i < wire.length; i += 2) fields.push({ name: wire[i] as string, type: typeFromWire(wire[i + 1] as WireType) });
  return { kind: "record", nullable, className: wire[1] as string, fields };
}
