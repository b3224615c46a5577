import { type Collector, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import type { Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

class LatestBid extends KeyedProcessFunction<number, Bid, Bid> {
  /** Auction to time. */
  latest!: ValueState<Map<number, number>>;

  override open(context: RuntimeContext): void {
    this.latest = context.state(valueState<Map<number, number>>("latest bids"));
  }

  processElement(bid: Bid, _context: ProcessContext<number>, out: Collector<Bid>): void {
    const latest = this.latest.value() ?? new Map<number, number>();
    if (bid.dateTime < (latest.get(bid.auction) ?? 0)) return;
    latest.set(bid.auction, bid.dateTime);
    this.latest.update(latest);
    out.collect(bid);
  }
}

/** Deduplication: the last row of a key replaces those before it. */
export const q18: AnyQuery = query({
  asks: "per bidder and auction, the latest bid",
  columns: { auction: "number", bidder: "number", price: "number", channel: "text", url: "text", dateTime: "timestamp", extra: "text" },
  key: ["bidder", "auction"],
  answer: ({ bids }) => bids.keyBy((bid) => bid.bidder).process(new LatestBid()),
});
