/** A chart as text: bars as bars, heat maps as shades, boxes as their numbers, everything else as sparklines with least, most and last. */
import { type Prepared, type PreparedSeries, finite, fiveNumbers, grouped, least, most, prepare } from "./chart-data.ts";
import type { ChartSpec } from "./chart-spec.ts";
import { moment, shortNumber } from "./numbers.ts";
import { type Pen, aligned, columnsOf, cut, plainText, sparkline } from "./terminal.ts";

const TEXT_WIDTH = 40;
/** Most lines of one series in text. */
const MOST_LINES = 24;

/** The chart as lines of text. */
export function chartText(spec: ChartSpec, title: string, pen: Pen): string {
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
      const said = prepared.yKind === "time" ? moment : shortNumber;
      const facts =
        values.length === 0 ? ["no values"] : [`${said(least(values))} … ${said(most(values))}`, `last ${said(values.at(-1) as number)}`];
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
