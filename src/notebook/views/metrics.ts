/**
 * A job's metrics over time: how each slot spent it, how many records each vertex moved, how far each vertex's watermark lags.
 */
import type { JobGraph } from "../../core/graph/job-graph.ts";
import type { MetricsReport } from "../../core/graph/job-status.ts";
import { Picture } from "../picture.ts";
import { linearScale, timeScale } from "./axis.ts";
import type { ChartAxis, ChartSeries } from "./chart-spec.ts";
import { chart } from "./chart.ts";
import { drawLegend } from "./load-bar.ts";
import { type LoadSample, loadSamples, meanLoad } from "./load.ts";
import { percent } from "./numbers.ts";
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
  textAt,
  textWidth,
} from "./svg.ts";
import { type Pen, aligned, cut, plainText, shareBar, sparkline } from "./terminal.ts";

export interface MetricsChartOptions {
  /**
   * `time` (default): busy, back-pressured, idle per slot; `records`: per second and vertex; `lag`: how far the watermark of each vertex
   * is behind the clock or, where a job replays the past and that would say nothing, which event time it has reached.
   */
  readonly show?: "time" | "records" | "lag";
  /** Names the vertices. */
  readonly graph?: JobGraph;
  readonly title?: string;
  readonly width?: number;
}

/** Metrics reports as a chart over time; see `MetricsChartOptions.show`. */
export function metricsChart(reports: readonly MetricsReport[], options: MetricsChartOptions = {}): Picture {
  const samples = loadSamples(reports);
  const show = options.show ?? "time";
  if (show === "time") return slotTime(samples, options);
  const named = (vertex: string): string => {
    const name = options.graph?.vertices.find((it) => it.id === vertex)?.name;
    return name === undefined ? vertex : `${vertex} ${name}`;
  };
  const vertices = perVertex(samples);
  const shown = show === "records" ? RECORDS : isReplay(samples) ? EVENT_TIME : LAG;
  const series = vertices.map(([vertex, moments]): ChartSeries => ({
    name: named(vertex),
    x: moments.map((it) => new Date(it.atMs)),
    y: moments.map(shown.value),
  }));
  return chart({
    kind: "line",
    title: options.title ?? shown.title,
    series: series.filter((it) => it.y.some((value) => value !== null)),
    x: { kind: "time", title: "" },
    y: shown.axis,
    width: options.width ?? 720,
    height: 300,
  });
}

interface Shown {
  readonly title: string;
  readonly axis: ChartAxis;
  readonly value: (it: VertexMoment) => number | null;
}

const RECORDS: Shown = { title: "Records per second", axis: { title: "records/s", from: 0 }, value: (it) => it.recordsPerSecond };
const LAG: Shown = {
  title: "Watermark lag",
  axis: { title: "seconds behind", from: 0 },
  value: (it) => (it.watermarkMs === undefined ? null : Math.max(0, it.atMs - it.watermarkMs) / 1_000),
};
const EVENT_TIME: Shown = { title: "Event time reached", axis: { kind: "time" }, value: (it) => it.watermarkMs ?? null };

/** A job whose watermarks never come nearer to the clock than this works on the past. */
const REPLAY_MS = 3_600_000;
const isReplay = (samples: readonly LoadSample[]): boolean => {
  const known = samples.filter((it) => it.watermarkMs !== undefined);
  return known.length > 0 && known.every((it) => it.atMs - (it.watermarkMs as number) > REPLAY_MS);
};

interface VertexMoment {
  readonly atMs: number;
  readonly recordsPerSecond: number;
  /** The least of the subtasks'. */
  readonly watermarkMs?: number;
}

/** One value per vertex and second: reports of several TaskManagers come at moments of their own. */
function perVertex(samples: readonly LoadSample[]): [string, VertexMoment[]][] {
  const vertices = new Map<string, Map<number, Map<number, LoadSample>>>();
  for (const sample of samples) {
    const moments = getOrAdd(vertices, sample.vertex, () => new Map<number, Map<number, LoadSample>>());
    getOrAdd(moments, Math.floor(sample.atMs / 1_000) * 1_000, () => new Map<number, LoadSample>()).set(sample.subtask, sample);
  }
  return [...vertices]
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([vertex, moments]) => [
      vertex,
      [...moments]
        .sort(([a], [b]) => a - b)
        .map(([, subtasks]) => {
          const all = [...subtasks.values()];
          const watermarks = all.flatMap((it) => it.watermarkMs ?? []);
          return {
            // The reports' own moment: in a fast replay event time runs on within the second.
            atMs: Math.max(...all.map((it) => it.atMs)),
            // A source reads nothing from an edge and a sink writes nothing to one.
            recordsPerSecond: all.reduce((sum, it) => sum + Math.max(it.recordsInPerSecond, it.recordsOutPerSecond), 0),
            ...(watermarks.length === 0 ? {} : { watermarkMs: Math.min(...watermarks) }),
          };
        }),
    ]);
}

