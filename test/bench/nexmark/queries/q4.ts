import {
  type Collector, CoProcessFunction, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState,
} from "drey";
import type { Auction, Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

/** What a higher bid changes in the figures of a category. */
interface Change {
  readonly category: number;
  readonly auctions: 0 | 1;
  readonly price: number;
}

interface Offer {
  readonly price: number;
  readonly dateTime: number;
}

interface Total {
  readonly auctions: number;
  readonly price: number;
}

interface Sale {
  readonly category: number;
  readonly from: number;
  readonly to: number;
  price: number;
}

/** Per auction, the highest price offered while it was open. Bids that are here before their auction wait for it. */
class WinningPrice extends CoProcessFunction<Auction, Bid, Change> {
  sale!: ValueState<Sale>;
  early!: ValueState<Offer[]>;

  override open(context: RuntimeContext): void {
    this.sale = context.state(valueState<Sale>("sale"));
    this.early = context.state(valueState<Offer[]>("early bids"));
  }

  processElement1(auction: Auction, _context: ProcessContext, out: Collector<Change>): void {
    const sale = { category: auction.category, from: auction.dateTime, to: auction.expires, price: -1 };
    this.sale.update(sale);
    for (const { price, dateTime } of this.early.value() ?? []) this.#offer(sale, price, dateTime, out);
    this.early.clear();
  }

  processElement2(bid: Bid, _context: ProcessContext, out: Collector<Change>): void {
    const sale = this.sale.value();
    if (sale !== undefined) this.#offer(sale, bid.price, bid.dateTime, out);
    else this.early.update([...(this.early.value() ?? []), { price: bid.price, dateTime: bid.dateTime }]);
  }

  #offer(sale: Sale, price: number, dateTime: number, out: Collector<Change>): void {
    if (price <= sale.price || dateTime < sale.from || dateTime > sale.to) return;
    const isFirst = sale.price < 0;
    out.collect({ category: sale.category, auctions: isFirst ? 1 : 0, price: isFirst ? price : price - sale.price });
    sale.price = price;
  }
}

class AveragePrice extends KeyedProcessFunction<number, Change, { category: number; average: number }> {
  total!: ValueState<Total>;

  override open(context: RuntimeContext): void {
    this.total = context.state(valueState<Total>("total"));
  }

  processElement(change: Change, _context: ProcessContext<number>, out: Collector<{ category: number; average: number }>): void {
    const before = this.total.value() ?? { auctions: 0, price: 0 };
    const total = { auctions: before.auctions + change.auctions, price: before.price + change.price };
    this.total.update(total);
    out.collect({ category: change.category, average: Math.floor(total.price / total.auctions) });
  }
}

/** A join whose result is aggregated twice, and never final. */
export const q4: AnyQuery = query({
  asks: "per category, the average winning price of its auctions",
  columns: { category: "number", average: "number" },
  key: ["category"],
  answer: ({ auctions, bids }) =>
    auctions
      .connect(bids)
      .keyBy((auction) => auction.id, (bid) => bid.auction)
      .process(new WinningPrice())
      .keyBy((change) => change.category)
      .process(new AveragePrice()),
});
