import { type Collector, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import type { Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

interface RankedBid extends Omit<Bid, "kind"> {
  readonly rank: number;
}

const RANKS = 10;

class HighestBids extends KeyedProcessFunction<number, Bid, RankedBid> {
  /** Highest first; of equal ones the earlier. */
  highest!: ValueState<Bid[]>;

  override open(context: RuntimeContext): void {
    this.highest = context.state(valueState<Bid[]>("highest bids"));
  }

  processElement(bid: Bid, _context: ProcessContext<number>, out: Collector<RankedBid>): void {
    const highest = this.highest.value() ?? [];
    let place = highest.length;
    while (place > 0 && isHigher(bid, highest[place - 1] as Bid)) place--;
    if (place === RANKS) return;
    highest.splice(place, 0, bid);
    if (highest.length > RANKS) highest.pop();
    this.highest.update(highest);
    // Every bid from here on has a new rank.
    for (let index = place; index < highest.length; index++) out.collect(ranked(highest[index] as Bid, index + 1));
  }
}

function ranked({ auction, bidder, price, channel, url, dateTime, extra }: Bid, rank: number): RankedBid {
  return { auction, bidder, price, channel, url, dateTime, extra, rank };
}

function isHigher(a: Bid, b: Bid): boolean {
  return a.price > b.price || (a.price === b.price && a.dateTime < b.dateTime);
}

/** Top ten per key. */
export const q19: AnyQuery = query({
  asks: "per auction, the ten highest bids with their rank",
  columns: {
    auction: "number", bidder: "number", price: "number", channel: "text", url: "text", dateTime: "timestamp", extra: "text",
    rank: "number",
  },
  key: ["auction", "rank"],
  answer: ({ bids }) => bids.keyBy((bid) => bid.auction).process(new HighestBids()),
});
