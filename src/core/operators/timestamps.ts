/**
 * `withTimestamps`: gives records their event time and makes the watermarks of the stream (Flink: TimestampsAndWatermarksOperator).
 * Watermarks from before this operator end here.
 *
 * How far time is survives a failure (in Flink it begins anew): so a record that was late is late again.
 */
import type { OperatorSpec } from "../graph/stream-graph.ts";
import {
  FARTHEST_TIMESTAMP,
  type Timestamp,
  WATERMARK_EVERY_RECORDS,
  type WatermarkGenerator,
  type WatermarkOutput,
  type WatermarkStrategy,
  timestampMs,
} from "../time/watermark.ts";
import { type KeyToken, keyToken } from "../data/keys.ts";
import { flattenString } from "../data/text.ts";
import { MAX_WATERMARK, MIN_WATERMARK } from "../data/element.ts";
import { options } from "../types/options.ts";
import { OwnItems } from "./own-items.ts";
import { type ChainCode, type Operator, type OperatorContext, type OperatorKind, eitherUse } from "./operator.ts";

export interface TimestampsSpec extends OperatorSpec {
  readonly kind: "timestamps";
  readonly strategy: WatermarkStrategy;
}

export const timestampsOperator: OperatorKind<TimestampsSpec> = {
  kind: "timestamps",
  inputs: 1,
  fields: ({ strategy }, { of, consumers }) =>
    strategy.generator !== undefined
      ? "all"
      : eitherUse(
          ...[strategy.timestamp, strategy.punctuated, strategy.splitBy].map((it) => (it === undefined ? new Set<string>() : of(it, 0))),
          consumers,
        ),
  create: (spec, context) => new TimestampsOperator(spec.strategy, context),
};

/** What is kept in checkpoints. */
interface Progress {
  readonly highest: number;
  readonly emitted: number;
  readonly untilNext: number;
  readonly splits: readonly (readonly [split: KeyToken, highest: number])[];
}

/** How far a split of the source is. */
interface Split {
  highest: number;
  /** Whether a record came since the last tick, and when the last tick was that saw one. */
  moved: boolean;
  movedAtMs: number;
}

class TimestampsOperator implements Operator, WatermarkOutput {
  readonly makesWatermarks = true;
  readonly tickMs: number;
  readonly #strategy: WatermarkStrategy;
  readonly #context: OperatorContext;
  readonly #progress: OwnItems<Progress>;
  /** Read and written by the generated code. */
  highest: number = MIN_WATERMARK;
  untilNext = WATERMARK_EVERY_RECORDS;
  readonly #splits = new Map<KeyToken, Split>();
  readonly #generator: WatermarkGenerator<unknown> | undefined;
  #emitted: number = MIN_WATERMARK;
  #lastCount = 0;
  #count = 0;
  #quietSinceMs = 0;
  #idle = false;

