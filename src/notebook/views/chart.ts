/**
 * Charts: lines, bars, points, heat maps and boxes, from columns of values or from rows. One description is drawn three ways: as SVG by
 * this file (static, everywhere), as a Plotly figure (interactive, where scripts run) and as text (terminals).
 *
 * What every drawing keeps: values that are not finite leave a gap and never a wrong mark; time is UTC; a bar or an area starts at zero.
 */
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { Picture } from "../picture.ts";
import { type AxisKind, type Scale, categoryScale, linearScale, timeScale } from "./axis.ts";
import { moment, shortNumber } from "./numbers.ts";
import { type PlotlyFigure, plotlyText } from "./plotly.ts";
import {
  COLOURS,
  type Colour,
  type Drawing,
  type Markup,
  drawing,
  element,
  group,
  line,
  rectangle,
  round,
  seriesColour,
  textAt,
  textWidth,
  words,
} from "./svg.ts";
import { type Pen, aligned, columnsOf, cut, plainText, sparkline } from "./terminal.ts";

/** line: a curve over x; bar: a bar per x; scatter: points; heat: a grid of coloured cells; box: quartiles of the y of each x. */
export type ChartKind = "line" | "bar" | "scatter" | "heat" | "box";

/** A value on an axis. Dates make a time axis, strings a category axis; bigints are taken as numbers. */
export type ChartValue = number | string | bigint | boolean | Date | null | undefined;

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

export interface ChartAxis {
  readonly title?: string;
  /** `time` takes numbers as milliseconds since the epoch. Default: by the first value. */
  readonly kind?: AxisKind;
  /** The least the axis shows; default: by the data. */
  readonly from?: number;
  readonly to?: number;
}

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

/**
 * A chart of series, or of rows by column names: `chart(rows, { kind: "bar", x: "zone", y: "rides" })`.
 * @throws ConfigurationError when a kind is unknown or a series' columns differ in length.
 */
export function chart(spec: ChartSpec): Picture;
export function chart<Row extends object>(rows: readonly Row[], how: RowChart<Row>): Picture;
export function chart<Row extends object>(specOrRows: ChartSpec | readonly Row[], how?: RowChart<Row>): Picture {
  const spec = how === undefined ? (specOrRows as ChartSpec) : specOfRows(specOrRows as readonly Row[], how);
  check(spec);
  const title = spec.title ?? titleOf(spec);
  return new Picture({
    title,
    text: (pen) => chartText(spec, title, pen),
    svg: () => drawChart(spec, title),
    plotly: () => plotlyChart(spec, title),
  });
}

const KINDS: readonly ChartKind[] = ["line", "bar", "scatter", "heat", "box"];

function check(spec: ChartSpec): void {
  if (spec.kind !== undefined && !KINDS.includes(spec.kind)) {
    throw new ConfigurationError(`A chart of kind ${describe(spec.kind)} cannot be drawn; choose one of ${KINDS.join(", ")}.`);
  }
  spec.series.forEach((series, index) => {
    const name = series.name ?? `series ${index + 1}`;
    if (series.x.length !== series.y.length) {
      throw new ConfigurationError(`"${name}" has ${series.x.length} values of x and ${series.y.length} of y; give as many of both.`);
    }
    if (spec.kind === "heat" && series.z?.length !== series.x.length) {
      throw new ConfigurationError(
        `The heat map "${name}" needs one z for each x and y: ${series.x.length} cells, ${series.z?.length ?? 0} values of z.`,
      );
    }
  });
}

function specOfRows<Row extends object>(rows: readonly Row[], how: RowChart<Row>): ChartSpec {
  const ys = typeof how.y === "string" ? [how.y] : (how.y as readonly (keyof Row & string)[]);
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = how.by === undefined ? "" : String(row[how.by]);
    const members = groups.get(key);
    if (members === undefined) groups.set(key, [row]);
    else members.push(row);
  }
  const column = (of: readonly Row[], name: keyof Row & string): ChartValue[] => of.map((row) => row[name] as ChartValue);
  const series = [...groups].flatMap(([key, members]) =>
    ys.map((y): ChartSeries => ({
      name: how.by === undefined ? y : ys.length === 1 ? key : `${key} ${y}`,
      x: column(members, how.x),
      y: column(members, y),
      ...(how.z === undefined ? {} : { z: column(members, how.z) }),
    })),
  );
  return {
    series,
    x: { title: how.xTitle ?? how.x, ...(how.xKind === undefined ? {} : { kind: how.xKind }) },
    y: { title: how.yTitle ?? (ys.length === 1 ? (ys[0] as string) : "") },
    ...(how.kind === undefined ? {} : { kind: how.kind }),
    ...(how.title === undefined ? {} : { title: how.title }),
    ...(how.stacked === undefined ? {} : { stacked: how.stacked }),
    ...(how.width === undefined ? {} : { width: how.width }),
    ...(how.height === undefined ? {} : { height: how.height }),
  };
}