function getOrAdd<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

// ------------------------------------------------------------------------------------------------------- time per slot

interface SlotMoments {
  readonly name: string;
  readonly moments: readonly { readonly atMs: number; readonly busy: number; readonly backPressured: number; readonly idle: number }[];
}

/** The mean of the subtasks that share a slot, for each report. */
function perSlot(samples: readonly LoadSample[]): SlotMoments[] {
  const places = new Map<string, Map<number, LoadSample[]>>();
  for (const sample of samples) {
    const moments = getOrAdd(places, `${sample.taskManager} slot ${sample.slot}`, () => new Map<number, LoadSample[]>());
    getOrAdd(moments, sample.atMs, (): LoadSample[] => []).push(sample);
  }
  return [...places]
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }))
    .map(([name, moments]) => ({
      name,
      moments: [...moments]
        .sort(([a], [b]) => a - b)
        .map(([atMs, all]) => {
          const { busy, backPressured, idle } = meanLoad(all) as NonNullable<ReturnType<typeof meanLoad>>;
          return { atMs, busy, backPressured, idle };
        }),
    }));
}

/** Slots that are drawn; the rest is counted. */
const MOST_SLOTS = 16;
const STRIP = 56;
const SHARES: readonly (readonly ["busy" | "backPressured" | "idle", string])[] = [
  ["busy", "busy"],
  ["backPressured", "back-pressured"],
  ["idle", "idle"],
];

function slotTime(samples: readonly LoadSample[], options: MetricsChartOptions): Picture {
  const slots = perSlot(samples);
  const title = options.title ?? "How the slots spent their time";
  return new Picture({
    title,
    text: (pen) => slotTimeText(slots, title, pen),
    svg: () => drawSlotTime(slots, title, options.width ?? 720),
    plotly: () => plotlySlotTime(slots.slice(0, MOST_SLOTS), title),
  });
}

function slotTimeText(slots: readonly SlotMoments[], title: string, pen: Pen): string {
  const rows = slots.map(({ name, moments }) => {
    const mean = (pick: (it: SlotMoments["moments"][number]) => number): number =>
      moments.reduce((sum, it) => sum + pick(it), 0) / moments.length;
    const busy = mean((it) => it.busy);
    const blocked = mean((it) => it.backPressured);
    return [
      plainText(name),
      shareBar(busy, blocked, 16, pen),
      `${percent(busy)} busy`,
      blocked >= 0.005 ? pen.backPressured(`${percent(blocked)} back-pressured`) : "",
      pen.busy(
        sparkline(
          moments.map((it) => it.busy),
          30,
          0,
          1,
        ),
      ),
    ];
  });
  return [pen.strong(plainText(title)), ...(rows.length === 0 ? ["no metrics yet"] : aligned(rows, "llrr"))].join("\n");
}

