import { type Collector, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import { type BidFigures, BidStatistics, figureColumns } from "../bid-figures.ts";
import { dayOf, dayText } from "../clock.ts";
import type { Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

interface DayFigures extends BidFigures {
  readonly day: string;
}

class FiguresOfDay extends KeyedProcessFunction<number, Bid, DayFigures> {
  statistics!: ValueState<BidStatistics>;

  override open(context: RuntimeContext): void {
    this.statistics = context.state(valueState<BidStatistics>("statistics"));
  }

  processElement(bid: Bid, context: ProcessContext<number>, out: Collector<DayFigures>): void {
    const statistics = this.statistics.value() ?? new BidStatistics();
    statistics.add(bid.price, bid.bidder, bid.auction);
    this.statistics.update(statistics);
    out.collect(rowOf(dayText(context.key), statistics.figures()));
  }
}

/** Field by field: spreading the figures into the row takes eight times as long. */
function rowOf(day: string, figures: BidFigures): DayFigures {
  const { totalBids, rank1Bids, rank2Bids, rank3Bids, totalBidders, rank1Bidders, rank2Bidders, rank3Bidders } = figures;
  const { totalAuctions, rank1Auctions, rank2Auctions, rank3Auctions } = figures;
  return {
    day, totalBids, rank1Bids, rank2Bids, rank3Bids, totalBidders, rank1Bidders, rank2Bidders, rank3Bidders,
    totalAuctions, rank1Auctions, rank2Auctions, rank3Auctions,
  };
}

/** Bidding statistics: many distinct counts over one hot group. */
export const q15: AnyQuery = query({
  asks: "per day, the bids, the bidders and the auctions, in all and in three price ranges",
  columns: { day: "text", ...figureColumns },
  key: ["day"],
  answer: ({ bids }) => bids.keyBy((bid) => dayOf(bid.dateTime)).process(new FiguresOfDay()),
});
