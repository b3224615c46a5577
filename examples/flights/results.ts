/** What the rows of the job come to: airports by their delays, and pictures for the report. */
import { type Picture, chart, table } from "drey/notebook";
import type { DayOfAirport, Flight } from "./job.ts";

/** An airport over all its days. */
interface Airport {
  readonly origin: string;
  readonly airport: string;
  readonly flights: number;
  /** Minutes, the average over its flights. */
  readonly delay: number;
  readonly days: readonly DayOfAirport[];
}

/** Airports with fewer flights say nothing about their delays. */
const ENOUGH_FLIGHTS = 100;
const WEEK_MS = 7 * 24 * 3_600_000;
const FIRST_DAY = Date.UTC(2001, 0, 1);

/** The airports with the highest average delay. */
export function worstAirports(days: readonly DayOfAirport[], limit: number, title: string): Picture {
  const rows = worst(airportsOf(days), limit).map(({ origin, airport, flights, delay, days: own }) => {
    const worstDay = own.reduce((a, b) => (b.averageDelay * b.flights > a.averageDelay * a.flights ? b : a)).day;
    return { origin, airport, flights, delay, worstDay };
  });
  return table(rows, { title });
}

/** Charts and tables for the report. */
export function pictures(days: readonly DayOfAirport[], late: readonly Flight[]): { charts: Picture[]; tables: Picture[] } {
  const airports = airportsOf(days);
  const busiest = airports.sort((a, b) => b.flights - a.flights);
  const daily = (count: number) => busiest.slice(0, count).flatMap(({ days: own }) => own.map(dailyDelay));
  const minutes = { xTitle: "", yTitle: "minutes" };
  return {
    charts: [
      chart(daily(16), { kind: "heat", title: "Delay per day in minutes", x: "day", y: "origin", z: "delay", xTitle: "", yTitle: "" }),
      chart(busiest.slice(0, 5).flatMap(weekly), { title: "Delay per week", x: "week", y: "delay", by: "origin", ...minutes }),
      chart(worst(airports, 12), { kind: "bar", title: "The worst airports", x: "origin", y: "delay", ...minutes }),
      chart(daily(8), { kind: "box", title: "Good days and bad days", x: "origin", y: "delay", ...minutes }),
    ],
    tables: [
      worstAirports(days, 20, `Airports with ${ENOUGH_FLIGHTS} flights or more, by average delay in minutes`),
      table(late, { title: "Flights that came after their day was over", limit: 20 }),
    ],
  };
}

function airportsOf(days: readonly DayOfAirport[]): Airport[] {
  const groups = new Map<string, DayOfAirport[]>();
  for (const day of days) {
    const own = groups.get(day.origin);
    if (own === undefined) groups.set(day.origin, [day]);
    else own.push(day);
  }
  return [...groups].map(([origin, own]) => ({ origin, airport: (own[0] as DayOfAirport).airport, ...summed(own), days: own }));
}

function worst(airports: readonly Airport[], limit: number): Airport[] {
  return airports.filter((it) => it.flights >= ENOUGH_FLIGHTS).sort((a, b) => b.delay - a.delay).slice(0, limit);
}

const dailyDelay = ({ origin, day, averageDelay }: DayOfAirport) => ({ origin, day: new Date(day), delay: round(averageDelay) });

function weekly({ origin, days }: Airport): { origin: string; week: Date; delay: number }[] {
  const weeks = new Map<number, DayOfAirport[]>();
  for (const day of days) {
    const week = Math.floor((Date.parse(day.day) - FIRST_DAY) / WEEK_MS);
    weeks.set(week, [...(weeks.get(week) ?? []), day]);
  }
  const inOrder = [...weeks].sort(([a], [b]) => a - b);
  return inOrder.map(([week, own]) => ({ origin, week: new Date(FIRST_DAY + week * WEEK_MS), delay: summed(own).delay }));
}

/** The average is over flights, not over days. */
function summed(days: readonly DayOfAirport[]): { flights: number; delay: number } {
  const flights = days.reduce((sum, day) => sum + day.flights, 0);
  return { flights, delay: round(days.reduce((sum, day) => sum + day.averageDelay * day.flights, 0) / flights) };
}

const round = (minutes: number): number => Math.round(minutes * 10) / 10;
