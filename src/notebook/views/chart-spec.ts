/**
 * What a user says about a chart: the kinds, the series, the axes. Plain data, the same for every way of drawing.
 */
import type { AxisKind } from "./axis.ts";
import type { Colour } from "./svg.ts";

/** line: a curve over x; bar: a bar per x; scatter: points; heat: a grid of coloured cells; box: quartiles of the y of each x. */
export type ChartKind = "line" | "bar" | "scatter" | "heat" | "box";

/** A value on an axis. Dates make a time axis, strings a category axis; bigints are taken as numbers. */
export type ChartValue = number | string | bigint | boolean | Date | null | undefined;

/** Columns of equal length. What is not a finite value (null, NaN …) leaves a gap. */
export interface ChartSeries {
  /** In the legend. */
  readonly name?: string;
  readonly x: readonly ChartValue[];
  readonly y: readonly ChartValue[];
  /** Only of heat maps: the value of each cell (x[i], y[i]). */
  readonly z?: readonly ChartValue[];
  /** Default: the series' own, by position. */
  readonly colour?: Colour;
}

/** One axis; everything has a default. */
export interface ChartAxis {
  readonly title?: string;
  /** `time` takes numbers as milliseconds since the epoch. Default: by the first value. */
  readonly kind?: AxisKind;
  /** The least the axis shows; default: by the data. */
  readonly from?: number;
  readonly to?: number;
}

/** A chart of series. */
export interface ChartSpec {
  /** Default `line`. */
  readonly kind?: ChartKind;
  readonly title?: string;
  readonly series: readonly ChartSeries[];
  /** A text is the axis' title. */
  readonly x?: string | ChartAxis;
  readonly y?: string | ChartAxis;
  /** Lines and bars stand on one another. Default false. */
  readonly stacked?: boolean;
  /** Pixels, default 720 × 360. */
  readonly width?: number;
  readonly height?: number;
}

/** How rows become a chart. */
export interface RowChart<Row> {
  readonly kind?: ChartKind;
  readonly title?: string;
  /** The column of the x axis. */
  readonly x: keyof Row & string;
  /** The column of the y axis, or several: a series each. */
  readonly y: (keyof Row & string) | readonly (keyof Row & string)[];
  /** A series for each value of this column. */
  readonly by?: keyof Row & string;
  /** Of heat maps: the column that colours the cells. */
  readonly z?: keyof Row & string;
  readonly stacked?: boolean;
  readonly xTitle?: string;
  readonly yTitle?: string;
  readonly xKind?: AxisKind;
  readonly width?: number;
  readonly height?: number;
}
