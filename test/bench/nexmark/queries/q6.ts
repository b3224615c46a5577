import { type Collector, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import { type AnyQuery, query } from "../query.ts";
import { type Sold, WinningBid } from "../winning-bid.ts";

type Sale = Pick<Sold, "auction" | "seller" | "price" | "bidTime">;

interface AverageOfSale {
  readonly auction: number;
  readonly seller: number;
  readonly average: number;
}

const PRECEDING = 10;

/** A seller's sales by time. A sale that is new or has changed gives a new average to itself and to those that follow it closely. */
class MovingAverage extends KeyedProcessFunction<number, Sale, AverageOfSale> {
  sales!: ValueState<Sale[]>;

  override open(context: RuntimeContext): void {
    this.sales = context.state(valueState<Sale[]>("sales"));
  }

  processElement(sale: Sale, _context: ProcessContext<number>, out: Collector<AverageOfSale>): void {
    const sales = this.sales.value() ?? [];
    const before = sales.findIndex((it) => it.auction === sale.auction);
    if (before >= 0) sales.splice(before, 1);
    let place = sales.length;
    while (place > 0 && isAfter(sales[place - 1] as Sale, sale)) place--;
    sales.splice(place, 0, sale);
    this.sales.update(sales);
    const first = before < 0 ? place : Math.min(before, place);
    const last = Math.max(before, place) + PRECEDING;
    for (const [offset, { auction, seller }] of sales.slice(first, last + 1).entries()) {
      const index = first + offset;
      const averaged = sales.slice(Math.max(0, index - PRECEDING), index + 1);
      out.collect({ auction, seller, average: Math.floor(averaged.reduce((sum, it) => sum + it.price, 0) / averaged.length) });
    }
  }
}

function isAfter(a: Sale, b: Sale): boolean {
  return a.bidTime > b.bidTime || (a.bidTime === b.bidTime && a.auction > b.auction);
}

/** Average selling price: a moving average over rows whose order is known late. */
export const q6: AnyQuery = query({
  asks: "per seller, the average winning price of each auction and the ten before it",
  columns: { seller: "number", average: "number" },
  key: ["auction"],
  answer: ({ auctions, bids }) =>
    auctions
      .connect(bids)
      .keyBy((auction) => auction.id, (bid) => bid.auction)
      .process(new WinningBid())
      .map((sold): Sale => ({ auction: sold.auction, seller: sold.seller, price: sold.price, bidTime: sold.bidTime }))
      .keyBy((sale) => sale.seller)
      .process(new MovingAverage()),
});