const axisOf = (axis: string | ChartAxis | undefined): ChartAxis => (typeof axis === "string" ? { title: axis } : (axis ?? {}));

function titleOf(spec: ChartSpec): string {
  const y =
    axisOf(spec.y).title ??
    spec.series
      .map((series) => series.name)
      .filter((name) => name !== undefined)
      .join(", ");
  const x = axisOf(spec.x).title ?? "";
  return y !== "" && x !== "" ? `${y} by ${x}` : y !== "" ? y : "Chart";
}

// --------------------------------------------------------------------------------------------------------- preparation

interface Prepared {
  readonly kind: ChartKind;
  readonly xKind: AxisKind;
  readonly yKind: AxisKind;
  /** Names of the categories, in order of appearance. */
  readonly xNames: readonly string[];
  readonly yNames: readonly string[];
  readonly series: readonly PreparedSeries[];
}

interface PreparedSeries {
  readonly name: string;
  readonly colour: Colour;
  /** Numbers, moments or positions of categories; NaN for a gap. */
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly z: readonly number[];
  /** Where bars and areas begin: 0, or the top of the series below. */
  readonly base: readonly number[];
}

function prepare(spec: ChartSpec): Prepared {
  const kind = spec.kind ?? "line";
  const xKind = kind === "box" ? "category" : (axisOf(spec.x).kind ?? kindOf(spec.series.map((it) => it.x)));
  const yKind = kind === "heat" ? (axisOf(spec.y).kind ?? kindOf(spec.series.map((it) => it.y))) : "linear";
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

function kindOf(columns: readonly (readonly ChartValue[])[]): AxisKind {
  for (const column of columns) {
    for (const value of column) {
      if (value === null || value === undefined) continue;
      return value instanceof Date ? "time" : typeof value === "string" || typeof value === "boolean" ? "category" : "linear";
    }
  }
  return "linear";
}

const toNumber = (value: ChartValue): number => (value === null || value === undefined || value === "" ? Number.NaN : Number(value));
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

const finite = (values: readonly number[]): number[] => values.filter(Number.isFinite);
const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);

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
function grouped(series: PreparedSeries, categories: number): number[][] {
  const groups = Array.from({ length: categories }, (): number[] => []);
  series.x.forEach((x, at) => {
    const y = series.y[at] as number;
    if (Number.isFinite(y)) groups[x]?.push(y);
  });
  return groups;
}

// ----------------------------------------------------------------------------------------------------------------- SVG

interface Plot {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly x: Scale;
  readonly y: Scale;
}

