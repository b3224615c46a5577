/** What the rows of the job come to: a table of airports, and pictures for the report. */
import { type Picture, chart, table } from "drey/notebook";
import type { DayOfAirport, Flight } from "./job.ts";

export interface AirportRow {
  readonly origin: string;
  readonly airport: string;
  readonly flights: number;
  /** Minutes, one decimal. */
  readonly averageDelay: number;
  readonly worstDay: string;
}

/** Airports with fewer flights say nothing about their delays. */
const ENOUGH_FLIGHTS = 100;

/** The airports with the highest average delay. */
export function worstAirports(days: readonly DayOfAirport[], limit = 10): AirportRow[] {
  return [...byOrigin(days)]
    .map(([origin, rows]) => {
      const worst = rows.reduce((a, b) => (b.averageDelay * b.flights > a.averageDelay * a.flights ? b : a));
      return { origin, airport: (rows[0] as DayOfAirport).airport, flights: flightsOf(rows), averageDelay: round(weighted(rows)), worstDay: worst.day };
    })
    .filter((row) => row.flights >= ENOUGH_FLIGHTS)
    .sort((a, b) => b.averageDelay - a.averageDelay)
    .slice(0, limit);
}

/** Charts and tables for the report. */
export function pictures(days: readonly DayOfAirport[], late: readonly Flight[]): { charts: Picture[]; tables: Picture[] } {
  const busiest = [...byOrigin(days)].map(([origin, rows]) => ({ origin, rows, flights: flightsOf(rows) })).sort((a, b) => b.flights - a.flights);
  const daily = busiest.slice(0, 16).flatMap(({ rows }) => rows.map(({ origin, day, averageDelay }) => ({ origin, day: new Date(day), averageDelay: round(averageDelay) })));
  const weekly = busiest.slice(0, 5).flatMap(({ origin, rows }) => weeks(rows).map((week) => ({ origin, week: week.start, averageDelay: round(weighted(week.rows)) })));
  const largest = new Set(busiest.slice(0, 8).map(({ origin }) => origin));
  return {
    charts: [
      chart(daily, { kind: "heat", title: "Delay per day in minutes", x: "day", y: "origin", z: "averageDelay", xTitle: "", yTitle: "" }),
      chart(weekly, { kind: "line", title: "Delay per week", x: "week", y: "averageDelay", by: "origin", xTitle: "", yTitle: "minutes" }),
      chart(worstAirports(days, 12), { kind: "bar", title: "The worst airports", x: "origin", y: "averageDelay", xTitle: "", yTitle: "minutes" }),
      chart(daily.filter((row) => largest.has(row.origin)), { kind: "box", title: "Good days and bad days", x: "origin", y: "averageDelay", xTitle: "", yTitle: "minutes" }),
    ],
    tables: [
      table(worstAirports(days, 20), { title: `Airports with ${ENOUGH_FLIGHTS} flights or more, by average delay in minutes` }),
      table(late, { title: "Flights that came after their day was over", limit: 20 }),
    ],
  };
}

function byOrigin(days: readonly DayOfAirport[]): Map<string, DayOfAirport[]> {
  const groups = new Map<string, DayOfAirport[]>();
  for (const day of days) {
    const rows = groups.get(day.origin);
    if (rows === undefined) groups.set(day.origin, [day]);
    else rows.push(day);
  }
  return groups;
}

const WEEK_MS = 7 * 24 * 3_600_000;

function weeks(rows: readonly DayOfAirport[]): { start: Date; rows: DayOfAirport[] }[] {
  const first = Date.UTC(2001, 0, 1);
  const groups = new Map<number, DayOfAirport[]>();
  for (const row of rows) {
    const week = Math.floor((Date.parse(row.day) - first) / WEEK_MS);
    groups.set(week, [...(groups.get(week) ?? []), row]);
  }
  return [...groups].sort(([a], [b]) => a - b).map(([week, own]) => ({ start: new Date(first + week * WEEK_MS), rows: own }));
}

const flightsOf = (rows: readonly DayOfAirport[]): number => rows.reduce((sum, row) => sum + row.flights, 0);
/** The average over flights, not over days. */
const weighted = (rows: readonly DayOfAirport[]): number => rows.reduce((sum, row) => sum + row.averageDelay * row.flights, 0) / flightsOf(rows);

const round = (minutes: number): number => Math.round(minutes * 10) / 10;
