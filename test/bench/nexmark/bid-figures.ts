/** What the statistics of bids have in common: three price ranges, and how many different bidders and auctions there are in each. */

/** 1, 2 or 3: below 10,000, below 1,000,000, the rest. */
export function priceRange(price: number): 1 | 2 | 3 {
  return price < 10_000 ? 1 : price < 1_000_000 ? 2 : 3;
}

/** How many different ids there are, in all (0) and per price range. */
class DistinctIds {
  readonly counts: [number, number, number, number] = [0, 0, 0, 0];
  /** Id to a bit per count that it is part of. */
  readonly #seen = new Map<number, number>();

  add(id: number, range: 1 | 2 | 3): void {
    const before = this.#seen.get(id) ?? 0;
    const after = before | 1 | (1 << range);
    if (after === before) return;
    this.#seen.set(id, after);
    if (before === 0) this.counts[0]++;
    this.counts[range]++;
  }
}

/** The twelve figures of a group of bids. */
export interface BidFigures {
  readonly totalBids: number;
  readonly rank1Bids: number;
  readonly rank2Bids: number;
  readonly rank3Bids: number;
  readonly totalBidders: number;
  readonly rank1Bidders: number;
  readonly rank2Bidders: number;
  readonly rank3Bidders: number;
  readonly totalAuctions: number;
  readonly rank1Auctions: number;
  readonly rank2Auctions: number;
  readonly rank3Auctions: number;
}

/** The columns of the figures. */
export const figureColumns: { readonly [Name in keyof BidFigures]: "number" } = {
  totalBids: "number", rank1Bids: "number", rank2Bids: "number", rank3Bids: "number",
  totalBidders: "number", rank1Bidders: "number", rank2Bidders: "number", rank3Bidders: "number",
  totalAuctions: "number", rank1Auctions: "number", rank2Auctions: "number", rank3Auctions: "number",
};

/** Counts the bids of a group. */
export class BidStatistics {
  readonly #bids: [number, number, number, number] = [0, 0, 0, 0];
  readonly #bidders = new DistinctIds();
  readonly #auctions = new DistinctIds();

  add(price: number, bidder: number, auction: number): void {
    const range = priceRange(price);
    this.#bids[0]++;
    this.#bids[range]++;
    this.#bidders.add(bidder, range);
    this.#auctions.add(auction, range);
  }

  figures(): BidFigures {
    const [bids, bidders, auctions] = [this.#bids, this.#bidders.counts, this.#auctions.counts];
    return {
      totalBids: bids[0], rank1Bids: bids[1], rank2Bids: bids[2], rank3Bids: bids[3],
      totalBidders: bidders[0], rank1Bidders: bidders[1], rank2Bidders: bidders[2], rank3Bidders: bidders[3],
      totalAuctions: auctions[0], rank1Auctions: auctions[1], rank2Auctions: auctions[2], rank3Auctions: auctions[3],
    };
  }
}
