/**
 * The answers of the queries, worked out from all events at once with loops and arrays: no streams, no state, no watermarks. It shares
 * nothing with the queries but the events, so that a mistake would have to be made twice.
 */
import type { Auction, Bid, NexmarkEvent, Person } from "./generator.ts";

/** All events by kind, in the order in which they come. */
interface Events {
  readonly persons: readonly Person[];
  readonly auctions: readonly Auction[];
  readonly bids: readonly Bid[];
}

type Row = readonly (string | number)[];

/** The canonical rows of a query. @throws Error when there is no such query. */
export function referenceAnswer(name: string, events: readonly NexmarkEvent[]): string[] {
  const answer = answers[name];
  if (answer === undefined) throw new Error(`there is no reference answer for ${name}.`);
  const rows = answer({
    persons: events.filter((it): it is Person => it.kind === "person"),
    auctions: events.filter((it): it is Auction => it.kind === "auction"),
    bids: events.filter((it): it is Bid => it.kind === "bid"),
  });
  return rows.map((cells) => cells.join(",")).sort();
}

const answers: Readonly<Record<string, (events: Events) => Row[]>> = {
  q0: ({ bids }) => bids.map((it) => [it.auction, it.bidder, it.price, time(it.dateTime), it.extra]),

  q1: ({ bids }) => bids.map((it) => [it.auction, it.bidder, euros(it.price), time(it.dateTime), it.extra]),

  q2: ({ bids }) => bids.filter((it) => Number.isInteger(it.auction / 123)).map((it) => [it.auction, it.price]),

  q3: ({ persons, auctions }) =>
    persons
      .filter((it) => ["OR", "ID", "CA"].includes(it.state))
      .flatMap(({ id, name, city, state }) =>
        auctions.filter((it) => it.category === 10 && it.seller === id).map((it) => [name, city, state, it.id]),
      ),

  q4: (events) =>
    [...groups(sales(events), ({ auction }) => auction.category)].map(([category, sold]) => [
      category, mean(sold.map(({ best }) => best.price)),
    ]),

  q5: ({ bids }) =>
    windowEnds(bids, 2_000, 10_000).flatMap((end) => {
      const counts = [...groups(bids.filter((it) => it.dateTime >= end - 10_000 && it.dateTime < end), (it) => it.auction)];
      const most = Math.max(...counts.map(([, its]) => its.length));
      return counts.filter(([, its]) => its.length === most).map(([auction]) => [auction, most]);
    }),

  q6: (events) =>
    [...groups(sales(events), ({ auction }) => auction.seller)].flatMap(([seller, sold]) => {
      const inTime = [...sold].sort((a, b) => a.best.dateTime - b.best.dateTime || a.auction.id - b.auction.id);
      return inTime.map((_, index) => [seller, mean(inTime.slice(Math.max(0, index - 10), index + 1).map(({ best }) => best.price))]);
    }),

  q7: ({ bids }) =>
    windowEnds(bids, 10_000, 10_000).flatMap((end) => {
      const highest = Math.max(...bids.filter((it) => it.dateTime >= end - 10_000 && it.dateTime < end).map((it) => it.price));
      const those = bids.filter((it) => it.price === highest && it.dateTime >= end - 10_000 && it.dateTime <= end);
      return those.map((it) => [it.auction, it.price, it.bidder, time(it.dateTime), it.extra]);
    }),

  q8: ({ persons, auctions }) => {
    const startOf = (ms: number): number => ms - (ms % 10_000);
    return persons
      .filter((person) => auctions.some((it) => it.seller === person.id && startOf(it.dateTime) === startOf(person.dateTime)))
      .map((person) => [person.id, person.name, time(startOf(person.dateTime))]);
  },

  q9: (events) =>
    sales(events).map(({ auction: it, best }) => [
      it.id, it.itemName, it.description, it.initialBid, it.reserve, time(it.dateTime), time(it.expires), it.seller, it.category, it.extra,
      best.auction, best.bidder, best.price, time(best.dateTime), best.extra,
    ]),

  q10: ({ bids }) =>
    bids.map((it) => [it.auction, it.bidder, it.price, time(it.dateTime), it.extra, day(it.dateTime), minute(it.dateTime)]),

  q11: ({ bids }) =>
    [...groups(bids, (it) => it.bidder)].flatMap(([bidder, its]) => {
      const times = its.map((it) => it.dateTime).sort((a, b) => a - b);
      const sessions: { start: number; end: number; count: number }[] = [];
      for (const at of times) {
        const last = sessions.at(-1);
        if (last === undefined || at > last.end) sessions.push({ start: at, end: at + 10_000, count: 1 });
        else Object.assign(last, { end: at + 10_000, count: last.count + 1 });
      }
      return sessions.map(({ start, end, count }) => [bidder, count, time(start), time(end)]);
    }),

  q12c: ({ bids }) => [...groups(bids, (it) => it.bidder)].map(([bidder, its]) => [bidder, its.length]),

  q13: ({ bids }) => bids.map((it) => [it.auction, it.bidder, it.price, time(it.dateTime), `${it.auction % 10_000}`]),

  q14: ({ bids }) =>
    bids
      .filter((it) => it.price * 0.908 > 1e6 && it.price * 0.908 < 5e7)
      .map((it) => {
        const hour = new Date(it.dateTime).getUTCHours();
        const type = hour >= 8 && hour <= 18 ? "dayTime" : hour === 7 || hour === 19 ? "otherTime" : "nightTime";
        return [it.auction, it.bidder, euros(it.price), type, time(it.dateTime), it.extra, it.extra.split("c").length - 1];
      }),

  q15: ({ bids }) => [...groups(bids, (it) => day(it.dateTime))].map(([of, its]) => [of, ...figures(its)]),

  q16: ({ bids }) =>
    [...groups(bids, (it) => `${it.channel},${day(it.dateTime)}`)].map(([of, its]) => {
      const latest = its.map((it) => minute(it.dateTime)).sort().at(-1) as string;
      return [of, latest, ...figures(its)];
    }),

  q17: ({ bids }) =>
    [...groups(bids, (it) => `${it.auction},${day(it.dateTime)}`)].map(([of, its]) => {
      const prices = its.map((it) => it.price);
      const sum = prices.reduce((a, b) => a + b, 0);
      return [of, prices.length, ...perRange(its).map((some) => some.length), Math.min(...prices), Math.max(...prices), mean(prices), sum];
    }),

  q18: ({ bids }) =>
    [...groups(bids, (it) => `${it.bidder},${it.auction}`).values()].map((its) =>
      bidRow(its.reduce((a, b) => (b.dateTime >= a.dateTime ? b : a))),
    ),

  q19: ({ bids }) =>
    [...groups(bids, (it) => it.auction).values()].flatMap((its) =>
      [...its].sort((a, b) => b.price - a.price || a.dateTime - b.dateTime).slice(0, 10).map((it, index) => [...bidRow(it), index + 1]),
    ),

  q20: ({ auctions, bids }) =>
    auctions
      .filter((auction) => auction.category === 10)
      .flatMap((it) =>
        bids.filter((bid) => bid.auction === it.id).map((bid) => [
          ...bidRow(bid), it.itemName, it.description, it.initialBid, it.reserve, time(it.dateTime), time(it.expires), it.seller,
          it.category, it.extra,
        ]),
      ),

  q21: ({ bids }) =>
    bids.flatMap((it) => {
      const hot = ["apple", "google", "facebook", "baidu"].indexOf(it.channel.toLowerCase());
      const parameter = new URL(it.url).searchParams.get("channel_id");
      if (hot < 0 && parameter === null) return [];
      return [[it.auction, it.bidder, it.price, it.channel, hot < 0 ? (parameter as string) : hot]];
    }),

  q22: ({ bids }) => bids.map((it) => [it.auction, it.bidder, it.price, it.channel, ...new URL(it.url).pathname.split("/").slice(1, 4)]),
};

