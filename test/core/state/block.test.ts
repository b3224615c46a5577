/** Blocks: what is written into one comes out of it, whatever its strings are made of. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { noClasses } from "../../../src/core/data/classes.ts";
import { BlockReader, BlockWriter } from "../../../src/core/state/block.ts";

/** The values that a block holds, in order. */
function read(block: Uint8Array): unknown[] {
  const values: unknown[] = [];
  new BlockReader(noClasses).read(block, "the block", (from) => values.push(from.read()));
  return values;
}

/** Strings of Latin characters, wide ones and lone surrogates, some longer than what is joined at once. */
const text = fc.oneof(
  fc.string({ unit: "binary-ascii", maxLength: 3_000 }),
  fc.string({ unit: fc.constantFrom("é", "x", "ÿ"), maxLength: 2_000 }),
  fc.string({ unit: fc.constantFrom("x", "→", "🐿", "\ud800"), maxLength: 2_000 }),
);

describe("a block", () => {
  test("gives back every string, wherever the first wide character stands, and the next block knows nothing of it", () => {
    fc.assert(
      fc.property(fc.array(fc.array(text, { maxLength: 12 }), { minLength: 1, maxLength: 3 }), (blocks) => {
        const writer = new BlockWriter(noClasses);
        for (const texts of blocks) {
          for (const each of texts) writer.entry().write({ each });
          expect(writer.entries).toBe(texts.length);
          expect(read(writer.take())).toEqual(texts.map((each) => ({ each })));
        }
      }),
      { numRuns: 200 },
    );
  });

  test("keeps single bytes for Latin text, however long", () => {
    const writer = new BlockWriter(noClasses);
    for (let i = 0; i < 100; i++) writer.entry().write("é".repeat(500));
    const { size } = writer;
    const block = writer.take();
    expect(size).toBeGreaterThan(50_000);
    expect(block.length).toBeLessThan(51_000);
    expect(read(block)).toHaveLength(100);
  });
});