  constructor(strategy: WatermarkStrategy, context: OperatorContext) {
    this.#strategy = strategy;
    this.#context = context;
    this.#generator = strategy.generator?.() as WatermarkGenerator<unknown> | undefined;
    const interval = strategy.intervalMs ?? context.configuration.get(options.autoWatermarkInterval);
    const ticks = [interval, strategy.idlenessMs].filter((ms) => ms > 0);
    this.tickMs = ticks.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...ticks);
    this.#quietSinceMs = context.now();
    this.#progress = new OwnItems(context, "progress");
  }

  open(): void {
    // Records of several former subtasks may come here now: then what holds for all of them.
    const former = this.#progress.restoredOfOthers ?? this.#progress.restored ?? [];
    if (former.length === 0) return;
    this.highest = Math.min(...former.map(({ highest }) => highest));
    this.untilNext = Math.min(...former.map(({ untilNext }) => untilNext));
    this.#advance(Math.min(...former.map(({ emitted }) => emitted)));
    // At another parallelism, who knows which splits come here; a split that never does would hold time back.
    if (this.#progress.restoredOfOthers !== undefined) return;
    for (const [split, highest] of former.flatMap(({ splits }) => splits)) {
      this.#splits.set(split, { highest, moved: true, movedAtMs: this.#context.now() });
    }
  }

  prepareSnapshot(): void {
    const splits = [...this.#splits].map(([split, { highest }]) => [split, highest] as const);
    this.#progress.keep([{ highest: this.highest, emitted: this.#emitted, untilNext: this.untilNext, splits }]);
  }

  inline(code: ChainCode, value: string, timestamp: string): string {
    const time = code.name("time");
    const op = code.constant("timestamps", this);
    const select = code.constant("timestamp", this.#strategy.timestamp);
    const toMs = code.constant("timestampMs", timestampMs);
    const read = this.#strategy.ingestion === true ? `const ${time} = ${op}.arrival();` : `let ${time} = ${select}(${value}, ${timestamp});
if (typeof ${time} !== "number" || !(${time} <= ${FARTHEST_TIMESTAMP} && ${time} >= -${FARTHEST_TIMESTAMP})) ${time} = ${toMs}(${time}, ${value});`;
    const after = this.#strategy.punctuated !== undefined ? "punctuate" : this.#generator !== undefined ? "generate" : undefined;
    if (after !== undefined) return `${read}\n${op}.untilNext--;\n${code.emit(value, time)}\n${op}.${after}(${value}, ${time});`;
    const counted = `if (--${op}.untilNext === 0) ${op}.countReached();`;
    if (this.#strategy.splitBy !== undefined) return `${read}\n${op}.inSplit(${value}, ${time});\n${code.emit(value, time)}\n${counted}`;
    const rises = this.#strategy.maxAheadMs === undefined ? "" : ` && ${op}.believes(${time})`;
    return `${read}
if (${time} > ${op}.highest${rises}) ${op}.highest = ${time};
${code.emit(value, time)}
${counted}`;
  }

  /** So many records came that a watermark is due. */
  countReached(): void {
    this.#count += WATERMARK_EVERY_RECORDS;
    this.untilNext = WATERMARK_EVERY_RECORDS;
    this.#advance(this.#reached() - this.#strategy.outOfOrdernessMs - 1);
  }

  /** A record of a split came. */
  inSplit(value: unknown, timestamp: number): void {
    const token = keyToken((this.#strategy.splitBy as (record: unknown) => unknown)(value));
    let split = this.#splits.get(token);
    if (split === undefined) {
      split = { highest: MIN_WATERMARK, moved: true, movedAtMs: this.#context.now() };
      this.#splits.set(typeof token === "string" ? flattenString(token) : token, split);
    }
    split.moved = true;
    if (timestamp > split.highest && (this.#strategy.maxAheadMs === undefined || this.believes(timestamp))) split.highest = timestamp;
  }

  /** The time at which a record came: never before the one before. */
  arrival(): number {
    const now = this.#context.now();
    return now > this.highest ? now : this.highest;
  }

  /** Whether a timestamp may raise the watermark. */
  believes(timestamp: number): boolean {
    return timestamp <= this.#context.now() + (this.#strategy.maxAheadMs as number);
  }

  generate(value: unknown, timestamp: number): void {
    (this.#generator as WatermarkGenerator<unknown>).onEvent(value, timestamp, this);
  }

  /** For generators. */
  emitWatermark(watermark: Timestamp): void {
    this.#advance(watermark === MAX_WATERMARK ? watermark : timestampMs(watermark, "(a watermark)"));
  }

  /** For generators. */
  markIdle(): void {
    if (this.#idle) return;
    this.#idle = true;
    this.#context.emitIdle();
  }

  punctuate(value: unknown, timestamp: number): void {
    const watermark = (this.#strategy.punctuated as (record: unknown, timestamp: number) => unknown)(value, timestamp);
    if (watermark !== undefined && watermark !== null) this.#advance(timestampMs(watermark, value));
  }

  onTick(nowMs: number): void {
    this.#generator?.onPeriodicEmit?.(this);
    // The wall clock alone says that no earlier arrival follows.
    if (this.#strategy.ingestion === true) {
      this.highest = Math.max(this.highest, nowMs);
      this.#advance(this.highest - 1);
    }
    for (const split of this.#splits.values()) {
      if (split.moved) split.movedAtMs = nowMs;
      split.moved = false;
    }
    const count = this.#count + WATERMARK_EVERY_RECORDS - this.untilNext;
    if (count !== this.#lastCount) {
      this.#lastCount = count;
      this.#quietSinceMs = nowMs;
      this.#idle = false;
      const bounded = this.#strategy.punctuated === undefined && this.#generator === undefined;
      if (bounded) this.#advance(this.#reached() - this.#strategy.outOfOrdernessMs - 1);
    } else if (!this.#idle && this.#strategy.idlenessMs > 0 && nowMs - this.#quietSinceMs >= this.#strategy.idlenessMs) {
      this.#idle = true;
      this.#context.emitIdle();
    }
  }

  /** The highest timestamp of all records, or of the slowest split that is not idle. */
  #reached(): number {
    if (this.#strategy.splitBy === undefined) return this.highest;
    const { idlenessMs } = this.#strategy;
    const now = this.#context.now();
    let lowest = Number.POSITIVE_INFINITY;
    for (const { highest, moved, movedAtMs } of this.#splits.values()) {
      if (moved || idlenessMs === 0 || now - movedAtMs < idlenessMs) lowest = Math.min(lowest, highest);
    }
    return lowest === Number.POSITIVE_INFINITY ? MIN_WATERMARK : lowest;
  }

  #advance(watermark: number): void {
    if (watermark <= this.#emitted) return;
    this.#emitted = watermark;
    this.#context.emitWatermark(watermark);
  }
}
