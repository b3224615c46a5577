import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KeyTable } from "../../../src/core/state/key-table.ts";

const integer = fc.oneof(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }));
const token = fc.oneof({ weight: 20, arbitrary: integer }, { weight: 1, arbitrary: fc.constantFrom<string | number | bigint | boolean>("a", 1.5, 2 ** 31, NaN, 5n, true, "1") });

describe("KeyTable", () => {
  test.each([["integers", integer], ["any keys", token]])("does what a Map does, with %s", (_name, keys) => {
    const action = fc.tuple(fc.constantFrom("set", "set", "set", "get", "delete"), keys);
    fc.assert(
      fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
        const table = new KeyTable<number>();
        const model = new Map<unknown, number>();
        for (const [index, [what, key]] of actions.entries()) {
          if (what === "set") {
            table.set(key, index);
            model.set(key, index);
          } else if (what === "delete") expect(table.delete(key)).toBe(model.delete(key));
          expect(table.get(key)).toBe(model.get(key));
          expect(table.size).toBe(model.size);
        }
        const seen = new Map<unknown, number>();
        table.forEach((value, key) => seen.set(key, value));
        expect(seen).toEqual(model);
        for (const [key, value] of model) expect(table.get(key as number)).toBe(value);
      }),
      { numRuns: 300 },
    );
  });

  test("keys that collide are found, also after others before them went", () => {
    const table = new KeyTable<number>();
    const count = 10_000;
    for (let i = 0; i < count; i++) table.set(i * 65_536, i);
    for (let i = 0; i < count; i += 3) expect(table.delete(i * 65_536)).toBe(true);
    for (let i = 0; i < count; i++) expect(table.get(i * 65_536)).toBe(i % 3 === 0 ? undefined : i);
  });
});
