import { count, seconds, session } from "drey";
import { type AnyQuery, query } from "../query.ts";

/** User sessions: windows that last as long as their key is busy. */
export const q11: AnyQuery = query({
  asks: "per bidder, the bids of each session; one ends after 10 seconds without a bid",
  columns: { bidder: "number", bidCount: "number", startTime: "timestamp", endTime: "timestamp" },
  answer: ({ bids }) =>
    bids
      .keyBy((bid) => bid.bidder)
      .window(session(seconds(10)))
      .aggregate(count(), (bidCount, { key, window }) => ({ bidder: key, bidCount, startTime: window.start, endTime: window.end })),
});
