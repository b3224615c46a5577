/**
 * A job on one panel: its state and for how long, why it waits or failed, and for each vertex what its subtasks did when (a timeline),
 * how busy they are and how many records they moved. Drawn again and again while the job runs; the last drawing is its record.
 */
import type { CheckpointOverview, ExecutionInfo, JobDetails, MetricsReport } from "../../core/graph/job-status.ts";
import { isFinal, isTaskFinal } from "../../core/graph/job-status.ts";
import type { WireError } from "../../core/types/errors.ts";
import { Picture } from "../picture.ts";
import { timeScale } from "./axis.ts";
import { checkpointLines } from "./checkpoints.ts";
import { lineOf, rootOf } from "./failure.ts";
import { type FailedAttempt, JobHistory } from "./job-history.ts";
import { bar, drawLegend } from "./load-bar.ts";
import { type Load, type LoadSample, latestLoads, loadSamples, meanLoad } from "./load.ts";
import { duration, moment, percent, shortNumber } from "./numbers.ts";
import { attemptStretches, stretches } from "./stretches.ts";
import { stateColour, stateSign, stateSoftColour, stateText } from "./states.ts";
import { type Drawing, type Markup, drawing, element, group, line, rectangle, textAt, textWidth, words } from "./svg.ts";
import { type Pen, aligned, cut, plainText, shareBar } from "./terminal.ts";

export interface JobPanelOptions {
  readonly title?: string;
  readonly metrics?: readonly MetricsReport[];
  /** Its checkpoints; a job without any has no lines about them. */
  readonly checkpoints?: CheckpointOverview;
  /** What it went through, with the attempts before restarts; default: what `details` tells. */
  readonly history?: JobHistory;
  /** The present, for a job that still runs: milliseconds since the epoch, default `Date.now()`. */
  readonly nowMs?: number;
  readonly width?: number;
}

/** The panel of one job. */
export function jobPanel(details: JobDetails, options: JobPanelOptions = {}): Picture {
  const title = options.title ?? `Job ${details.name}`;
  const nowMs = options.nowMs ?? Date.now();
  const facts = factsOf(details, options, nowMs);
  return new Picture({ title, text: (pen) => panelText(facts, pen), svg: () => drawPanel(facts, title, options.width ?? 820) });
}

interface VertexFacts {
  readonly id: string;
  readonly name: string;
  readonly parallelism: number;
  /** `2 running`, `1 running, 1 failed`. */
  readonly states: readonly (readonly [state: string, count: number])[];
  /** Latest attempts, by subtask. */
  readonly executions: readonly ExecutionInfo[];
  /** The highest attempt. */
  readonly attempts: number;
  /** How far event time is behind the clock, milliseconds, at its slowest subtask; absent without watermarks. */
  readonly lagMs?: number;
  /** That event time: the lowest watermark, milliseconds since the epoch. */
  readonly watermarkMs?: number;
  readonly load?: Load;
  readonly records: number;
  readonly recordsPerSecond: number;
}

interface JobFacts {
  readonly details: JobDetails;
  readonly endMs: number;
  readonly vertices: readonly VertexFacts[];
  readonly failure?: WireError;
  readonly line?: string;
  readonly hasLoad: boolean;
  readonly history: JobHistory;
  /** Empty for a job without checkpoints. */
  readonly checkpoints: readonly string[];
  readonly progress: string;
  /** Failures that the job survived, the latest last. */
  readonly survived: readonly FailedAttempt[];
}

function factsOf(details: JobDetails, options: JobPanelOptions, nowMs: number): JobFacts {
  const loads = [...latestLoads(loadSamples(options.metrics ?? []), details.job).values()];
  const ended = isFinal(details.state);
  // What is drawn later is the history of now.
  const history = options.history?.copy() ?? new JobHistory();
  history.add(details);
  const endMs = details.endedAtMs ?? Math.max(nowMs, details.startedAtMs);
  const line = details.failure === undefined ? undefined : lineOf(details.failure);
  return {
    details,
    endMs,
    hasLoad: loads.length > 0 && !ended,
    history,
    checkpoints: options.checkpoints === undefined ? [] : checkpointLines(options.checkpoints, ended ? undefined : nowMs),
    progress: progressOf(details, loads),
    survived: survivedOf(history, details),
    ...(line === undefined ? {} : { line }),
    ...(details.failure === undefined ? {} : { failure: rootOf(details.failure) }),
    vertices: details.graph.vertices.map((vertex) => {
      const latest = new Map<number, ExecutionInfo>();
      for (const it of details.executions)
        if (it.vertex === vertex.id && it.attempt >= (latest.get(it.subtask)?.attempt ?? 0)) latest.set(it.subtask, it);
      const executions = [...latest.values()].sort((a, b) => a.subtask - b.subtask);
      const counts = new Map<string, number>();
      for (const it of executions) counts.set(it.state, (counts.get(it.state) ?? 0) + 1);
      const own = loads.filter((it) => it.vertex === vertex.id);
      const load = meanLoad(own);
      return {
        id: vertex.id,
        name: vertex.name,
        parallelism: vertex.parallelism,
        states: [...counts],
        executions,
        ...lagOf(own),
        attempts: Math.max(0, ...executions.map((it) => it.attempt)),
        ...(load === undefined ? {} : { load }),
        records: own.reduce((sum, it) => sum + Math.max(it.recordsIn, it.recordsOut), 0),
        recordsPerSecond: own.reduce((sum, it) => sum + Math.max(it.recordsInPerSecond, it.recordsOutPerSecond), 0),
      };
    }),
  };
}

