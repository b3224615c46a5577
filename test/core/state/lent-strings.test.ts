import { setFlagsFromString } from "node:v8";
import { runInThisContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { flattenKept } from "../../../src/core/data/text.ts";
import { LentStrings } from "../../../src/core/state/lent-strings.ts";

// Two equal strings may be one in memory, or a copy, or a slice that holds a large text: only the engine can tell.
setFlagsFromString("--allow-natives-syntax");
const isSame = runInThisContext("(a, b) => %IsSameHeapObject(a, b)") as (a: unknown, b: unknown) => boolean;

const copy = (text: string): string => `x${text}`.slice(1);
interface Customer { name: string; address: string; orders: number }
const customer = (): Customer => ({ name: copy("customer number 17"), address: copy("17 Long Street"), orders: 1 });

describe("a value that is changed in place and put back", () => {
  test("keeps the strings that it had", () => {
    const strings = new LentStrings();
    const kept = strings.keep(customer()) as Customer;
    const { name } = kept;
    for (let orders = 2; orders < 10; orders++) {
      const lent = strings.lend(kept);
      lent.orders = orders;
      expect(strings.keep(lent)).toBe(kept);
      expect(isSame(kept.name, name)).toBe(true);
    }
    expect(kept).toEqual({ ...customer(), orders: 9 });
  });

  test("does not keep a string that the program put there, be it equal or not", () => {
    const strings = new LentStrings();
    const kept = strings.keep(customer()) as Customer;
    const [equal, other] = [copy(kept.name), copy("somewhere else, far away")];
    strings.lend(kept);
    kept.name = equal;
    kept.address = other;
    strings.keep(kept);
    expect(kept).toEqual({ name: equal, address: other, orders: 1 });
    expect([isSame(kept.name, equal), isSame(kept.address, other)]).toEqual([false, false]);
  });

  test("goes by what it was when it was given out first", () => {
    const strings = new LentStrings();
    const kept = strings.keep(customer()) as Customer;
    const other = copy("somewhere else, far away");
    strings.lend(kept);
    kept.address = other;
    strings.lend(kept);
    strings.keep(kept);
    expect(isSame(kept.address, other)).toBe(false);
  });
});

test("a new value goes on with the strings of the one that was read", () => {
  const strings = new LentStrings();
  const kept = strings.keep(customer()) as Customer;
  const next = strings.keep({ ...strings.lend(kept), orders: 2 }) as Customer;
  expect(isSame(next.name, kept.name)).toBe(true);
  const folded = flattenKept({ ...next, name: copy(next.name), address: copy("somewhere else, far away") }, next);
  expect(isSame(folded.name, next.name)).toBe(true);
  expect(folded.address).toBe("somewhere else, far away");
});

test("whatever is read and put back when, values are what the program put there", () => {
  const value = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.integer(),
    fc.constant(null),
    fc.dictionary(fc.constantFrom("a", "b", "c", "d"), fc.oneof(fc.constantFrom("the same long text", "another long text"), fc.string(), fc.integer())),
    fc.array(fc.string({ maxLength: 20 }), { maxLength: 3 }),
  );
  fc.assert(
    fc.property(fc.array(fc.record({ key: fc.nat(2), does: fc.constantFrom("read", "put", "change"), value })), (steps) => {
      const strings = new LentStrings();
      const [kept, model] = [new Map<number, unknown>(), new Map<number, unknown>()];
      for (const { key, does, value: given } of steps) {
        const got = strings.lend(kept.get(key));
        expect(got).toEqual(model.get(key));
        if (does === "read") continue;
        const changed = typeof got === "object" && got !== null && typeof given === "object" && given !== null;
        const next = does === "change" && changed ? Object.assign(got, given) : structuredClone(given);
        model.set(key, structuredClone(next));
        kept.set(key, strings.keep(next));
      }
      for (const [key, expected] of model) expect(kept.get(key)).toEqual(expected);
    }),
    { numRuns: 300 },
  );
});
