import { type Collector, CoProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, valueState } from "drey";
import type { Auction, Person } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

interface Seller {
  readonly name: string;
  readonly city: string;
  readonly state: string;
}

interface LocalAuction extends Seller {
  readonly id: number;
}

/** Joins over all time: whichever side comes first waits for the other. */
class SellerOfAuction extends CoProcessFunction<Person, Auction, LocalAuction> {
  seller!: ValueState<Seller>;
  waiting!: ValueState<number[]>;

  override open(context: RuntimeContext): void {
    this.seller = context.state(valueState<Seller>("seller"));
    this.waiting = context.state(valueState<number[]>("auctions without seller"));
  }

  processElement1(person: Person, _context: ProcessContext, out: Collector<LocalAuction>): void {
    const seller = { name: person.name, city: person.city, state: person.state };
    this.seller.update(seller);
    for (const id of this.waiting.value() ?? []) out.collect({ ...seller, id });
    this.waiting.clear();
  }

  processElement2(auction: Auction, _context: ProcessContext, out: Collector<LocalAuction>): void {
    const seller = this.seller.value();
    if (seller === undefined) this.waiting.update([...(this.waiting.value() ?? []), auction.id]);
    else out.collect({ ...seller, id: auction.id });
  }
}

/** Incremental join of two filtered streams. */
export const q3: AnyQuery = query({
  asks: "auctions of category 10 with their seller, where that is a person in Oregon, Idaho or California",
  columns: { name: "text", city: "text", state: "text", id: "number" },
  answer: ({ persons, auctions }) =>
    persons
      .filter((person) => person.state === "OR" || person.state === "ID" || person.state === "CA")
      .connect(auctions.filter((auction) => auction.category === 10))
      .keyBy((person) => person.id, (auction) => auction.seller)
      .process(new SellerOfAuction()),
});
