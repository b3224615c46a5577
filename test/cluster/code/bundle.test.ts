import { describe, expect, test } from "vitest";
import { bundleDigest, decodeBundle, encodeBundle } from "../../../src/cluster/code/bundle.ts";
import { captureSync } from "../../../src/cluster/code/capture.ts";
import { ProtocolError } from "../../../src/core/types/errors.ts";

const table = new Map([["a", 1n]]);
const bundle = captureSync([{ label: "map(f)", value: (x: string) => table.get(x) }]);

describe("a bundle as bytes", () => {
  test("is the same bundle when it is read again", () => {
    expect(decodeBundle(encodeBundle(bundle))).toEqual(bundle);
  });

  test("is read from the middle of a larger piece of memory", () => {
    const bytes = encodeBundle(bundle);
    const larger = new Uint8Array(bytes.length + 7);
    larger.set(bytes, 5);
    expect(decodeBundle(larger.subarray(5, 5 + bytes.length))).toEqual(bundle);
  });

  test("has one digest however often the same functions are captured", () => {
    const one = (): string => bundleDigest(encodeBundle(captureSync([{ label: "map(f)", value: (x: string) => table.get(x) }])));
    const [first, second] = [one(), one()];
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    expect(second).toBe(first);
  });

  test.for([
    ["no bundle at all", (): Uint8Array => new TextEncoder().encode("PK and so on, an archive"), /not a code bundle/],
    ["nothing", (): Uint8Array => new Uint8Array(), /These 0 bytes are not a code bundle/],
    ["a bundle that was cut off", (): Uint8Array => encodeBundle(bundle).subarray(0, -3), /should have \d+ bytes, but \d+ arrived/],
    ["a bundle of a newer drey", (): Uint8Array => changed(8, 9), /has version 9; this process reads version 1/],
    ["a bundle with a damaged inside", (): Uint8Array => changed(16, 0), /can't be read by v\d+/],
  ] as const)("is refused when it is %s", ([_what, bytes, message]) => {
    expect(() => decodeBundle(bytes())).toThrow(ProtocolError);
    expect(() => decodeBundle(bytes())).toThrow(message);
  });
});

function changed(at: number, value: number): Uint8Array {
  const bytes = encodeBundle(bundle);
  bytes[at] = value;
  return bytes;
}
