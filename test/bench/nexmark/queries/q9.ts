import { type AnyQuery, query } from "../query.ts";
import { WinningBid } from "../winning-bid.ts";

/** Winning bids: a join, of which the best row per auction counts. */
export const q9: AnyQuery = query({
  asks: "every auction with its winning bid",
  columns: {
    id: "number", itemName: "text", description: "text", initialBid: "number", reserve: "number", dateTime: "timestamp",
    expires: "timestamp", seller: "number", category: "number", extra: "text",
    auction: "number", bidder: "number", price: "number", bidTime: "timestamp", bidExtra: "text",
  },
  key: ["id"],
  answer: ({ auctions, bids }) =>
    auctions
      .connect(bids)
      .keyBy((auction) => auction.id, (bid) => bid.auction)
      .process(new WinningBid()),
});
