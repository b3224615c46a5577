/**
 * Writes values in the format of value-format.ts. Every kind of value is either written without loss or refused with a RecordError
 * that says where in the record it stands and what to do.
 *
 * What is kept: own enumerable fields with string names, their order, prototypes of plain records and registered classes, cycles,
 * and sharing within one row. What is not, as in structured clone: getters (their value travels), frozenness, symbol-named fields,
 * named fields on arrays and on built-in collections. A view travels with the bytes that it sees, not with its whole buffer.
 */
import { describe } from "../types/errors.ts";
import type { ClassRegistry, InstanceBase, RegisteredClass } from "./classes.ts";
import { className, isPlainPrototype } from "./plain.ts";
import { isIndex, Unshippable } from "./refusal.ts";
import { bytesPerCharacter } from "./text.ts";
import { errorFields, MAX_DEPTH, MAX_SHAPE_FIELDS, MAX_SHAPES, SHARED, SHORT_STRING, SMALL_INT, Tag, viewKinds } from "./value-format.ts";

/** Raised when a value refers to a part of the row that is written elsewhere (as columns): the row must be written as one value. */
export class Entangled extends Error {}

/** A class and its instances' field names, as met before by this writer. */
interface Shape {
  readonly className: string;
  readonly names: readonly string[];
  /** Class and names as they are announced: their bytes and their characters. */
  readonly announcement: Uint8Array;
  readonly characters: string;
  /** The message in which it was announced last, and its number there. */
  message: number;
  id: number;
  /** The shape that followed this one last time: records of one kind repeat in order, so that this guess is nearly always right. */
  next: Shape | undefined;
}

/** Shapes by their names, one name per level. */
interface ShapeTree {
  readonly longer: Map<string, ShapeTree>;
  shape: Shape | undefined;
}

/** Up to so many objects of a row are searched one by one, which is faster than a Map. */
const LINEAR_OBJECTS = 12;

/** Texts up to this are copied character by character. */
const FEW_CHARACTERS = 48;
/** Bytes that a writer keeps from one message to the next. */
const LARGEST_KEPT = 1024 * 1024;
/** Shapes remembered over messages; with more, all are forgotten, and learned anew. */
const MAX_KNOWN_SHAPES = 2_000;

/** Writes values one after another into bytes of its own, and their strings into `text`. */
export class ValueWriter {
  readonly #classes: ClassRegistry;
  bytes: Uint8Array = new Uint8Array(1024);
  /** Bytes written since `reset`. */
  length = 0;
  /** The characters of all strings written since `reset`. */
  text = "";

  #view = new DataView(this.bytes.buffer);
  #objects: object[] = [];
  /** Where the tag of each object stands, for marking it as shared; -1: the object is written outside. */
  #positions: number[] = [];
  #index: Map<object, number> | undefined;
  #outside = 0;
  #depth = 0;

  #message = 1;
  /** Shapes announced in this message. */
  readonly #announced: Shape[] = [];
  /** All shapes met, by class. */
  readonly #shapes = new Map<string, ShapeTree>();
  #shapeCount = 0;
  /** The shape written last, also in the message before. */
  #last: Shape | undefined;

  constructor(classes: ClassRegistry) {
    this.#classes = classes;
  }

  /** Begins a message: nothing written before is referred to any more. */
  reset(): void {
    this.length = 0;
    this.text = "";
    this.beginRow();
    this.#message++;
    this.#announced.length = 0;
    if (this.#shapeCount > MAX_KNOWN_SHAPES) {
      this.#shapes.clear();
      this.#shapeCount = 0;
      this.#last = undefined;
    }
  }

