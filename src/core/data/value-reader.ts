/**
 * Reads what ValueWriter wrote. It trusts the writer for the format and checks only what a mix-up of versions or a damaged
 * snapshot would break: tags, class names, and the end of the bytes.
 */
import { ProtocolError, RecordError } from "../types/errors.ts";
import type { ClassRegistry } from "./classes.ts";
import { compileInstance, literalSource, setField } from "./construct.ts";
import { flattenString } from "./text.ts";
import { errorFields, SHARED, SHORT_STRING, SMALL_INT, Tag, viewKinds } from "./value-format.ts";

/** Makes an object by reading its fields' values in order. */
type Construct = (reader: ValueReader) => object;

/** A class and its instances' field names, as met before in this thread. */
interface Shape {
  readonly prototype: object;
  readonly names: readonly string[];
  /** How it is announced: an equal announcement is this shape, and needs not be taken apart again. */
  readonly announcement: Uint8Array;
  readonly characters: string;
  uses: number;
  /** Makes objects of this shape that nobody refers to. */
  construct: Construct | undefined;
  /** The shape announced after this one last time. */
  next: Shape | undefined;
}

/** From so many objects on, a shape gets a constructor of its own: about 100 µs once, then half the time per object. */
const COMPILE_AFTER = 200;
/** Shapes remembered by a reader; with more, all are forgotten, and learned anew. */
const MAX_KNOWN_SHAPES = 2_000;
/** Texts up to this are copied before they are read, which costs less than a view of the bytes. */
const FEW_CHARACTERS = 48;
const fewCharacters = Buffer.alloc(FEW_CHARACTERS);
const NO_BYTES = new Uint8Array(0);

/** Reads values one after another. One per decoder; not reentrant. */
export class ValueReader {
  readonly #classes: ClassRegistry;
  #bytes: Uint8Array = NO_BYTES;
  /** Made when the first float is read. */
  #view: DataView | undefined;
  #at = 0;
  #text = "";
  #textAt = 0;
  #number = 0;
  #shared = new Map<number, object>();
  /** Shapes announced in this message. */
  readonly #shapes: Shape[] = [];
  readonly #known = new Map<string, Shape>();
  /** The shape announced last, also in the message before. */
  #last: Shape | undefined;

  constructor(classes: ClassRegistry) {
    this.#classes = classes;
  }

