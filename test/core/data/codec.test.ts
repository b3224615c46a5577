import { describe, expect, test } from "vitest";
import type { ClassRegistry } from "../../../src/core/data/classes.ts";
import { BatchDecoder, BatchEncoder, copyRecord, decodeValue, encodeValue } from "../../../src/core/data/codec.ts";
import { segmentMemory, type SegmentMemory } from "../../../src/core/data/element.ts";
import { RecordError } from "../../../src/core/types/errors.ts";
import { anyValue, fc, Money, Point, recordLike, registry, Secret, Tagged } from "./arbitraries.ts";
import { difference } from "./difference.ts";

/** Sends rows through an encoder and a decoder in segments of `segmentBytes`, as a channel would. */
class Link {
  readonly memory: SegmentMemory;
  readonly encoder: BatchEncoder;
  readonly decoder: BatchDecoder;
  readonly segmentBytes: number;
  batches = 0;
  oversize = 0;
  bytes = 0;
  timestamps: number[] = [];

  constructor(options: { segmentBytes?: number; classes?: ClassRegistry; columns?: readonly string[]; maxRows?: number } = {}) {
    const { classes = registry, columns, maxRows } = options;
    this.segmentBytes = options.segmentBytes ?? 128 * 1024;
    // A wall of known bytes behind the segment shows writes beyond the limit.
    this.memory = segmentMemory(new SharedArrayBuffer(this.segmentBytes + 64));
    this.encoder = new BatchEncoder({ classes, ...(maxRows === undefined ? {} : { maxRows }) });
    this.decoder = new BatchDecoder({ classes, ...(columns === undefined ? {} : { columns }) });
  }

  send(rows: readonly unknown[], at: (i: number) => number = (i) => i * 3 + 0.5): unknown[] {
    const timestamps = Float64Array.from(rows, (_, i) => at(i));
    const received: unknown[] = [];
    this.timestamps = [];
    for (let from = 0; from < rows.length;) {
      this.memory.bytes.fill(0xaa, this.segmentBytes);
      const written = this.encoder.encode(this.memory, 32, this.segmentBytes, rows, timestamps, from, rows.length);
      expect([...this.memory.bytes.subarray(this.segmentBytes)]).toEqual(new Array(64).fill(0xaa));
      if (written === 0) {
        this.oversize++;
        const { row, timestamp } = this.decoder.decodeRow(this.encoder.encodeRow(rows[from], timestamps[from] as number));
        received.push(row);
        this.timestamps.push(timestamp);
        from++;
        continue;
      }
      this.batches++;
      this.bytes += this.encoder.bytesWritten;
      expect(32 + this.encoder.bytesWritten).toBeLessThanOrEqual(this.segmentBytes);
      const times = new Float64Array(written);
      const out: unknown[] = [];
      this.decoder.decode(this.memory, 32, written, out, times);
      this.memory.bytes.fill(0xee, 0, this.segmentBytes);
      received.push(...out);
      this.timestamps.push(...times);
      from += written;
    }
    equal(this.timestamps, [...timestamps]);
    return received;
  }

  same(rows: readonly unknown[], at?: (i: number) => number): void {
    const received = this.send(rows, at);
    expect(received.length).toBe(rows.length);
    // Row by row: an object in two rows becomes two.
    rows.forEach((row, i) => equal(received[i], row));
  }
}

function equal(actual: unknown, expected: unknown): void {
  expect(difference(actual, expected)).toBe(undefined);
}

const bid = (i: number): object => ({
  auction: 1000 + i, bidder: i * 7, price: 100.5 + i, channel: `channel-${i % 7}`, url: `https://example.org/item?query=1&channel_id=${i}`,
  dateTime: 1_700_000_000_000 + i, extra: "x".repeat(i % 40),
});
const range = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

