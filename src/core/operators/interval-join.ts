/**
 * The interval join of two keyed streams (Flink: IntervalJoinOperator): a left record of time t meets the right records of its key with
 * t + lower ≤ time ≤ t + upper. Each pair is emitted once, when its later record arrives, with the higher of the two timestamps.
 *
 * Invariant: a record is kept exactly as long as a record that is not late can still meet it: until the watermark has passed
 * t + max(0, upper) on the left, t + max(0, −lower) on the right. A record below the watermark is late: dropped and counted, or
 * sent to a side output.
 */
import { MIN_WATERMARK } from "../data/element.ts";
import type { KeySelector, OperatorSpec } from "../graph/stream-graph.ts";
import type { KeyedBackend } from "../state/backend.ts";
import { type MapState, mapState } from "../state/descriptors.ts";
import type { TimerQueue } from "../state/timers.ts";
import { type Collector, type ProcessContext, type RuntimeContext } from "./function.ts";
import { FunctionContext, TimestampedCollector } from "./function-context.ts";
import { type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";
import { requireTimestamp } from "./window.ts";

/** What a join function can reach while it handles a pair. Valid during the call only. */
export interface JoinContext<Key = unknown> extends Pick<ProcessContext<Key>, "key" | "output"> {
  readonly leftTimestamp: number;
  readonly rightTimestamp: number;
  /** The higher of the two: what results get. */
  readonly timestamp: number;
}

/** A function of pairs that an interval join found. */
export abstract class ProcessJoinFunction<Left, Right, Out, Key = unknown> {
  open?(context: RuntimeContext): void | Promise<void>;
  abstract processElement(left: Left, right: Right, context: JoinContext<Key>, out: Collector<Out>): void;
  close?(): void | Promise<void>;
}

export interface IntervalJoinSpec extends OperatorSpec {
  readonly kind: "intervalJoin";
  readonly key: KeySelector;
  readonly key2: KeySelector;
  /** Both included. */
  readonly lowerMs: number;
  readonly upperMs: number;
  readonly function: Pick<ProcessJoinFunction<never, never, unknown>, "processElement" | "open" | "close">;
  /** Side outputs of late records; absent: they are dropped. */
  readonly lateLeft?: string;
  readonly lateRight?: string;
}

export const intervalJoinOperator: OperatorKind<IntervalJoinSpec> = {
  kind: "intervalJoin",
  inputs: 2,
  fields: ({ key, key2, lateLeft, lateRight, function: { processElement } }, { input, of }) => {
    if ((input === 0 ? lateLeft : lateRight) !== undefined) return "all";
    return eitherUse(of(processElement, input), of(input === 0 ? key : key2, 0));
  },
  create: (spec, context) => new IntervalJoinOperator(spec, context),
};

/** One of the two inputs, seen from itself. */
interface Side {
  readonly key: (value: unknown) => unknown;
  /** Records by their timestamps. */
  readonly kept: MapState<number, readonly unknown[]>;
  readonly timers: TimerQueue;
  /** Records of the other side at t + from … t + to meet one at t here. */
  readonly from: number;
  readonly to: number;
  readonly late: string | undefined;
}

class IntervalJoinOperator implements Operator {
  readonly #function: IntervalJoinSpec["function"];
  readonly #context: OperatorContext;
  readonly #keyed: KeyedBackend;
  readonly #left: Side;
  readonly #right: Side;
  readonly #pair: PairContext;
  readonly #out: TimestampedCollector;
  #watermark: number = MIN_WATERMARK;

  constructor(spec: IntervalJoinSpec, context: OperatorContext) {
    this.#function = spec.function;
    this.#context = context;
    this.#keyed = context.states.keyed;
    const side = (name: string, key: KeySelector, from: number, to: number, late: string | undefined): Side => ({
      key: key as (value: unknown) => unknown,
      kept: context.states.keyed.state(mapState<number, readonly unknown[]>(name)),
      timers: context.states.timers(name),
      from, to, late,
    });
    this.#left = side("left", spec.key, spec.lowerMs, spec.upperMs, spec.lateLeft);
    this.#right = side("right", spec.key2, -spec.upperMs, -spec.lowerMs, spec.lateRight);
    this.#pair = new PairContext(context);
    this.#out = new TimestampedCollector(context);
  }

  open(): void | Promise<void> {
    return this.#function.open?.(this.#pair.runtime);
  }

  process(value: unknown, timestamp: number): void {
    this.#meet(this.#left, this.#right, value, timestamp);
  }

  process2(value: unknown, timestamp: number): void {
    this.#meet(this.#right, this.#left, value, timestamp);
  }

  onWatermark(watermark: number): void {
    this.#watermark = watermark;
    for (const { timers, kept, to } of [this.#left, this.#right]) {
      if (timers.nextTime > watermark) continue;
      timers.advance(watermark, (time, key) => {
        this.#keyed.setCurrentKey(key);
        kept.remove(time - Math.max(0, to));
      });
    }
  }

  close(): void | Promise<void> {
    return this.#function.close?.();
  }

  #meet(own: Side, other: Side, value: unknown, timestamp: number): void {
    requireTimestamp(timestamp, value, this.#context);
    if (timestamp < this.#watermark) {
      if (own.late === undefined) this.#context.count("numLateRecordsDropped");
      else this.#context.emitSide(own.late, value, timestamp);
      return;
    }
    this.#keyed.setCurrentKey(own.key(value));
    const [first, last] = [timestamp + own.from, timestamp + own.to];
    for (const [time, records] of other.kept.entries()) {
      if (time < first || time > last) continue;
      for (const record of records) {
        if (own === this.#left) this.#found(value, record, timestamp, time);
        else this.#found(record, value, time, timestamp);
      }
    }
    const before = own.kept.get(timestamp);
    own.kept.put(timestamp, before === undefined ? [value] : [...before, value]);
    own.timers.register(timestamp + Math.max(0, own.to), this.#keyed.currentToken, this.#keyed.currentKey);
  }

  #found(left: unknown, right: unknown, leftTimestamp: number, rightTimestamp: number): void {
    this.#pair.leftTimestamp = leftTimestamp;
    this.#pair.rightTimestamp = rightTimestamp;
    const timestamp = Math.max(leftTimestamp, rightTimestamp);
    this.#pair.runtime.time = timestamp;
    this.#out.timestamp = timestamp;
    this.#function.processElement(left as never, right as never, this.#pair, this.#out);
  }
}

class PairContext implements JoinContext {
  leftTimestamp: number = Number.NaN;
  rightTimestamp: number = Number.NaN;
  readonly runtime: FunctionContext;

  constructor(context: OperatorContext) {
    this.runtime = new FunctionContext(context, true);
  }

  get timestamp(): number {
    return this.runtime.time;
  }

  get key(): unknown {
    return this.runtime.key;
  }

  output: JoinContext["output"] = (tag, value) => this.runtime.output(tag, value);
}
