// How many rows a batch codec takes per CPU-second, one thread, batches of 1,000 rows in a segment of 128 KiB.
// Run: npm run build && node test/bench/micro/codec.mjs [name …]        (about 15 seconds)
//
//   bid      7 fields: 3 whole numbers, a time, 3 strings          kv       { k, v }
//   pair     [string, number]                                      nested   a record in a record, a null now and then, a Date
//   point    instances of a class with 3 fields                    union    bids, auctions and persons, 46 : 3 : 1
//   values   a Map and a list of varying length beside columns     any      rows without any common shape
//
// Node 20.20.2, one of 2 shared cores, M rows per CPU-second (a busy neighbour takes up to half of encode away):
//   bid      136 bytes, encode 10.1, decode 28, 2 of 7 fields 110, copyRecord 20      kv      20 bytes, 73, 104, copyRecord 32
//   pair      20 bytes, 76, 61                                                        nested  36 bytes, 20, 21, copyRecord 8
//   point     17 bytes, 43, 82, copyRecord 9                                          union  141 bytes, 7.7, 21
//   values    24 bytes, 4.3, 11.6                                                     any     35 bytes, 2.1, 4.2
// A batch of 1 bid: encode 0.26 µs, decode 0.13 µs. The first batch of a type compiles: 2 ms and 0.5 ms.
import { Bench } from "tinybench";
import { ClassRegistry } from "../../../dist/core/data/classes.js";
import { BatchDecoder, BatchEncoder, copyRecord, decodeValue, encodeValue } from "../../../dist/core/data/codec.js";
import { SEGMENT_BYTES, SEGMENT_HEADER_BYTES, segmentMemory } from "../../../dist/core/data/element.js";
import { keyGroupOf } from "../../../dist/core/data/key-groups.js";
import { keyToken } from "../../../dist/core/data/keys.js";
import { flattenString } from "../../../dist/core/data/text.js";

const ROWS = 16_000;
const BATCH = 1_000;

class Point {
  constructor(x, y, label) {
    this.x = x;
    this.y = y;
    this.label = label;
  }
}
const classes = new ClassRegistry([{ name: "Point", constructor: Point, privateFields: [] }]);

let state = 42;
const random = () => {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return state >>> 0;
};
const letters = Array.from({ length: 8_192 }, () => String.fromCharCode(97 + (random() % 26))).join("");
const channels = ["Google", "Facebook", "Baidu", "Apple", ...Array.from({ length: 10_000 }, (_, i) => `channel-${i}`)];
const urls = channels.map((_, i) => `https://www.nexmark.com/${random().toString(36)}/item.htm?query=1&channel_id=${i}`);
const bid = (i) => {
  const channel = random() & 1 ? random() & 3 : random() % 10_000;
  const start = random() % 8_000;
  return {
    auction: 1_000 + (random() % 10_000), bidder: 1_000 + (random() % 50_000), price: 100 + (random() % 1_000_000),
    channel: channels[channel], url: urls[channel], dateTime: 1.7e12 + i, extra: letters.slice(start, start + 16 + (random() & 31)),
  };
};
const auction = (i) => ({
  id: i, itemName: `item ${i}`, description: letters.slice(i % 8_000, (i % 8_000) + 60), initialBid: random() % 100,
  reserve: random() % 200, dateTime: 1.7e12 + i, expires: 1.7e12 + 2 * i, seller: random() % 1_000, category: 10 + (i % 5), extra: "",
});
const person = (i) => ({
  id: i, name: `Jo ${i}`, emailAddress: `jo${i}@example.org`, creditCard: "1234 5678 9012 3456", city: "Seoul", state: "KR",
  dateTime: 1.7e12 + i, extra: "",
});

const kinds = {
  bid,
  kv: (i) => ({ k: (i * 7_919) % 10_000, v: i * 0.5 }),
  pair: (i) => [channels[i % 5_000], i],
  nested: (i) => ({ id: i, at: i % 50 === 0 ? null : { lat: i / 7, lon: i / 11 }, name: `n${i % 100}`, when: new Date(i * 1_000) }),
  point: (i) => new Point(i, -i / 3, "p"),
  union: (i) => (i % 50 === 0 ? person(i) : i % 50 < 4 ? auction(i) : bid(i)),
  values: (i) => ({ id: i, tags: new Map([["a", i]]), list: Array.from({ length: i % 8 }, (_, j) => j * i) }),
  any: (i) => ({ [`field${i % 400}`]: i, user: { name: `n${i}`, roles: ["a", "b"].slice(0, i % 3) } }),
};