function drawSlotTime(slots: readonly SlotMoments[], title: string, width: number): Drawing {
  const shown = slots.slice(0, MOST_SLOTS);
  const left = 24 + Math.min(170, Math.max(60, ...shown.map((it) => textWidth(it.name, 11))));
  const right = width - 64;
  const top = 62;
  const bottom = top + Math.max(1, shown.length) * STRIP;
  const times = shown.flatMap((it) => [it.moments[0]?.atMs ?? 0, it.moments.at(-1)?.atMs ?? 0]);
  const pieces: Markup[] = [textAt(20, 27, title, { size: 14, weight: 600, maxWidth: width - 40 }), drawLegend(20, 47)];
  if (shown.length === 0) {
    pieces.push(textAt(20, top + 24, "no metrics yet", { colour: "muted" }));
    return drawing(width, bottom + 12, title, "No metrics yet.", ...pieces);
  }
  const x = timeScale(Math.min(...times), Math.max(...times), left, right, Math.floor((right - left) / 90));
  shown.forEach(({ name, moments }, index) => {
    const y0 = top + index * STRIP;
    const y = linearScale(0, 1, y0 + STRIP - 8, y0 + 4, 2);
    const latest = moments.at(-1) as SlotMoments["moments"][number];
    const area = (low: (it: typeof latest) => number, high: (it: typeof latest) => number, fill: Colour): Markup => {
      const at =
        (value: (it: typeof latest) => number) =>
        (it: typeof latest): string =>
          `${round(x.at(it.atMs))} ${round(y.at(value(it)))}`;
      return element("path", { d: `M${moments.map(at(high)).join("L")}L${[...moments].reverse().map(at(low)).join("L")}Z`, fill });
    };
    pieces.push(
      textAt(left - 8, y0 + STRIP / 2 + 2, name, { size: 11, colour: "muted", anchor: "end", maxWidth: 170 }),
      rectangle(x.at(moments[0]?.atMs ?? 0), y.at(1), x.at(latest.atMs) - x.at(moments[0]?.atMs ?? 0), y.at(0) - y.at(1), { fill: "idle" }),
      area(
        () => 0,
        (it) => it.busy,
        "busy",
      ),
      area(
        (it) => it.busy,
        (it) => it.busy + it.backPressured,
        "backPressured",
      ),
      textAt(right + 8, y0 + STRIP / 2 + 2, percent(latest.busy), { size: 11, weight: 600 }),
    );
  });
  pieces.push(
    group(
      ...x.ticks.map((tick) =>
        group(
          line(x.at(tick.value), bottom - 4, x.at(tick.value), bottom, "line"),
          textAt(x.at(tick.value), bottom + 13, tick.text, { size: 11, colour: "muted", anchor: "middle" }),
        ),
      ),
    ),
    ...(slots.length > MOST_SLOTS
      ? [textAt(20, bottom + 30, `and ${slots.length - MOST_SLOTS} more slots`, { size: 11, colour: "muted" })]
      : []),
  );
  const facts = shown.map((it) => `${it.name} is ${percent((it.moments.at(-1) as SlotMoments["moments"][number]).busy)} busy`);
  return drawing(width, bottom + 44, title, `Shares of time of each slot. At the end, ${facts.join("; ")}.`, ...pieces);
}

/** Idle time in a figure: seen on light and on dark paper, whichever the page turns out to have. */
const IDLE = "rgba(135,146,162,0.3)";

function plotlySlotTime(slots: readonly SlotMoments[], title: string): PlotlyFigure {
  const count = Math.max(1, slots.length);
  const axisName = (index: number): string => (index === 0 ? "" : String(index + 1));
  const domain = (index: number): [number, number] => [1 - (index + 0.9) / count, 1 - index / count];
  return {
    data: slots.flatMap((slot, index) =>
      SHARES.map(([share, name]) => ({
        type: "scatter",
        mode: "lines",
        name,
        legendgroup: share,
        showlegend: index === 0,
        stackgroup: `slot ${index}`,
        line: { width: 0 },
        fillcolor: share === "idle" ? IDLE : COLOURS[share][0],
        x: slot.moments.map((it) => new Date(it.atMs).toISOString()),
        y: slot.moments.map((it) => it[share]),
        yaxis: `y${axisName(index)}`,
        hovertemplate: "%{y:.0%}",
      })),
    ),
    layout: {
      title: { text: plotlyText(title), x: 0.03, xanchor: "left", font: { size: 14, weight: 600 } },
      height: 62 + count * STRIP + 44,
      margin: { l: 140, r: 24, t: 44, b: 64 },
      hovermode: "x unified",
      // Time stands below the last slot.
      xaxis: { type: "date", tickangle: 0, nticks: 5, anchor: `y${axisName(count - 1)}` },
      ...Object.fromEntries(
        slots.map((_, index) => [
          `yaxis${axisName(index)}`,
          { domain: domain(index), range: [0, 1], showticklabels: false, fixedrange: true, showgrid: false, zeroline: false },
        ]),
      ),
      annotations: slots.map((slot, index) => ({
        text: plotlyText(cut(slot.name, 22)),
        xref: "paper",
        x: 0,
        xanchor: "right",
        xshift: -8,
        yref: "paper",
        y: (domain(index)[0] + domain(index)[1]) / 2,
        yanchor: "middle",
        showarrow: false,
        font: { size: 11 },
      })),
      legend: { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom" },
    },
  };
}
