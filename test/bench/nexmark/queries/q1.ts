import { type AnyQuery, query } from "../query.ts";

/** Currency conversion. Exact: a price times 0.908 is a whole number of thousandths. */
export const q1: AnyQuery = query({
  asks: "every bid, its price in euros",
  columns: { auction: "number", bidder: "number", price: "thousandths", dateTime: "timestamp", extra: "text" },
  answer: ({ bids }) =>
    bids.map((bid) => ({ auction: bid.auction, bidder: bid.bidder, price: bid.price * 908, dateTime: bid.dateTime, extra: bid.extra })),
});
