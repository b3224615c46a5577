/**
 * A Nexmark query: a program in the public API, and what is needed to compare its answer with another engine's. Answers are compared as
 * canonical rows: one line a row, columns in order, joined by commas, sorted by bytes. An answer that changes over time is compared by its
 * last state.
 */
import { type DataStream, type Environment, type GenerateOptions, seconds } from "drey";
import type { Auction, Bid, NexmarkEvent, Person } from "./generator.ts";

/** What a query reads: the events, in event time, and each kind of them. */
export interface NexmarkStreams {
  readonly events: DataStream<NexmarkEvent>;
  readonly persons: DataStream<Person>;
  readonly auctions: DataStream<Auction>;
  readonly bids: DataStream<Bid>;
}

/** How a column is written: numbers and texts as they are, timestamps (milliseconds) in full, thousandths with three decimals. */
export type Column = "number" | "text" | "timestamp" | "thousandths";

export interface Query<Row> {
  /** What it asks. */
  readonly asks: string;
  /** The columns of the answer, in order. A row may have more fields. */
  readonly columns: NoInfer<{ readonly [Name in keyof Row]?: Column }>;
  /** Fields that name a row: the next row with the same values replaces it. Absent: every row stays. */
  readonly key?: readonly string[];
  readonly answer: (streams: NexmarkStreams) => DataStream<Row>;
}

/** A query whose rows nobody needs to know the type of. */
export type AnyQuery = Query<Record<string, unknown>>;

/** A query, its row type taken from what `answer` returns. */
export function query<Row>(definition: Query<Row>): AnyQuery {
  return definition as unknown as AnyQuery;
}

/** Events come at most so much later than an event with a later time: groups of 4 · rate may be out of order. */
const OUT_OF_ORDER = seconds(4);

/**
 * The streams of a run.
 * @param eventAt the event at a position of the stream.
 * @param generate how many, and if wanted, how fast.
 */
export function nexmarkStreams(env: Environment, eventAt: (position: number) => NexmarkEvent, generate: GenerateOptions): NexmarkStreams {
  const events = env
    .generate(eventAt, generate)
    .name("Source: nexmark")
    .withTimestamps((event) => event.dateTime, { outOfOrderness: OUT_OF_ORDER });
  return {
    events,
    persons: events.filter((event) => event.kind === "person").name("person"),
    auctions: events.filter((event) => event.kind === "auction").name("auction"),
    bids: events.filter((event) => event.kind === "bid").name("bid"),
  };
}

/** Runs a query over `count` events and gathers its answer. @returns the canonical rows, each without its line end. */
export async function answerOf(
  env: Environment, query: AnyQuery, eventAt: (position: number) => NexmarkEvent, count: number,
): Promise<string[]> {
  const answer = new Answer(query);
  for await (const row of query.answer(nexmarkStreams(env, eventAt, { count }))) answer.add(row);
  return answer.lines();
}

/** Keeps the last state of an answer whose rows come one by one. */
class Answer {
  readonly #columns: readonly (readonly [name: string, column: Column])[];
  readonly #key: readonly string[] | undefined;
  readonly #byKey = new Map<string, string>();
  readonly #lines: string[] = [];

  constructor({ columns, key }: AnyQuery) {
    this.#columns = Object.entries(columns) as [string, Column][];
    this.#key = key;
  }

  add(row: Readonly<Record<string, unknown>>): void {
    const line = this.#columns.map(([name, column]) => written(row[name], column)).join(",");
    if (this.#key === undefined) this.#lines.push(line);
    else this.#byKey.set(this.#key.map((name) => String(row[name])).join(","), line);
  }

  lines(): string[] {
    // All texts are ASCII, so the order of code units is that of bytes.
    return (this.#key === undefined ? this.#lines : [...this.#byKey.values()]).sort();
  }
}

function written(value: unknown, column: Column): string {
  if (value === null || value === undefined) return "\\N";
  switch (column) {
    case "number":
    case "text":
      return String(value);
    case "timestamp":
      return new Date(value as number).toISOString().slice(0, -1);
    case "thousandths": {
      const digits = String(value).padStart(4, "0");
      return `${digits.slice(0, -3)}.${digits.slice(-3)}`;
    }
  }
}
