import { describe, expect, test } from "vitest";
import { withFields } from "../../../src/core/types/selector-fields.ts";
import { fieldsRead } from "../../../src/cluster/code/fields-read.ts";

type Any = any;
const read = (value: unknown, parameter = 0): unknown => {
  const use = fieldsRead(value, parameter);
  return use === "all" ? "all" : [...use].sort();
};

describe("fieldsRead", () => {
  test("a selector that was made of names reads those fields", () => {
    const selector = (row: Record<string, unknown>): unknown[] => ["a", "b"].map((name) => row[name]);
    expect(fieldsRead(selector, 0)).toBe("all");
    expect(fieldsRead(withFields(selector, ["a", "b"]), 0)).toEqual(new Set(["a", "b"]));
    expect(fieldsRead(withFields((row: Record<string, unknown>) => row["constructor"], ["constructor"]), 0)).toBe("all");
  });

  test("names the fields that are read off the parameter, however they are written", () => {
    expect(read((r: Any) => r.a + r["b"])).toEqual(["a", "b"]);
    expect(read((r: Any) => ({ x: r.a?.deep, y: [r.b].map((it) => it * r.c) }))).toEqual(["a", "b", "c"]);
    expect(read(({ a, b: renamed = 1 }: Any) => a + renamed)).toEqual(["a", "b"]);
    expect(read(function (r: Any) { const { length } = r.name as string; return length; })).toEqual(["name"]);
    expect(read({ add(r: Any, sum: number) { return sum + r.price; } }.add)).toEqual(["price"]);
    expect(read((sum: number, r: Any) => sum + r.price, 1)).toEqual(["price"]);
    expect(read(() => 1)).toEqual([]);
    expect(read((r: Any) => ({ r: r.a }))).toEqual(["a"]);
  });

  const escapes: readonly (readonly [string, unknown])[] = [
    ["returned", (r: Any) => r],
    ["spread", (r: Any) => ({ ...r })],
    ["passed on", (r: Any) => String(r)],
    ["stored in a shorthand", (r: Any) => ({ r, a: r.a })],
    ["read by a computed name", (r: Any) => r[String(Math.random())]],
    ["used as this of its method", (r: Any) => r.method()],
    ["used as this, optionally", (r: Any) => r?.method?.(1)],
    ["changed", (r: Any) => { r.a = 1; return r.a; }],
    ["changed by a pattern", (r: Any) => { [r.a] = [1]; return 0; }],
    ["counted up", (r: Any) => r.a++],
    ["cut down", (r: Any) => delete r.a],
    ["reassigned", (r: Any) => { r = { a: 1 }; return r.a; }],
    ["shadowed", (r: Any) => [1].map((r) => r)[0] ?? r.a],
    ["a rest pattern", ({ a, ...rest }: Any) => [a, rest]],
    ["an array pattern", ([a]: Any) => a],
    ["a rest parameter", (...all: Any[]) => all[0].a],
    ["arguments", function (_r: Any) { return arguments[0].a; }],
    ["compared as a whole", (r: Any) => r === null || r.a],
    ["looked into", (r: Any) => "a" in r],
    ["a default that takes it", (r: Any, other = r) => other],
    ["every object's names", (r: Any) => r.constructor === Object],
    ["asynchronous", async (r: Any) => r.a],
    ["a bound function", ((r: Any) => r.a).bind(null)],
    ["a native function", Number.isInteger],
    ["a class", class A {}],
    ["not a function", 5],
    ["a tagged template", (r: Any) => r.tag`x`],
    ["a loop over it", (r: Any) => { for (const key in r) return key; return r.a; }],
  ];
  test.each(escapes)("everything counts as read when the record is %s", (_how, value) => {
    expect(read(value)).toBe("all");
  });
});
