import { type AnyQuery, query } from "../query.ts";

/** Pass-through: what it costs to read and write a bid. */
export const q0: AnyQuery = query({
  asks: "every bid, unchanged",
  columns: { auction: "number", bidder: "number", price: "number", dateTime: "timestamp", extra: "text" },
  answer: ({ bids }) =>
    bids.map((bid) => ({ auction: bid.auction, bidder: bid.bidder, price: bid.price, dateTime: bid.dateTime, extra: bid.extra })),
});
