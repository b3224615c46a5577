/**
 * Lengths and points of time as users write them. Inside drey a duration is a number of milliseconds, a timestamp a number of
 * milliseconds since 1970-01-01T00:00:00Z (UTC, always).
 */
import { ConfigurationError, describe } from "./errors.ts";

/** A length of time: a number of milliseconds, or a text such as `"10 s"`, `"250 ms"`, `"5 min"`, `"PT10S"`. */
export type Duration = number | string;

/** So many of a unit, as milliseconds: `seconds(5)`. */
export const milliseconds = (count: number): number => count;
export const seconds = (count: number): number => count * 1_000;
export const minutes = (count: number): number => count * 60_000;
export const hours = (count: number): number => count * 3_600_000;
export const days = (count: number): number => count * 86_400_000;

const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6, nano: 1e-6, nanos: 1e-6, us: 1e-3, µs: 1e-3, micro: 1e-3, micros: 1e-3,
  "": 1, ms: 1, milli: 1, millis: 1, millisecond: 1, milliseconds: 1,
  s: 1_000, sec: 1_000, second: 1_000, seconds: 1_000,
  m: 60_000, min: 60_000, minute: 60_000, minutes: 60_000,
  h: 3_600_000, hour: 3_600_000, hours: 3_600_000,
  d: 86_400_000, day: 86_400_000, days: 86_400_000,
};

/**
 * Reads a duration, in the spellings of Flink's configuration (`10 s`, `500ms`, ISO-8601 `PT1M30S`).
 * @param what names the value in the error message.
 * @returns milliseconds, zero or more.
 * @throws ConfigurationError when it is negative, not finite or not a duration.
 */
export function durationMs(value: Duration, what = "duration"): number {
  const ms = typeof value === "number" ? value : parse(value.trim());
  if (!Number.isFinite(ms) || ms < 0) {
    throw new ConfigurationError(`${what} is ${describe(value)}; give a number of milliseconds ≥ 0 or a text such as "10 s".`);
  }
  return ms;
}

function parse(text: string): number {
  const simple = /^(\d+(?:\.\d+)?)\s*([a-zµ]*)$/i.exec(text);
  if (simple !== null) return Number(simple[1]) * (UNITS[(simple[2] as string).toLowerCase()] ?? Number.NaN);
  const iso = /^P(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?$/i.exec(text);
  if (iso === null || text.length < 3) return Number.NaN;
  const part = (index: number, unit: number): number => Number(iso[index] ?? 0) * unit;
  return part(1, 86_400_000) + part(2, 3_600_000) + part(3, 60_000) + part(4, 1_000);
}

/** A duration in words, the largest units first: `90500` is `1 min 30.5 s`. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms)) return String(ms);
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${trim(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min${ms % 60_000 === 0 ? "" : ` ${trim((ms % 60_000) / 1_000)} s`}`;
  return `${Math.floor(ms / 3_600_000)} h${ms % 3_600_000 < 60_000 ? "" : ` ${Math.floor((ms % 3_600_000) / 60_000)} min`}`;
}

const trim = (value: number): string => String(Math.round(value * 10) / 10);