/** Only where event time is near the clock's is the difference a lag; else it is what the data are about. */
const NEAR_MS = 86_400_000;

function lagOf(loads: readonly LoadSample[]): Pick<VertexFacts, "lagMs" | "watermarkMs"> {
  const told = loads.flatMap(({ atMs, watermarkMs }) => (watermarkMs === undefined ? [] : [{ atMs, watermarkMs }]));
  const slowest = told.sort((a, b) => a.watermarkMs - b.watermarkMs)[0];
  return slowest === undefined ? {} : { watermarkMs: slowest.watermarkMs, lagMs: Math.max(0, slowest.atMs - slowest.watermarkMs) };
}

function lagText({ lagMs, watermarkMs }: VertexFacts): string {
  if (lagMs === undefined || watermarkMs === undefined) return "";
  return lagMs < NEAR_MS ? `lag ${duration(lagMs)}` : `at ${moment(watermarkMs)}`;
}

/** How far it is: of a stream without an end, how much it has read. */
function progressOf(details: JobDetails, loads: readonly LoadSample[]): string {
  const total = details.graph.vertices.reduce((sum, vertex) => sum + vertex.parallelism, 0);
  const done = details.executions.filter(({ state }) => isTaskFinal(state)).length;
  const targets = new Set(details.graph.edges.filter((it) => it.feedback !== true).map((it) => it.target as string));
  const read = loads.filter((it) => !targets.has(it.vertex));
  const records = read.reduce((sum, it) => sum + Math.max(it.recordsIn, it.recordsOut), 0);
  return [
    ...(done === 0 || isFinal(details.state) ? [] : [`${done} of ${total} tasks ended`]),
    ...(records === 0 ? [] : [`${shortNumber(records)} records read`]),
  ].join(" · ");
}

/** Of a job that failed, the last attempts are its failure, and told as that. */
function survivedOf(history: JobHistory, details: JobDetails): FailedAttempt[] {
  const last = (it: FailedAttempt): boolean =>
    details.executions.some(({ vertex, subtask, attempt }) => vertex === it.vertex && subtask === it.subtask && attempt === it.attempt);
  return history.failures.filter((it) => details.failure === undefined || !last(it));
}

/** A failure that the job survived, in a line. */
function survivedText(it: FailedAttempt): string {
  const root = rootOf(it.error);
  const line = lineOf(it.error);
  const place = line === undefined || root.message.includes(line) ? "" : ` at ${line}`;
  return `${it.vertex}/${it.subtask} attempt ${it.attempt} failed at ${moment(it.failedAtMs).slice(11)}: ${root.name}: ${root.message}${place}`;
}

/** Survived failures that are told. */
const MOST_FAILURES = 3;
const restartsText = ({ history }: JobFacts): string =>
  history.restarts === 0 ? "" : `restarted ${history.restarts === 1 ? "once" : `${history.restarts} times`}`;

const runningTime = ({ details, endMs }: JobFacts): string => duration(endMs - details.startedAtMs);
const statesText = (vertex: VertexFacts): string => vertex.states.map(([state, count]) => `${count} ${state.toLowerCase()}`).join(", ");

// ---------------------------------------------------------------------------------------------------------------- text

