/** Parts of a time, in UTC. Times are milliseconds since the epoch. */

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** Days since the epoch. */
export function dayOf(time: number): number {
  return Math.floor(time / DAY_MS);
}

/** Minutes since midnight. */
export function minuteOf(time: number): number {
  return Math.floor(time / MINUTE_MS) % 1_440;
}

/** 0 … 23. */
export function hourOf(time: number): number {
  return Math.floor(minuteOf(time) / 60);
}

/** A day since the epoch as `2015-07-15`. */
export function dayText(day: number): string {
  let text = dayTexts.get(day);
  if (text === undefined) {
    text = new Date(day * DAY_MS).toISOString().slice(0, 10);
    dayTexts.set(day, text);
  }
  return text;
}

/** Days that were asked for. A run sees few. */
const dayTexts = new Map<number, string>();

/** A minute since midnight as `23:59`. */
export function minuteText(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}