describe("a batch", () => {
  test("arrives with the values, field orders and timestamps with which it left", () => {
    new Link().same(range(500, bid));
  });

  test.each<[string, unknown[]]>([
    ["numbers", range(300, (i) => i * 0.5)],
    ["whole numbers", range(300, (i) => i - 150)],
    ["strings", range(300, (i) => `row ${i}`)],
    ["booleans", range(300, (i) => i % 3 === 0)],
    ["pairs", range(300, (i): unknown => [`key ${i % 5}`, i])],
    ["dates", range(30, (i) => new Date(i * 1e9))],
    ["nulls and undefined", range(30, (i) => (i % 2 === 0 ? null : undefined))],
    ["empty records", range(30, () => ({}))],
    ["empty arrays", range(30, () => [])],
    ["records in records", range(300, (i) => ({ id: i, at: { x: i, y: { z: `${i}` } }, pair: [i, `${i}`] }))],
    ["records with null parts", range(300, (i) => (
      { id: i, at: i % 3 === 0 ? null : i % 3 === 1 ? undefined : { x: i, s: "s" }, name: i % 5 === 0 ? null : `n${i}` }
    ))],
    ["records with odd names", range(20, (i) => ({ "a b": i, "'\"\\\n": `${i}`, "\ud800": true, constructor: i, 7: i, "ünï": "é" }))],
    ["instances of a class", range(300, (i) => new Point(i, -i))],
    ["records that hold instances", range(300, (i) => ({ from: new Point(i, 1), label: new Tagged(`t${i}`, i) }))],
    ["records with a Map beside columns", range(300, (i) => (
      { id: i, tags: new Map([["a", i]]), list: range(i % 20, (j) => j), when: new Date(i) }
    ))],
    ["bigints", range(50, (i) => 2n ** BigInt(i * 5) * (i % 2 === 0 ? 1n : -1n))],
  ])("holds %s", (_, rows) => {
    new Link().same(rows);
  });

  test("keeps an own field named __proto__", () => {
    const rows = range(300, (i) => JSON.parse(`{"a":${i},"__proto__":{"b":1}}`) as unknown);
    new Link().same(rows);
    equal(decodeValue(encodeValue(rows)), rows);
  });

  test("keeps numbers that a column of whole numbers would change", () => {
    const odd = [-0, Number.NaN, 2 ** 31, -(2 ** 31) - 1, 0.1, Infinity, -Infinity, 5e-324, Number.MAX_VALUE];
    for (const value of odd) {
      const link = new Link();
      link.same([...range(100, (v) => ({ v })), { v: value }, ...range(100, (v) => ({ v }))]);
      link.same([...range(10, (v) => v), value, ...range(10, (v) => v)]);
    }
  });

  test("keeps any string, also lone surrogates, in one, two and mixed widths", () => {
    const link = new Link({ segmentBytes: 4096 });
    for (const s of ["abc", "é", "한글", "\ud800", "\udfff x", "😀", "", "\0", "\u00ff\u0100"]) {
      link.same(range(200, (i) => ({ i, s: s.repeat(i % 7), t: `${s}${i}` })));
    }
  });

  test("tells an absent field from an undefined one, and keeps the order of fields", () => {
    new Link().same(range(200, (i): unknown => {
      switch (i % 4) {
        case 0: return { a: 1, b: 2 };
        case 1: return { b: 2, a: 1 };
        case 2: return { a: 1 };
        default: return { a: 1, b: undefined };
      }
    }));
  });

  test("is told apart by a class, a null prototype and a plain record with the same fields", () => {
    new Link().same(range(100, (i): unknown =>
      i % 3 === 0 ? new Point(1, 2) : i % 3 === 1 ? { x: 1, y: 2 } : Object.assign(Object.create(null) as object, { x: 1, y: 2 })));
  });

  test("keeps one object in two places of a row as one object", () => {
    const rows = range(50, (i) => {
      const shared = { n: i };
      return { a: shared, b: shared, c: { n: i } };
    });
    const received = new Link().send([{ a: { n: 1 }, b: { n: 1 }, c: { n: 1 } }, ...rows]) as { a: object; b: object; c: object }[];
    equal(received.slice(1), rows);
    expect(received.map((row) => row.a === row.b)).toEqual([false, ...rows.map(() => true)]);
    expect(received.some((row) => row.a === row.c)).toBe(false);
  });

  test("keeps a value that leads back to its row", () => {
    const rows = range(20, (i) => {
      const row: Record<string, unknown> = { i, at: { x: i } };
      if (i > 10) row.back = new Map<unknown, unknown>([["row", row], ["at", row.at]]);
      else row.back = new Map();
      return row;
    });
    const received = new Link().send(rows) as { back: Map<string, unknown>; at: unknown }[];
    expect(received[15]?.back.get("row")).toBe(received[15]);
    expect(received[15]?.back.get("at")).toBe(received[15]?.at);
    expect(received[3]?.back.size).toBe(0);
  });

  test("has no more rows than it was limited to", () => {
    const link = new Link({ maxRows: 7 });
    link.same(range(30, bid));
    expect(link.batches).toBe(5);
  });

  test("refuses what cannot travel, with the path to it", () => {
    const row = (id: number, callback: unknown): object => ({ id, user: { name: "n", callback } });
    const rows = [...range(20, (i) => row(i, null)), row(20, () => 1)];
    const link = new Link();
    expect(() => link.send(rows)).toThrow(RecordError);
    expect(() => link.send(rows)).toThrow("record.user.callback: a function cannot travel");
    link.same(range(10, bid));
  });
});

