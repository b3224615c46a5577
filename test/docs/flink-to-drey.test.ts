/** Every line of code on the page for those who come from Flink runs, gives what the page says, and type-checks. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { blocksOf, run, typeErrors } from "./code-of-page.ts";

const PAGE = "docs/flink-to-drey.md";
const blocks = blocksOf(PAGE);
const [first] = blocks;
const text = readFileSync(join(import.meta.dirname, "../..", PAGE), "utf8");

describe("from Flink to drey", () => {
  test.each(blocks.filter((block) => block.runs).map((block) => [`${block.section}: ${block.names.join(", ") || `line ${block.line}`}`, block] as const))(
    "%s",
    { timeout: 20_000 },
    async (_title, block) => {
      await run(block, first!);
    },
  );

  test("and the compiler agrees", { timeout: 100_000 }, () => {
    expect(typeErrors(PAGE)).toEqual([]);
  });

  test("a check is seen to fail, so the others mean something", async () => {
    await expect(run({ ...blocks[1]!, code: "numbers.map((x) => x); // Map → [4]\n" }, first!)).rejects.toThrow("of the page");
  });

  test("no line is longer than the page is wide", () => {
    expect(text.split("\n").filter((line) => [...line].length > 140)).toEqual([]);
  });
});