function drawChart(spec: ChartSpec, title: string): Drawing {
  const width = spec.width ?? 720;
  const height = spec.height ?? 360;
  const prepared = prepare(spec);
  const xAxis = axisOf(spec.x);
  const yAxis = axisOf(spec.y);
  const named = prepared.kind === "heat" ? [] : prepared.series.filter((series) => series.name !== "");
  const legend = named.length > 1 ? legendRows(named, width - 40) : [];
  const top = 44 + legend.length * 20 + (legend.length > 0 ? 6 : 0);
  const bottom = height - (xAxis.title === undefined || xAxis.title === "" ? 34 : 52);
  const marks = prepared.series.flatMap((series) => [series.y, ...(needsZero(prepared, spec) ? [series.base] : [])]).map(finite);
  const low = yAxis.from ?? least([...marks.map(least), ...(needsZero(prepared, spec) ? [0] : [])]);
  const high = yAxis.to ?? most([...marks.map(most), ...(needsZero(prepared, spec) ? [0] : [])]);
  const yTicks = Math.max(2, Math.round((bottom - top) / 48));
  const y =
    prepared.yKind === "category"
      ? categoryScale(prepared.yNames, bottom, top, Math.floor((bottom - top) / 18))
      : linearScale(low, high, bottom, top, yTicks);
  const yWidth = Math.min(150, most([20, ...y.ticks.map((tick) => textWidth(tick.text, 11))]));
  const left = 20 + yWidth + (yAxis.title === undefined || yAxis.title === "" ? 0 : 20);
  const right = width - (prepared.kind === "heat" ? 84 : 22);
  const xs = prepared.series.map((series) => finite(series.x));
  const x = scaleOfX(prepared, xAxis, least(xs.map(least)), most(xs.map(most)), left, right);
  const plot: Plot = { left, right, top, bottom, x, y };
  const empty = prepared.series.every((series) => finite(series.y).length === 0);
  return drawing(
    width,
    height,
    title,
    describeChart(prepared, spec),
    textAt(20, 27, title, { size: 14, weight: 600, maxWidth: width - 40 }),
    ...legend.map((row, index) => element("g", { transform: `translate(20 ${44 + index * 20})` }, ...row)),
    drawAxes(plot, xAxis, yAxis, prepared),
    ...(empty
      ? [textAt((left + right) / 2, (top + bottom) / 2, "no values yet", { anchor: "middle", colour: "muted" })]
      : drawMarks(prepared, plot, spec)),
  );
}

const needsZero = (prepared: Prepared, spec: ChartSpec): boolean =>
  prepared.kind === "bar" || (prepared.kind === "line" && spec.stacked === true);

function scaleOfX(prepared: Prepared, axis: ChartAxis, low: number, high: number, left: number, right: number): Scale {
  if (prepared.xKind === "category") {
    const widest = most([30, ...prepared.xNames.slice(0, 200).map((name) => textWidth(name, 11))]);
    return categoryScale(prepared.xNames, left, right, Math.max(1, Math.floor((right - left) / (Math.min(widest, 120) + 10))));
  }
  const a = axis.from ?? low;
  const b = axis.to ?? high;
  // A line uses the whole width: its ends are the data's, only the ticks are round.
  if (prepared.xKind === "time") {
    const none = !Number.isFinite(a) || !Number.isFinite(b);
    // Bars need half a band at both ends.
    const half = prepared.kind === "bar" && !none ? narrowest(prepared) / 2 : 0;
    return timeScale(none ? 0 : a - half, none ? 1_000 : b + half, left, right, Math.floor((right - left) / 90));
  }
  return linearScale(a, b, left, right, Math.floor((right - left) / 80));
}

/** The least distance of neighbours on x. */
function narrowest(prepared: Prepared): number {
  const all = [...new Set(prepared.series.flatMap((series) => finite(series.x)))].sort((a, b) => a - b);
  return all.length < 2 ? 1_000 : least(all.slice(1).map((value, index) => value - (all[index] as number)));
}

function legendRows(series: readonly PreparedSeries[], width: number): Markup[][] {
  const rows: Markup[][] = [[]];
  let at = 0;
  for (const it of series.slice(0, 24)) {
    const needed = 17 + Math.min(180, textWidth(it.name, 11.5)) + 16;
    if (at + needed > width && at > 0) {
      rows.push([]);
      at = 0;
    }
    (rows.at(-1) as Markup[]).push(
      rectangle(at, -1, 11, 11, { rx: 3, fill: it.colour }),
      textAt(at + 17, 9, it.name, { size: 11.5, colour: "muted", maxWidth: 180 }),
    );
    at += needed;
  }
  return rows;
}

