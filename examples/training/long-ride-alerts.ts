/**
 * Flink's training, exercise 4: an alert for each ride that lasts more than two hours, as soon as that is certain: by its END, or when two
 * hours of event time have passed since its START without one.
 */
import {
  type Collector, type DataStream, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type TimerContext, type ValueState, hours,
  keyBy, process, valueState, withTimestamps,
} from "drey";
import { DISORDER_MS, type TaxiRide } from "./taxi.ts";

const LIMIT_MS = hours(2);

class LongRides extends KeyedProcessFunction<number, TaxiRide, number> {
  /** The START or END that came first. */
  first!: ValueState<TaxiRide>;

  override open(context: RuntimeContext): void {
    this.first = context.state(valueState<TaxiRide>("first"));
  }

  override processElement(ride: TaxiRide, context: ProcessContext<number>, out: Collector<number>): void {
    const other = this.first.value();
    if (other === undefined) {
      this.first.update(ride);
      if (ride.isStart) context.timers.registerEventTimeTimer(ride.eventTime + LIMIT_MS);
      return;
    }
    const [start, end] = ride.isStart ? [ride, other] : [other, ride];
    // An alert was given already if the timer has fired, and then there is no START in the state.
    context.timers.deleteEventTimeTimer(start.eventTime + LIMIT_MS);
    if (end.eventTime - start.eventTime > LIMIT_MS) out.collect(context.key);
    this.first.clear();
  }

  override onTimer(_time: number, context: TimerContext<number>, out: Collector<number>): void {
    out.collect(context.key);
    this.first.clear();
  }
}

/** With methods. The results are the ids of rides. */
export function longRideAlerts(rides: DataStream<TaxiRide>): DataStream<number> {
  return rides
    .withTimestamps((ride) => ride.eventTime, { outOfOrderness: DISORDER_MS })
    .keyBy("rideId")
    .process(new LongRides());
}

/** With operators in a pipe. */
export function longRideAlertsPiped(rides: DataStream<TaxiRide>): DataStream<number> {
  return rides.pipe(
    withTimestamps((ride) => ride.eventTime, { outOfOrderness: DISORDER_MS }),
    keyBy("rideId"),
    process(new LongRides()),
  );
}
