import { type Collector, CoProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import type { Auction, Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

interface BidOnAuction extends Omit<Bid, "kind">, Omit<Auction, "kind" | "id" | "dateTime" | "extra"> {
  readonly auctionTime: number;
  readonly auctionExtra: string;
}

const CATEGORY = 10;

/** Bids of the wanted category with their auction. Auctions of other categories are remembered too, so that their bids need not be kept. */
class AuctionOfBid extends CoProcessFunction<Auction, Bid, BidOnAuction> {
  auction!: ValueState<Auction | "another category">;
  early!: ValueState<Bid[]>;

  override open(context: RuntimeContext): void {
    this.auction = context.state(valueState<Auction | "another category">("auction"));
    this.early = context.state(valueState<Bid[]>("early bids"));
  }

  processElement1(auction: Auction, _context: ProcessContext, out: Collector<BidOnAuction>): void {
    if (auction.category === CATEGORY) for (const bid of this.early.value() ?? []) out.collect(joined(bid, auction));
    this.auction.update(auction.category === CATEGORY ? auction : "another category");
    this.early.clear();
  }

  processElement2(bid: Bid, _context: ProcessContext, out: Collector<BidOnAuction>): void {
    const auction = this.auction.value();
    if (auction === undefined) this.early.update([...(this.early.value() ?? []), bid]);
    else if (auction !== "another category") out.collect(joined(bid, auction));
  }
}

function joined({ auction, bidder, price, channel, url, dateTime, extra }: Bid, of: Auction): BidOnAuction {
  const { itemName, description, initialBid, reserve, expires, seller, category } = of;
  return {
    auction, bidder, price, channel, url, dateTime, extra,
    itemName, description, initialBid, reserve, auctionTime: of.dateTime, expires, seller, category, auctionExtra: of.extra,
  };
}

/** Expands bids with their auction: a join of wide rows. */
export const q20: AnyQuery = query({
  asks: "bids on auctions of category 10, with the auction",
  columns: {
    auction: "number", bidder: "number", price: "number", channel: "text", url: "text", dateTime: "timestamp", extra: "text",
    itemName: "text", description: "text", initialBid: "number", reserve: "number", auctionTime: "timestamp", expires: "timestamp",
    seller: "number", category: "number", auctionExtra: "text",
  },
  answer: ({ auctions, bids }) =>
    auctions
      .connect(bids)
      .keyBy((auction) => auction.id, (bid) => bid.auction)
      .process(new AuctionOfBid()),
});