function drawAxes(plot: Plot, xAxis: ChartAxis, yAxis: ChartAxis, prepared: Prepared): Markup {
  const { left, right, top, bottom, x, y } = plot;
  const visible = x.ticks.filter((tick) => tick.value >= x.low - 1e-9 && tick.value <= x.high + 1e-9);
  const grid = prepared.kind === "heat" ? [] : y.ticks.map((tick) => line(left, y.at(tick.value), right, y.at(tick.value), "grid"));
  const band = (right - left) / Math.max(1, prepared.xNames.length);
  return group(
    ...grid,
    ...y.ticks.map((tick) =>
      textAt(left - 8, y.at(tick.value) + 4, tick.text, { size: 11, colour: "muted", anchor: "end", maxWidth: 150 }),
    ),
    ...(prepared.kind === "heat" ? [] : [line(left, bottom, right, bottom, "line")]),
    ...visible.flatMap((tick) => {
      const at = x.at(tick.value);
      // The outermost texts stay inside the picture.
      const half = Math.min(textWidth(tick.text, 11), 120) / 2;
      const middle = Math.min(Math.max(at, half + 4), right + 18 - half);
      return [
        ...(x.kind === "category" ? [] : [line(at, bottom, at, bottom + 4, "line")]),
        textAt(middle, bottom + 17, tick.text, {
          size: 11,
          colour: "muted",
          anchor: "middle",
          ...(x.kind === "category"
            ? { maxWidth: Math.max(30, Math.min(120, band * Math.ceil(prepared.xNames.length / visible.length) - 6)) }
            : {}),
        }),
      ];
    }),
    ...(xAxis.title
      ? [
          textAt((left + right) / 2, bottom + 38, xAxis.title + (x.kind === "time" ? " (UTC)" : ""), {
            size: 11.5,
            colour: "muted",
            anchor: "middle",
            maxWidth: right - left,
          }),
        ]
      : []),
    ...(yAxis.title
      ? [
          element(
            "g",
            { transform: `translate(24 ${round((top + bottom) / 2)}) rotate(-90)` },
            textAt(0, 0, yAxis.title, { size: 11.5, colour: "muted", anchor: "middle", maxWidth: bottom - top }),
          ),
        ]
      : []),
  );
}

function drawMarks(prepared: Prepared, plot: Plot, spec: ChartSpec): Markup[] {
  if (prepared.kind === "heat") return [drawHeat(prepared, plot)];
  if (prepared.kind === "box") return drawBoxes(prepared, plot);
  if (prepared.kind === "bar") return drawBars(prepared, plot, spec.stacked === true);
  if (prepared.kind === "scatter") return prepared.series.map((series) => drawPoints(series, plot));
  // The upper areas of a stack are drawn first, or they would hide what stands below them.
  const order = spec.stacked === true ? [...prepared.series].reverse() : prepared.series;
  return order.map((series) => drawLine(series, plot, spec.stacked === true));
}

/** Most points of one line; above, each pixel keeps its extremes. */
const MOST_POINTS = 1_500;

function drawLine(series: PreparedSeries, plot: Plot, area: boolean): Markup {
  const pieces: Markup[] = [];
  for (const run of runs(series)) {
    const kept = thinned(run, series, MOST_POINTS);
    const point = (at: number, values: readonly number[]): string =>
      `${round(plot.x.at(series.x[at] as number))} ${round(plot.y.at(values[at] as number))}`;
    if (kept.length === 1) {
      const at = kept[0] as number;
      pieces.push(
        element("circle", { cx: plot.x.at(series.x[at] as number), cy: plot.y.at(series.y[at] as number), r: 2.5, fill: series.colour }),
      );
      continue;
    }
    const upper = kept.map((at) => point(at, series.y)).join("L");
    if (area) {
      const lower = [...kept]
        .reverse()
        .map((at) => point(at, series.base))
        .join("L");
      pieces.push(element("path", { d: `M${upper}L${lower}Z`, fill: series.colour, "fill-opacity": 0.8 }));
    } else
      pieces.push(
        element("path", {
          d: `M${upper}`,
          fill: "none",
          stroke: series.colour,
          "stroke-width": 1.8,
          "stroke-linejoin": "round",
          "stroke-linecap": "round",
        }),
      );
  }
  return element("g", {}, element("title", {}, words(series.name)), ...pieces);
}

/** Positions without gaps between them. */
function runs(series: PreparedSeries): number[][] {
  const found: number[][] = [];
  let open: number[] | undefined;
  series.y.forEach((y, at) => {
    if (!Number.isFinite(y) || !Number.isFinite(series.x[at])) open = undefined;
    else if (open === undefined) found.push((open = [at]));
    else open.push(at);
  });
  return found;
}

