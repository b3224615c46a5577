/**
 * Taxi rides in New York as in Apache Flink's training, made from a seed: each ride has a START and most have an END, which come out of
 * order by up to a minute, and each has a fare, which comes with its start.
 */

export interface TaxiRide {
  readonly rideId: number;
  readonly isStart: boolean;
  /** Milliseconds since 1970: of the start or of the end. */
  readonly eventTime: number;
  readonly startLon: number;
  readonly startLat: number;
  readonly endLon: number;
  readonly endLat: number;
  readonly passengers: number;
  readonly taxiId: number;
  readonly driverId: number;
}

export interface TaxiFare {
  readonly rideId: number;
  readonly taxiId: number;
  readonly driverId: number;
  readonly startTime: number;
  readonly paymentType: "CASH" | "CARD";
  readonly tip: number;
  readonly tolls: number;
  readonly totalFare: number;
}

/** No event comes later than this after one of a later time. */
export const DISORDER_MS = 60_000;
const FIRST_MS = Date.UTC(2020, 0, 1, 12);

/** The same seed gives the same rides. Every twentieth lasts more than two hours, every thirtieth has no END. */
export function taxiData(rides: number, seed: number): { rides: TaxiRide[]; fares: TaxiFare[] } {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const events: TaxiRide[] = [];
  const fares: TaxiFare[] = [];
  for (let rideId = 1; rideId <= rides; rideId++) {
    const startTime = FIRST_MS + rideId * 20_000 + Math.floor(random() * 20_000);
    const minutes = rideId % 20 === 0 ? 121 + random() * 60 : 2 + random() * 60;
    const driverId = 2_013_000_000 + Math.floor(random() * 40);
    const ride = {
      rideId, driverId,
      taxiId: driverId - 1_000_000,
      startLon: -74.15 + random() * 0.5, startLat: 40.45 + random() * 0.6, endLon: -74.1 + random() * 0.4, endLat: 40.45 + random() * 0.6,
      passengers: 1 + Math.floor(random() * 4),
    };
    events.push({ ...ride, isStart: true, eventTime: startTime });
    if (rideId % 30 !== 0) events.push({ ...ride, isStart: false, eventTime: startTime + Math.floor(minutes * 60_000) });
    const [tip, tolls] = [Math.round(random() * 10), random() < 0.1 ? 5 : 0];
    fares.push({
      rideId, driverId, taxiId: ride.taxiId, startTime, tip, tolls,
      paymentType: random() < 0.5 ? "CASH" : "CARD",
      totalFare: Math.round(3 + minutes / 2) + tip + tolls,
    });
  }
  const outOfOrder = <T>(rows: readonly T[], time: (row: T) => number): T[] =>
    rows
      .map((row) => ({ row, at: time(row) + random() * DISORDER_MS }))
      .sort((a, b) => a.at - b.at)
      .map(({ row }) => row);
  return { rides: outOfOrder(events, (ride) => ride.eventTime), fares: outOfOrder(fares, (fare) => fare.startTime) };
}

/** Whether a place lies in New York City. */
export function isInNewYork(lon: number, lat: number): boolean {
  return lon > -74.05 && lon < -73.7 && lat > 40.5 && lat < 41;
}
