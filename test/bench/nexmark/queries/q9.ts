import { type Collector, CoProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import type { Auction, Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

type Offer = Pick<Bid, "auction" | "bidder" | "price" | "dateTime" | "extra">;

interface Sold extends Omit<Auction, "kind"> {
  readonly auction: number;
  readonly bidder: number;
  readonly price: number;
  readonly bidTime: number;
  readonly bidExtra: string;
}

/** The best of the bids made while the auction was open: the highest, of equal ones the earliest. */
class WinningBid extends CoProcessFunction<Auction, Bid, Sold> {
  auction!: ValueState<Auction>;
  best!: ValueState<Offer>;
  early!: ValueState<Offer[]>;

  override open(context: RuntimeContext): void {
    this.auction = context.state(valueState<Auction>("auction"));
    this.best = context.state(valueState<Offer>("best bid"));
    this.early = context.state(valueState<Offer[]>("early bids"));
  }

  processElement1(auction: Auction, _context: ProcessContext, out: Collector<Sold>): void {
    this.auction.update(auction);
    for (const offer of this.early.value() ?? []) this.#offer(auction, offer, out);
    this.early.clear();
  }

  processElement2(bid: Bid, _context: ProcessContext, out: Collector<Sold>): void {
    const auction = this.auction.value();
    const offer = { auction: bid.auction, bidder: bid.bidder, price: bid.price, dateTime: bid.dateTime, extra: bid.extra };
    if (auction !== undefined) this.#offer(auction, offer, out);
    else this.early.update([...(this.early.value() ?? []), offer]);
  }

  #offer(auction: Auction, offer: Offer, out: Collector<Sold>): void {
    if (offer.dateTime < auction.dateTime || offer.dateTime > auction.expires) return;
    const best = this.best.value();
    if (best !== undefined && (offer.price < best.price || (offer.price === best.price && offer.dateTime >= best.dateTime))) return;
    this.best.update(offer);
    const { auction: id, bidder, price, dateTime: bidTime, extra: bidExtra } = offer;
    out.collect({ ...auction, auction: id, bidder, price, bidTime, bidExtra });
  }
}

/** Winning bids: a join, of which the best row per auction counts. */
export const q9: AnyQuery = query({
  asks: "every auction with its winning bid",
  columns: {
    id: "number", itemName: "text", description: "text", initialBid: "number", reserve: "number", dateTime: "timestamp", expires: "timestamp", seller: "number",
    category: "number", extra: "text", auction: "number", bidder: "number", price: "number", bidTime: "timestamp", bidExtra: "text",
  },
  key: ["id"],
  answer: ({ auctions, bids }) =>
    auctions
      .connect(bids)
      .keyBy((auction) => auction.id, (bid) => bid.auction)
      .process(new WinningBid()),
});
