/** The join that two queries begin with: auctions and their winning bids. Whichever side comes first waits for the other. */
import { type Collector, CoProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import type { Auction, Bid } from "./generator.ts";

type Offer = Pick<Bid, "auction" | "bidder" | "price" | "dateTime" | "extra">;

/** An auction with its best bid so far. */
export interface Sold extends Omit<Auction, "kind"> {
  readonly auction: number;
  readonly bidder: number;
  readonly price: number;
  readonly bidTime: number;
  readonly bidExtra: string;
}

/** Emits an auction with the best of the bids made while it was open (the highest, then the earliest), and again for each better one. */
export class WinningBid extends CoProcessFunction<Auction, Bid, Sold> {
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
    const { id, itemName, description, initialBid, reserve, dateTime, expires, seller, category, extra } = auction;
    out.collect({
      id, itemName, description, initialBid, reserve, dateTime, expires, seller, category, extra,
      auction: offer.auction, bidder: offer.bidder, price: offer.price, bidTime: offer.dateTime, bidExtra: offer.extra,
    });
  }
}
