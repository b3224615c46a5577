/** A job as one HTML file: what it was, how it ran, what came out. */
import { type CheckpointOverview, type JobDetails, type MetricsReport, isFinal } from "../core/graph/job-status.ts";
import type { TaskProfile } from "../core/graph/task-profile.ts";
import type { StreamGraph } from "../core/graph/stream-graph.ts";
import type { Picture } from "./picture.ts";
import { reportPage } from "./report-page.ts";
import { attempts } from "./views/attempts.ts";
import { barriers } from "./views/barriers.ts";
import { checkpoints as checkpointsPicture } from "./views/checkpoints.ts";
import { flame } from "./views/flame.ts";
import { graph } from "./views/graph.ts";
import type { JobHistory } from "./views/job-history.ts";
import { jobPanel } from "./views/job.ts";
import { latestLoads, loadSamples } from "./views/load.ts";
import { metricsChart } from "./views/metrics.ts";
import { duration, moment as utc, shortNumber } from "./views/numbers.ts";
import { slots } from "./views/slots.ts";

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
  /** Profiles of its tasks, drawn as flame graphs. */
  readonly profiles?: readonly TaskProfile[];
  /** Pictures of its state, such as `keyGroups`. */
  readonly state?: readonly Picture[];
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
  const { profiles = [], state = [] } = options;
  return reportPage({
    title,
    kind: "drey job report",
    id: details.job,
    facts: facts(details, metrics, nowMs),
    sections: [
      {
        heading: "How it went",
        lead: "States of the job and of its subtasks over time.",
        pictures: [
          jobPanel(details, { metrics, nowMs, width: 1080, ...past }),
          ...(repeated ? [attempts(details, { nowMs, width: 1080, ...past })] : []),
        ],
      },
      { heading: "Results", lead: "What came out of the job.", pictures: charts, grid: true },
      { heading: "Tables", lead: "Rows, as they arrived.", pictures: tables },
      { heading: "Over time", lead: OVER_TIME, pictures: overTime, grid: true },
      { heading: "Where the time went", lead: PROFILES, pictures: profiles.map((it) => flame(it, { width: 1080 })) },
      { heading: "Checkpoints", lead: CHECKPOINTS, pictures: checkpointPictures },
      { heading: "State", lead: STATE, pictures: state },
      {
        heading: "The three graphs",
        lead: THREE_GRAPHS,
        pictures: [
          ...(streamGraph === undefined ? [] : [graph(streamGraph)]),
          graph(details.graph, { title: `${details.graph.name}: job graph`, metrics, moment }),
          graph(details, { metrics, moment }),
        ],
      },
      { heading: "Slots", lead: SLOTS, pictures: [slots(details, { metrics, moment })] },
    ],
    options: {
      heading: "Options",
      lead: "What the job was told, under Flink's keys.",
      entries: Object.entries(details.graph.options)
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .map(([key, value]) => [key, String(value)]),
    },
    interactive: options.interactive ?? charts.length + overTime.length > 0,
    nowMs,
  });
}

const OVER_TIME = "How the slots spent their time, how many records each vertex moved, how far event time had come.";
const CHECKPOINTS =
  "What each took, and what its slowest subtask spent the time on. Below: when the barrier of the latest reached each subtask.";
const THREE_GRAPHS =
  "What was written, what was scheduled, and what ran where. " +
  "Operators keep their ids (n1, n2 …) and vertices theirs (v1, v2 …) from one to the next.";
const PROFILES = "What the threads of subtasks did while they were watched: callers above, what they called below, as wide as its time.";
const STATE = "How many bytes of state lie in which key group, and which subtask owns it.";
const SLOTS = "Who sat in which slot. All subtasks of a job that share a slot share its memory; each has a thread of its own.";

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
