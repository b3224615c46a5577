import {
  type Collector, KeyedProcessFunction, ProcessFunction, type ProcessContext, type RuntimeContext, type TimerContext, type ValueState,
  valueState,
} from "drey";
import type { Bid } from "../generator.ts";
import { type AnyQuery, query } from "../query.ts";

const WINDOW_MS = 10_000;

/** A bid that may be the highest of the window that ends at `end`; one made at the very end only joins those of the same price. */
interface Candidate {
  readonly end: number;
  readonly bid: Bid;
}

/** Sends on what is not lower than an earlier bid of the same window: what a subtask knows spares the others most of its bids. */
class LocallyHighest extends ProcessFunction<Bid, Candidate> {
  readonly highest = new Map<number, number>();

  processElement(bid: Bid, _context: ProcessContext, out: Collector<Candidate>): void {
    const end = Math.floor(bid.dateTime / WINDOW_MS) * WINDOW_MS + WINDOW_MS;
    if (bid.dateTime + WINDOW_MS === end) out.collect({ end: bid.dateTime, bid });
    const highest = this.highest.get(end);
    if (highest !== undefined && bid.price < highest) return;
    if (highest === undefined && this.highest.size > 10) this.highest.clear();
    this.highest.set(end, bid.price);
    out.collect({ end, bid });
  }
}

/** Keeps the highest bids of a window until the watermark says that it is over. */
class HighestOfWindow extends KeyedProcessFunction<number, Candidate, Bid> {
  candidates!: ValueState<Bid[]>;

  override open(context: RuntimeContext): void {
    this.candidates = context.state(valueState<Bid[]>("candidates"));
  }

  processElement({ end, bid }: Candidate, context: ProcessContext<number>): void {
    context.timers.registerEventTimeTimer(end);
    const candidates = this.candidates.value() ?? [];
    candidates.push(bid);
    this.candidates.update(candidates);
  }

  override onTimer(end: number, _context: TimerContext<number>, out: Collector<Bid>): void {
    const candidates = this.candidates.value() ?? [];
    const highest = Math.max(...candidates.filter((bid) => bid.dateTime < end).map((bid) => bid.price));
    for (const bid of candidates) if (bid.price === highest) out.collect(bid);
    this.candidates.clear();
  }
}

/** Highest bid, with the bid itself: an aggregate joined with its input. */
export const q7: AnyQuery = query({
  asks: "every 10 seconds, the bids with the highest price in them",
  columns: { auction: "number", price: "number", bidder: "number", dateTime: "timestamp", extra: "text" },
  answer: ({ bids }) =>
    bids
      .process(new LocallyHighest())
      .keyBy((candidate) => candidate.end)
      .process(new HighestOfWindow()),
});