  /** Begins a message: values from `at` on, their characters in `text` from `textAt` on. */
  reset(bytes: Uint8Array, at: number, text: string, textAt: number): void {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = undefined;
    }
    this.#at = at;
    this.#text = text;
    this.#textAt = textAt;
    this.#shapes.length = 0;
    this.beginRow();
  }

  /** The value of a message that `ValueWriter.message` made, whose first `lead` bytes are the caller's. */
  message(bytes: Uint8Array, lead: number): unknown {
    const width = bytes[lead] as number;
    let length = 0;
    for (let i = 4; i >= 1; i--) length = length * 256 + (bytes[lead + i] as number);
    const textAt = bytes.length - length * width;
    let text = "";
    if (width === 1 && length <= FEW_CHARACTERS) {
      for (let i = 0; i < length; i++) fewCharacters[i] = bytes[textAt + i] as number;
      if (length > 0) text = fewCharacters.toString("latin1", 0, length);
    } else {
      const buffer = Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
      text = buffer.toString(width === 1 ? "latin1" : "utf16le", textAt);
    }
    this.reset(bytes, lead + 5, text, 0);
    const value = this.read();
    this.#bytes = NO_BYTES;
    this.#view = undefined;
    this.#text = "";
    return value;
  }

  /** Begins a row, as the writer did. */
  beginRow(): void {
    this.#number = 0;
    if (this.#shared.size > 0) this.#shared = new Map();
  }

  /** Reads the next value. @throws RecordError if its class is unknown here, ProtocolError if these are no values. */
  read(): unknown {
    const tag = this.#bytes[this.#at++] as number;
    if (tag >= SMALL_INT) return tag - SMALL_INT;
    if (tag >= SHORT_STRING) return this.#characters(tag - SHORT_STRING);
    switch (tag & ~SHARED) {
      case Tag.undefined:
        return undefined;
      case Tag.null:
        return null;
      case Tag.true:
        return true;
      case Tag.false:
        return false;
      case Tag.int: {
        const value = this.#varint();
        return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
      }
      case Tag.float:
        return this.#float();
      case Tag.bigint:
        return this.#bigint();
      case Tag.string:
        return this.#characters(this.#varint());
      case Tag.reference: {
        const number = this.#varint();
        const object = this.#shared.get(number);
        if (object === undefined) throw damaged(`a reference to object ${number}, which did not occur`);
        return object;
      }
      default:
        return this.#object(tag & ~SHARED, (tag & SHARED) !== 0);
    }
  }

  #characters(length: number): string {
    const start = this.#textAt;
    this.#textAt = start + length;
    return this.#text.substring(start, start + length);
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw damaged("the bytes end within a value");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  }

  #float(): number {
    this.#view ??= new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.byteLength);
    const value = this.#view.getFloat64(this.#at, true);
    this.#at += 8;
    return value;
  }

  #bigint(): bigint {
    const header = this.#varint();
    let hex = "";
    for (let left = Math.floor(header / 2); left > 0; left--) hex = (this.#bytes[this.#at++] as number).toString(16).padStart(2, "0") + hex;
    const magnitude = BigInt(`0x${hex}`);
    return header % 2 === 1 ? -magnitude : magnitude;
  }

  #string(): string {
    const value = this.read();
    if (typeof value !== "string") throw damaged(`a ${typeof value} in place of a name`);
    return value;
  }

  #object(tag: number, shared: boolean): object {
    const number = this.#number++;
    return this.#content(tag, shared ? number : -1);
  }

  /** Reads an object's content. @param number under which it is remembered, before its parts are read; -1: nobody refers to it. */
  #content(tag: number, number: number): object {
    switch (tag) {
      case Tag.newShape:
        return this.#record(this.#newShape(), number);
      case Tag.shape: {
        const shape = this.#shapes[this.#varint()];
        if (shape === undefined) throw damaged("a shape that was not announced");
        return this.#record(shape, number);
      }
      case Tag.array: {
        const length = this.#varint();
        const array: unknown[] = [];
        this.#remember(number, array);
        for (let i = 0; i < length; i++) array.push(this.read());
        return array;
      }
      case Tag.sparseArray: {
        const array: unknown[] = [];
        this.#remember(number, array);
        array.length = this.#float();
        for (let left = this.#varint(); left > 0; left--) {
          const index = this.#float();
          array[index] = this.read();
        }
        return array;
      }
      case Tag.map: {
        const map = new Map<unknown, unknown>();
        this.#remember(number, map);
        for (let left = this.#varint(); left > 0; left--) {
          const key = this.read();
          map.set(key, this.read());
        }
        return map;
      }
      case Tag.set: {
        const set = new Set<unknown>();
        this.#remember(number, set);
        for (let left = this.#varint(); left > 0; left--) set.add(this.read());
        return set;
      }
      case Tag.date:
        return this.#remember(number, new Date(this.#float()));
      case Tag.regexp: {
        const source = this.#string();
        const regexp = new RegExp(source, this.#string());
        regexp.lastIndex = this.#float();
        return this.#remember(number, regexp);
      }
      case Tag.view: {
        const kind = viewKinds[this.#bytes[this.#at++] as number] as string;
        const bytes = this.#slice();
        if (kind === "Buffer") return this.#remember(number, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        const View = (globalThis as unknown as Record<string, (new (buffer: ArrayBufferLike) => object) | undefined>)[kind];
        if (View === undefined) throw new RecordError(`a ${kind} arrived, which this version of the JavaScript runtime does not have`);
        return this.#remember(number, new View(bytes.buffer));
      }
      case Tag.arrayBuffer:
        return this.#remember(number, this.#slice().buffer);
      case Tag.error:
        return this.#error(number);
      case Tag.boxed:
        return this.#remember(number, Object(this.read()) as object);
      case Tag.nullPrototype:
        return this.#fields(this.#remember(number, Object.create(null) as object));
      case Tag.dictionary:
        return this.#fields(this.#remember(number, {}));
      case Tag.extended: {
        const prototype = this.#prototype(this.#string());
        const content = this.#bytes[this.#at++] as number;
        // The object is remembered before it gets its prototype; whoever refers to it meanwhile has the same object.
        const object = Object.setPrototypeOf(this.#content(content, number), prototype) as object;
        return this.#fields(object);
      }
      default:
        throw damaged(`tag ${tag}`);
    }
  }

  #remember<T extends object>(number: number, object: T): T {
    if (number >= 0) this.#shared.set(number, object);
    return object;
  }

  #slice(): Uint8Array<ArrayBuffer> {
    const length = this.#varint();
    const copy = new Uint8Array(length);
    copy.set(this.#bytes.subarray(this.#at, this.#at + length));
    this.#at += length;
    return copy;
  }

  #prototype(wireName: string): object {
    if (wireName === "") return Object.prototype;
    const known = this.#classes.ofWireName(wireName);
    if (known === undefined) {
      throw new RecordError(
        `an instance of ${wireName} arrived, a class that is not known here: ` +
          `use the class in one of the job's functions, or register it with env.registerClass(${wireName})`,
      );
    }
    return known.prototype;
  }

  #newShape(): Shape {
    const guess = this.#last?.next;
    const shape = guess !== undefined && this.#isAnnounced(guess) ? guess : this.#learnShape();
    if (this.#last !== undefined) this.#last.next = shape;
    this.#last = shape;
    this.#shapes.push(shape);
    return shape;
  }

  /** Whether this shape is announced here; if so, the announcement has been read. */
  #isAnnounced(shape: Shape): boolean {
    const { announcement, characters } = shape;
    for (let i = 0; i < announcement.length; i++) if (announcement[i] !== this.#bytes[this.#at + i]) return false;
    if (!this.#text.startsWith(characters, this.#textAt)) return false;
    this.#at += announcement.length;
    this.#textAt += characters.length;
    return true;
  }

  #learnShape(): Shape {
    const start = this.#at;
    const textStart = this.#textAt;
    const className = this.#string();
    const prototype = this.#prototype(className);
    const names: string[] = [];
    for (let left = this.#varint(); left > 0; left--) names.push(this.#string());
    const key = JSON.stringify([className, names]);
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_KNOWN_SHAPES) this.#known.clear();
    const announcement = Uint8Array.from(this.#bytes.subarray(start, this.#at));
    const characters = flattenString(this.#text.substring(textStart, this.#textAt));
    const kept = names.map(flattenString);
    const shape: Shape = { prototype, names: kept, announcement, characters, uses: 0, construct: undefined, next: undefined };
    this.#known.set(key, shape);
    return shape;
  }

  #record(shape: Shape, number: number): object {
    const { names, prototype } = shape;
    if (number < 0) {
      if (shape.construct !== undefined) return shape.construct(this);
      if (++shape.uses === COMPILE_AFTER) shape.construct = compile(prototype, names);
    }
    const object = this.#remember(number, prototype === Object.prototype ? {} : (Object.create(prototype) as object));
    for (const name of names) setField(object, name, this.read());
    return object;
  }

  #fields<T extends object>(object: T): T {
    for (let left = this.#varint(); left > 0; left--) {
      const name = this.#string();
      setField(object, name, this.read());
    }
    return object;
  }

  #error(number: number): object {
    const prototype = this.#prototype(this.#string());
    const limit = Error.stackTraceLimit;
    // The stack of the reader is of no interest, and taking it is slow.
    Error.stackTraceLimit = 0;
    const error = this.#remember(number, new Error() as Error & Record<string, unknown>);
    Error.stackTraceLimit = limit;
    Object.setPrototypeOf(error, prototype);
    delete error.stack;
    const present = this.#bytes[this.#at++] as number;
    errorFields.forEach((name, bit) => {
      if ((present & (1 << bit)) === 0) return;
      Object.defineProperty(error, name, { value: this.read(), configurable: true, writable: true, enumerable: false });
    });
    return this.#fields(error);
  }
}

/** A function that reads the fields' values straight into a new object. */
function compile(prototype: object, names: readonly string[]): Construct {
  const values = names.map(() => "reader.read()");
  if (prototype === Object.prototype) return new Function("reader", `return ${literalSource(names, values)};`) as Construct;
  const instance = compileInstance(prototype, names);
  const make = new Function("Instance", `return (reader) => new Instance(${values.join(", ")});`) as (of: typeof instance) => Construct;
  return make(instance);
}

const damaged = (what: string): ProtocolError =>
  new ProtocolError(`The bytes of a value are damaged, or of another version of drey: they hold ${what}.`);
