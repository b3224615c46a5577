/**
 * Charts: lines, bars, points, heat maps and boxes, from columns of values or from rows. One description is drawn three ways: as SVG
 * (static, everywhere), as a Plotly figure (interactive, where scripts run) and as text (terminals).
 *
 * What every drawing keeps: values that are not finite leave a gap and never a wrong mark; time is UTC; a bar or an area starts at zero.
 */
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { Picture } from "../picture.ts";
import { axisOf } from "./chart-data.ts";
import { plotlyChart } from "./chart-plotly.ts";
import type { ChartKind, ChartSeries, ChartSpec, ChartValue, RowChart } from "./chart-spec.ts";
import { drawChart } from "./chart-svg.ts";
import { chartText } from "./chart-text.ts";

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
