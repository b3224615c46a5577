import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { segmentMemory } from "../../../src/core/data/element.ts";
import { bytesPerCharacter, flattenString, flattenStrings, readText, writeText } from "../../../src/core/data/text.ts";
import { fc, text } from "./arbitraries.ts";

describe("a text", () => {
  test("of any characters is read as it was written", () => {
    const memory = segmentMemory(new SharedArrayBuffer(4096));
    fc.assert(fc.property(fc.array(text).map((parts) => parts.join("")), (value) => {
      const end = writeText(memory, 16, 4096, value, bytesPerCharacter(value));
      if (end < 0) return;
      expect(end % 8).toBe(0);
      expect(readText(memory, 16)).toBe(value);
    }));
  });

  test("is not written beyond the limit", () => {
    const memory = segmentMemory(new ArrayBuffer(128));
    expect(writeText(memory, 0, 40, "x".repeat(33), 1)).toBe(-1);
    expect(writeText(memory, 0, 40, "x".repeat(32), 1)).toBe(40);
    expect(writeText(memory, 0, 40, "한".repeat(17), 2)).toBe(-1);
    expect([...memory.bytes.subarray(40)]).toEqual(new Array(88).fill(0));
  });
});

describe("a flattened string", () => {
  test("equals the original", () => {
    fc.assert(fc.property(text, (value) => {
      expect(flattenString(value)).toBe(value);
    }));
  });

  test("does not keep the text alive from which it was cut", () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    collect();
    const before = process.memoryUsage().heapUsed;
    const slice = (i: number): string => Buffer.alloc(100_000, 97 + (i % 20)).toString("latin1").slice(10, 60);
    const kept = Array.from({ length: 300 }, (_, i) => flattenString(slice(i)));
    collect();
    // Unflattened they hold 30 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(5_000_000);
    expect(kept.length).toBe(300);
  });
});

describe("a record with flattened strings", () => {
  test("equals the original, and is the same object", () => {
    const long = "0123456789abcdef";
    const make = (): object => ({ long, short: "x", inner: { list: [long, 1, null] }, frozen: Object.freeze({ s: long }) });
    const record = make();
    expect(flattenStrings(record)).toBe(record);
    expect(record).toStrictEqual(make());
    expect(flattenStrings(long)).toBe(long);
  });
});
