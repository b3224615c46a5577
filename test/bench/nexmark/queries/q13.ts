import { type AnyQuery, query } from "../query.ts";

/** Travels with the function that uses it, to every subtask. */
const sideTable = new Map(Array.from({ length: 10_000 }, (_, key) => [key, String(key)]));

/** Enrichment from a bounded side table. */
export const q13: AnyQuery = query({
  asks: "every bid with the text that a side table has for its auction modulo 10,000",
  columns: { auction: "number", bidder: "number", price: "number", dateTime: "timestamp", value: "text" },
  answer: ({ bids }) =>
    bids.map((bid) => ({
      auction: bid.auction, bidder: bid.bidder, price: bid.price, dateTime: bid.dateTime, value: sideTable.get(bid.auction % 10_000),
    })),
});
