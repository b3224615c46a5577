/**
 * A chart's values as numbers: categories become positions, moments become milliseconds, stacked series get a base. Whatever is drawn
 * from here is finite or a gap (NaN). Pure.
 */
import type { AxisKind } from "./axis.ts";
import type { ChartAxis, ChartKind, ChartSpec, ChartValue } from "./chart-spec.ts";
import { moment } from "./numbers.ts";
import { type Colour, seriesColour } from "./svg.ts";

/** An axis with its title where only that was given. */
export const axisOf = (axis: string | ChartAxis | undefined): ChartAxis => (typeof axis === "string" ? { title: axis } : (axis ?? {}));

/** A chart's data, ready to be drawn. */
export interface Prepared {
  readonly kind: ChartKind;
  readonly xKind: AxisKind;
  readonly yKind: AxisKind;
  /** Names of the categories, in order of appearance. */
  readonly xNames: readonly string[];
  readonly yNames: readonly string[];
  readonly series: readonly PreparedSeries[];
}

/** One series as numbers. */
export interface PreparedSeries {
  readonly name: string;
  readonly colour: Colour;
  /** Numbers, moments or positions of categories; NaN for a gap. */
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly z: readonly number[];
  /** Where bars and areas begin: 0, or the top of the series below. */
  readonly base: readonly number[];
}

/** Numbers and positions for every value of a chart. */
export function prepare(spec: ChartSpec): Prepared {
  const kind = spec.kind ?? "line";
  const xKind = kind === "box" ? "category" : (axisOf(spec.x).kind ?? kindOf(spec.series.map((it) => it.x)));
  const yKind = yKindOf(spec);
  // A bar needs a band, a heat map needs cells: whatever is on the axis, each value is a category, in order.
  const banded = kind === "heat" || (kind === "bar" && xKind === "linear");
  const xNames: string[] = [];
  const yNames: string[] = [];
  const xNumbers = numbersOf(
    banded
      ? ordered(
          spec.series.map((it) => it.x),
          xKind,
        )
      : undefined,
    banded ? "category" : xKind,
    xNames,
  );
  const yNumbers = numbersOf(
    kind === "heat"
      ? ordered(
          spec.series.map((it) => it.y),
          yKind,
        )
      : undefined,
    kind === "heat" ? "category" : yKind,
    yNames,
  );
  const tops = new Map<number, number>();
  const series = spec.series.map((it, index): PreparedSeries => {
    const x = it.x.map(xNumbers);
    const y = it.y.map(yNumbers);
    const stacks = spec.stacked === true && (kind === "line" || kind === "bar");
    const base = x.map((value, at) => {
      if (!stacks) return 0;
      const below = tops.get(value) ?? 0;
      const own = y[at] as number;
      tops.set(value, below + (Number.isFinite(own) ? own : 0));
      return below;
    });
    return {
      name: it.name ?? (spec.series.length === 1 ? "" : `series ${index + 1}`),
      colour: it.colour ?? seriesColour(index),
      x,
      y: stacks ? y.map((value, at) => value + (base[at] as number)) : y,
      z: (it.z ?? []).map(toNumber),
      base,
    };
  });
  return { kind, xKind: banded ? "category" : xKind, yKind: kind === "heat" ? "category" : yKind, xNames, yNames, series };
}

/** The kind of the y axis. Only heat maps have categories there, only lines and points moments. */
export function yKindOf(spec: ChartSpec): AxisKind {
  const wanted = axisOf(spec.y).kind ?? kindOf(spec.series.map((it) => it.y));
  const kind = spec.kind ?? "line";
  return kind === "heat" || (wanted === "time" && (kind === "line" || kind === "scatter") && spec.stacked !== true) ? wanted : "linear";
}

/** The kind of axis that the first value asks for. */
export function kindOf(columns: readonly (readonly ChartValue[])[]): AxisKind {
  for (const column of columns) {
    for (const value of column) {
      if (value === null || value === undefined) continue;
      return value instanceof Date ? "time" : typeof value === "string" || typeof value === "boolean" ? "category" : "linear";
    }
  }
  return "linear";
}

/** NaN for what is no number. */
export const toNumber = (value: ChartValue): number => (value === null || value === undefined || value === "" ? Number.NaN : Number(value));
const nameOf = (value: ChartValue): string => (value instanceof Date ? moment(value.getTime()) : String(value ?? ""));

/** All values of an axis of bands, numbers and moments in ascending order, so that cells stand where a reader looks for them. */
function ordered(columns: readonly (readonly ChartValue[])[], kind: AxisKind): string[] {
  const values = columns.flat();
  if (kind !== "category") values.sort((a, b) => toNumber(a) - toNumber(b));
  return [...new Set(values.map((value) => (kind === "time" ? moment(toNumber(value)) : nameOf(value))))];
}

function numbersOf(first: readonly string[] | undefined, kind: AxisKind, names: string[]): (value: ChartValue) => number {
  if (kind !== "category") return toNumber;
  names.push(...(first ?? []));
  const positions = new Map(names.map((name, index) => [name, index]));
  return (value) => {
    const name = nameOf(value);
    let position = positions.get(name);
    if (position === undefined) {
      position = names.push(name) - 1;
      positions.set(name, position);
    }
    return position;
  };
}

/** Without gaps. */
export const finite = (values: readonly number[]): number[] => values.filter(Number.isFinite);
/** Infinity for none. */
export const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
/** -Infinity for none. */
export const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);

/** Least, quartiles and most, quartiles by linear interpolation. */
export interface FiveNumbers {
  readonly low: number;
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
  readonly high: number;
}

/** The five numbers of finite values, which must be at least one. */
export function fiveNumbers(values: readonly number[]): FiveNumbers {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => {
    const position = share * (sorted.length - 1);
    const below = sorted[Math.floor(position)] as number;
    return below + ((sorted[Math.ceil(position)] as number) - below) * (position % 1);
  };
  return { low: at(0), q1: at(0.25), median: at(0.5), q3: at(0.75), high: at(1) };
}

/** The finite y of one series for each category of x. */
export function grouped(series: PreparedSeries, categories: number): number[][] {
  const groups = Array.from({ length: categories }, (): number[] => []);
  series.x.forEach((x, at) => {
    const y = series.y[at] as number;
    if (Number.isFinite(y)) groups[x]?.push(y);
  });
  return groups;
}
