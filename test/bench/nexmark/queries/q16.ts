import { type Collector, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import { type BidFigures, BidStatistics, figureColumns } from "../bid-figures.ts";
import { dayOf, dayText, minuteOf, minuteText } from "../clock.ts";
import type { Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

interface ChannelFigures extends BidFigures {
  readonly channel: string;
  readonly day: string;
  /** The latest. */
  readonly minute: string;
}

interface ChannelDay {
  readonly day: string;
  readonly statistics: BidStatistics;
  minute: number;
}

class FiguresOfChannel extends KeyedProcessFunction<string, Bid, ChannelFigures> {
  days!: ValueState<Map<number, ChannelDay>>;

  override open(context: RuntimeContext): void {
    this.days = context.state(valueState<Map<number, ChannelDay>>("days"));
  }

  processElement(bid: Bid, context: ProcessContext<string>, out: Collector<ChannelFigures>): void {
    const days = this.days.value() ?? new Map<number, ChannelDay>();
    const day = dayOf(bid.dateTime);
    const figures = days.get(day) ?? { day: dayText(day), statistics: new BidStatistics(), minute: 0 };
    figures.statistics.add(bid.price, bid.bidder, bid.auction);
    figures.minute = Math.max(figures.minute, minuteOf(bid.dateTime));
    days.set(day, figures);
    this.days.update(days);
    out.collect(rowOf(context.key, figures.day, minuteText(figures.minute), figures.statistics.figures()));
  }
}

/** Field by field: spreading the figures into the row takes eight times as long. */
function rowOf(channel: string, day: string, minute: string, figures: BidFigures): ChannelFigures {
  const { totalBids, rank1Bids, rank2Bids, rank3Bids, totalBidders, rank1Bidders, rank2Bidders, rank3Bidders } = figures;
  const { totalAuctions, rank1Auctions, rank2Auctions, rank3Auctions } = figures;
  return {
    channel, day, minute, totalBids, rank1Bids, rank2Bids, rank3Bids, totalBidders, rank1Bidders, rank2Bidders, rank3Bidders,
    totalAuctions, rank1Auctions, rank2Auctions, rank3Auctions,
  };
}

/** Channel statistics: many distinct counts over many groups. */
export const q16: AnyQuery = query({
  asks: "per channel and day, the bids, the bidders and the auctions, in all and in three price ranges",
  columns: { channel: "text", day: "text", minute: "text", ...figureColumns },
  key: ["channel", "day"],
  answer: ({ bids }) => bids.keyBy((bid) => bid.channel).process(new FiguresOfChannel()),
});
