/** A chart as a Plotly figure. Users' texts are meant literally, though Plotly reads HTML in them. */
import type { AxisKind } from "./axis.ts";
import { axisOf, kindOf, toNumber, yKindOf } from "./chart-data.ts";
import type { ChartAxis, ChartSpec, ChartValue } from "./chart-spec.ts";
import { type PlotlyFigure, plotlyText } from "./plotly.ts";
import { COLOURS } from "./svg.ts";
import { cut } from "./terminal.ts";

/** Above it Plotly draws with WebGL, of which a page has only a few contexts. */
const MOST_SVG_POINTS = 5_000;

/** The chart as a figure. */
export function plotlyChart(spec: ChartSpec, title: string): PlotlyFigure {
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
  const yKind = yKindOf(spec);
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
    ...(axisKind === "time" ? { type: "date", tickangle: 0, nticks: 6 } : axisKind === "category" ? { type: "category" } : {}),
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
