import { describe, expect, test } from "vitest";
import { freeVariables } from "../../../src/cluster/code/free-variables.ts";
import { parseFunctionText } from "../../../src/cluster/code/function-text.ts";

const namesIn = (text: string): string[] => [...freeVariables(parseFunctionText(text)).references.keys()].sort();

describe("the free variables of a function are", () => {
  test.for([
    ["names it does not declare", "(x) => x + a + b.c", ["a", "b"]],
    ["not its parameters, defaults included", "({ p, q: [r = a] }, s = p, ...t) => [p, r, s, t]", ["a"]],
    [
      "not var, let, const, class, function, at any depth",
      "function () { { var v; let l; const c = 1; class C {} function f() {} } return [v, l]; }",
      ["l"],
    ],
    ["not its own name", "function f() { return f; }", []],
    ["not labels, keys or members", "() => { l: for (;;) { ({ k: o.m }); break l; } }", ["o"]],
    ["shorthand properties", "() => ({ a, b: c })", ["a", "c"]],
    ["not a catch's binding, but what it hides outside", "() => { try { e; } catch (e) { e; } }", ["e"]],
    ["what loops assign", "() => { for (const x of xs) y = x; for (z in o); }", ["o", "xs", "y", "z"]],
    ["what a destructuring assigns", "() => { [a, b.c, { d: e, ...f }] = g; }", ["a", "b", "e", "f", "g"]],
    [
      "names in a class's heritage, computed keys, fields and static blocks",
      "class A extends B { [c] = d; static { e; } m() { return A; } }",
      ["B", "c", "d", "e"],
    ],
    ["arguments only outside functions", "() => arguments", ["arguments"]],
    ["not arguments in functions", "function () { return () => arguments; }", []],
    ["names after typeof", "() => typeof window", ["window"]],
    ["tags of templates and what they hold", "() => tag`x${y}`", ["tag", "y"]],
    ["of methods, without their key", "[key](x) { return x + a; }", ["a"]],
    ["of getters", "get size() { return this.n + a; }", ["a"]],
    ["of async generators", "async *many() { yield* a; }", ["a"]],
  ] as const)("%s", ([_what, text, names]) => {
    expect(namesIn(text)).toEqual(names);
  });
});

test("writes are told from reads, and members of a name from the name", () => {
  const { references } = freeVariables(parseFunctionText("() => { a = b; c.d = 1; e['f']++; g[h]; }"));
  const summary = Object.fromEntries(
    [...references].map(([name, [use]]) => [name, { write: use?.write, member: use?.member, memberWrite: use?.memberWrite }]),
  );
  expect(summary).toEqual({
    a: { write: true, member: undefined, memberWrite: false },
    b: { write: false, member: undefined, memberWrite: false },
    c: { write: false, member: "d", memberWrite: true },
    e: { write: false, member: "f", memberWrite: true },
    g: { write: false, member: undefined, memberWrite: false },
    h: { write: false, member: undefined, memberWrite: false },
  });
});

describe("this and super belong to the surroundings", () => {
  test.for([
    ["() => this.x", true, false],
    ["() => () => this.x", true, false],
    ["function () { return () => this; }", false, false],
    ["() => class { x = this; m() { super.m(); } }", false, false],
    ["() => ({ m() { return super.m() + this.x; } })", false, false],
    ["m() { return super.m(); }", false, true],
    ["(x = this) => x", true, false],
  ] as const)("%s: this %s, super %s", ([text, outerThis, outerSuper]) => {
    const free = freeVariables(parseFunctionText(text));
    expect([free.outerThis, free.outerSuper]).toEqual([outerThis, outerSuper]);
  });
});
