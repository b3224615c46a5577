import { type AnyQuery, query } from "../query.ts";

const HOT_CHANNELS: Readonly<Record<string, string>> = { apple: "0", google: "1", facebook: "2", baidu: "3" };

function channelId(channel: string, url: string): string | null {
  return HOT_CHANNELS[channel.toLowerCase()] ?? /(?:&|^)channel_id=([^&]*)/.exec(url)?.[1] ?? null;
}

/** Adds a column by a function of the user, with a regular expression. */
export const q21: AnyQuery = query({
  asks: "bids with the id of their channel, where that has one",
  columns: { auction: "number", bidder: "number", price: "number", channel: "text", channelId: "text" },
  answer: ({ bids }) =>
    bids
      .map((bid) => ({
        auction: bid.auction, bidder: bid.bidder, price: bid.price, channel: bid.channel, channelId: channelId(bid.channel, bid.url),
      }))
      .filter((bid) => bid.channelId !== null),
});
