import { describe, expect, test } from "vitest";
import { noClasses } from "../../../src/core/data/classes.ts";
import { type ColumnType, shapeOf, typeFromWire, typeOfValue, typeToWire, widen } from "../../../src/core/data/schema.ts";
import { fc, recordLike, registry } from "./arbitraries.ts";

const type = recordLike.map((value) => typeOfValue(value, registry));
const text = (of: ColumnType): string => JSON.stringify(of);

describe("the type of a record", () => {
  test("names its fields in order, and what they hold", () => {
    const record = { id: 1, price: 0.5, name: "n", ok: true, when: new Date(0), at: { x: 1 }, pair: ["a", -0], big: 1n, gone: null };
    expect(typeToWire(typeOfValue(record, noClasses))).toEqual([
      "r", "", "id", "i", "price", "f", "name", "s", "ok", "b", "when", "d", "at", ["r", "", "x", "i"], "pair", ["t", "s", "f"],
      "big", "a", "gone", "N",
    ]);
  });

  test("is announced and understood without loss", () => {
    fc.assert(fc.property(type, type, (a, b) => {
      const wide = widen(a, b);
      expect(typeFromWire(JSON.parse(JSON.stringify(typeToWire(wide))))).toEqual(wide);
    }));
  });

  test("that nobody knows is refused", () => {
    expect(() => typeFromWire("z")).toThrow("a row type that this version of drey does not know");
  });

  test("of arrays with holes, of long arrays and of deep records is any", () => {
    expect(typeOfValue(new Array(2), noClasses).kind).toBe("any");
    expect(typeOfValue(new Array(100).fill(0), noClasses).kind).toBe("any");
    expect(text(typeOfValue({ a: { b: { c: { d: { e: 1 } } } } }, noClasses))).toContain('"any"');
  });
});

describe("widening", () => {
  test("does not depend on the order, and changes nothing the second time", () => {
    fc.assert(fc.property(type, type, type, (a, b, c) => {
      expect(text(widen(a, b))).toBe(text(widen(b, a)));
      expect(text(widen(widen(a, b), b))).toBe(text(widen(a, b)));
      expect(text(widen(widen(a, b), c))).toBe(text(widen(a, widen(b, c))));
    }), { numRuns: 500 });
  });

  test("makes whole numbers and fractions fractions, and a type and null nullable", () => {
    const of = (value: unknown): ColumnType => typeOfValue(value, noClasses);
    expect(widen(of(1), of(0.5))).toEqual({ kind: "float", nullable: false });
    expect(widen(of(null), of("s"))).toEqual({ kind: "string", nullable: true });
    expect(widen(of("s"), of(1)).kind).toBe("any");
    expect(shapeOf(of(1))).toBe(shapeOf(of(0.5)));
  });
});