function thinned(run: readonly number[], series: PreparedSeries, limit: number): readonly number[] {
  if (run.length <= limit) return run;
  const kept: number[] = [];
  const buckets = limit / 2;
  for (let bucket = 0; bucket < buckets; bucket++) {
    const part = run.slice(Math.floor((bucket * run.length) / buckets), Math.floor(((bucket + 1) * run.length) / buckets));
    let low = part[0] as number;
    let high = low;
    for (const at of part) {
      if ((series.y[at] as number) < (series.y[low] as number)) low = at;
      if ((series.y[at] as number) > (series.y[high] as number)) high = at;
    }
    kept.push(...(low === high ? [low] : [Math.min(low, high), Math.max(low, high)]));
  }
  return kept;
}

/** Most points of one series; above, evenly spread ones stand for all. */
const MOST_DOTS = 4_000;

function drawPoints(series: PreparedSeries, plot: Plot): Markup {
  const good = series.x.map((_, at) => at).filter((at) => Number.isFinite(series.x[at]) && Number.isFinite(series.y[at]));
  const every = Math.max(1, good.length / MOST_DOTS);
  const kept = Array.from({ length: Math.min(good.length, MOST_DOTS) }, (_, index) => good[Math.floor(index * every)] as number);
  const radius = kept.length > 400 ? 2 : 3.5;
  return element(
    "g",
    { fill: series.colour, "fill-opacity": kept.length > 60 ? 0.55 : 0.85 },
    element("title", {}, words(series.name)),
    ...kept.map((at) => element("circle", { cx: plot.x.at(series.x[at] as number), cy: plot.y.at(series.y[at] as number), r: radius })),
  );
}

function drawBars(prepared: Prepared, plot: Plot, stacked: boolean): Markup[] {
  const { x, y, left, right } = plot;
  const band =
    x.kind === "category"
      ? (right - left) / Math.max(1, prepared.xNames.length)
      : (narrowest(prepared) / (x.high - x.low)) * (right - left);
  const room = Math.max(1, Math.min(band * 0.76, 90));
  const each = stacked ? room : room / prepared.series.length;
  return prepared.series.map((series, index) =>
    element(
      "g",
      { fill: series.colour },
      ...series.x.flatMap((value, at) => {
        const top = series.y[at] as number;
        if (!Number.isFinite(value) || !Number.isFinite(top)) return [];
        const from = stacked ? (series.base[at] as number) : 0;
        const start = x.at(value) - room / 2 + (stacked ? 0 : index * each);
        const [a, b] = [y.at(Math.max(from, top)), y.at(Math.min(from, top))];
        const label = x.kind === "category" ? (prepared.xNames[value] as string) : x.kind === "time" ? moment(value) : String(value);
        const amount = stacked ? top - from : top;
        return [
          rectangle(
            start,
            a,
            Math.max(0.5, each - (each > 6 ? 1.5 : 0)),
            Math.max(b - a, amount === 0 ? 0 : 0.5),
            each > 6 ? { rx: 2 } : {},
          ),
        ].map((mark) =>
          element(
            "g",
            {},
            element("title", {}, words(`${label}${series.name === "" ? "" : `, ${series.name}`}: ${shortNumber(amount)}`)),
            mark,
          ),
        );
      }),
    ),
  );
}

function drawBoxes(prepared: Prepared, plot: Plot): Markup[] {
  const { x, y, left, right } = plot;
  const band = (right - left) / Math.max(1, prepared.xNames.length);
  const room = Math.min(band * 0.7, 120);
  const each = room / prepared.series.length;
  return prepared.series.map((series, index) =>
    element(
      "g",
      {},
      ...grouped(series, prepared.xNames.length).flatMap((values, category) => {
        if (values.length === 0) return [];
        const { low, q1, median, q3, high } = fiveNumbers(values);
        // Whiskers reach to the last value within 1.5 interquartile ranges (Tukey); what is beyond is a point.
        const reach = 1.5 * (q3 - q1);
        const inside = values.filter((value) => value >= q1 - reach && value <= q3 + reach);
        const [bottom, top] = [least(inside), most(inside)];
        const middle = x.at(category) - room / 2 + (index + 0.5) * each;
        const half = Math.max(2, Math.min(each * 0.8, 48) / 2);
        const name = `${prepared.xNames[category]}: median ${shortNumber(median)}, quartiles ${shortNumber(q1)} and ${shortNumber(q3)}, from ${shortNumber(low)} to ${shortNumber(high)}, ${values.length} values`;
        const outside = values.filter((value) => value < bottom || value > top).slice(0, 200);
        return [
          element(
            "g",
            {},
            element("title", {}, words(name)),
            line(middle, y.at(bottom), middle, y.at(top), series.colour, { "stroke-width": 1.4 }),
            line(middle - half / 2, y.at(bottom), middle + half / 2, y.at(bottom), series.colour, { "stroke-width": 1.4 }),
            line(middle - half / 2, y.at(top), middle + half / 2, y.at(top), series.colour, { "stroke-width": 1.4 }),
            rectangle(middle - half, y.at(q3), 2 * half, y.at(q1) - y.at(q3), { rx: 2, fill: "paper" }),
            rectangle(middle - half, y.at(q3), 2 * half, y.at(q1) - y.at(q3), {
              rx: 2,
              fill: series.colour,
              "fill-opacity": 0.25,
              stroke: series.colour,
              "stroke-width": 1.4,
            }),
            line(middle - half, y.at(median), middle + half, y.at(median), series.colour, { "stroke-width": 2.4 }),
            ...outside.map((value) => element("circle", { cx: middle, cy: y.at(value), r: 2.2, fill: series.colour, "fill-opacity": 0.6 })),
          ),
        ];
      }),
    ),
  );
}

