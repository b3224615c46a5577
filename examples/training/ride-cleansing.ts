/** Flink's training, exercise 1: only rides that begin and end in New York City. */
import { type DataStream, filter } from "drey";
import { type TaxiRide, isInNewYork } from "./taxi.ts";

const inNewYork = (ride: TaxiRide): boolean => isInNewYork(ride.startLon, ride.startLat) && isInNewYork(ride.endLon, ride.endLat);

/** With methods. */
export function rideCleansing(rides: DataStream<TaxiRide>): DataStream<TaxiRide> {
  return rides.filter(inNewYork);
}

/** With operators in a pipe. */
export function rideCleansingPiped(rides: DataStream<TaxiRide>): DataStream<TaxiRide> {
  return rides.pipe(filter(inNewYork));
}
