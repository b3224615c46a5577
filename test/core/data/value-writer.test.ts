import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { ClassRegistry } from "../../../src/core/data/classes.ts";
import { decodeValue, encodeValue } from "../../../src/core/data/codec.ts";
import { JobFailedError, RecordError, UserFunctionError } from "../../../src/core/types/errors.ts";
import { anyValue, Bag, fc, OrderError, Point, registry, Secret, Stack } from "./arbitraries.ts";
import { difference } from "./difference.ts";

const round = (value: unknown): unknown => decodeValue(encodeValue(value, registry), registry);
const same = (value: unknown): void => {
  expect(difference(round(value), value)).toBe(undefined);
};

describe("a value", () => {
  test("of any kind comes back as it was", () => {
    fc.assert(fc.property(anyValue, same), { numRuns: 500 });
  }, 60_000);

  test.each<[string, unknown]>([
    ["-0", -0],
    ["numbers at the edges", [NaN, Infinity, -Infinity, 2 ** 31, -(2 ** 31), 2 ** 53, 127, 128, -1, 63, 64, 5e-324]],
    ["bigints of any size", [0n, 1n, -1n, 255n, 256n, -(2n ** 64n), 2n ** 1000n, -(3n ** 200n)]],
    ["strings of every width", [
      "", "a".repeat(63), "a".repeat(64), "é".repeat(200), "한글", "\ud800", "\udc00\ud800", "😀".repeat(1000),
    ]],
    ["an invalid Date", new Date(Number.NaN)],
    ["a RegExp that was in use", Object.assign(/a(b)/gy, { lastIndex: 3 })],
    // eslint-disable-next-line no-sparse-arrays -- the holes are the point
    ["a sparse array", [1, , undefined, , null]],
    ["an array of holes", new Array(1_000_000)],
    ["a huge sparse array", Object.assign([], { 4294967294: "last" })],
    ["typed arrays", [
      new Uint8Array([1]), new Float64Array([NaN, -0]), new BigUint64Array([2n ** 64n - 1n]), new Uint8ClampedArray(3), new Float32Array(0),
    ]],
    ["a Buffer, a DataView and an ArrayBuffer", [Buffer.from("bytes"), new DataView(new ArrayBuffer(5)), new Uint8Array([9, 8]).buffer]],
    ["boxed primitives", [Object(1), Object(-0), Object("s"), Object(true), Object(10n)]],
    ["records without prototype", Object.assign(Object.create(null) as object, { a: Object.create(null) as unknown })],
    ["more fields than a shape has", Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`f${i}`, i]))],
    ["more shapes than are remembered", Array.from({ length: 3_000 }, (_, i) => ({ [`f${i}`]: i, common: 1 }))],
    ["many records of one shape", Array.from({ length: 1_000 }, (_, i) => ({ i, s: `s${i}`, p: new Point(i, 0), n: { i } }))],
    ["fields with odd names", JSON.parse('{"__proto__": {"a": 1}, "": 1, "toString": 2, "constructor": null, "0": 3}')],
    ["an array subclass, a Map subclass with a field", [Stack.of(1, 2), new Bag([["a", 1]])]],
    ["NaN as key, and -0 in a Set", [new Map([[NaN, 1]]), new Set([0])]],
  ])("comes back exactly: %s", (_, value) => same(value));

  test("that is an error keeps class, message, stack, cause, name and fields", () => {
    const plain = new TypeError("wrong", { cause: { code: 7 } });
    same(plain);
    same(new AggregateError([plain, "text"], "several"));
    same(new OrderError("late", 7));
    same(Object.assign(new Error("with fields"), { code: "ENOENT", nested: new RangeError("inner") }));
    same(new RecordError("of drey", { details: { path: "record.a" } }));
    same(new JobFailedError("job failed", { cause: new UserFunctionError("threw") }));
    const renamed = new Error("renamed");
    renamed.name = "Custom";
    same(renamed);
    const bare = new Error("without stack");
    delete bare.stack;
    expect((round(bare) as Error).message).toBe("without stack");
    expect(round(new OrderError("x", 1))).toBeInstanceOf(OrderError);
  });

  test("of a class comes back with its prototype, and its constructor is not called", () => {
    const point = round(new Point(3, 4)) as Point;
    expect(point).toBeInstanceOf(Point);
    expect(point.norm).toBe(5);
  });

  test("keeps cycles and shared parts of every kind", () => {
    const shared = [1, { deep: true }];
    const point = new Point(1, 2);
    const bag = new Bag();
    const error = new Error("self");
    error.cause = error;
    const map = new Map<unknown, unknown>();
    map.set(map, [map, shared]);
    const value: Record<string, unknown> = {
      shared, again: shared, point, bag, map, error, date: new Date(5), bytes: new Uint8Array(2), boxed: Object("b"),
      nothing: Object.create(null),
    };
    for (const name of Object.keys(value)) value[`${name}Again`] = value[name];
    value.self = value;
    (point as unknown as Record<string, unknown>).home = value;
    same(value);
    // Also where objects are many, and where constructors are compiled.
    const ring = Array.from({ length: 1_500 }, (_, i) => ({ i, next: undefined as unknown, same: shared }));
    ring.forEach((node, i) => { node.next = ring[(i + 1) % ring.length]; });
    expect(() => same(ring)).toThrow("nested more than 1000 levels");
    ring.forEach((node, i) => { node.next = ring[i % 5]; });
    same(ring);
  });

  test("made in another realm becomes one of this realm", () => {
    const foreign = runInNewContext(`({
      list: [1, 2], map: new Map([[1, new Set([2])]]), date: new Date(7), re: /x/g, bytes: new Uint8Array([1]), error: new TypeError("t"),
    })`);
    const own = round(foreign) as Record<string, unknown>;
    expect(own.list).toStrictEqual([1, 2]);
    expect(own.map).toStrictEqual(new Map([[1, new Set([2])]]));
    expect([own.date, own.re, own.bytes]).toStrictEqual([new Date(7), /x/g, new Uint8Array([1])]);
    expect(Object.getPrototypeOf(own)).toBe(Object.prototype);
    expect(own.error).toBeInstanceOf(Error);
  });

  test("that shares a large buffer with others travels with its own bytes only", () => {
    const large = new ArrayBuffer(1_000_000);
    expect(encodeValue(new Uint8Array(large, 10, 20)).length).toBeLessThan(100);
  });

  test("of one class is found under its wire name, even if the registry has grown", () => {
    class First { a = 1; }
    const Second = { First: class First { b = 2; } }.First;
    const entry = (constructor: Function) => ({ name: constructor.name, constructor, privateFields: [] });
    const before = new ClassRegistry([entry(First), entry(Second)]);
    const after = new ClassRegistry([entry(First), entry(Point), entry(Second)]);
    const values = decodeValue(encodeValue([new First(), new Second()], before), after) as object[];
    expect(values[0]).toBeInstanceOf(First);
    expect(values[1]).toBeInstanceOf(Second);
  });
});

