import { type AggregateFunction, seconds, tumbling } from "drey";
import { type AnyQuery, query } from "../query.ts";

/** Somebody was seen: as a new person, who has a name, or as a seller. */
interface Seen {
  readonly id: number;
  readonly name: string | null;
}

const newSeller: AggregateFunction<Seen, { name: string | null; sells: boolean }, { name: string | null; sells: boolean }> = {
  createAccumulator: () => ({ name: null, sells: false }),
  add: (seen, person) => {
    if (seen.name === null) person.sells = true;
    else person.name = seen.name;
    return person;
  },
  getResult: (person) => person,
};

/** Monitor new users: two streams that meet in windows. */
export const q8: AnyQuery = query({
  asks: "per 10 seconds, the persons who joined and opened an auction within them",
  columns: { id: "number", name: "text", startTime: "timestamp" },
  answer: ({ persons, auctions }) =>
    persons
      .map((person): Seen => ({ id: person.id, name: person.name }))
      .union(auctions.map((auction): Seen => ({ id: auction.seller, name: null })))
      .keyBy((seen) => seen.id)
      .window(tumbling(seconds(10)))
      .aggregate(newSeller, ({ name, sells }, { key, window }) => ({ id: key, name, sells, startTime: window.start }))
      .filter((person) => person.name !== null && person.sells),
});
