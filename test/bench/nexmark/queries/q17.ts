import { type Collector, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import { priceRange } from "../bid-figures.ts";
import { dayOf, dayText } from "../clock.ts";
import type { Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

interface AuctionFigures {
  readonly auction: number;
  readonly day: string;
  totalBids: number;
  rank1Bids: number;
  rank2Bids: number;
  rank3Bids: number;
  minPrice: number;
  maxPrice: number;
  avgPrice: number;
  sumPrice: number;
}

class FiguresOfAuction extends KeyedProcessFunction<number, Bid, AuctionFigures> {
  days!: ValueState<Map<number, AuctionFigures>>;

  override open(context: RuntimeContext): void {
    this.days = context.state(valueState<Map<number, AuctionFigures>>("days"));
  }

  processElement(bid: Bid, context: ProcessContext<number>, out: Collector<AuctionFigures>): void {
    const days = this.days.value() ?? new Map<number, AuctionFigures>();
    const day = dayOf(bid.dateTime);
    const before = days.get(day) ?? {
      auction: context.key, day: dayText(day), totalBids: 0, rank1Bids: 0, rank2Bids: 0, rank3Bids: 0,
      minPrice: Number.POSITIVE_INFINITY, maxPrice: 0, avgPrice: 0, sumPrice: 0,
    };
    const figures = { ...before };
    figures.totalBids++;
    const range = priceRange(bid.price);
    if (range === 1) figures.rank1Bids++;
    else if (range === 2) figures.rank2Bids++;
    else figures.rank3Bids++;
    figures.minPrice = Math.min(figures.minPrice, bid.price);
    figures.maxPrice = Math.max(figures.maxPrice, bid.price);
    figures.sumPrice += bid.price;
    figures.avgPrice = Math.floor(figures.sumPrice / figures.totalBids);
    days.set(day, figures);
    this.days.update(days);
    out.collect(figures);
  }
}

/** Auction statistics: simple figures over many groups. */
export const q17: AnyQuery = query({
  asks: "per auction and day, the bids in all and in three price ranges, and the lowest, highest, average and sum of their prices",
  columns: {
    auction: "number", day: "text", totalBids: "number", rank1Bids: "number", rank2Bids: "number", rank3Bids: "number",
    minPrice: "number", maxPrice: "number", avgPrice: "number", sumPrice: "number",
  },
  key: ["auction", "day"],
  answer: ({ bids }) => bids.keyBy((bid) => bid.auction).process(new FiguresOfAuction()),
});
