import { type AnyQuery, query } from "../query.ts";

/** Query 12 counts by windows of the wall clock, so no two runs agree; this one counts over all time. */
export const q12c: AnyQuery = query({
  asks: "per bidder, the number of bids",
  columns: { bidder: "number", bidCount: "number" },
  key: ["bidder"],
  answer: ({ bids }) =>
    bids
      .map((bid) => ({ bidder: bid.bidder, bidCount: 1 }))
      .keyBy((it) => it.bidder)
      .reduce((a, b) => ({ bidder: a.bidder, bidCount: a.bidCount + b.bidCount })),
});
