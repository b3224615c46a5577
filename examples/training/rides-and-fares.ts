/**
 * Flink's training, exercise 2: each ride with its fare. The two come on streams of their own, in whatever order; whichever is first waits in
 * state for the other.
 */
import { CoProcessFunction, type Collector, type DataStream, type ProcessContext, type RuntimeContext, type ValueState, keyBy, valueState } from "drey";
import type { TaxiFare, TaxiRide } from "./taxi.ts";

export interface RideAndFare {
  readonly ride: TaxiRide;
  readonly fare: TaxiFare;
}

class Enrich extends CoProcessFunction<TaxiRide, TaxiFare, RideAndFare, number> {
  ride!: ValueState<TaxiRide>;
  fare!: ValueState<TaxiFare>;

  override open(context: RuntimeContext): void {
    this.ride = context.state(valueState<TaxiRide>("ride"));
    this.fare = context.state(valueState<TaxiFare>("fare"));
  }

  override processElement1(ride: TaxiRide, _context: ProcessContext<number>, out: Collector<RideAndFare>): void {
    const fare = this.fare.value();
    if (fare === undefined) return this.ride.update(ride);
    this.fare.clear();
    out.collect({ ride, fare });
  }

  override processElement2(fare: TaxiFare, _context: ProcessContext<number>, out: Collector<RideAndFare>): void {
    const ride = this.ride.value();
    if (ride === undefined) return this.fare.update(fare);
    this.ride.clear();
    out.collect({ ride, fare });
  }
}

/** With methods. */
export function ridesAndFares(rides: DataStream<TaxiRide>, fares: DataStream<TaxiFare>): DataStream<RideAndFare> {
  return rides
    .filter((ride) => ride.isStart)
    .keyBy("rideId")
    .connect(fares.keyBy("rideId"))
    .process(new Enrich());
}

/** With operators in a pipe. */
export function ridesAndFaresPiped(rides: DataStream<TaxiRide>, fares: DataStream<TaxiFare>): DataStream<RideAndFare> {
  return rides.filter((ride) => ride.isStart).pipe(keyBy("rideId")).connect(fares.pipe(keyBy("rideId"))).process(new Enrich());
}
