import { dayOf, dayText, minuteOf, minuteText } from "../clock.ts";
import { type AnyQuery, query } from "../query.ts";

/** Bids as they would be written to files by day and minute. */
export const q10: AnyQuery = query({
  asks: "every bid with its date and time of day",
  columns: { auction: "number", bidder: "number", price: "number", dateTime: "timestamp", extra: "text", date: "text", time: "text" },
  answer: ({ bids }) =>
    bids.map((bid) => ({
      auction: bid.auction, bidder: bid.bidder, price: bid.price, dateTime: bid.dateTime, extra: bid.extra,
      date: dayText(dayOf(bid.dateTime)), time: minuteText(minuteOf(bid.dateTime)),
    })),
});