function panelText(facts: JobFacts, pen: Pen): string {
  const { details, vertices } = facts;
  const state = stateText(details.state, pen, `${stateSign(details.state)} ${details.state}`);
  const lines = [[state, pen.strong(plainText(details.name)), runningTime(facts), pen.dim(details.job)].join("  ")];
  if (details.waitingFor !== undefined && !isFinal(details.state))
    lines.push(`  ${pen.waiting(`waits: ${plainText(details.waitingFor)}`)}`);
  if (facts.failure !== undefined) lines.push(`  ${pen.bad(`${plainText(facts.failure.name)}: ${plainText(facts.failure.message)}`)}`);
  if (facts.line !== undefined) lines.push(`    ${pen.dim(`at ${plainText(facts.line)}`)}`);
  const about = [facts.progress, restartsText(facts)].filter((it) => it !== "").join(" · ");
  if (about !== "") lines.push(`  ${about}`);
  lines.push(...facts.survived.slice(-MOST_FAILURES).map((it) => `  ${pen.bad(plainText(survivedText(it)))}`));
  lines.push(...facts.checkpoints.map((it) => `  ${plainText(it)}`));
  const lags = vertices.some((vertex) => facts.hasLoad && vertex.lagMs !== undefined);
  const rows = vertices.map((vertex) => [
    pen.dim(vertex.id),
    cut(plainText(vertex.name), 44),
    `×${vertex.parallelism}`,
    statesText(vertex),
    ...(vertex.load === undefined
      ? []
      : [
          facts.hasLoad ? shareBar(vertex.load.busy, vertex.load.backPressured, 12, pen) : "",
          facts.hasLoad ? `${percent(vertex.load.busy)} busy` : "",
          `${shortNumber(vertex.records)} records`,
          facts.hasLoad ? `${shortNumber(vertex.recordsPerSecond)}/s` : "",
          ...(lags ? [lagText(vertex)] : []),
        ]),
  ]);
  return [...lines, ...aligned(rows, "llrllrrrr", "  ")].join("\n");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

/** Subtasks of a vertex that have a line of their own. */
const MOST_LINES = 16;
const LEFT = 236;
const RIGHT = 190;

function drawPanel(facts: JobFacts, title: string, width: number): Drawing {
  const { details, endMs, vertices, failure } = facts;
  const pieces: Markup[] = [];
  const badge = `${stateSign(details.state)} ${details.state}`;
  const badgeWidth = textWidth(badge, 11.5, true) + 20;
  const time = runningTime(facts);
  const ended = details.endedAtMs === undefined ? "" : ` · ended ${moment(details.endedAtMs)} UTC`;
  pieces.push(
    rectangle(20, 15, badgeWidth, 22, { rx: 11, fill: stateSoftColour(details.state) }),
    textAt(20 + badgeWidth / 2, 30, badge, { size: 11.5, weight: 700, colour: stateColour(details.state), anchor: "middle" }),
    textAt(32 + badgeWidth, 31, details.name, { size: 15, weight: 600, maxWidth: width - badgeWidth - 170 }),
    textAt(width - 20, 31, time, { size: 13, weight: 600, anchor: "end" }),
    textAt(20, 56, `${details.job} · started ${moment(details.startedAtMs)} UTC${ended}`, {
      size: 11,
      colour: "muted",
      maxWidth: width - 40,
    }),
  );
  let y = 70;
  const notice = (lines: readonly string[], state: string): void => {
    const height = 12 + lines.length * 17;
    pieces.push(
      rectangle(20, y, width - 40, height, { rx: 7, fill: stateSoftColour(state) }),
      ...lines.map((text, index) =>
        textAt(32, y + 19 + index * 17, text, {
          size: 12,
          colour: stateColour(state),
          weight: index === 0 ? 600 : 400,
          maxWidth: width - 64,
        }),
      ),
    );
    y += height + 10;
  };
  if (details.waitingFor !== undefined && !isFinal(details.state)) notice([`Waits: ${details.waitingFor}`], "WAITING");
  const codeLine = facts.line === undefined ? [] : [`at ${facts.line}`];
  if (failure !== undefined) notice([failure.name, ...wrapped(failure.message, width - 70, 4), ...codeLine], "FAILED");
  if (facts.survived.length > 0) {
    const told = facts.survived.slice(-MOST_FAILURES).flatMap((it) => wrapped(survivedText(it), width - 70, 2));
    const head = [restartsText(facts), `${facts.survived.length} attempts failed`].filter((it) => it !== "").join(" · ");
    notice([facts.survived.length === 1 ? head.replace("attempts", "attempt") : head, ...told], "WAITING");
  }
  const progress = [facts.progress, facts.survived.length > 0 ? "" : restartsText(facts)].filter((it) => it !== "").join(" · ");
  const about = [...(progress === "" ? [] : [progress]), ...facts.checkpoints];
  for (const text of about) {
    pieces.push(textAt(20, y + 10, text, { size: 11.5, maxWidth: width - 40 }));
    y += 18;
  }
  if (about.length > 0) y += 4;

  const x = timeScale(
    details.startedAtMs,
    Math.max(endMs, details.startedAtMs + 1_000),
    LEFT,
    width - RIGHT,
    Math.floor((width - LEFT - RIGHT) / 80),
  );
  const top = y;
  pieces.push(
    textAt(20, y + 12, "job", { size: 11, colour: "muted" }),
    ...stretches(facts.history.states, { endMs, at: x.at, y: y + 3, height: 10, who: "job" }),
  );
  y += 24;
  for (const vertex of vertices) {
    const lines = Math.max(1, Math.min(MOST_LINES, vertex.executions.length));
    const each = Math.min(8, Math.max(4, 28 / lines));
    const lag = facts.hasLoad ? lagText(vertex) : "";
    // Attempts of a cluster begin at 0.
    const again = vertex.attempts > 1 || facts.history.restarts > 0;
    const height = Math.max(lag === "" ? 38 : 52, lines * (each + 2) + 10);
    pieces.push(
      line(20, y, width - 20, y, "grid"),
      element(
        "g",
        {},
        element("title", {}, words(`${vertex.id} ${vertex.name}`)),
        textAt(20, y + 17, vertex.id, { size: 11, colour: "muted" }),
        textAt(46, y + 17, vertex.name, { size: 12, weight: 600, maxWidth: LEFT - 62 }),
        textAt(
          46,
          y + 32,
          `×${vertex.parallelism} · ${statesText(vertex) || "not deployed"}${again ? ` · attempt ${vertex.attempts}` : ""}`,
          { size: 10.5, colour: "muted", maxWidth: LEFT - 62 },
        ),
      ),
      ...vertex.executions
        .slice(0, MOST_LINES)
        .flatMap((it, index) =>
          attemptStretches(facts.history.attemptsOf(vertex.id, it.subtask), {
            endMs,
            at: x.at,
            y: y + 6 + index * (each + 2),
            height: each,
            who: `${vertex.id}/${it.subtask}`,
          }),
        ),
    );
    const from = width - RIGHT + 16;
    if (vertex.load !== undefined) {
      if (facts.hasLoad) {
        pieces.push(
          bar(from, y + 9, RIGHT - 96, 7, vertex.load),
          textAt(width - 20, y + 17, `${percent(vertex.load.busy)} busy`, { size: 10.5, colour: "muted", anchor: "end" }),
        );
      }
      const rate = facts.hasLoad ? ` · ${shortNumber(vertex.recordsPerSecond)}/s` : "";
      pieces.push(
        textAt(from, y + (facts.hasLoad ? 32 : 20), `${shortNumber(vertex.records)} records${rate}`, {
          size: 10.5,
          colour: "muted",
          maxWidth: RIGHT - 36,
        }),
        ...(lag === "" ? [] : [textAt(from, y + 46, lag, { size: 10.5, colour: "muted", maxWidth: RIGHT - 36 })]),
      );
    }
    y += height;
  }
  pieces.push(
    line(LEFT, y, width - RIGHT, y, "line"),
    ...x.ticks.map((tick) =>
      group(
        line(x.at(tick.value), y, x.at(tick.value), y + 4, "line"),
        textAt(x.at(tick.value), y + 17, tick.text, { size: 10.5, colour: "muted", anchor: "middle" }),
      ),
    ),
    ...(isFinal(details.state)
      ? []
      : [element("line", { x1: x.at(endMs), y1: top, x2: x.at(endMs), y2: y, stroke: "faint", "stroke-dasharray": "2 3" })]),
  );
  if (facts.hasLoad) pieces.push(drawLegend(20, y + 38));
  const spoken = `${details.name} is ${details.state} after ${time}. ${vertices.map((it) => `${it.name}: ${statesText(it)}`).join("; ")}.`;
  return drawing(
    width,
    y + (facts.hasLoad ? 52 : 28),
    title,
    failure === undefined ? spoken : `${spoken} ${failure.name}: ${failure.message}`,
    ...pieces,
  );
}

/** A text on at most `most` lines of `width` pixels. */
function wrapped(text: string, width: number, most: number): string[] {
  const lines: string[] = [""];
  for (const word of text.split(/\s+/)) {
    const open = lines.at(-1) as string;
    const longer = open === "" ? word : `${open} ${word}`;
    if (textWidth(longer, 12) <= width || open === "") lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines.length <= most ? lines : [...lines.slice(0, most - 1), `${lines.slice(most - 1).join(" ")}`];
}