// -------------------------------------------------------------------------------------------------------------- writing

function time(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "");
}

function day(ms: number): string {
  return time(ms).slice(0, 10);
}

function minute(ms: number): string {
  return time(ms).slice(11, 16);
}

function euros(price: number): string {
  const thousandths = BigInt(price) * 908n;
  return `${thousandths / 1_000n}.${(1_000n + (thousandths % 1_000n)).toString().slice(1)}`;
}

function bidRow(it: Bid): Row {
  return [it.auction, it.bidder, it.price, it.channel, it.url, time(it.dateTime), it.extra];
}

// ------------------------------------------------------------------------------------------------------------- figures

function groups<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const grouped = new Map<K, T[]>();
  for (const item of items) grouped.set(key(item), [...(grouped.get(key(item)) ?? []), item]);
  return grouped;
}

/** Ends of the windows that hold any of the bids. */
function windowEnds(bids: readonly Bid[], slide: number, size: number): number[] {
  const ends = new Set<number>();
  for (const { dateTime } of bids) {
    for (let end = dateTime - (dateTime % slide) + slide; end <= dateTime + size; end += slide) ends.add(end);
  }
  return [...ends];
}

/** Auctions that have a bid while they are open, with the best one. */
function sales({ auctions, bids }: Events): { readonly auction: Auction; readonly best: Bid }[] {
  return auctions.flatMap((auction) => {
    const valid = bids.filter((bid) => bid.auction === auction.id && bid.dateTime >= auction.dateTime && bid.dateTime <= auction.expires);
    const [best] = valid.sort((a, b) => b.price - a.price || a.dateTime - b.dateTime);
    return best === undefined ? [] : [{ auction, best }];
  });
}

function mean(numbers: readonly number[]): number {
  return Math.trunc(numbers.reduce((a, b) => a + b, 0) / numbers.length);
}

function perRange(bids: readonly Bid[]): Bid[][] {
  return [
    bids.filter((it) => it.price < 10_000),
    bids.filter((it) => it.price >= 10_000 && it.price < 1_000_000),
    bids.filter((it) => it.price >= 1_000_000),
  ];
}

/** The twelve figures of q15 and q16. */
function figures(bids: readonly Bid[]): number[] {
  const all = [bids, ...perRange(bids)];
  const different = (values: readonly number[]): number => new Set(values).size;
  return [
    ...all.map((its) => its.length),
    ...all.map((its) => different(its.map((it) => it.bidder))),
    ...all.map((its) => different(its.map((it) => it.auction))),
  ];
}
