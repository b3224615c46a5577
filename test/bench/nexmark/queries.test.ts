/** Answers of the queries against two truths: real Flink's, for 200,000 events, and a plain computation over arrays. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { LocalCluster, environment } from "drey";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type GeneratorOptions, NexmarkGenerator, type NexmarkEvent } from "./generator.ts";
import { queries } from "./queries/index.ts";
import { type AnyQuery, answerOf } from "./query.ts";
import { referenceAnswer } from "./reference.ts";

const golden = (file: string): Buffer => readFileSync(new URL(`../../golden/nexmark/${file}`, import.meta.url));
const manifest = JSON.parse(golden("manifest.json").toString()) as {
  readonly events: { readonly n: number; readonly rate: number };
  readonly answers: Readonly<Record<string, { readonly rows: number; readonly sha256: string }>>;
  readonly q14AtBase1436947100000: { readonly sha256: string };
};
const sha256 = (lines: readonly string[]): string => createHash("sha256").update(lines.map((line) => `${line}\n`).join("")).digest("hex");

let cluster: LocalCluster;
beforeAll(async () => {
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "heartbeat.timeout": "60 s" } });
});
afterAll(() => cluster.stop());

const answered = (name: string, generator: GeneratorOptions, count: number, parallelism = 1): Promise<string[]> => {
  const nexmark = new NexmarkGenerator(generator);
  const env = environment({ cluster, parallelism });
  return answerOf(env, queries[name] as AnyQuery, (position) => nexmark.eventAt(position), count).finally(() => env.close());
};

const expected = (name: string, generator: GeneratorOptions, count: number): string[] => {
  const nexmark = new NexmarkGenerator(generator);
  return referenceAnswer(name, Array.from({ length: count }, (_, position) => nexmark.eventAt(position)));
};

/** Answers for events that are given one by one. */
const answeredFor = (name: string, events: readonly NexmarkEvent[]): Promise<string[]> => {
  const env = environment({ cluster });
  const answer = answerOf(env, queries[name] as AnyQuery, (position) => events[position] as NexmarkEvent, events.length);
  return answer.finally(() => env.close());
};

const bidOf = (auction: number, price: number, dateTime: number): NexmarkEvent => ({
  kind: "bid", auction, bidder: 2_000, price, channel: "Apple", url: "https://www.nexmark.com/a/b/c/item.htm?query=1", dateTime, extra: "",
});

const auctionOf = (id: number, dateTime: number, expires: number): NexmarkEvent => ({
  kind: "auction", id, itemName: "", description: "", initialBid: 1, reserve: 2, dateTime, expires, seller: 3_000, category: 10, extra: "",
});

describe("Nexmark answers as worked out by hand", () => {
  // Half a minute of event time across midnight, 10 milliseconds between events: nothing is tied.
  const inOrder: GeneratorOptions = { seed: 7, rate: 100, baseMs: Date.UTC(2015, 6, 14, 23, 59, 45) };

  test.each(Object.keys(queries))("%s, in order, at one subtask", async (name) => {
    expect(await answered(name, inOrder, 3_000)).toEqual(expected(name, inOrder, 3_000));
  });

  // Those of one event at a time can't go wrong here; the others are run out of order below, against Flink's answers.
  test.each(["q3", "q6", "q9", "q11", "q15", "q16", "q17", "q18", "q19", "q20"])("%s, out of order, at two subtasks", async (name) => {
    const outOfOrder = { ...inOrder, seed: 11, outOfOrderGroup: 400 };
    expect(await answered(name, outOfOrder, 3_000, 2)).toEqual(expected(name, outOfOrder, 3_000));
  });

  test.each(["q9", "q18", "q19"])("%s, where many bids have the same time: the first or the last that arrived", async (name) => {
    const dense = { seed: 3, rate: 20_000 };
    expect(await answered(name, dense, 5_000)).toEqual(expected(name, dense, 5_000));
  });
});

describe("Nexmark answers at the edges", () => {
  const times = (lines: readonly string[]): number[] =>
    lines.map((line) => Date.parse(`${line.split(",").find((cell) => cell.includes("T"))}Z`));

  test("q7: a bid at the very end of a window joins its highest ones, and never outbids them", async () => {
    const joins = [bidOf(1, 50, 9_000), bidOf(2, 50, 10_000), bidOf(3, 70, 12_000)];
    const outbids = [bidOf(1, 50, 9_000), bidOf(2, 60, 10_000), bidOf(3, 70, 12_000)];
    expect(times(await answeredFor("q7", joins))).toEqual([9_000, 10_000, 12_000]);
    expect(times(await answeredFor("q7", outbids))).toEqual([9_000, 12_000]);
    expect(times(referenceAnswer("q7", outbids))).toEqual([9_000, 12_000]);
  });

  test("q9: an auction's first and last moment count, the ones before and after do not", async () => {
    const auctions = [1, 2, 3, 4].map((id) => auctionOf(id, 5_000, 6_000));
    const bids = [bidOf(1, 100, 4_999), bidOf(2, 100, 5_000), bidOf(3, 100, 6_000), bidOf(4, 100, 6_001)];
    for (const events of [[...auctions, ...bids], [...bids, ...auctions]]) {
      expect((await answeredFor("q9", events)).map((line) => Number(line.split(",")[0]))).toEqual([2, 3]);
    }
  });

  test("q11: a bid exactly 10 seconds after another belongs to its session, a millisecond later to the next one", async () => {
    expect(await answeredFor("q11", [bidOf(1, 1, 0), bidOf(1, 1, 10_000)])).toHaveLength(1);
    expect(await answeredFor("q11", [bidOf(1, 1, 0), bidOf(1, 1, 10_001)])).toHaveLength(2);
  });

  test("q9, q19: of equal prices the earlier bid is better, also when it comes later", async () => {
    const events = [auctionOf(1_000, 0, 9_000), bidOf(1_000, 100, 3_000), bidOf(1_000, 100, 2_000), bidOf(1_000, 100, 2_500)];
    for (const name of ["q9", "q19"]) expect(await answeredFor(name, events)).toEqual(referenceAnswer(name, events));
  });
});

describe("Nexmark answers as Flink's", () => {
  const generator = { rate: manifest.events.rate };

  test.each(["q6", "q9", "q11", "q16", "q19"])("%s for 200,000 events", async (name) => {
    const lines = await answered(name, generator, manifest.events.n);
    expect(lines).toHaveLength(manifest.answers[name]?.rows ?? -1);
    expect(sha256(lines)).toBe(manifest.answers[name]?.sha256);
  });

  test("q14 by day, too", async () => {
    const lines = await answered("q14", { ...generator, baseMs: 1_436_947_100_000 }, manifest.events.n);
    expect(sha256(lines)).toBe(manifest.q14AtBase1436947100000.sha256);
  });

  test.each(["q2", "q4", "q5", "q7", "q8", "q12c"])("%s row by row, out of order, at four subtasks in two TaskManagers", async (name) => {
    const lines = await answered(name, { ...generator, outOfOrderGroup: 1_000 }, manifest.events.n, 4);
    expect(lines).toEqual(gunzipSync(golden(`${name}.csv.gz`)).toString().trimEnd().split("\n"));
  });
});
