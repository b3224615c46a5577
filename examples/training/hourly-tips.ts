/** Flink's training, exercise 3: for each hour, the driver who earned the most tips. */
import { type DataStream, aggregate, hours, keyBy, sum, tumbling, window, withTimestamps } from "drey";
import { DISORDER_MS, type TaxiFare } from "./taxi.ts";

export interface HourlyTips {
  /** End of the hour, milliseconds since 1970. */
  readonly hour: number;
  readonly driverId: number;
  readonly tips: number;
}

/** With methods. */
export function hourlyTips(fares: DataStream<TaxiFare>): DataStream<HourlyTips> {
  return fares
    .withTimestamps((fare) => fare.startTime, { outOfOrderness: DISORDER_MS })
    .keyBy("driverId")
    .window(tumbling(hours(1)))
    .aggregate(sum((fare) => fare.tip), (tips, { key, window: { end } }): HourlyTips => ({ hour: end, driverId: key, tips }))
    .windowAll(tumbling(hours(1)))
    .maxBy((driver) => driver.tips);
}

/** With operators in a pipe. */
export function hourlyTipsPiped(fares: DataStream<TaxiFare>): DataStream<HourlyTips> {
  return fares
    .pipe(
      withTimestamps((fare) => fare.startTime, { outOfOrderness: DISORDER_MS }),
      keyBy("driverId"),
      window(tumbling(hours(1))),
      aggregate(sum((fare: TaxiFare) => fare.tip), (tips, { key, window: { end } }): HourlyTips => ({ hour: end, driverId: key, tips })),
    )
    .windowAll(tumbling(hours(1)))
    .maxBy((driver) => driver.tips);
}