  /**
   * One value as a message that needs nothing else to be read: `lead` bytes left to the caller, bytes per character (1 byte),
   * count of characters (4 bytes), value, text.
   */
  message(value: unknown, lead: number): Uint8Array {
    this.reset();
    if (this.bytes.length < lead + 5) this.#grow(lead + 5);
    this.length = lead + 5;
    this.write(value);
    const { text } = this;
    const width = bytesPerCharacter(text);
    this.bytes[lead] = width;
    this.#view.setUint32(lead + 1, text.length, true);
    const size = text.length * width;
    if (this.length + size > this.bytes.length) this.#grow(size);
    if (width === 1 && size <= FEW_CHARACTERS) {
      // A native call costs as much as some dozens of characters.
      for (let i = 0; i < size; i++) this.bytes[this.length + i] = text.charCodeAt(i);
    } else Buffer.from(this.bytes.buffer).write(text, this.length, size, width === 1 ? "latin1" : "utf16le");
    const message = this.bytes.slice(0, this.length + size);
    // A single large value must not pin its memory.
    if (this.bytes.length > LARGEST_KEPT) {
      this.bytes = new Uint8Array(1024);
      this.#view = new DataView(this.bytes.buffer);
    }
    this.text = "";
    this.beginRow();
    return message;
  }

  /** Begins a row: sharing is kept within one. */
  beginRow(): void {
    // A new array only after a large row: emptying is cheaper, but would keep the large one's memory.
    if (this.#objects.length > 1024) {
      this.#objects = [];
      this.#positions = [];
    } else {
      this.#objects.length = 0;
      this.#positions.length = 0;
    }
    this.#index = undefined;
    this.#outside = 0;
    this.#depth = 0;
  }

  /** Names an object of the row that is written as columns; right after `beginRow`. Meeting it in a value raises Entangled. */
  outside(object: object): void {
    this.#objects.push(object);
    this.#positions.push(-1);
    this.#outside++;
  }

  /** Goes back to an earlier state of `length` and `text`: the row does not fit. It must be the last of its message. */
  truncate(length: number, text: string): void {
    this.length = length;
    this.text = text;
  }

  /** Writes a value. @throws Unshippable, Entangled, or whatever a getter of the record throws. */
  write(value: unknown): void {
    switch (typeof value) {
      case "string":
        return this.#string(value);
      case "number":
        return this.#number(value);
      case "boolean":
        return this.#byte(value ? Tag.true : Tag.false);
      case "undefined":
        return this.#byte(Tag.undefined);
      case "object":
        return value === null ? this.#byte(Tag.null) : this.#object(value);
      case "bigint":
        return this.#bigint(value);
      case "function":
        throw new Unshippable(value, "a function cannot travel in a record; call it before, or make it part of an operator");
      case "symbol":
        throw new Unshippable(value, `${String(value)} cannot travel in a record: a symbol is unique to its thread; use a string`);
      default:
        throw new Unshippable(value, `${describe(value)} cannot travel in a record`);
    }
  }

