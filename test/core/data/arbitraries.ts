/** Arbitrary values for the property tests of this room. */
import fc from "fast-check";
import { ClassRegistry } from "../../../src/core/data/classes.ts";

export { fc };

export class Point {
  x: number;
  y: number;
  constructor(x: number, y: number) {
    this.x = x;
    this.y = y;
  }
  get norm(): number {
    return Math.hypot(this.x, this.y);
  }
}

export class Tagged {
  name: string;
  weight: number;
  constructor(name: string, weight: number) {
    if (name === undefined) throw new Error("a decoder must not call constructors");
    this.name = name;
    this.weight = weight;
  }
}

export class Money {
  amount: bigint;
  currency: string;
  constructor(amount: bigint, currency: string) {
    this.amount = amount;
    this.currency = currency;
  }
}

export class Secret {
  #code: number;
  constructor(code: number) {
    this.#code = code;
  }
  get code(): number {
    return this.#code;
  }
}

export class Bag extends Map<string, number> {
  label = "bag";
}

export class Stack extends Array<number> {}

export class OrderError extends Error {
  readonly order: number;
  constructor(message: string, order: number) {
    super(message);
    this.order = order;
  }
}

export const registry: ClassRegistry = new ClassRegistry([
  { name: "Point", constructor: Point, privateFields: [] },
  { name: "Tagged", constructor: Tagged, privateFields: [] },
  { name: "Money", constructor: Money, privateFields: [] },
  { name: "Secret", constructor: Secret, privateFields: ["#code"] },
  { name: "Bag", constructor: Bag, privateFields: [] },
  { name: "Stack", constructor: Stack, privateFields: [] },
  { name: "OrderError", constructor: OrderError, privateFields: [] },
]);

/** Strings of all widths, lone surrogates among them. */
export const text = fc.oneof(
  fc.string(), fc.string({ unit: "binary" }), fc.constantFrom("\ud800", "\udc00x", "é", "한", "😀", "\u0001s", "x".repeat(70)),
);

const number = fc.oneof(
  fc.integer(), fc.double(), fc.constantFrom(-0, 0, Number.NaN, Infinity, -Infinity, 2 ** 31, 2 ** 31 - 1, -(2 ** 31), 2 ** 53),
);

const primitive = fc.oneof(number, text, fc.boolean(), fc.constantFrom(null, undefined), fc.bigInt());

const views = fc.oneof(
  fc.uint8Array(), fc.int16Array(), fc.float64Array(), fc.bigInt64Array(),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  fc.uint8Array().map((bytes) => bytes.slice().buffer),
  fc.uint8Array({ minLength: 1 }).map((bytes) => new DataView(bytes.buffer, 0, bytes.length)),
);

const leaf: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 6, arbitrary: primitive },
  { weight: 1, arbitrary: fc.oneof(fc.date(), fc.constant(new Date(Number.NaN))) },
  { weight: 1, arbitrary: views },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.constantFrom(/a+b/giu, /[/\\]/, new RegExp("")),
      fc.tuple(number, number).map(([x, y]) => new Point(x, y)),
      fc.tuple(text, number).map(([name, weight]) => new Tagged(name, weight)),
      fc.tuple(text, fc.integer()).map(([message, order]) => new OrderError(message, order)),
      text.map((message) => new TypeError(message, { cause: message })),
      fc.constantFrom(Object(1) as unknown, Object("boxed"), Object(false), Object(7n)),
      fc.array(fc.integer(), { maxLength: 5 }).map((items) => Stack.from(items)),
      fc.dictionary(fc.string(), fc.integer(), { maxKeys: 3 }).map((fields) => new Bag(Object.entries(fields))),
    ),
  },
);

/** Any value that can travel. */
export const anyValue: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: "small", withCrossShrink: true },
    leaf,
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(text, tie("value"), { maxKeys: 5, noNullPrototype: false }),
    fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 4 }).map((entries) => new Map(entries)),
    fc.array(tie("value"), { maxLength: 4 }).map((items) => new Set(items)),
    fc.sparseArray(tie("value"), { maxLength: 8 }),
    tie("value").map((value) => ({ first: value, second: value })),
  ),
})).value;

/** Rows of a few shapes whose fields change type now and then: what a codec has to adapt to. */
export const recordLike: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ id: fc.integer(), name: text, price: number }) },
  { weight: 2, arbitrary: fc.record({ id: fc.integer(), name: fc.oneof(text, fc.constant(null)), price: fc.oneof(number, text) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      key: text, at: fc.oneof(fc.record({ x: number, y: number }), fc.constantFrom(null, undefined)), pair: fc.tuple(text, number),
    }),
  },
  { weight: 1, arbitrary: fc.record({ a: primitive, b: primitive, c: primitive }, { requiredKeys: ["a"] }) },
  { weight: 1, arbitrary: fc.tuple(number, number).map(([x, y]) => new Point(x, y)) },
  { weight: 1, arbitrary: primitive },
  { weight: 1, arbitrary: fc.tuple(text, number) },
  { weight: 1, arbitrary: fc.record({ id: fc.integer(), extra: anyValue }) },
  { weight: 1, arbitrary: anyValue },
);
