/**
 * A cluster on one card: its JobManager, how many slots are taken, how long each TaskManager has been silent (its heartbeats), who sits
 * in which slot, and the jobs.
 */
import type { JobSummary, MetricsReport } from "../../core/graph/job-status.ts";
import { isFinal } from "../../core/graph/job-status.ts";
import { Picture } from "../picture.ts";
import { duration } from "./numbers.ts";
import { type SlotOverview, type SlotTaskManager, slots } from "./slots.ts";
import { stateColour, stateSign, stateText } from "./states.ts";
import { type Drawing, type Markup, drawing, element, group, line, rectangle, textAt, words } from "./svg.ts";
import { type Pen, aligned, plainText } from "./terminal.ts";

/** The parts of a ClusterOverview that the card draws. */
export interface ClusterCard extends SlotOverview {
  readonly version: string;
  readonly pid: number;
  readonly address: string;
  readonly startedAtMs: number;
  readonly slotsTotal: number;
  readonly slotsFree: number;
  readonly jobs: readonly JobSummary[];
}

export interface ClusterOptions {
  readonly title?: string;
  /** Shows how busy slots and subtasks are. */
  readonly metrics?: readonly MetricsReport[];
  /** Silence after which a TaskManager is declared lost, milliseconds; default 3,000 (`heartbeat.timeout`). */
  readonly heartbeatTimeoutMs?: number;
  /** The present, milliseconds since the epoch; default `Date.now()`. */
  readonly nowMs?: number;
}

/** The card of one cluster. */
export function cluster(overview: ClusterCard, options: ClusterOptions = {}): Picture {
  const title = options.title ?? "Cluster";
  const grid = slots(overview, { title: "Slots", ...(options.metrics === undefined ? {} : { metrics: options.metrics }) });
  const facts = `JobManager pid ${overview.pid} · up ${duration((options.nowMs ?? Date.now()) - overview.startedAtMs)} · ${overview.address}`;
  const timeoutMs = options.heartbeatTimeoutMs ?? HEARTBEAT_TIMEOUT_MS;
  return new Picture({
    title,
    text: (pen) => clusterText(overview, facts, grid.text(), timeoutMs, pen),
    svg: () => drawCluster(overview, title, facts, grid, timeoutMs),
  });
}

const HEARTBEAT_TIMEOUT_MS = 3_000;
/** Jobs on the card, the latest; the rest is counted. */
const MOST_JOBS = 6;

const silenceOf = (it: SlotTaskManager): number => it.silentMs ?? 0;
const newestFirst = (jobs: readonly JobSummary[]): JobSummary[] =>
  [...jobs].sort((a, b) => Number(isFinal(a.state)) - Number(isFinal(b.state)) || b.startedAtMs - a.startedAtMs);

function clusterText(overview: ClusterCard, facts: string, grid: string, timeoutMs: number, pen: Pen): string {
  const heartbeats = overview.taskManagers.map((it) => {
    const silent = silenceOf(it);
    const text = `${duration(silent)} ago`;
    return [plainText(it.taskManager), "last heartbeat", silent > timeoutMs / 2 ? pen.bad(text) : pen.good(text)];
  });
  const jobs = newestFirst(overview.jobs);
  return [
    pen.strong(plainText(facts)),
    ...aligned(heartbeats, "lll", "  "),
    ...aligned(
      jobs
        .slice(0, MOST_JOBS)
        .map((job) => [stateText(job.state, pen, `${stateSign(job.state)} ${job.state}`), plainText(job.name), pen.dim(job.job)]),
      "lll",
      "  ",
    ),
    ...(jobs.length > MOST_JOBS ? [pen.dim(`  and ${jobs.length - MOST_JOBS} more jobs`)] : []),
    "",
    grid,
  ].join("\n");
}

const ROW = 22;
const STRIP = 150;

function drawCluster(overview: ClusterCard, title: string, facts: string, grid: Picture, timeoutMs: number): Drawing {
  const below = grid.drawing as Drawing;
  const width = Math.max(640, below.width);
  const jobs = newestFirst(overview.jobs);
  const pieces: Markup[] = [
    textAt(20, 30, title, { size: 16, weight: 600 }),
    textAt(width - 20, 30, `${overview.slotsTotal - overview.slotsFree} of ${overview.slotsTotal} slots in use`, {
      size: 12,
      weight: 600,
      anchor: "end",
    }),
    textAt(20, 50, facts, { size: 11.5, colour: "muted", maxWidth: width - 40 }),
  ];
  const top = 84;
  pieces.push(
    textAt(20, 74, `Heartbeats: silence, up to ${duration(timeoutMs)}`, { size: 11, colour: "muted" }),
    textAt(width / 2 + 10, 74, "Jobs", { size: 11, colour: "muted" }),
  );
  const left = overview.taskManagers.map((it, index) => heartbeat(it, 20, top + index * ROW, timeoutMs));
  const right = jobs.slice(0, MOST_JOBS).map((job, index) => jobLine(job, width / 2 + 10, top + index * ROW, width));
  pieces.push(...left, ...right);
  if (jobs.length > MOST_JOBS) {
    const more = `and ${jobs.length - MOST_JOBS} more jobs`;
    pieces.push(textAt(width / 2 + 10, top + MOST_JOBS * ROW + 14, more, { size: 11, colour: "muted" }));
  }
  const rows = Math.max(left.length, right.length + (jobs.length > MOST_JOBS ? 1 : 0));
  const y = top + rows * ROW + 6;
  // The grid is a document of its own. Nested, it keeps its names and hints, but its size is not the page's to choose.
  const nested = below.markup.replace(/^<svg (.*?) style="[^"]*"/, `<svg x="0" y="${y + 4}" $1`) as Markup;
  pieces.push(line(20, y, width - 20, y, "grid"), nested);
  const silent = overview.taskManagers.map((it) => `${it.taskManager} was heard ${duration(silenceOf(it))} ago`).join(", ");
  return drawing(width, y + below.height + 4, title, `${facts}. ${silent}. ${grid.text()}`, ...pieces);
}

/** How much of the time up to the timeout has passed in silence. */
function heartbeat(it: SlotTaskManager, x: number, y: number, timeoutMs: number): Markup {
  const silent = silenceOf(it);
  const share = Math.min(1, silent / timeoutMs);
  const text = `${duration(silent)} since the last heartbeat`;
  return element(
    "g",
    {},
    element("title", {}, words(`${it.taskManager}: ${text}, lost after ${duration(timeoutMs)}`)),
    textAt(x, y + 14, it.taskManager, { size: 12, maxWidth: 130 }),
    rectangle(x + 140, y + 6, STRIP, 9, { rx: 4, fill: "idle" }),
    rectangle(x + 140, y + 6, STRIP * share, 9, { rx: 4, fill: share > 0.5 ? "bad" : "good" }),
  );
}

const jobLine = (job: JobSummary, x: number, y: number, width: number): Markup =>
  group(
    textAt(x, y + 14, stateSign(job.state), { size: 11, colour: stateColour(job.state) }),
    textAt(x + 16, y + 14, job.name, { size: 12, maxWidth: width - x - 130 }),
    textAt(width - 20, y + 14, job.state, { size: 11, colour: stateColour(job.state), anchor: "end" }),
  );