  #byte(byte: number): void {
    if (this.length === this.bytes.length) this.#grow(1);
    this.bytes[this.length++] = byte;
  }

  #varint(value: number): void {
    if (this.length + 10 > this.bytes.length) this.#grow(10);
    let rest = value;
    while (rest >= 128) {
      this.bytes[this.length++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }

  #float(value: number): void {
    if (this.length + 8 > this.bytes.length) this.#grow(8);
    this.#view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  #grow(needed: number): void {
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + needed));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
    this.#view = new DataView(larger.buffer);
  }

  #number(value: number): void {
    if ((value | 0) !== value || Object.is(value, -0)) {
      this.#byte(Tag.float);
      return this.#float(value);
    }
    if (value >= 0 && value < 128) return this.#byte(SMALL_INT + value);
    this.#byte(Tag.int);
    this.#varint(value >= 0 ? value * 2 : value * -2 - 1);
  }

  #string(value: string): void {
    if (value.length < 64) this.#byte(SHORT_STRING + value.length);
    else {
      this.#byte(Tag.string);
      this.#varint(value.length);
    }
    this.text += value;
  }

  #bigint(value: bigint): void {
    const magnitude = value < 0n ? -value : value;
    const hex = magnitude.toString(16);
    const count = (hex.length + 1) >> 1;
    this.#byte(Tag.bigint);
    this.#varint(count * 2 + (value < 0n ? 1 : 0));
    for (let end = hex.length; end > 0; end -= 2) this.#byte(Number.parseInt(hex.slice(Math.max(0, end - 2), end), 16));
  }

  #object(value: object): void {
    const number = this.#numberOf(value);
    if (number >= 0) {
      const position = this.#positions[number] as number;
      if (position < 0) throw new Entangled();
      this.bytes[position] = (this.bytes[position] as number) | SHARED;
      this.#byte(Tag.reference);
      return this.#varint(number - this.#outside);
    }
    if (++this.#depth > MAX_DEPTH) {
      throw new Unshippable(value, `a record nested more than ${MAX_DEPTH} levels deep cannot travel; send its parts as a list`);
    }
    this.#positions.push(this.length);
    const prototype = Object.getPrototypeOf(value) as object | null;
    if (prototype === Object.prototype) this.#record(value, "");
    else if (prototype === Array.prototype && Array.isArray(value)) this.#array(value);
    else this.#other(value, prototype);
    this.#depth--;
  }

  /** The number of an object met before in this row, else -1; it then has the next number. */
  #numberOf(value: object): number {
    const objects = this.#objects;
    if (this.#index === undefined) {
      for (let i = 0; i < objects.length; i++) if (objects[i] === value) return i;
      objects.push(value);
      if (objects.length > LINEAR_OBJECTS) {
        this.#index = new Map();
        for (let i = 0; i < objects.length; i++) this.#index.set(objects[i] as object, i);
      }
      return -1;
    }
    const known = this.#index.get(value);
    if (known !== undefined) return known;
    this.#index.set(value, objects.length);
    objects.push(value);
    return -1;
  }

  #record(value: object, ofClass: string): void {
    const guess = this.#last?.next;
    const guessed = guess !== undefined && guess.className === ofClass && hasNames(value, guess.names);
    const shape = guessed ? guess : this.#shapeOf(value, ofClass);
    if (shape === undefined) return this.#dictionary(value, Tag.dictionary, Object.keys(value));
    if (this.#last !== undefined) this.#last.next = shape;
    this.#last = shape;
    if (shape.message === this.#message) {
      this.#byte(Tag.shape);
      this.#varint(shape.id);
    } else {
      shape.message = this.#message;
      shape.id = this.#announced.length;
      this.#announced.push(shape);
      this.#byte(Tag.newShape);
      const { announcement } = shape;
      if (this.length + announcement.length > this.bytes.length) this.#grow(announcement.length);
      this.bytes.set(announcement, this.length);
      this.length += announcement.length;
      this.text += shape.characters;
    }
    const { names } = shape;
    for (let i = 0; i < names.length; i++) this.write((value as Record<string, unknown>)[names[i] as string]);
  }

  /** The shape of an object; undefined for a plain record that is a dictionary rather. */
  #shapeOf(value: object, ofClass: string): Shape | undefined {
    const names = Object.keys(value);
    if (ofClass === "" && names.length > MAX_SHAPE_FIELDS) return undefined;
    let tree = branch(this.#shapes, ofClass);
    for (const name of names) tree = branch(tree.longer, name);
    const known = tree.shape;
    if (known === undefined) this.#shapeCount++;
    // Beyond that many shapes in a message, records with random names are more likely than more shapes.
    if (ofClass === "" && this.#announced.length >= MAX_SHAPES && known?.message !== this.#message) return undefined;
    return known ?? (tree.shape = this.#newShape(ofClass, names));
  }

  #newShape(ofClass: string, names: readonly string[]): Shape {
    // Written in place, then taken back: the bytes of an announcement are those of its parts.
    const start = this.length;
    const { text } = this;
    this.text = "";
    this.#string(ofClass);
    this.#varint(names.length);
    for (const name of names) this.#string(name);
    const announcement = this.bytes.slice(start, this.length);
    const characters = this.text;
    this.length = start;
    this.text = text;
    return { className: ofClass, names, announcement, characters, message: 0, id: 0, next: undefined };
  }

  #dictionary(value: object, tag: number, names: readonly string[]): void {
    this.#byte(tag);
    this.#fields(value, names);
  }

  #fields(value: object, names: readonly string[]): void {
    this.#varint(names.length);
    for (const name of names) {
      this.#string(name);
      this.write((value as Record<string, unknown>)[name]);
    }
  }

  #array(value: readonly unknown[]): void {
    const length = value.length;
    for (let i = 0; i < length; i++) if (value[i] === undefined && !(i in value)) return this.#sparseArray(value);
    this.#byte(Tag.array);
    this.#varint(length);
    for (let i = 0; i < length; i++) this.write(value[i]);
  }

  #sparseArray(value: readonly unknown[]): void {
    this.#byte(Tag.sparseArray);
    this.#float(value.length);
    const indices = Object.keys(value).filter((name) => String(Number(name) >>> 0) === name && Number(name) < value.length);
    this.#varint(indices.length);
    for (const index of indices) {
      this.#float(Number(index));
      this.write(value[Number(index)]);
    }
  }

  #other(value: object, prototype: object | null): void {
    if (prototype === null) return this.#dictionary(value, Tag.nullPrototype, Object.keys(value));
    const builtIn = builtInPrototypes.get(prototype);
    if (builtIn !== undefined) return this.#builtIn(value, builtIn);
    const known = this.#classes.ofPrototype(prototype);
    if (known !== undefined) return this.#instance(value, known);
    if (isPlainPrototype(prototype)) return this.#record(value, "");
    const foreign = foreignBuiltIn(value);
    if (foreign !== undefined) return this.#builtIn(value, foreign);
    throw this.#refuseInstance(value);
  }

  #builtIn(value: object, kind: BuiltIn): void {
    if (kind === "array") return this.#array(value as unknown[]);
    if (kind === "map") {
      const map = value as Map<unknown, unknown>;
      this.#byte(Tag.map);
      this.#varint(map.size);
      for (const [key, item] of map) {
        this.write(key);
        this.write(item);
      }
    } else if (kind === "set") {
      const set = value as Set<unknown>;
      this.#byte(Tag.set);
      this.#varint(set.size);
      for (const item of set) this.write(item);
    } else if (kind === "date") {
      this.#byte(Tag.date);
      this.#float((value as Date).getTime());
    } else if (kind === "regexp") {
      const regexp = value as RegExp;
      this.#byte(Tag.regexp);
      this.#string(regexp.source);
      this.#string(regexp.flags);
      this.#float(regexp.lastIndex);
    } else if (kind === "boxed") {
      this.#byte(Tag.boxed);
      this.write(value.valueOf());
    } else if (kind === "arrayBuffer") {
      this.#byte(Tag.arrayBuffer);
      this.#bytes(new Uint8Array(value as ArrayBuffer));
    } else if (kind === "error") this.#error(value as Error, "Error");
    else {
      const view = value as ArrayBufferView;
      this.#byte(Tag.view);
      this.#byte(viewKinds.indexOf(kind));
      this.#bytes(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    }
  }

  #bytes(bytes: Uint8Array): void {
    this.#varint(bytes.length);
    if (this.length + bytes.length > this.bytes.length) this.#grow(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  #error(error: Error, wireName: string): void {
    this.#byte(Tag.error);
    this.#string(wireName);
    let present = 0;
    errorFields.forEach((name, bit) => {
      const descriptor = Object.getOwnPropertyDescriptor(error, name);
      // Engines differ in whether `stack` is a field of the error or answered by its prototype.
      const has = descriptor === undefined ? name === "stack" && typeof error.stack === "string" : descriptor.enumerable !== true;
      if (has) present |= 1 << bit;
    });
    this.#byte(present);
    errorFields.forEach((name, bit) => {
      if ((present & (1 << bit)) !== 0) this.write((error as unknown as Record<string, unknown>)[name]);
    });
    this.#fields(error, Object.keys(error));
  }

  #instance(value: object, known: RegisteredClass): void {
    if (known.privateFields.length > 0) {
      const list = known.privateFields.map((name) => (name.startsWith("#") ? name : `#${name}`)).join(", ");
      throw new Unshippable(
        value,
        `an instance of ${known.wireName} cannot travel: its private state (${list}) would be lost; ` +
          "make the fields public, or send a plain record",
      );
    }
    if (known.base === "object") return this.#record(value, known.wireName);
    if (known.base === "error") return this.#error(value as Error, known.wireName);
    const kind = extendedKind(value, known.base);
    if (kind === undefined) throw this.#refuseInstance(value);
    this.#byte(Tag.extended);
    this.#string(known.wireName);
    this.#builtIn(value, kind);
    const names = Object.keys(value);
    this.#fields(value, kind === "array" || ArrayBuffer.isView(value) ? names.filter((name) => !isIndex(name)) : names);
  }

  #refuseInstance(value: object): Unshippable {
    if (typeof (value as { then?: unknown }).then === "function") {
      return new Unshippable(value, "a Promise cannot travel in a record; await it before, in mapAsync");
    }
    const name = className(value);
    if (value instanceof SharedArrayBuffer) {
      return new Unshippable(value, "a SharedArrayBuffer cannot travel: records are copied; send its bytes");
    }
    if ((globalThis as Record<string, unknown>)[name] === (value as { constructor?: unknown }).constructor) {
      return new Unshippable(value, `a ${name} cannot travel: it belongs to the thread that made it; send the plain data in it`);
    }
    return new Unshippable(
      value,
      `an instance of ${name} cannot travel, because the other side does not know the class: ` +
        `use the class in one of the job's functions, or register it with env.registerClass(${name})`,
    );
  }
}