/** Steps of a heat map from low to high: one hue, rising opacity, so that it reads without colour vision and on both papers. */
const HEAT: Colour = "series0";

function drawHeat(prepared: Prepared, plot: Plot): Markup {
  const { x, y, left, right, top, bottom } = plot;
  const values = prepared.series.flatMap((series) => finite(series.z));
  const [low, high] = values.length === 0 ? [0, 1] : [least(values), most(values)];
  const shade = (value: number): number => round(0.06 + 0.94 * (high === low ? 0.5 : (value - low) / (high - low)));
  const width = (right - left) / Math.max(1, prepared.xNames.length);
  const height = (bottom - top) / Math.max(1, prepared.yNames.length);
  const gap = Math.min(width, height) > 8 ? 1.5 : 0;
  const cells = prepared.series.flatMap((series) =>
    series.x.flatMap((column, at) => {
      const row = series.y[at] as number;
      const value = series.z[at] as number;
      if (!Number.isFinite(value)) return [];
      return [
        element(
          "rect",
          {
            x: x.at(column) - width / 2,
            y: y.at(row) - height / 2,
            width: width - gap,
            height: height - gap,
            ...(gap > 0 ? { rx: 2 } : {}),
            "fill-opacity": shade(value),
          },
          element("title", {}, words(`${prepared.xNames[column]}, ${prepared.yNames[row]}: ${shortNumber(value)}`)),
        ),
      ];
    }),
  );
  const steps = 24;
  const ramp = Array.from({ length: steps }, (_, index) =>
    rectangle(right + 18, bottom - ((index + 1) * (bottom - top)) / steps, 12, (bottom - top) / steps, {
      fill: HEAT,
      "shape-rendering": "crispEdges",
      "fill-opacity": round(0.06 + (0.94 * index) / (steps - 1)),
    }),
  );
  return group(
    element("g", { fill: HEAT }, ...cells),
    ...ramp,
    textAt(right + 36, top + 10, shortNumber(high), { size: 11, colour: "muted" }),
    textAt(right + 36, bottom, shortNumber(low), { size: 11, colour: "muted" }),
  );
}

function describeChart(prepared: Prepared, spec: ChartSpec): string {
  const axes = [axisOf(spec.x).title, axisOf(spec.y).title].filter((title) => title !== undefined && title !== "");
  const ranges = prepared.series.slice(0, 12).map((series) => {
    const values = finite(prepared.kind === "heat" ? series.z : series.y);
    const range =
      values.length === 0 ? "no values" : `${values.length} values from ${shortNumber(least(values))} to ${shortNumber(most(values))}`;
    return series.name === "" ? range : `${series.name}: ${range}`;
  });
  return `${prepared.kind} chart${axes.length === 0 ? "" : ` of ${axes.join(" and ")}`}. ${ranges.join("; ")}.`;
}

// -------------------------------------------------------------------------------------------------------------- Plotly

/** Above it Plotly draws with WebGL, of which a page has only a few contexts. */
const MOST_SVG_POINTS = 5_000;

