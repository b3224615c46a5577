import { type AggregateFunction, count, seconds, sliding, tumbling } from "drey";
import { type AnyQuery, query } from "../query.ts";

interface Item {
  readonly auction: number;
  readonly num: number;
}

/** Those with the highest number; several when they share it. */
const hottest: AggregateFunction<Item, Item[], Item[]> = {
  createAccumulator: () => [],
  add: (item, best) => {
    const highest = best[0]?.num ?? 0;
    return item.num < highest ? best : item.num > highest ? [item] : [...best, item];
  },
  getResult: (best) => best,
};

/** Hot items: a sliding window, and the highest of its results, which all have the time at which it ends. */
export const q5: AnyQuery = query({
  asks: "every 2 seconds, the auctions with the most bids in the last 10 seconds",
  columns: { auction: "number", num: "number" },
  answer: ({ bids }) =>
    bids
      .keyBy((bid) => bid.auction)
      .window(sliding(seconds(10), seconds(2)))
      .aggregate(count(), (num, { key, window }) => ({ auction: key, num, end: window.end }))
      .keyBy((item) => item.end)
      .window(tumbling(seconds(2)))
      .aggregate(hottest)
      .flatMap((items) => items),
});