describe("timestamps", () => {
  test.each<[string, (i: number) => number]>([
    ["all equal", () => 42],
    ["all -Infinity", () => -Infinity],
    ["all NaN", () => Number.NaN],
    ["those of a column of numbers", (i) => 1_700_000_000_000 + i],
    ["those of a column of whole numbers", (i) => 1000 + i],
    ["those of a column up to the last", (i) => (i === 299 ? 0 : 1000 + i)],
    ["all equal but the last", (i) => (i === 299 ? 8 : 7)],
    ["without a rule", (i) => (i * 7919) % 1000],
  ])("survive when they are %s", (_, at) => {
    new Link().same(range(300, bid), at);
  });

  test("take no room when they are constant or equal to a column", () => {
    const bytes = (at: (i: number) => number): number => {
      const link = new Link();
      link.same(range(300, bid), at);
      return link.bytes;
    };
    const each = bytes((i) => i / 3);
    expect(bytes((i) => 1_700_000_000_000 + i)).toBe(each - 8 * 300);
    expect(bytes(() => 7)).toBe(each - 8 * 299);
  });
});

describe("a segment that is too small", () => {
  test("takes a part of the rows, and the next segment goes on", () => {
    for (const segmentBytes of [512, 1024, 4096]) {
      const link = new Link({ segmentBytes });
      link.same(range(300, bid));
      expect(link.batches).toBeGreaterThan(3);
    }
  });

  test("leaves a row that fits into none to encodeRow, and takes the others", () => {
    const link = new Link({ segmentBytes: 2048 });
    link.same(range(60, (i) => ({ i, s: i % 20 === 10 ? "long ".repeat(1000) : "short" })));
    expect(link.oversize).toBe(3);
    expect(link.batches).toBeGreaterThan(0);
  });

  test("takes a long row alone, where columns for many rows would leave no room for it", () => {
    const link = new Link({ segmentBytes: 2048 });
    link.same(range(100, (i) => ({ i, s: "s" })));
    link.same(range(100, (i) => ({ i, s: "long".repeat(i % 10 === 0 ? 400 : 1) })));
    expect(link.oversize).toBe(0);
  });

  test("splits rows of several types, and rows of values", () => {
    const link = new Link({ segmentBytes: 2048 });
    const person = (i: number): object => ({ person: `p${i}` });
    const auction = (i: number): object => ({ auction: i, item: "x".repeat(i % 50) });
    link.same(range(400, (i) => (i % 3 === 0 ? person(i) : i % 3 === 1 ? auction(i) : bid(i))));
    link.same(range(400, (i): unknown => new Set([i, `${i}`])));
  });
});

describe("a stream that changes", () => {
  test("from whole numbers to fractions, to strings, to records goes on with columns", () => {
    const link = new Link();
    link.same(range(200, (i) => ({ v: i })));
    link.same(range(200, (i) => ({ v: i + 0.5 })));
    link.same(range(200, (i) => ({ v: `${i}` })));
    link.same(range(200, (i) => ({ v: { i } })));
    link.same(range(200, (i) => ({ v: i, w: null })));
    link.same(range(200, (i) => ({ v: i, w: "w" })));
  });

  test("once to another shape is soon as compact as one that always had it", () => {
    const fresh = new Link();
    fresh.same(range(500, bid));
    const changed = new Link();
    changed.same(range(500, (i) => ({ other: i })));
    changed.same(range(500, bid));
    changed.bytes = 0;
    changed.same(range(500, bid));
    expect(changed.bytes).toBeLessThanOrEqual(fresh.bytes);
  });

  test("its shape without end stays exact", () => {
    const link = new Link();
    for (let round = 0; round < 80; round++) link.same(range(40, (i) => ({ [`field${(round * 40 + i) % 997}`]: i, common: round })));
    link.same(range(100, bid));
  });

  test("a column per row of a wide record finds its type in one batch", () => {
    const names = range(100, (i) => `c${i}`);
    const wide = (odd: number): object => Object.fromEntries(names.map((name, i) => [name, i === odd ? (i % 2 === 0 ? null : 0.5) : i]));
    new Link().same([...range(70, () => wide(-1)), ...range(100, (i) => wide(i))]);
  });
});

