import { hourOf } from "../clock.ts";
import { type AnyQuery, query } from "../query.ts";

function bidTimeType(hour: number): string {
  if (hour >= 8 && hour <= 18) return "dayTime";
  return hour <= 6 || hour >= 20 ? "nightTime" : "otherTime";
}

function occurrences(text: string, letter: string): number {
  let count = 0;
  for (let at = text.indexOf(letter); at >= 0; at = text.indexOf(letter, at + 1)) count++;
  return count;
}

/** Calculation: a filter, arithmetic, and a function of the user. Prices are in thousandths of a euro. */
export const q14: AnyQuery = query({
  asks: "bids between 1 and 50 million euros, by day or by night, and how many letters c are in their extra",
  columns: {
    auction: "number", bidder: "number", price: "thousandths", bidTimeType: "text", dateTime: "timestamp", extra: "text", cCounts: "number",
  },
  answer: ({ bids }) =>
    bids
      .filter((bid) => bid.price * 908 > 1_000_000_000 && bid.price * 908 < 50_000_000_000)
      .map((bid) => ({
        auction: bid.auction, bidder: bid.bidder, price: bid.price * 908, bidTimeType: bidTimeType(hourOf(bid.dateTime)),
        dateTime: bid.dateTime, extra: bid.extra, cCounts: occurrences(bid.extra, "c"),
      })),
});
