import fc from "fast-check";
import { expect, test } from "vitest";
import { noClasses } from "../../../../src/core/data/classes.ts";
import { ExternalSort } from "../../../../src/core/operators/bounded/external-sort.ts";
import { GroupedRows } from "../../../../src/core/operators/bounded/grouped-rows.ts";
import { SpillFile } from "../../../../src/core/operators/bounded/spill-file.ts";
import { SpillingRows } from "../../../../src/core/operators/bounded/spilling-rows.ts";
import { StorageError } from "../../../../src/core/types/errors.ts";

const withFile = <T>(use: (file: SpillFile) => T): T => {
  const file = new SpillFile(noClasses);
  try {
    return use(file);
  } finally {
    file.close();
  }
};

const rows = fc.array(fc.record({ key: fc.integer({ min: 0, max: 20 }), text: fc.string({ maxLength: 8 }) }), { maxLength: 600 });

test("an external sort equals a stable sort in memory, with whatever memory it has", () => {
  fc.assert(
    fc.property(rows, fc.constantFrom(1, 200, 5_000, 1e9), (all, memory) =>
      withFile((file) => {
        const compare = (a: { key: number }, b: { key: number }): number => a.key - b.key;
        const sort = new ExternalSort(compare, memory, noClasses, file);
        for (const row of all) sort.add(row);
        expect([...sort.rows()]).toEqual([...all].sort(compare));
      }),
    ),
    { numRuns: 60 },
  );
});

test("more runs than are merged at once are merged in passes", () => {
  withFile((file) => {
    const sort = new ExternalSort<number>((a, b) => a - b, 1, noClasses, file);
    const all = Array.from({ length: 300 }, (_, i) => (i * 7919) % 1_000);
    for (const row of all) sort.add(row);
    expect([...sort.rows()]).toEqual([...all].sort((a, b) => a - b));
    expect(file.bytes).toBeGreaterThan(0);
  });
});

test("groups are whole and come once, in memory or on disk, and may be left unread", () => {
  fc.assert(
    fc.property(rows, fc.constantFrom(1, 2_000, 1e9), fc.boolean(), (all, memory, readAll) =>
      withFile((file) => {
        const grouped = new GroupedRows<{ key: number; text: string }>((row) => row.key, undefined, memory, noClasses, file);
        for (const row of all) grouped.add(row);
        const seen = new Map<unknown, unknown[]>();
        for (const group of grouped.groups()) {
          expect(seen.has(group.token)).toBe(false);
          seen.set(group.token, readAll ? [...group.rows] : []);
        }
        expect(new Set(seen.keys())).toEqual(new Set(all.map(({ key }) => key)));
        if (readAll) for (const [key, group] of seen) expect(group).toEqual(all.filter((row) => row.key === key));
      }),
    ),
    { numRuns: 60 },
  );
});

test("spilled rows keep their order and can be read twice", () => {
  withFile((file) => {
    const kept = new SpillingRows<number>(100, noClasses, file);
    for (let i = 0; i < 2_000; i++) kept.add(i);
    expect(kept.inMemory).toBe(false);
    expect([...kept]).toEqual([...kept]);
    expect([...kept]).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
  });
});

test("a folder that takes no rows is named with the cure", () => {
  const file = new SpillFile(noClasses, "/dev/full");
  expect(() => file.write([1])).toThrow(StorageError);
  expect(() => file.write([1])).toThrow(/can't be written to \/dev\/full.*set io\.tmp\.dirs/);
});
