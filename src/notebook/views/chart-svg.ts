/**
 * A chart as static SVG: axes with round ticks, a legend, and the marks of its kind. Long series are thinned, so that a picture stays
 * small whatever its data.
 */
import { type Scale, categoryScale, linearScale, timeScale } from "./axis.ts";
import { type Prepared, type PreparedSeries, axisOf, finite, fiveNumbers, grouped, least, most, prepare } from "./chart-data.ts";
import type { ChartAxis, ChartSpec } from "./chart-spec.ts";
import { moment, shortNumber } from "./numbers.ts";
import {
  type Colour,
  type Drawing,
  type Markup,
  drawing,
  element,
  group,
  line,
  rectangle,
  round,
  textAt,
  textWidth,
  words,
} from "./svg.ts";

interface Plot {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly x: Scale;
  readonly y: Scale;
}

/** The chart as SVG. */
export function drawChart(spec: ChartSpec, title: string): Drawing {
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
      : prepared.yKind === "time" && Number.isFinite(low)
        ? timeScale(low, high, bottom, top, yTicks)
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
        const [a, b, c, d, e] = [low, q1, median, q3, high].map(shortNumber);
        const name = `${prepared.xNames[category]}: median ${c}, quartiles ${b} and ${d}, from ${a} to ${e}, ${values.length} values`;
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
    const said = prepared.yKind === "time" ? moment : shortNumber;
    const range = values.length === 0 ? "no values" : `${values.length} values from ${said(least(values))} to ${said(most(values))}`;
    return series.name === "" ? range : `${series.name}: ${range}`;
  });
  return `${prepared.kind} chart${axes.length === 0 ? "" : ` of ${axes.join(" and ")}`}. ${ranges.join("; ")}.`;
}
