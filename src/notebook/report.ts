/**
 * A job as one HTML file: what it was, how it ran, what came out. The file needs nothing but itself: it opens from a disk, without a
 * network, in a light or a dark room, on paper, and without scripts (images instead of interactive charts).
 */
import { type CheckpointOverview, type JobDetails, type MetricsReport, isFinal } from "../core/graph/job-status.ts";
import type { StreamGraph } from "../core/graph/stream-graph.ts";
import type { Picture } from "./picture.ts";
import { attempts } from "./views/attempts.ts";
import { barriers } from "./views/barriers.ts";
import { checkpoints as checkpointsPicture } from "./views/checkpoints.ts";
import { graph } from "./views/graph.ts";
import type { JobHistory } from "./views/job-history.ts";
import { jobPanel } from "./views/job.ts";
import { latestLoads, loadSamples } from "./views/load.ts";
import { metricsChart } from "./views/metrics.ts";
import { duration, moment as utc, shortNumber } from "./views/numbers.ts";
import { plotlyLibrary } from "./views/plotly.ts";
import { slots } from "./views/slots.ts";
import { COLOURS, type Colour, escapeMarkup } from "./views/svg.ts";

export interface ReportOptions {
  /** Default: the job's name. */
  readonly title?: string;
  readonly details: JobDetails;
  readonly streamGraph?: StreamGraph;
  readonly metrics?: readonly MetricsReport[];
  /** What `job.checkpoints()` tells; a job without checkpoints has no section about them. */
  readonly checkpoints?: CheckpointOverview;
  /** What the job went through, as `live` collected it; default: what `details` tells. */
  readonly history?: JobHistory;
  /** Pictures of the results, in this order. */
  readonly charts?: readonly Picture[];
  readonly tables?: readonly Picture[];
  /** Interactive charts, at the cost of about 1.9 MB; default: if there are any charts. */
  readonly interactive?: boolean;
  /** The moment of the report, milliseconds since the epoch, default `Date.now()`. */
  readonly nowMs?: number;
}

