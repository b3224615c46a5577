/**
 * `withTimestamps`: gives records their event time and makes the watermarks of the stream (Flink: TimestampsAndWatermarksOperator).
 * Watermarks from before this operator end here.
 */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import { WATERMARK_EVERY_RECORDS, type WatermarkStrategy, timestampMs } from "../time/watermark.ts";
import { MIN_WATERMARK } from "../data/element.ts";
import { options } from "../types/options.ts";
import { type ChainCode, type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";

export interface TimestampsSpec extends OperatorSpec {
  readonly kind: "timestamps";
  readonly strategy: WatermarkStrategy;
}

export const timestampsOperator: OperatorKind<TimestampsSpec> = {
  kind: "timestamps",
  inputs: 1,
  fields: ({ strategy }, { of, consumers }) =>
    eitherUse(of(strategy.timestamp, 0), strategy.punctuated === undefined ? new Set() : of(strategy.punctuated, 0), consumers),
  create: (spec, context) => new TimestampsOperator(spec.strategy, context),
};

class TimestampsOperator implements Operator {
  readonly makesWatermarks = true;
  readonly tickMs: number;
  readonly #strategy: WatermarkStrategy;
  readonly #context: OperatorContext;
  /** Read and written by the generated code. */
  highest: number = MIN_WATERMARK;
  untilNext = WATERMARK_EVERY_RECORDS;
  #emitted: number = MIN_WATERMARK;
  #lastCount = 0;
  #count = 0;
  #quietSinceMs = 0;
  #idle = false;

  constructor(strategy: WatermarkStrategy, context: OperatorContext) {
    this.#strategy = strategy;
    this.#context = context;
    const interval = strategy.intervalMs ?? context.configuration.get(options.autoWatermarkInterval);
    const ticks = [interval, strategy.idlenessMs].filter((ms) => ms > 0);
    this.tickMs = ticks.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...ticks);
    this.#quietSinceMs = context.now();
  }

  inline(code: ChainCode, value: string): string {
    const time = code.name("time");
    const op = code.constant("timestamps", this);
    const select = code.constant("timestamp", this.#strategy.timestamp);
    const toMs = code.constant("timestampMs", timestampMs);
    const read = `let ${time} = ${select}(${value});
if (typeof ${time} !== "number" || ${time} - ${time} !== 0) ${time} = ${toMs}(${time}, ${value});`;
    if (this.#strategy.punctuated !== undefined) {
      return `${read}\n${op}.untilNext--;\n${code.emit(value, time)}\n${op}.punctuate(${value}, ${time});`;
    }
    return `${read}
if (${time} > ${op}.highest) ${op}.highest = ${time};
${code.emit(value, time)}
if (--${op}.untilNext === 0) ${op}.countReached();`;
  }

  /** So many records came that a watermark is due. */
  countReached(): void {
    this.#count += WATERMARK_EVERY_RECORDS;
    this.untilNext = WATERMARK_EVERY_RECORDS;
    this.#advance(this.highest - this.#strategy.outOfOrdernessMs - 1);
  }

  punctuate(value: unknown, timestamp: number): void {
    const watermark = (this.#strategy.punctuated as (record: unknown, timestamp: number) => unknown)(value, timestamp);
    if (watermark !== undefined && watermark !== null) this.#advance(timestampMs(watermark, value));
  }

  onTick(nowMs: number): void {
    const count = this.#count + WATERMARK_EVERY_RECORDS - this.untilNext;
    if (count !== this.#lastCount) {
      this.#lastCount = count;
      this.#quietSinceMs = nowMs;
      this.#idle = false;
      if (this.#strategy.punctuated === undefined) this.#advance(this.highest - this.#strategy.outOfOrdernessMs - 1);
    } else if (!this.#idle && this.#strategy.idlenessMs > 0 && nowMs - this.#quietSinceMs >= this.#strategy.idlenessMs) {
      this.#idle = true;
      this.#context.emitIdle();
    }
  }

  #advance(watermark: number): void {
    if (watermark <= this.#emitted) return;
    this.#emitted = watermark;
    this.#context.emitWatermark(watermark);
  }
}