type BuiltIn = "array" | "map" | "set" | "date" | "regexp" | "boxed" | "arrayBuffer" | "error" | (typeof viewKinds)[number];

const builtInPrototypes: ReadonlyMap<object, BuiltIn> = new Map<object, BuiltIn>([
  [Map.prototype, "map"],
  [Set.prototype, "set"],
  [Date.prototype, "date"],
  [RegExp.prototype, "regexp"],
  [Number.prototype, "boxed"],
  [String.prototype, "boxed"],
  [Boolean.prototype, "boxed"],
  [BigInt.prototype, "boxed"],
  [ArrayBuffer.prototype, "arrayBuffer"],
  ...viewKinds.flatMap((name): [object, BuiltIn][] => {
    const view = (globalThis as unknown as Record<string, { prototype: object } | undefined>)[name];
    return view === undefined ? [] : [[view.prototype, name]];
  }),
]);

/** A built-in object of another realm: its prototype is a stranger, its inner kind shows in its default description. */
function foreignBuiltIn(value: object): BuiltIn | undefined {
  const prototype = Object.getPrototypeOf(value) as object;
  const constructor: unknown = (prototype as { constructor?: unknown }).constructor;
  if (typeof constructor !== "function" || !Function.prototype.toString.call(constructor).includes("[native code]")) return undefined;
  if (Array.isArray(value)) return "array";
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind !== constructor.name && kind !== "Error") return undefined;
  const known: Record<string, BuiltIn> = {
    Map: "map", Set: "set", Date: "date", RegExp: "regexp", Number: "boxed", String: "boxed", Boolean: "boxed", BigInt: "boxed",
    ArrayBuffer: "arrayBuffer", Error: "error",
  };
  return known[kind] ?? (ArrayBuffer.isView(value) && viewKinds.includes(kind) ? kind : undefined);
}

/** Which built-in's content an instance of a class that extends one has. */
function extendedKind(value: object, base: InstanceBase): BuiltIn | undefined {
  if (base === "typedArray") {
    const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object;
    const name: unknown = Object.getOwnPropertyDescriptor(typedArray, Symbol.toStringTag)?.get?.call(value);
    return typeof name === "string" && viewKinds.includes(name) ? name : undefined;
  }
  return base === "array" || base === "map" || base === "set" || base === "date" || base === "regexp" ? base : undefined;
}

function branch(trees: Map<string, ShapeTree>, name: string): ShapeTree {
  const known = trees.get(name);
  if (known !== undefined) return known;
  const fresh: ShapeTree = { longer: new Map(), shape: undefined };
  trees.set(name, fresh);
  return fresh;
}

/** Whether an object has exactly these enumerable fields, in this order. */
function hasNames(value: object, names: readonly string[]): boolean {
  let i = 0;
  // for-in also lists inherited fields; an object with such differs from every list of own names, and takes the slow way.
  for (const name in value) if (name !== names[i++]) return false;
  return i === names.length;
}
