/**
 * Axes: from values to pixels, and where the ticks stand. Linear ticks are 1, 2 or 5 times a power of ten; ticks of time stand on whole
 * seconds, minutes, hours, days, months and years of UTC; a category has one tick each, as many as fit. Pure.
 */
import { shortNumber } from "./numbers.ts";

export type AxisKind = "linear" | "time" | "category";

/** A mark on an axis. */
export interface Tick {
  readonly value: number;
  readonly text: string;
}

/** An axis: from values to pixels. */
export interface Scale {
  readonly kind: AxisKind;
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly Tick[];
  /** Pixels for a value. */
  readonly at: (value: number) => number;
}

/**
 * A linear scale whose ends are ticks.
 * @param from pixels of the low end. @param to pixels of the high end. @param wanted about how many ticks.
 */
export function linearScale(low: number, high: number, from: number, to: number, wanted: number): Scale {
  const [a, b] = widened(low, high);
  const step = niceStep((b - a) / Math.max(1, wanted));
  const bottom = Math.floor(a / step + 1e-9) * step;
  const top = Math.ceil(b / step - 1e-9) * step;
  const decimals = Math.max(0, Math.min(20, -Math.floor(Math.log10(step) + 1e-9)));
  const ticks: Tick[] = [];
  for (let i = 0; bottom + i * step <= top + step / 2; i++) {
    const value = Number((bottom + i * step).toFixed(decimals));
    ticks.push({
      value,
      text: Math.abs(value) >= 10_000 ? shortNumber(value) : step < 0.001 ? value.toExponential(1) : value.toFixed(decimals),
    });
  }
  return scale("linear", bottom, top, from, to, ticks);
}

/** A scale of moments (milliseconds since the epoch), its ends the data's. */
export function timeScale(low: number, high: number, from: number, to: number, wanted: number): Scale {
  const [a, b] = low === high ? [low - 500, high + 500] : [low, high];
  return scale("time", a, b, from, to, timeTicks(a, b, wanted));
}

/** A scale over `names`, each in the middle of an equal band; value `i` is the `i`-th name. */
export function categoryScale(names: readonly string[], from: number, to: number, wanted: number): Scale {
  const every = Math.max(1, Math.ceil(names.length / Math.max(1, wanted)));
  const ticks = names.map((text, value) => ({ value, text })).filter((tick) => tick.value % every === 0);
  return scale("category", -0.5, Math.max(0.5, names.length - 0.5), from, to, ticks);
}

function scale(kind: AxisKind, low: number, high: number, from: number, to: number, ticks: readonly Tick[]): Scale {
  return { kind, low, high, ticks, at: (value) => from + ((value - low) / (high - low)) * (to - from) };
}

function widened(low: number, high: number): [number, number] {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  if (low !== high) return [low, high];
  return low === 0 ? [0, 1] : [Math.min(0, low), Math.max(0, high)];
}

function niceStep(raw: number): number {
  const power = 10 ** Math.floor(Math.log10(raw));
  const part = raw / power;
  return (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10) * power;
}

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  1,
  2,
  5,
  10,
  20,
  50,
  100,
  200,
  500,
  SECOND,
  2 * SECOND,
  5 * SECOND,
  10 * SECOND,
  15 * SECOND,
  30 * SECOND,
  MINUTE,
  2 * MINUTE,
  5 * MINUTE,
  10 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
  DAY,
  2 * DAY,
  7 * DAY,
  14 * DAY,
];

function timeTicks(low: number, high: number, wanted: number): Tick[] {
  const raw = (high - low) / Math.max(1, wanted);
  const step = STEPS.find((it) => it >= raw);
  const moments = step === undefined ? monthTicks(low, high, raw) : range(Math.ceil(low / step) * step, high, step);
  return moments.map((value, index) => ({ value, text: momentText(value, moments[index - 1], step) }));
}

function range(first: number, last: number, step: number): number[] {
  const values: number[] = [];
  for (let value = first; value <= last; value += step) values.push(value);
  return values;
}

/** Starts of months, every so many that the ticks are at least `raw` apart. */
function monthTicks(low: number, high: number, raw: number): number[] {
  const months = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1_200].find((count) => count * 30.4 * DAY >= raw) ?? 6_000;
  const start = new Date(low);
  const first = Math.floor((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months) * months;
  const moments: number[] = [];
  for (let month = first; ; month += months) {
    const at = new Date(0);
    at.setUTCFullYear(Math.floor(month / 12), ((month % 12) + 12) % 12, 1);
    if (at.getTime() > high || Number.isNaN(at.getTime())) return moments;
    if (at.getTime() >= low) moments.push(at.getTime());
  }
}

/** As short as can be; the date is told where it changes. */
function momentText(value: number, before: number | undefined, step: number | undefined): string {
  const iso = new Date(value).toISOString();
  const date = iso.slice(0, 10);
  if (step === undefined) return iso.endsWith("-01-01T00:00:00.000Z") ? iso.slice(0, -20) : date.slice(0, 7);
  if (step >= DAY) return date;
  const time = step < SECOND ? iso.slice(11, 23) : step < MINUTE ? iso.slice(11, 19) : iso.slice(11, 16);
  const newDay = before === undefined ? false : new Date(before).toISOString().slice(0, 10) !== date;
  return newDay && step >= HOUR ? date : time;
}
