/** How users say where records get their time from, and how sure watermarks can be of it. */
import type { Timestamp, TimestampSelector, WatermarkGenerator, WatermarkStrategy } from "../time/watermark.ts";
import { type Duration, durationMs } from "../types/duration.ts";
import { GraphError } from "../types/errors.ts";
import { functionOf } from "./spec.ts";

/** How records get their time. */
export interface TimestampOptions<T> {
  /** How much later (in event time) than a record with a higher timestamp a record may come. Default 0: in order. */
  readonly outOfOrderness?: Duration;
  /** A subtask without records for so long holds back no watermark. Default: never idle. */
  readonly idleness?: Duration;
  /** Instead of `outOfOrderness`: after a record, the watermark it proves, or undefined. */
  readonly punctuated?: (record: T, timestamp: number) => Timestamp | undefined | null;
  /**
   * The split of the source that a record comes from (a partition, a file): records are in order within a split only, and the slowest
   * split decides. With `idleness`, a split without records for so long holds nobody back.
   */
  readonly splitBy?: (record: T) => unknown;
  /** Instead of `outOfOrderness`: makes a generator of watermarks for a subtask. */
  readonly generator?: () => WatermarkGenerator<T>;
  /** The wall clock adds a watermark per so much. Default: the job's `pipeline.auto-watermark-interval`, 200 ms. */
  readonly interval?: Duration;
  /**
   * A record whose timestamp is farther ahead of the wall clock does not raise the watermark, so that one wrong clock doesn't make all
   * other records late; it waits in its window. Default: every record raises it.
   */
  readonly maxAhead?: Duration;
  /**
   * Sources of one group wait for each other: none reads on while its watermark is farther ahead than `maxDrift` of the slowest. They are
   * compared once per `metrics.interval`. For a source and timestamps that share a thread; give `idleness` to those that may fall silent.
   */
  readonly alignment?: { readonly group: string; readonly maxDrift: Duration };
}

/** @throws GraphError, ConfigurationError for options that contradict each other or are none. */
export function strategyOf<T>(timestamp: TimestampSelector<T>, options: TimestampOptions<T>): WatermarkStrategy {
  const { outOfOrderness, idleness, punctuated, generator, interval, maxAhead, splitBy, alignment } = options;
  const given = Object.entries({ outOfOrderness, punctuated, generator }).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  if (given.length > 1) throw new GraphError(`withTimestamps() got ${given.join(" and ")}; give one way to make watermarks.`);
  const bound = maxAhead === undefined ? (splitBy === undefined ? undefined : "splitBy") : "maxAhead";
  if (bound !== undefined && (punctuated ?? generator) !== undefined) {
    throw new GraphError(`withTimestamps() got ${bound} and ${given.join("")}; such a function decides itself what to believe.`);
  }
  return {
    timestamp: functionOf(timestamp, "withTimestamps()") as TimestampSelector,
    outOfOrdernessMs: durationMs(outOfOrderness ?? 0, "withTimestamps(…, { outOfOrderness })"),
    idlenessMs: durationMs(idleness ?? 0, "withTimestamps(…, { idleness })"),
    ...(interval === undefined ? {} : { intervalMs: durationMs(interval, "withTimestamps(…, { interval })") }),
    ...(punctuated === undefined ? {} : { punctuated: functionOf(punctuated, "withTimestamps(…, { punctuated })") as never }),
    ...(generator === undefined ? {} : { generator: functionOf(generator, "withTimestamps(…, { generator })") as never }),
    ...(splitBy === undefined ? {} : { splitBy: functionOf(splitBy, "withTimestamps(…, { splitBy })") as never }),
    ...(alignment === undefined
      ? {}
      : {
          alignment: {
            group: String(alignment.group),
            maxDriftMs: durationMs(alignment.maxDrift, "withTimestamps(…, { alignment: { maxDrift } })"),
          },
        }),
    ...(maxAhead === undefined ? {} : { maxAheadMs: durationMs(maxAhead, "withTimestamps(…, { maxAhead })") }),
  };
}

/** See `DataStream.withIngestionTime`. */
export const ingestionStrategy: WatermarkStrategy = { timestamp: () => 0, outOfOrdernessMs: 0, idlenessMs: 0, ingestion: true };
