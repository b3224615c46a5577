import { type AnyQuery, query } from "../query.ts";

/** Selection by a predicate that few bids pass. */
export const q2: AnyQuery = query({
  asks: "bids on auctions whose id is a multiple of 123",
  columns: { auction: "number", price: "number" },
  answer: ({ bids }) => bids.filter((bid) => bid.auction % 123 === 0).map((bid) => ({ auction: bid.auction, price: bid.price })),
});