function plotlyChart(spec: ChartSpec, title: string): PlotlyFigure {
  const kind = spec.kind ?? "line";
  const plain = (values: readonly ChartValue[], axis: AxisKind): unknown[] =>
    values.map((value) => {
      if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
      if (axis === "time") return Number.isFinite(toNumber(value)) ? new Date(toNumber(value)).toISOString() : null;
      if (typeof value === "bigint") return Number(value);
      if (typeof value === "string") return plotlyText(value);
      return value === undefined || (typeof value === "number" && !Number.isFinite(value)) ? null : value;
    });
  const xAxis = axisOf(spec.x);
  const yAxis = axisOf(spec.y);
  const xKind = kind === "box" ? "category" : (xAxis.kind ?? kindOf(spec.series.map((it) => it.x)));
  const yKind = kind === "heat" ? (yAxis.kind ?? kindOf(spec.series.map((it) => it.y))) : "linear";
  const data = spec.series.map((series, index) => {
    const named = series.name === undefined ? {} : { name: plotlyText(cut(series.name, 26)) };
    const columns = { x: plain(series.x, xKind), y: plain(series.y, yKind) };
    if (kind === "heat")
      return {
        type: "heatmap",
        ...columns,
        z: plain(series.z ?? [], "linear"),
        colorscale: [
          [0, "rgba(58,160,220,0.06)"],
          [1, COLOURS.series0[0]],
        ],
        ...named,
      };
    if (kind === "box") return { type: "box", ...columns, boxpoints: "outliers", ...named };
    const colour = series.colour === undefined ? undefined : COLOURS[series.colour][0];
    if (kind === "bar") return { type: "bar", ...columns, ...named, ...(colour === undefined ? {} : { marker: { color: colour } }) };
    if (kind === "scatter")
      return {
        type: series.x.length > MOST_SVG_POINTS ? "scattergl" : "scatter",
        mode: "markers",
        ...columns,
        ...named,
        ...(colour === undefined ? {} : { marker: { color: colour } }),
      };
    return {
      type: "scatter",
      mode: "lines",
      connectgaps: false,
      ...columns,
      ...named,
      ...(spec.stacked === true
        ? { stackgroup: "all", line: { width: 0.5, ...(colour === undefined ? {} : { color: colour }) } }
        : { line: { width: 2, ...(colour === undefined ? {} : { color: colour }) } }),
      legendrank: index,
    };
  });
  const axis = (it: ChartAxis, axisKind: AxisKind): Record<string, unknown> => ({
    title: { text: plotlyText(it.title ?? "") + (axisKind === "time" && it.title ? " (UTC)" : ""), font: { size: 12 }, standoff: 8 },
    automargin: true,
    ...(axisKind === "time" ? { type: "date" } : axisKind === "category" ? { type: "category" } : {}),
    ...(it.from === 0 && it.to === undefined ? { rangemode: "tozero" } : {}),
    ...((it.from === undefined || it.from === 0) && it.to === undefined
      ? {}
      : { range: [it.from ?? null, it.to ?? null], autorange: it.to === undefined ? "max" : it.from === undefined ? "min" : false }),
  });
  return {
    data,
    layout: {
      title: { text: plotlyText(title), x: 0.03, xanchor: "left", font: { size: 14, weight: 600 } },
      height: spec.height ?? 360,
      margin: { l: 56, r: 24, t: 48, b: 52 },
      xaxis: axis(xAxis, xKind),
      yaxis: axis(yAxis, yKind),
      showlegend: spec.series.length > 1 && kind !== "heat",
      legend: { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom", font: { size: 11 } },
      ...(kind === "bar" ? { barmode: spec.stacked === true ? "stack" : "group" } : {}),
      ...(kind === "box" && spec.series.length > 1 ? { boxmode: "group" } : {}),
      hovermode: kind === "line" ? "x unified" : "closest",
    },
  };
}

// ---------------------------------------------------------------------------------------------------------------- text

const TEXT_WIDTH = 40;
/** Most lines of one series in text. */
const MOST_LINES = 24;

function chartText(spec: ChartSpec, title: string, pen: Pen): string {
  const prepared = prepare(spec);
  const rows: string[] = [];
  if (prepared.kind === "heat") rows.push(...heatText(prepared));
  else if (prepared.kind === "box") rows.push(...boxText(prepared, pen));
  else if (prepared.kind === "bar" && spec.stacked !== true && prepared.series.length === 1) rows.push(...barText(prepared, pen));
  else {
    const lines = prepared.series.map((series) => {
      const inOrder =
        prepared.kind === "scatter"
          ? series.y.map((_, at) => at).sort((a, b) => (series.x[a] as number) - (series.x[b] as number))
          : series.y.map((_, at) => at);
      const own = inOrder.map((at) => (series.y[at] as number) - (spec.stacked === true ? (series.base[at] as number) : 0));
      const values = finite(own);
      const facts =
        values.length === 0
          ? ["no values"]
          : [`${shortNumber(least(values))} … ${shortNumber(most(values))}`, `last ${shortNumber(values.at(-1) as number)}`];
      return [plainText(cut(series.name, 28)), pen.busy(sparkline(own, TEXT_WIDTH)), ...facts];
    });
    rows.push(...aligned(lines));
    const xs = prepared.series.flatMap((series) => finite(series.x));
    if (xs.length > 0) rows.push(pen.dim(`x: ${xText(prepared, least(xs))} … ${xText(prepared, most(xs))}`));
  }
  return [pen.strong(plainText(title)), ...(rows.length === 0 ? ["no values yet"] : rows)].join("\n");
}

function xText(prepared: Prepared, value: number): string {
  if (prepared.xKind === "category") return plainText(prepared.xNames[value] ?? "");
  return prepared.xKind === "time" ? `${moment(value)} UTC` : shortNumber(value);
}

function barText(prepared: Prepared, pen: Pen): string[] {
  const series = prepared.series[0] as PreparedSeries;
  const top = most([0, ...finite(series.y)]);
  const cells = (value: number): string => (value > 0 && top > 0 ? "█".repeat(Math.max(1, Math.round((value / top) * TEXT_WIDTH))) : "");
  const shown = series.x.slice(0, MOST_LINES).map((x, at) => {
    const y = series.y[at] as number;
    return [cut(xText(prepared, x), 24), shortNumber(y), pen.busy(cells(y))];
  });
  return [...aligned(shown, "lr"), ...more(series.x.length)];
}

function boxText(prepared: Prepared, pen: Pen): string[] {
  const lines = prepared.series.flatMap((series) =>
    grouped(series, prepared.xNames.length).flatMap((values, category) => {
      if (values.length === 0) return [];
      const five = fiveNumbers(values);
      return [
        [
          cut(plainText(`${prepared.series.length > 1 ? `${series.name} ` : ""}${prepared.xNames[category]}`), 28),
          ...[five.low, five.q1, five.median, five.q3, five.high].map(shortNumber),
        ],
      ];
    }),
  );
  return lines.length === 0
    ? []
    : [
        ...aligned([["", "low", "q1", "median", "q3", "high"].map((head) => pen.dim(head)), ...lines.slice(0, MOST_LINES)], "lrrrrr"),
        ...more(lines.length),
      ];
}

function heatText(prepared: Prepared): string[] {
  const shades = " ░▒▓█";
  const values = prepared.series.flatMap((series) => finite(series.z));
  if (values.length === 0) return [];
  const [low, high] = [least(values), most(values)];
  const columns = Math.min(prepared.xNames.length, 60);
  const grid = prepared.yNames.map(() => Array.from({ length: columns }, () => " "));
  for (const series of prepared.series) {
    series.x.forEach((column, at) => {
      const value = series.z[at] as number;
      const row = grid[series.y[at] as number];
      if (row === undefined || column >= columns || !Number.isFinite(value)) return;
      row[column] = shades[Math.min(4, 1 + Math.floor(high === low ? 1 : ((value - low) / (high - low)) * 4))] as string;
    });
  }
  const label = most([0, ...prepared.yNames.map((name) => Math.min(24, columnsOf(plainText(name))))]);
  const rows = grid.map((row, index) => `${cut(plainText(prepared.yNames[index] as string), 24).padEnd(label)} ${row.join("")}`).reverse();
  return [...rows.slice(0, MOST_LINES), ...more(rows.length), `░ ${shortNumber(low)} … █ ${shortNumber(high)}`];
}

const more = (lines: number): string[] => (lines > MOST_LINES ? [`… and ${lines - MOST_LINES} more`] : []);