/** The report as HTML, to be written to a file. */
export function report(options: ReportOptions): string {
  const { details, streamGraph, metrics = [], charts = [], tables = [], nowMs = Date.now() } = options;
  const title = options.title ?? details.name;
  const measured = metrics.length > 0;
  const moment = isFinal(details.state) ? "run" : "latest";
  const overTime = measured
    ? [
        metricsChart(metrics, { graph: details.graph }),
        metricsChart(metrics, { graph: details.graph, show: "records" }),
        metricsChart(metrics, { graph: details.graph, show: "lag" }),
      ].filter((picture) => picture.figure?.data.length !== 0)
    : [];
  const { checkpoints, history } = options;
  const past = { ...(checkpoints === undefined ? {} : { checkpoints }), ...(history === undefined ? {} : { history }) };
  const numbers = new Set([...(history?.attempts ?? []), ...details.executions].map(({ attempt }) => attempt));
  // Attempts may begin at any number.
  const repeated = numbers.size > 1;
  const checkpointPictures =
    checkpoints === undefined || checkpoints.latest.length === 0
      ? []
      : [
          checkpointsPicture(checkpoints, { width: 1080 }),
          ...(checkpoints.latest.some((it) => it.state === "COMPLETED" && it.subtasks.length > 1) ? [barriers(details, checkpoints)] : []),
        ];
  const interactive = options.interactive ?? charts.length + overTime.length > 0;
  const figure = (picture: Picture): string => {
    const markup = interactive ? picture.html() : withoutScripts(picture);
    const text = `<details><summary>As text</summary><pre>${escapeMarkup(picture.text())}</pre></details>`;
    return `<figure>${markup}<figcaption>${text}</figcaption></figure>`;
  };
  const section = (heading: string, lead: string, pictures: readonly Picture[], grid = false): string => {
    if (pictures.length === 0) return "";
    const figures = `<div class="${grid ? "grid" : "stack"}">${pictures.map(figure).join("\n")}</div>`;
    return `<section><h2>${escapeMarkup(heading)}</h2><p>${escapeMarkup(lead)}</p>${figures}</section>\n`;
  };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${allowed(interactive)}">
<title>${escapeMarkup(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<p class="kicker">drey job report · <code>${escapeMarkup(details.job)}</code></p>
<h1>${escapeMarkup(title)}</h1>
<dl>${facts(details, metrics, nowMs)
    .map(([name, value]) => `<div><dt>${escapeMarkup(name)}</dt><dd>${escapeMarkup(value)}</dd></div>`)
    .join("")}</dl>
</header>
<main>
${section("How it went", "States of the job and of its subtasks over time.", [
  jobPanel(details, { metrics, nowMs, width: 1080, ...past }),
  ...(repeated ? [attempts(details, { nowMs, width: 1080, ...past })] : []),
])}\
${section("Results", "What came out of the job.", charts, true)}\
${section("Tables", "Rows, as they arrived.", tables)}\
${section("Over time", OVER_TIME, overTime, true)}\
${section("Checkpoints", CHECKPOINTS, checkpointPictures)}\
${section("The three graphs", THREE_GRAPHS, [
  ...(streamGraph === undefined ? [] : [graph(streamGraph)]),
  graph(details.graph, { title: `${details.graph.name}: job graph`, metrics, moment }),
  graph(details, { metrics, moment }),
])}\
${section("Slots", SLOTS, [slots(details, { metrics, moment })])}\
${optionsTable(details)}
</main>
<footer>Written by drey on ${utc(nowMs)} UTC. This file needs no network.</footer>
${interactive ? plotlyLibrary() : ""}
</body>
</html>
`;
}

const OVER_TIME = "How the slots spent their time, how many records each vertex moved, how far event time had come.";
const CHECKPOINTS =
  "What each took, and what its slowest subtask spent the time on. Below: when the barrier of the latest reached each subtask.";
const THREE_GRAPHS =
  "What was written, what was scheduled, and what ran where. " +
  "Operators keep their ids (n1, n2 …) and vertices theirs (v1, v2 …) from one to the next.";
const SLOTS = "Who sat in which slot. All subtasks of a job that share a slot share its memory; each has a thread of its own.";

/** The policy that the page gives itself: whatever its data hold, it asks nobody for anything. */
const allowed = (scripts: boolean): string =>
  [
    "default-src 'none'",
    "img-src data: blob:",
    "style-src 'unsafe-inline'",
    `script-src ${scripts ? "'unsafe-inline' blob:" : "'none'"}`,
    "font-src data:",
    "worker-src blob:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");

function withoutScripts(picture: Picture): string {
  const { drawing } = picture;
  return drawing === undefined ? picture.html() : drawing.markup;
}

function facts(details: JobDetails, metrics: readonly MetricsReport[], nowMs: number): [string, string][] {
  const latest = [...latestLoads(loadSamples(metrics), details.job).values()];
  const sources = new Set(
    details.graph.vertices
      .filter((vertex) => !details.graph.edges.some((edge) => edge.target === vertex.id))
      .map((vertex) => vertex.id as string),
  );
  const read = latest.filter((it) => sources.has(it.vertex)).reduce((sum, it) => sum + Math.max(it.recordsIn, it.recordsOut), 0);
  const seconds = ((details.endedAtMs ?? nowMs) - details.startedAtMs) / 1_000;
  const places = new Set(details.executions.flatMap((it) => (it.taskManager === undefined ? [] : [`${it.taskManager}/${it.slot}`])));
  return [
    ["State", details.state],
    ["Took", duration(seconds * 1_000)],
    ["Started", `${utc(details.startedAtMs)} UTC`],
    ...(read === 0
      ? []
      : ([
          ["Records read", shortNumber(read)],
          ["Per second", shortNumber(read / Math.max(0.001, seconds))],
        ] as [string, string][])),
    ["Subtasks", String(details.graph.vertices.reduce((sum, vertex) => sum + vertex.parallelism, 0))],
    ["Slots", String(places.size)],
  ];
}

function optionsTable(details: JobDetails): string {
  const entries = Object.entries(details.graph.options).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return "";
  const rows = entries
    .map(([key, value]) => `<tr><td><code>${escapeMarkup(key)}</code></td><td>${escapeMarkup(String(value))}</td></tr>`)
    .join("");
  const lead = "What the job was told, under Flink's keys.";
  return `<section><h2>Options</h2><p>${lead}</p><table class="options"><tbody>${rows}</tbody></table></section>`;
}

const colour = (role: Colour, scheme: 0 | 1): string => `--${role}:${COLOURS[role][scheme]}`;
const scheme = (which: 0 | 1): string =>
  (["paper", "panel", "line", "ink", "muted", "series0"] as const).map((role) => colour(role, which)).join(";");

const STYLE = `
:root{color-scheme:light dark;${scheme(0)}}
@media (prefers-color-scheme:dark){:root{${scheme(1)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink)}
body{font:15px/1.55 Inter,system-ui,-apple-system,"Segoe UI","Helvetica Neue",Arial,sans-serif}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 28px}
header{padding-top:44px}
.kicker code{text-transform:none;letter-spacing:0}
.kicker{margin:0;color:var(--muted);font-size:12px;letter-spacing:.08em;text-transform:uppercase}
h1{margin:4px 0 20px;font-size:30px;line-height:1.2;overflow-wrap:anywhere}
h2{margin:44px 0 2px;font-size:19px}
section>p{margin:0 0 16px;color:var(--muted);max-width:70ch}
dl{display:flex;flex-wrap:wrap;gap:10px;margin:0}
dl div{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:9px 15px;min-width:0}
dt{color:var(--muted);font-size:12px}
dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:18px}
.stack{display:grid;gap:18px}
figure{margin:0;border:1px solid var(--line);border-radius:12px;padding:8px;overflow:hidden;min-width:0}
figure>div:first-child,figure>svg{max-width:100%;overflow-x:auto}
figcaption summary{cursor:pointer;color:var(--muted);font-size:12px;padding:2px 12px}
pre{margin:6px 12px 10px;overflow-x:auto;font:12px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
table{border-collapse:collapse}
.options td{border-bottom:1px solid var(--line);padding:5px 18px 5px 0;font-size:13px;overflow-wrap:anywhere}
footer{color:var(--muted);font-size:12px;padding-top:40px;padding-bottom:40px}
@media print{figcaption{display:none}figure{break-inside:avoid}}
`.replaceAll("\n", "");