const chosen = process.argv.slice(2);
const wanted = (name) => chosen.length === 0 || chosen.includes(name);
/** CPU time of the whole process, ms: garbage collection counts, other people's load does not. */
const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};
const options = { now: cpuMs, time: 600, warmupTime: 300, iterations: 4 };
const report = (rows) => console.table(rows);

const results = {};
for (const [name, make] of Object.entries(kinds)) {
  if (!wanted(name)) continue;
  const rows = Array.from({ length: ROWS }, (_, i) => make(i));
  const timestamps = Float64Array.from(rows, (row, i) => row.dateTime ?? i);
  const memory = segmentMemory(new SharedArrayBuffer(SEGMENT_BYTES));
  const encoder = new BatchEncoder({ classes });
  const decoder = new BatchDecoder({ classes });
  const projecting = new BatchDecoder({ classes, columns: ["auction", "dateTime", "k", "id"] });

  // What is decoded over and over: one pass's segments, kept side by side.
  const segments = [];
  let bytes = 0;
  const pass = (keep) => {
    for (let from = 0; from < ROWS;) {
      const written = encoder.encode(memory, SEGMENT_HEADER_BYTES, SEGMENT_BYTES, rows, timestamps, from, Math.min(from + BATCH, ROWS));
      if (keep) {
        const copy = segmentMemory(new SharedArrayBuffer(SEGMENT_BYTES));
        copy.bytes.set(memory.bytes);
        segments.push([copy, written]);
        bytes += encoder.bytesWritten;
      }
      from += written;
    }
  };
  pass(true);
  const out = [];
  const times = new Float64Array(BATCH);
  let sum = 0;
  const decode = (with_) => {
    for (const [segment, count] of segments) {
      with_.decode(segment, SEGMENT_HEADER_BYTES, count, out, times);
      for (let i = 0; i < count; i++) sum += out[i] === undefined ? 1 : 0;
    }
  };
  decode(decoder);
  decode(projecting);
  const bench = new Bench(options);
  bench.add("encode", () => pass(false)).add("decode", () => decode(decoder));
  if (name === "bid" || name === "union") bench.add("decode 2 fields", () => decode(projecting));
  if (name !== "pair") bench.add("copyRecord", () => rows.forEach((row) => copyRecord(row, classes)));
  await bench.run();
  results[name] = { "bytes/row": +(bytes / ROWS).toFixed(1) };
  for (const task of bench.tasks) results[name][`${task.name}, M/s`] = +(ROWS / task.result.latency.p50 / 1_000).toFixed(1);
  if (sum > 0) throw new Error("a row got lost");
}
if (Object.keys(results).length > 0) report(results);

if (wanted("keys")) {
  const texts = Array.from({ length: ROWS }, (_, i) => `user-${i}`);
  const pairs = texts.map((text, i) => [text, i]);
  const records = Array.from({ length: ROWS }, (_, i) => ({ k: i, v: `v${i}` }));
  const encoded = records.map((record) => encodeValue(record));
  let sum = 0;
  const bench = new Bench(options);
  bench
    .add("key group of a whole number", () => { for (let i = 0; i < ROWS; i++) sum += keyGroupOf(keyToken(i), 128); })
    .add("key group of a short string", () => { for (let i = 0; i < ROWS; i++) sum += keyGroupOf(keyToken(texts[i]), 128); })
    .add("token of a pair", () => { for (let i = 0; i < ROWS; i++) sum += keyToken(pairs[i]).length; })
    .add("encodeValue of { k, v }", () => { for (let i = 0; i < ROWS; i++) sum += encodeValue(records[i]).length; })
    .add("decodeValue of { k, v }", () => { for (let i = 0; i < ROWS; i++) sum += decodeValue(encoded[i]).k; })
    .add("flattenString of 40 characters", () => {
      for (let i = 0; i < ROWS; i++) sum += flattenString(letters.slice(i % 8_000, (i % 8_000) + 40)).length;
    });
  await bench.run();
  const table = {};
  for (const task of bench.tasks) table[task.name] = { "M/s": +(ROWS / task.result.latency.p50 / 1_000).toFixed(1) };
  if (Number.isNaN(sum)) throw new Error("a sum got lost");
  report(table);
}
