import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { isPrimitiveKey, keyOfToken, keyToken } from "../../../src/core/data/keys.ts";
import { RecordError } from "../../../src/core/types/errors.ts";
import { fc, Point, text } from "./arbitraries.ts";

/** Keys of every kind; equal ones come up because the parts are few. */
const part = fc.oneof(
  fc.constantFrom(0, 1, -0, Number.NaN, 1n, "1", "", "s1:1", "n1;", "\u0001[1:n1;", "\u0001ss", "\u0001", true, false),
  fc.constantFrom(new Date(1), new Date(Number.NaN)), text, fc.double(),
);
const key: fc.Arbitrary<unknown> = fc.letrec<{ key: unknown }>((tie) => ({
  key: fc.oneof({ maxDepth: 3, depthSize: "small" }, part, fc.array(tie("key"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "b", "1:a", "ab"), fc.oneof(tie("key"), fc.constantFrom(null, undefined)), { maxKeys: 3 })),
})).key;

/** Equality of keys as the documentation defines it, by another way than tokens. */
function sameKey(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b || (Number.isNaN(a) && Number.isNaN(b));
  if (a instanceof Date || b instanceof Date) return a instanceof Date && b instanceof Date && Object.is(a.getTime(), b.getTime());
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length
    && names.every((name) => Object.hasOwn(b, name) && sameKey((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]));
}

describe("a key's token", () => {
  test("is the same for equal keys, and only for them", () => {
    fc.assert(fc.property(key, key, (a, b) => {
      expect(new Set([keyToken(a), keyToken(b)]).size === 1).toBe(sameKey(a, b));
    }), { numRuns: 3_000 });
  });

  test("is the same for a copy of the key", () => {
    fc.assert(fc.property(key, (a) => {
      expect(new Set([keyToken(a), keyToken(structuredClone(a))]).size).toBe(1);
    }));
  });

  test("gives the key back", () => {
    fc.assert(fc.property(key, (a) => {
      expect(sameKey(keyOfToken(keyToken(a)), a)).toBe(true);
    }), { numRuns: 3_000 });
  });

  test("is the key itself where the key is primitive", () => {
    for (const primitive of ["user", "", 7, 0.5, 7n, true]) {
      expect(keyToken(primitive)).toBe(primitive);
      expect(isPrimitiveKey(primitive)).toBe(true);
    }
    for (const other of [[1], { a: 1 }, new Date(0), "\u0001s", null, undefined, () => 1]) expect(isPrimitiveKey(other)).toBe(false);
  });

  test("of a composite key can't be had by a string that looks like it", () => {
    for (const composite of [[1], ["a"], { a: 1 }, new Date(1)]) {
      const token = keyToken(composite);
      expect(keyToken(token)).not.toBe(token);
      expect(keyToken(keyToken(token))).not.toBe(keyToken(token));
    }
  });

  test("does not depend on the order of fields", () => {
    expect(keyToken({ zone: 1, city: "Seoul" })).toBe(keyToken({ city: "Seoul", zone: 1 }));
  });

  test("is the same for a record of another realm", () => {
    expect(keyToken(runInNewContext("({ a: [1, 'x'] })"))).toBe(keyToken({ a: [1, "x"] }));
  });

  test("takes -0 for 0", () => {
    expect(Object.is(keyToken(-0), 0)).toBe(true);
    expect(keyToken([-0])).toBe(keyToken([0]));
  });

  test.each<[string, unknown, string]>([
    ["null", null, "the key is null"],
    ["undefined", undefined, "the key is undefined"],
    ["a function", () => 1, "holds a function"],
    ["a symbol", Symbol("s"), "holds a symbol"],
    ["an instance of a class", new Point(1, 2), "holds an instance of Point"],
    ["a Map in a tuple", [1, new Map()], "holds an instance of Map"],
  ])("of %s is an error", (_, bad, message) => {
    expect(() => keyToken(bad)).toThrow(RecordError);
    expect(() => keyToken(bad)).toThrow(message);
  });

  test("of a key that contains itself is an error", () => {
    const cyclic: unknown[] = [];
    cyclic.push(cyclic);
    expect(() => keyToken(cyclic)).toThrow("contains itself");
  });
});
