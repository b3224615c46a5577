/**
 * A job on one panel: its state and for how long, why it waits or failed, and for each vertex what its subtasks did when (a timeline),
 * how busy they are and how many records they moved. Drawn again and again while the job runs; the last drawing is its record.
 */
import type { ExecutionInfo, JobDetails, MetricsReport } from "../../core/graph/job-status.ts";
import { isFinal } from "../../core/graph/job-status.ts";
import type { WireError } from "../../core/types/errors.ts";
import { Picture } from "../picture.ts";
import { timeScale } from "./axis.ts";
import { bar, drawLegend } from "./load-bar.ts";
import { type Load, type LoadSample, latestLoads, loadSamples, meanLoad } from "./load.ts";
import { duration, moment, percent, shortNumber } from "./numbers.ts";
import { stateColour, stateSign, stateSoftColour, stateText } from "./states.ts";
import { type Colour, type Drawing, type Markup, drawing, element, group, line, rectangle, textAt, textWidth, words } from "./svg.ts";
import { type Pen, aligned, cut, plainText, shareBar } from "./terminal.ts";

export interface JobPanelOptions {
  readonly title?: string;
  readonly metrics?: readonly MetricsReport[];
  /** The present, for a job that still runs: milliseconds since the epoch, default `Date.now()`. */
  readonly nowMs?: number;
  readonly width?: number;
}

/** The panel of one job. */
export function jobPanel(details: JobDetails, options: JobPanelOptions = {}): Picture {
  const title = options.title ?? `Job ${details.name}`;
  const nowMs = options.nowMs ?? Date.now();
  const facts = factsOf(details, loadSamples(options.metrics ?? []), nowMs);
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
  readonly attempts: number;
  readonly load?: Load;
  readonly records: number;
  readonly recordsPerSecond: number;
}

interface JobFacts {
  readonly details: JobDetails;
  readonly endMs: number;
  readonly vertices: readonly VertexFacts[];
  readonly failure?: WireError;
  readonly hasLoad: boolean;
}

function factsOf(details: JobDetails, samples: readonly LoadSample[], nowMs: number): JobFacts {
  const loads = [...latestLoads(samples, details.job).values()];
  const ended = isFinal(details.state);
  return {
    details,
    endMs: details.endedAtMs ?? Math.max(nowMs, details.startedAtMs),
    hasLoad: loads.length > 0 && !ended,
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
        attempts: Math.max(1, ...executions.map((it) => it.attempt)),
        ...(load === undefined ? {} : { load }),
        records: own.reduce((sum, it) => sum + Math.max(it.recordsIn, it.recordsOut), 0),
        recordsPerSecond: own.reduce((sum, it) => sum + Math.max(it.recordsInPerSecond, it.recordsOutPerSecond), 0),
      };
    }),
  };
}

/** The deepest cause: what really happened. */
function rootOf(error: WireError): WireError {
  return error.cause === undefined ? error : rootOf(error.cause);
}

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
        ]),
  ]);
  return [...lines, ...aligned(rows, "llrllrrr", "  ")].join("\n");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

const STATE_COLOURS: Readonly<Record<string, Colour>> = {
  CREATED: "idle",
  WAITING: "waiting",
  SCHEDULED: "idle",
  DEPLOYING: "waiting",
  INITIALIZING: "series5",
  RUNNING: "good",
  FINISHED: "ended",
  CANCELING: "ended",
  CANCELLING: "ended",
  CANCELED: "ended",
  FAILING: "bad",
  FAILED: "bad",
};
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
  if (failure !== undefined) notice([failure.name, ...wrapped(failure.message, width - 70, 4)], "FAILED");

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
    ...stretches(details.timestamps, details.state, endMs, x.at, y + 3, 10),
  );
  y += 24;
  for (const vertex of vertices) {
    const lines = Math.max(1, Math.min(MOST_LINES, vertex.executions.length));
    const each = Math.min(8, Math.max(4, 28 / lines));
    const height = Math.max(38, lines * (each + 2) + 10);
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
          `×${vertex.parallelism} · ${statesText(vertex) || "not deployed"}${vertex.attempts > 1 ? ` · attempt ${vertex.attempts}` : ""}`,
          { size: 10.5, colour: "muted", maxWidth: LEFT - 62 },
        ),
      ),
      ...vertex.executions
        .slice(0, MOST_LINES)
        .flatMap((it, index) =>
          stretches(it.timestamps, it.state, endMs, x.at, y + 6 + index * (each + 2), each, `${vertex.id}/${it.subtask}`),
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

/** The states that were gone through, as stretches of a line; the present one reaches to the end. */
function stretches(
  timestamps: Readonly<Record<string, number>>,
  state: string,
  endMs: number,
  at: (value: number) => number,
  y: number,
  height: number,
  who = "job",
): Markup[] {
  const entered = Object.entries(timestamps)
    .filter(([, ms]) => Number.isFinite(ms))
    .sort(([, a], [, b]) => a - b);
  return entered.flatMap(([name, ms], index) => {
    const over = isOver(name);
    const until = entered[index + 1]?.[1] ?? (over ? ms : endMs);
    const hint = element("title", {}, words(`${who} ${name}${over ? ` at ${moment(ms)} UTC` : ` for ${duration(until - ms)}`}`));
    const colour = STATE_COLOURS[name] ?? "ended";
    // A final state has no length; a mark says how it ended.
    if (over) return name === state ? [element("rect", { x: at(ms) - 1, y, width: 3, height, rx: 1, fill: colour }, hint)] : [];
    return [
      element("rect", { x: at(ms), y, width: Math.max(1, at(until) - at(ms)), height, rx: Math.min(3, height / 2), fill: colour }, hint),
    ];
  });
}

const isOver = (state: string): boolean => state === "FINISHED" || state === "CANCELED" || state === "FAILED";

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