describe("a choice of columns", () => {
  test("yields records with only these, in their order", () => {
    const link = new Link({ columns: ["dateTime", "auction", "channel"] });
    const chosen = (i: number): object => ({ auction: 1000 + i, channel: `channel-${i % 7}`, dateTime: 1_700_000_000_000 + i });
    expect(link.send(range(100, bid))).toEqual(range(100, chosen));
  });

  test("holds for rows of every form", () => {
    const link = new Link({ columns: ["a"], segmentBytes: 4096 });
    const wide = { a: 1, rest: "r".repeat(5000) };
    const nested = (i: number): object => ({ a: { deep: i }, b: new Map([[1, 2]]), c: `s${i}` });
    const received = link.send([wide, { a: 2n, b: 1 }, nested(1), [1, 2], "text", { b: 2 }]);
    expect(received).toEqual([{ a: 1 }, { a: 2n }, { a: { deep: 1 } }, [1, 2], "text", {}]);
  });
});

describe("any sequence of rows", () => {
  test("arrives as it left, through segments of any size", () => {
    const streams = fc.array(fc.array(recordLike, { maxLength: 20 }), { maxLength: 6 });
    fc.assert(fc.property(streams, fc.constantFrom(256, 1024, 8192, 65536), (batches, segmentBytes) => {
      const link = new Link({ segmentBytes });
      for (const rows of batches) link.same(rows);
    }), { numRuns: 200 });
  }, 60_000);

  test("of any values arrives as it left", () => {
    fc.assert(fc.property(fc.array(anyValue, { maxLength: 30 }), fc.constantFrom(1024, 65536), (rows, segmentBytes) => {
      new Link({ segmentBytes }).same(rows);
    }), { numRuns: 200 });
  }, 60_000);
});

describe("a separable batch", () => {
  test("can be read without those before it, by a reader that is new or has missed some", () => {
    const streams = fc.array(fc.array(recordLike, { minLength: 1, maxLength: 20 }), { maxLength: 8 });
    fc.assert(fc.property(streams, fc.integer({ min: 1, max: 255 }), (batches, missed) => {
      const encoder = new BatchEncoder({ classes: registry, separable: true });
      const steady = new BatchDecoder({ classes: registry });
      for (const [index, rows] of batches.entries()) {
        const memory = segmentMemory(new ArrayBuffer(128 * 1024));
        expect(encoder.encode(memory, 32, 128 * 1024, rows, new Float64Array(rows.length), 0, rows.length)).toBe(rows.length);
        const readers = [new BatchDecoder({ classes: registry }), ...(((missed >> index) & 1) === 0 ? [steady] : [])];
        for (const reader of readers) {
          const received: unknown[] = [];
          reader.decode(memory, 32, rows.length, received, new Float64Array(rows.length));
          rows.forEach((row, i) => equal(received[i], row));
        }
      }
    }), { numRuns: 200 });
  }, 60_000);
});

describe("a copy", () => {
  test("of any value is equal and shares nothing mutable with the original", () => {
    fc.assert(fc.property(anyValue, (value) => equal(copyRecord(value, registry), value)), { numRuns: 300 });
    const original = { a: { b: [1, { c: 2 }] } };
    const copy = copyRecord(original);
    (copy.a.b[1] as { c: number }).c = 3;
    expect(original).toEqual({ a: { b: [1, { c: 2 }] } });
  });

  test("keeps sharing and cycles", () => {
    const shared = { n: 1 };
    const value: Record<string, unknown> = { a: shared, b: shared };
    const copy = copyRecord(value);
    expect(copy.a).toBe(copy.b);
    value.self = value;
    const cyclic = copyRecord(value);
    expect(cyclic.self).toBe(cyclic);
  });

  test("refuses what a channel refuses", () => {
    expect(() => copyRecord({ f: () => 1 })).toThrow(RecordError);
    expect(() => copyRecord(Symbol("s"))).toThrow(RecordError);
    expect(() => copyRecord(new Secret(1), registry)).toThrow("private state (#code)");
    expect(copyRecord(new Money(5n, "EUR"), registry)).toStrictEqual(new Money(5n, "EUR"));
  });
});
