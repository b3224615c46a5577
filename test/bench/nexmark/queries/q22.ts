import { type AnyQuery, query } from "../query.ts";

/** Splits a text. */
export const q22: AnyQuery = query({
  asks: "bids with the directories of their url",
  columns: { auction: "number", bidder: "number", price: "number", channel: "text", dir1: "text", dir2: "text", dir3: "text" },
  answer: ({ bids }) =>
    bids.map((bid) => {
      const [, , , dir1, dir2, dir3] = bid.url.split("/");
      return { auction: bid.auction, bidder: bid.bidder, price: bid.price, channel: bid.channel, dir1, dir2, dir3 };
    }),
});
