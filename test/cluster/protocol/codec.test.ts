import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { MAX_DEPTH, MAX_HEADER_BYTES, decode, encode, type Content, type Message } from "../../../src/cluster/protocol/codec.ts";
import { ProtocolError, toWire } from "../../../src/core/types/errors.ts";

const envelope = { epoch: 3, incarnation: "run-1", session: 2 };
const raw = new Packr({ useRecords: false, variableMapSize: true });
const header = (over: object = {}): Uint8Array => raw.pack({ v: 1, k: "req", e: 3, i: "run-1", s: 2, id: 9, m: "deploy", a: null, ...over });
const why = (bytes: Uint8Array): string => {
  const decoded = decode(bytes);
  return decoded.ok ? "accepted" : decoded.why;
};

const contents: Content[] = [
  { kind: "hello", identity: "tm-1", acceptsBytes: 100 },
  { kind: "welcome", acceptsBytes: 100 },
  { kind: "bye", reason: "enough", again: true },
  { kind: "heartbeat" },
  { kind: "alive" },
  { kind: "request", id: 1, method: "deploy", args: { tasks: [1, "two", null, true, 2n ** 60n, new Date(5), undefined, -1.5] } },
  { kind: "reply", id: 1, args: undefined },
  { kind: "failure", id: 1, error: JSON.parse(JSON.stringify(toWire(new TypeError("no", { cause: new ProtocolError("deep", { details: { at: 1 } }) })))) },
  { kind: "event", method: "log.lines", args: [] },
];

describe("a message", () => {
  it.each(contents)("of kind $kind arrives as it was sent", (content) => {
    expect(decode(encode({ ...envelope, ...content }))).toEqual({ ok: true, message: { ...envelope, ...content } });
  });

  it("with any plain value arrives as it was sent", () => {
    const key = fc.string().filter((text) => !["__proto__", "constructor", "prototype"].includes(text));
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constantFrom(null, true, false, undefined),
        fc.integer(),
        fc.double({ noNaN: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
        fc.string({ unit: "grapheme" }),
        fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
        fc.array(tie("value")),
        fc.dictionary(key, tie("value"), { noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(value, (args) => {
        const message: Message = { ...envelope, kind: "event", method: "m", args };
        expect(decode(encode(message))).toEqual({ ok: true, message });
      }),
    );
  });

  it("with bytes in it keeps them", () => {
    const decoded = decode(encode({ ...envelope, kind: "event", method: "m", args: new Uint8Array([1, 2, 3]) }));
    expect(decoded.ok && decoded.message.kind === "event" && [...(decoded.message.args as Uint8Array)]).toEqual([1, 2, 3]);
  });

  it.each([
    ["__proto__", JSON.parse('{"constructor": 1}')],
    ["levels", Array.from({ length: MAX_DEPTH + 1 }).reduce((inner: unknown) => [inner], null)],
    ["attachment", "x".repeat(MAX_HEADER_BYTES)],
    ["packed", Symbol("s")],
    ["packed", 2n ** 70n],
  ])("that the other side would refuse is refused at its sender (%s)", (reason, args) => {
    expect(() => encode({ ...envelope, kind: "request", id: 1, method: "deploy", args })).toThrow(ProtocolError);
    expect(() => encode({ ...envelope, kind: "request", id: 1, method: "deploy", args })).toThrow(new RegExp(`^the request of deploy .*${reason}`));
  });
});

describe("what arrives", () => {
  it("is accepted in the plainest form of MessagePack", () => expect(why(header())).toBe("accepted"));

  it.each<[string, object]>([
    ["another version", { v: 2 }],
    ["no version", { v: undefined }],
  ])("with %s is foreign", (_, over) => expect(why(header(over))).toBe("foreign version"));

  it.each<[string, object]>([
    ["an unknown kind", { k: "toString" }],
    ["a kind that is no text", { k: 1 }],
    ["a negative epoch", { e: -1 }],
    ["a fractional epoch", { e: 0.5 }],
    ["an empty incarnation", { i: "" }],
    ["a long incarnation", { i: "x".repeat(65) }],
    ["session 0", { s: 0 }],
    ["no id", { id: undefined }],
    ["a bigint id", { id: 2n ** 60n }],
    ["a method with a blank", { m: "de ploy" }],
    ["a long method", { m: "x".repeat(65) }],
    ["an error that is none", { k: "err", a: { name: "Error" } }],
    ["an error of an unknown domain", { k: "err", a: { name: "E", code: "", message: "", domain: "them" } }],
    ["an error with details that are a list", { k: "err", a: { name: "E", code: "", message: "", domain: "user", details: [] } }],
    ["an error whose cause is none", { k: "err", a: { name: "E", code: "", message: "", domain: "user", cause: 5 } }],
    ["a greeting without a name", { k: "hi", m: undefined, a: 1 }],
    ["a greeting with a strange name", { k: "hi", m: "a\nb", a: 1 }],
    ["a farewell without a reason", { k: "bye", a: null }],
  ])("with %s is malformed", (_, over) => expect(why(header(over))).toBe("malformed"));

  it.each<[string, string]>([
    ["nothing", ""],
    ["an array that claims 4 billion items", "ddffffffff"],
    ["a map that claims 4 billion entries", "dfffffffff"],
    ["a string that claims 4 GB", "dbffffffff61"],
    ["bytes that claim 4 GB", "c6ffffffff00"],
    ["nested arrays without end", "91".repeat(100_000)],
    ["nested maps without end", "81a161".repeat(100_000)],
    ["a bomb of arrays that claim what is left", "dc7fff".repeat(10_000)],
    ["a record definition", "d4727f92a161a1620102"],
    ["an extension of unknown type", "d405ff"],
    ["a regular expression", "c70478a16100"],
    ["a key that is a number", "810102"],
    ["a key that is a map", "818001"],
    ["a key __proto__", `81a9${Buffer.from("__proto__").toString("hex")}01`],
    ["a key prototype, in long form", `81db00000009${Buffer.from("prototype").toString("hex")}01`],
    ["a key constructor deep inside", `9181a16181ab${Buffer.from("constructor").toString("hex")}80`],
    ["the byte that has no meaning", "c1"],
    ["two values", "0101"],
  ])("as %s is garbage", (_, hex) => {
    expect(why(Buffer.from(hex, "hex"))).toBe("garbage");
  });

  it("as text, a list or a number is malformed", () => {
    for (const value of ["text", [1], 5, null]) expect(why(raw.pack(value))).toBe("malformed");
  });

  it("larger than a header may be is not looked at", () => expect(why(new Uint8Array(MAX_HEADER_BYTES + 1))).toBe("too large"));

  it("is never an exception, whatever the bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decode(bytes)), { numRuns: 2_000 });
    const good = encode({ ...envelope, ...contents[5]! } as Message);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 }), fc.nat(good.length), (at, byte, length) => {
        const bytes = Uint8Array.from(good);
        bytes[at] = byte;
        decode(bytes);
        expect(why(good.subarray(0, length))).toBe(length === good.length ? "accepted" : "garbage");
      }),
      { numRuns: 2_000 },
    );
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});
