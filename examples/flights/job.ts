/**
 * The example job: 20,000 flights in the United States, January to March 2001, replayed as a stream. Per origin and day, the average delay,
 * with the airport's name from a second stream that every subtask gets.
 *
 * The file is sorted by time; the replay puts it out of order, most rows by an hour or so, a few by so much that their day is over (late).
 */
import { readFileSync } from "node:fs";
import {
  type AggregateFunction, CoProcessFunction, type Collector, type DataStream, type Environment, type ProcessContext, days, hours,
  sideOutput, tumbling,
} from "drey";

export interface Flight {
  /** Time of departure, UTC: `2001/01/10 18:20`. */
  readonly date: string;
  /** Minutes; early arrivals are negative. */
  readonly delay: number;
  readonly distance: number;
  readonly origin: string;
  readonly destination: string;
}

/** What comes out: one row per airport and day. */
export interface DayOfAirport {
  readonly origin: string;
  readonly airport: string;
  /** `2001-01-10` */
  readonly day: string;
  readonly flights: number;
  /** Minutes. */
  readonly averageDelay: number;
}

export interface Replay {
  /** Path of `flights-20k.json`. */
  readonly flights: string;
  /** Path of `airports.csv`. */
  readonly airports: string;
  readonly rowsPerSecond: number;
  readonly seed: number;
}

interface Airport {
  readonly iata: string;
  readonly name: string;
}

/** Flights that come after their day was over. */
const late = sideOutput<Flight>("late");

/** How many flights, and how late on average. The accumulator is all that is kept of a day while it lasts. */
const delayOfDay: AggregateFunction<Flight, { flights: number; minutes: number }, { flights: number; averageDelay: number }> = {
  createAccumulator: () => ({ flights: 0, minutes: 0 }),
  add: (flight, sum) => ({ flights: sum.flights + 1, minutes: sum.minutes + flight.delay }),
  getResult: ({ flights, minutes }) => ({ flights, averageDelay: minutes / flights }),
};

/** Gives each day's figures the airport's name; figures that come before the name wait for it. */
class WithAirportName extends CoProcessFunction<Omit<DayOfAirport, "airport">, Airport, DayOfAirport> {
  readonly names = new Map<string, string>();
  readonly waiting = new Map<string, Omit<DayOfAirport, "airport">[]>();

  processElement1(day: Omit<DayOfAirport, "airport">, _context: ProcessContext, out: Collector<DayOfAirport>): void {
    const airport = this.names.get(day.origin);
    if (airport !== undefined) out.collect({ ...day, airport });
    else this.waiting.set(day.origin, [...(this.waiting.get(day.origin) ?? []), day]);
  }

  processElement2({ iata, name }: Airport, _context: ProcessContext, out: Collector<DayOfAirport>): void {
    this.names.set(iata, name);
    for (const day of this.waiting.get(iata) ?? []) out.collect({ ...day, airport: name });
    this.waiting.delete(iata);
  }
}

/** The pipeline. `env` decides where it runs. */
export function flightDelays(env: Environment, replay: Replay): { delays: DataStream<DayOfAirport>; late: DataStream<Flight> } {
  const { flights: path, rowsPerSecond, seed } = replay;

  const flights = env
    .from(() => outOfOrder(JSON.parse(readFileSync(path, "utf8")) as Flight[], seed), { rowsPerSecond })
    .name("Source: flights")
    .withTimestamps((flight) => Date.parse(`${flight.date.replace(" ", "T").replaceAll("/", "-")}:00Z`), { outOfOrderness: hours(6) })
    .setParallelism(1);

  const perDay = flights
    .keyBy((flight) => flight.origin)
    .window(tumbling(days(1)))
    .lateTo(late)
    .aggregate(delayOfDay, (result, { key, window }) => ({
      origin: key,
      day: new Date(window.start).toISOString().slice(0, 10),
      ...result,
    }))
    .name("delay per day");

  const airports = env.fromCsv<Airport>(replay.airports).name("Source: airports").setParallelism(1);

  const delays = perDay.connect(airports.broadcast()).process(new WithAirportName()).name("with names");
  return { delays, late: perDay.sideOutput(late) };
}

/** Rows a little out of order: each moves up to 12 places, one in 400 by up to 4,000. The same seed gives the same order. */
export function outOfOrder<T>(rows: readonly T[], seed: number): T[] {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return rows
    .map((row, index) => ({ row, at: index + random() * (random() < 1 / 400 ? 4_000 : 12) }))
    .sort((a, b) => a.at - b.at)
    .map(({ row }) => row);
}
