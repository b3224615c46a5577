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

describe("a frozen KeyTable", () => {
  const groupOf = (key: unknown): number => String(key).length % 4;
  const clustered = fc.integer({ min: 0, max: 60 }).map((n) => (n % 3 === 0 ? n * 65_536 : n));
  const action = (keys: fc.Arbitrary<string | number | bigint | boolean>): fc.Arbitrary<readonly [string, string | number | bigint | boolean]> =>
    fc.tuple(fc.constantFrom("set", "set", "change", "delete", "get", "scan", "each"), keys);
  test.each([["integers", clustered], ["any keys", token]])("writes each entry once, as it was, whatever happens meanwhile, with %s", (_name, keys) => {
    fc.assert(
      fc.property(fc.array(keys, { maxLength: 60, size: "max" }), fc.array(action(keys), { maxLength: 120, size: "max" }), fc.boolean(), fc.nat({ max: 20 }), (present, actions, abortOne, gone) => {
        const table = new KeyTable<{ n: number }>();
        for (const key of present) table.set(key, { n: 1 });
        for (const key of present.slice(0, gone)) table.delete(key);
        if (abortOne) {
          table.freeze(groupOf, () => undefined);
          for (const key of present.slice(0, 5)) table.get(key);
          table.thaw();
        }
        const expected = new Map<unknown, number>();
        table.forEach(({ n }, key) => expected.set(key, n));
        const written = new Map<unknown, number>();
        table.freeze(groupOf, (key, { n }, group) => {
          expect(group).toBe(groupOf(key));
          expect(written.has(key)).toBe(false);
          written.set(key, n);
        });
        for (const [index, [what, key]] of actions.entries()) {
          if (what === "set") table.set(key, { n: index + 2 });
          else if (what === "delete") table.delete(key);
          else if (what === "scan") table.scan(() => false);
          else if (what === "each" && index % 7 === 0) table.forEachChanging((value) => value.n++);
          else {
            const value = table.get(key);
            if (value !== undefined && what === "change") value.n = -1;
          }
        }
        while (!table.scan(() => true));
        expect(written).toEqual(expected);
      }),
      { numRuns: 400 },
    );
  });

  test.each([["integers", 1], ["strings", "k"]])("of many keys is written group by group, however it changes, with %s", (_name, kind) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 30 }), fc.integer({ min: 2_100, max: 4_000 }), (seed, count) => {
        let state = seed;
        const random = (below: number): number => {
          state = Math.imul(state, 1_103_515_245) + 12_345;
          return (state >>> 8) % below;
        };
        const keyOf = (i: number): string | number => (typeof kind === "number" ? i * 7 : kind + i);
        const table = new KeyTable<{ n: number }>();
        for (let i = 0; i < count; i++) table.set(keyOf(i), { n: i });
        const expected = new Map<unknown, number>();
        table.forEach(({ n }, key) => expected.set(key, n));
        const written = new Map<unknown, number>();
        let [touching, group, turns] = [false, 0, 0];
        table.freeze(groupOf, (key, { n }, of) => {
          if (of !== groupOf(key) || written.has(key)) throw new Error(`${String(key)} is written twice, or into group ${of}`);
          written.set(key, n);
          if (touching) return;
          if (of < group) turns++;
          group = of;
        });
        for (let done = false; !done; ) {
          let left = random(20);
          done = table.scan(() => left-- > 0);
          touching = true;
          for (let i = 0; i < 30; i++) {
            const key = keyOf(random(count * 2));
            const what = random(3);
            if (what === 0) table.set(key, { n: -1 });
            else if (what === 1) table.delete(key);
            else {
              const value = table.get(key);
              if (value !== undefined) value.n = -2;
            }
          }
          touching = false;
        }
        expect(written).toEqual(expected);
        // It begins again when the table grows or leaves the integers.
        expect(turns).toBeLessThanOrEqual(2);
      }),
      { numRuns: 12 },
    );
  });
});
