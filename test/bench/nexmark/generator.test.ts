import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Bid, NexmarkGenerator, type NexmarkEvent } from "./generator.ts";

const golden = (file: string): Buffer => readFileSync(new URL(`../../golden/nexmark/${file}`, import.meta.url));
const manifest = JSON.parse(golden("manifest.json").toString()) as {
  readonly events: Readonly<Record<"n" | "rate" | "base" | "seed", number>> & { readonly jsonlSha256: string };
};

/** An event as the Java generator writes it. */
function jsonLine(event: NexmarkEvent): string {
  const { kind, ...row } = event;
  const kinds = ["person", "auction", "bid"];
  const time = (key: string, value: unknown): unknown =>
    key === "dateTime" || key === "expires" ? new Date(value as number).toISOString().replace("T", " ").replace("Z", "") : value;
  return `${JSON.stringify({ event_type: kinds.indexOf(kind), person: null, auction: null, bid: null, [kind]: row }, time)}\n`;
}

describe("the Nexmark generator", () => {
  const { n, rate, base, seed } = manifest.events;
  const generator = new NexmarkGenerator({ seed, rate, baseMs: base });

  test("the figures of a bid are those of the whole bid", () => {
    for (let number = 0; number < 2_000; number++) {
      const event = generator.event(number);
      const whole = event.kind === "bid" ? { auction: event.auction, price: event.price } : { auction: -1, price: 0 };
      expect(generator.bidFigures(number)).toEqual({ ...whole, time: event.dateTime });
    }
  });

  test("makes the same first events as the Java generator, field by field", () => {
    const lines = gunzipSync(golden("events.head.jsonl.gz")).toString().trimEnd().split("\n");
    for (const [number, line] of lines.entries()) expect(JSON.parse(jsonLine(generator.event(number)))).toEqual(JSON.parse(line));
  });

  test("makes the same 200,000 events as the Java generator, byte by byte", () => {
    const hash = createHash("sha256");
    for (let number = 0; number < n; number++) hash.update(jsonLine(generator.event(number)));
    expect(hash.digest("hex")).toBe(manifest.events.jsonlSha256);
  });

  test("computes with exact integers, however late the event and whatever the seed", () => {
    const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    const numbers = fc.integer({ min: 0, max: 2 ** 43 });
    const rates = fc.integer({ min: 1, max: 1_000_000 });
    fc.assert(
      fc.property(seeds, numbers, rates, (ofSeed, number, ofRate) => {
        const event = new NexmarkGenerator({ seed: ofSeed, rate: ofRate }).event(number);
        expect(figuresOf(event)).toEqual(exactFigures(BigInt(ofSeed), BigInt(ofRate), BigInt(number)));
      }),
      { numRuns: 60 },
    );
  });

  test("out of order, every event of a group comes once, and none leaves its group", () => {
    const shuffled = new NexmarkGenerator({ rate, outOfOrderGroup: 1_000 });
    const times = (first: number): number[] => Array.from({ length: 1_000 }, (_, index) => shuffled.eventAt(first + index).dateTime);
    expect(times(3_000)).not.toEqual(times(3_000).toSorted());
    const inOrder = Array.from({ length: 1_000 }, (_, index) => generator.event(3_000 + index).dateTime);
    expect(times(3_000).toSorted()).toEqual(inOrder);
  });
});

/** The whole numbers of an event. */
function figuresOf(event: NexmarkEvent): readonly unknown[] {
  if (event.kind === "person") return [event.id, event.dateTime, event.city, event.creditCard];
  if (event.kind === "auction") {
    return [event.id, event.dateTime, event.seller, event.category, event.initialBid, event.reserve, event.expires];
  }
  const { auction, bidder, price, dateTime, channel } = event satisfies Bid;
  return [auction, bidder, price, dateTime, channel];
}

// The same numbers by unbounded integers, written from the specification.

const WORD = 2n ** 32n;

function mix(value: bigint): bigint {
  let x = ((value % WORD) + WORD) % WORD;
  x ^= x >> 16n;
  x = (x * 0x7feb352dn) % WORD;
  x ^= x >> 15n;
  x = (x * 0x846ca68bn) % WORD;
  return x ^ (x >> 16n);
}

function exactFigures(seed: bigint, rate: bigint, i: bigint): readonly unknown[] {
  const gamma = 0x9e3779b9n;
  const s = mix((i % WORD) ^ mix(i / WORD + seed + gamma));
  const draw = (k: bigint): bigint => mix(s + k * gamma);
  const below = (u: bigint, n: bigint): bigint => (u * n) / WORD;
  const time = (at: bigint): bigint => 1_436_918_340_000n + (at * 1_000n) / rate;
  const lastPerson = i / 50n;
  const rest = i % 50n;
  const lastAuction = rest === 0n ? (i / 50n) * 3n - 1n : rest <= 3n ? (i / 50n) * 3n + rest - 1n : (i / 50n) * 3n + 2n;
  const pickPerson = (u: bigint): bigint => {
    const people = lastPerson + 1n;
    const active = people < 1_000n ? people : 1_000n;
    return people - active + below(u, active + 10n);
  };
  const steps = Array.from({ length: 17 }, (_, j) => BigInt(Math.round(10 ** (j / 16) * 1e6)));
  const price = (u: bigint): bigint => {
    const t = (u * 1_572_864n) / WORD;
    const [j, f] = [Number((t & 0x3ffffn) >> 14n), t & 0x3fffn];
    const m = (steps[j] as bigint) + (((steps[j + 1] as bigint) - (steps[j] as bigint)) * f) / 16_384n;
    return (m * 10n ** (t >> 18n) + 5_000n) / 10_000n;
  };
  if (rest === 0n) {
    const cities = "Phoenix,Los Angeles,San Francisco,Boise,Portland,Bend,Redmond,Seattle,Kent,Cheyenne".split(",");
    const city = cities[Number(below(draw(9n), 10n))];
    const card = [5n, 6n, 7n, 8n].map((k) => below(draw(k), 10_000n).toString().padStart(4, "0")).join(" ");
    return [Number(1_000n + lastPerson), Number(time(i)), city, card];
  }
  if (rest <= 3n) {
    const lifetime = 2n * (time(i + 1_666n) - time(i));
    const seller = below(draw(1n), 4n) > 0n ? (lastPerson / 100n) * 100n : pickPerson(draw(2n));
    const expires = time(i) + 1n + below(draw(5n), lifetime > 1n ? lifetime : 1n);
    const initial = price(draw(4n));
    const category = 10n + below(draw(3n), 5n);
    return [1_000n + lastAuction, time(i), 1_000n + seller, category, initial, initial + price(draw(8n)), expires].map(Number);
  }
  const oldest = lastAuction > 100n ? lastAuction - 100n : 0n;
  const auction = below(draw(1n), 2n) > 0n ? (lastAuction / 100n) * 100n : oldest + below(draw(2n), lastAuction - oldest + 11n);
  const bidder = below(draw(3n), 4n) > 0n ? (lastPerson / 100n) * 100n + 1n : pickPerson(draw(4n));
  const hot = below(draw(6n), 2n) > 0n;
  const channel = hot ? ["Google", "Facebook", "Baidu", "Apple"][Number(below(draw(7n), 4n))] : `channel-${below(draw(7n), 10_000n)}`;
  return [Number(1_000n + auction), Number(1_000n + bidder), Number(price(draw(5n))), Number(time(i)), channel];
}
