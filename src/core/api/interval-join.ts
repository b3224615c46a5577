/** The interval join as users write it: `rides.keyBy("id").intervalJoin(fares.keyBy("ride")).between("-5 min", "1 h").apply(…)`. */
import type { Collector, SideOutput } from "../operators/function.ts";
import type { JoinContext, ProcessJoinFunction } from "../operators/interval-join.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError, describe } from "../types/errors.ts";
import { DataStream, type KeyedStream } from "./data-stream.ts";
import { functionOf, specOf } from "./spec.ts";

/** What is known of an interval join. Durations are milliseconds; both bounds included. */
interface IntervalSettings {
  readonly lowerMs: number;
  readonly upperMs: number;
  readonly lateLeft?: string;
  readonly lateRight?: string;
}

/** Two keyed streams whose records of a key are to meet when their times lie close enough to each other. */
export class IntervalJoin<A, B, K> {
  readonly #left: KeyedStream<A, K>;
  readonly #right: KeyedStream<B, K>;

  constructor(left: KeyedStream<A, K>, right: KeyedStream<B, K>) {
    this.#left = left;
    this.#right = right;
  }

  /**
   * A left record of time t meets right records of time t + lower … t + upper, both included. A text may begin with a minus: `"-5 min"`.
   * @throws GraphError when lower is above upper, or a stream has no timestamps.
   */
  between(lower: Duration, upper: Duration): IntervalJoined<A, B, K> {
    const [lowerMs, upperMs] = [signedMs(lower, "between(lower, …)"), signedMs(upper, "between(…, upper)")];
    return new IntervalJoined(this.#left, this.#right, { lowerMs, upperMs });
  }
}

/** An interval join with its bounds. Each method that sets something returns a new one. */
export class IntervalJoined<A, B, K> {
  readonly #left: KeyedStream<A, K>;
  readonly #right: KeyedStream<B, K>;
  readonly #settings: IntervalSettings;

  /** @throws GraphError for bounds that cannot be, or a stream without timestamps. */
  constructor(left: KeyedStream<A, K>, right: KeyedStream<B, K>, settings: IntervalSettings) {
    this.#left = left;
    this.#right = right;
    this.#settings = settings;
    if (settings.lowerMs > settings.upperMs) {
      throw new GraphError(`between() got the bounds ${settings.lowerMs} ms and ${settings.upperMs} ms; the lower one comes first.`);
    }
    if (!left.hasTimestamps() || !right.hasTimestamps()) {
      throw new GraphError("intervalJoin() needs event time on both streams; write .withTimestamps((record) => …) before keyBy().");
    }
  }

  /** Right records at exactly t + lower don't meet. Times are whole milliseconds. */
  lowerBoundExclusive(): IntervalJoined<A, B, K> {
    return this.#with({ lowerMs: this.#settings.lowerMs + 1 });
  }

  /** Right records at exactly t + upper don't meet. */
  upperBoundExclusive(): IntervalJoined<A, B, K> {
    return this.#with({ upperMs: this.#settings.upperMs - 1 });
  }

  /** Left records that come too late go to a side output instead of being dropped. */
  lateLeftTo(tag: SideOutput<A>): IntervalJoined<A, B, K> {
    return this.#with({ lateLeft: tag.id });
  }

  /** Right records that come too late go to a side output instead of being dropped. */
  lateRightTo(tag: SideOutput<B>): IntervalJoined<A, B, K> {
    return this.#with({ lateRight: tag.id });
  }

  /** One result per pair, with the higher of the two timestamps. */
  apply<Out>(join: (left: A, right: B) => Out): DataStream<Out> {
    const result = functionOf(join, "apply()");
    return this.process<Out>((left, right, _context, out) => out.collect(result(left, right)));
  }

  /** Each pair through a ProcessJoinFunction, or a function `(left, right, context, out)`. */
  process<Out>(
    join: ProcessJoinFunction<A, B, Out, K> | ((left: A, right: B, context: JoinContext<K>, out: Collector<Out>) => void),
  ): DataStream<Out> {
    const it: unknown = typeof join === "function" ? { processElement: join } : join;
    functionOf((it as { processElement?: unknown } | null)?.processElement, "process()");
    const { environment } = this.#left;
    const node = environment.add({
      name: "intervalJoin",
      spec: specOf("intervalJoin", { ...this.#settings, key: this.#left.key, key2: this.#right.key, function: it }),
      inputs: [...this.#left.edges(0), ...this.#right.edges(1)],
    });
    return new DataStream<Out>(environment, [{ from: node, partitioning: undefined, sideOutput: undefined }]);
  }

  #with(settings: Partial<IntervalSettings>): IntervalJoined<A, B, K> {
    return new IntervalJoined(this.#left, this.#right, { ...this.#settings, ...settings });
  }
}

function signedMs(value: Duration, what: string): number {
  const negative = typeof value === "string" ? value.trim().startsWith("-") : value < 0;
  const size = typeof value === "string" ? value.trim().replace(/^-\s*/, "") : Math.abs(value);
  const ms = durationMs(size, what);
  if (!Number.isInteger(ms)) throw new GraphError(`${what} is ${describe(value)}; give whole milliseconds.`);
  return negative ? -ms : ms;
}