describe("a value that cannot travel", () => {
  class Unknown { field = 1; }
  class Child extends Secret {}
  const withChild = new ClassRegistry([
    { name: "Child", constructor: Child, privateFields: [] },
    { name: "Secret", constructor: Secret, privateFields: ["code"] },
  ]);

  test.each<[string, unknown, string]>([
    ["a function", { user: { callback: () => 1 } }, "value.user.callback: a function cannot travel"],
    ["a symbol", [1, Symbol("id")], "value[1]: Symbol(id) cannot travel"],
    ["a boxed symbol", { s: Object(Symbol("id")) as unknown }, "value.s: "],
    ["a Promise", { p: Promise.resolve(1) }, "value.p: a Promise cannot travel in a record; await it before"],
    ["an instance of an unknown class", { "odd name": new Unknown() }, 'value["odd name"]: an instance of Unknown cannot travel, because'],
    ["an unknown class in a Map", new Map([["k", new Unknown()]]), 'value.get("k"): an instance of Unknown'],
    ["private state", { s: new Secret(1) }, "value.s: an instance of Secret cannot travel: its private state (#code) would be lost"],
    ["a host object", { u: new URL("http://localhost") }, "value.u: a URL cannot travel"],
    ["a WeakMap", [new WeakMap()], "value[0]: a WeakMap cannot travel"],
    ["shared memory", { s: new SharedArrayBuffer(8) }, "value.s: a SharedArrayBuffer cannot travel"],
    ["a generator", { g: (function* numbers() { yield 1; })() }, "value.g: "],
    ["a function in an error's cause", new Error("e", { cause: () => 1 }), "value.cause: a function"],
  ])("is refused with the path to it: %s", (_, value, message) => {
    expect(() => encodeValue(value, registry)).toThrow(RecordError);
    expect(() => encodeValue(value, registry)).toThrow(message);
    // The writer is as good as new.
    expect(decodeValue(encodeValue({ a: 1 }, registry), registry)).toEqual({ a: 1 });
  });

  test("is also one whose parent class has private state", () => {
    expect(() => encodeValue(new Child(1), withChild)).toThrow("private state (#code)");
  });

  test("is also one whose class only the writer knows: the reader names the class and the cure", () => {
    const bytes = encodeValue(new Point(1, 2), registry);
    expect(() => decodeValue(bytes)).toThrow("an instance of Point arrived, a class that is not known here: use the class in one of");
  });

  test("is also one nested without end", () => {
    let deep: unknown = 0;
    for (let i = 0; i < 5_000; i++) deep = [deep];
    expect(() => encodeValue(deep)).toThrow("nested more than 1000 levels deep");
  });
});

describe("the bytes of a value", () => {
  // Snapshots hold these. If one changes, older snapshots must stay readable: decodeValue of these bytes is part of the contract.
  const golden: [unknown, string][] = [
    [
      { id: 7, name: "x", at: -1.5, ok: true, none: null },
      "010f00000009400542444242448741" + "05000000000000f8bf" + "0201" + "69646e616d6561746f6b6e6f6e6578",
    ],
    [[1, 300, -2, "é", "한"], "02020000000b058104d80404034141" + "e9005cd5"],
    [new Map<unknown, unknown>([[1n, new Date(0)]]), "01000000000d010602010f0000000000000000"],
  ];
  test.each(golden)("of %o are what they always were", (value, hex) => {
    expect(Buffer.from(encodeValue(value)).toString("hex")).toBe(hex);
    expect(decodeValue(Buffer.from(hex, "hex"))).toStrictEqual(value);
  });

  test("can be read at any place in memory", () => {
    const bytes = encodeValue({ a: 0.5, s: "한글 text of some length" });
    const place = new Uint8Array(bytes.length + 20);
    for (const at of [1, 3, 8, 13]) {
      place.set(bytes, at);
      expect(decodeValue(place.subarray(at, at + bytes.length))).toEqual({ a: 0.5, s: "한글 text of some length" });
    }
  });
});
