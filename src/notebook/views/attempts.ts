/**
 * The attempts of every subtask over time: a line each, on which one attempt follows another, with the checkpoints that completed as marks
 * above them and the failures below. So one sees who failed, who had to begin again with it, and from which checkpoint.
 */
import type { CheckpointOverview, ExecutionInfo, JobDetails } from "../../core/graph/job-status.ts";
import { Picture } from "../picture.ts";
import { timeScale } from "./axis.ts";
import { lineOf, rootOf } from "./failure.ts";
import { type FailedAttempt, JobHistory } from "./job-history.ts";
import { duration, moment } from "./numbers.ts";
import { stateSign } from "./states.ts";
import { attemptStretches, statesOf, stretches } from "./stretches.ts";
import { type Drawing, type Markup, drawing, element, group, line, textAt, words } from "./svg.ts";
import { type Pen, aligned, plainText } from "./terminal.ts";

export interface AttemptsOptions {
  readonly title?: string;
  /** The attempts before restarts; default: what `details` tells, which is the latest of each subtask. */
  readonly history?: JobHistory;
  /** Marks for those that completed. */
  readonly checkpoints?: CheckpointOverview;
  /** The present, for a job that still runs: milliseconds since the epoch, default `Date.now()`. */
  readonly nowMs?: number;
  readonly width?: number;
}

/** The subtasks of a job and their attempts. */
export function attempts(details: JobDetails, options: AttemptsOptions = {}): Picture {
  const title = options.title ?? `Attempts of ${details.name}`;
  const history = options.history?.copy() ?? new JobHistory();
  history.add(details);
  const facts: AttemptFacts = {
    details,
    history,
    endMs: details.endedAtMs ?? Math.max(options.nowMs ?? Date.now(), details.startedAtMs),
    completed: (options.checkpoints?.latest ?? [])
      .filter(({ state }) => state === "COMPLETED")
      .map((it) => ({ id: it.id, atMs: it.triggeredAtMs + (it.durationMs ?? 0) })),
    lines: linesOf(details, history),
  };
  return new Picture({ title, text: (pen) => attemptsText(facts, pen), svg: () => drawAttempts(facts, title, options.width ?? 820) });
}

interface SubtaskLine {
  readonly vertex: string;
  readonly name: string;
  readonly subtask: number;
  readonly attempts: readonly ExecutionInfo[];
}

interface AttemptFacts {
  readonly details: JobDetails;
  readonly history: JobHistory;
  readonly endMs: number;
  readonly completed: readonly { readonly id: number; readonly atMs: number }[];
  readonly lines: readonly SubtaskLine[];
}

/** Subtasks of past attempts too: a job that was rescaled had more. */
function linesOf(details: JobDetails, history: JobHistory): SubtaskLine[] {
  const all = history.attempts;
  return details.graph.vertices.flatMap(({ id, name }) => {
    const own = all.filter((it) => it.vertex === id);
    const subtasks = [...new Set(own.map((it) => it.subtask))].sort((a, b) => a - b);
    return subtasks.map((subtask) => ({ vertex: id, name, subtask, attempts: own.filter((it) => it.subtask === subtask) }));
  });
}

function failureText(it: FailedAttempt): string {
  const root = rootOf(it.error);
  const where = lineOf(it.error);
  return `${root.name}: ${root.message}${where === undefined ? "" : ` at ${where}`}`;
}

function summaryOf({ history, lines }: AttemptFacts): string {
  const { restarts, failures } = history;
  const count = lines.reduce((sum, it) => sum + it.attempts.length, 0);
  return [
    `${lines.length} subtasks, ${count} attempts`,
    ...(failures.length === 0 ? [] : [`${failures.length} failed`]),
    ...(restarts === 0 ? [] : [`the job restarted ${restarts === 1 ? "once" : `${restarts} times`}`]),
  ].join(" · ");
}

// ---------------------------------------------------------------------------------------------------------------- text

function attemptsText(facts: AttemptFacts, pen: Pen): string {
  const rows = facts.lines.flatMap(({ vertex, subtask, attempts: own }) =>
    own.map((it, index) => {
      const states = statesOf(it);
      const from = states[0]?.atMs ?? facts.endMs;
      const last = states.at(-1);
      const over = last !== undefined && ["FINISHED", "CANCELED", "FAILED"].includes(last.state);
      const until = over ? last.atMs : (own[index + 1]?.timestamps["CREATED"] ?? facts.endMs);
      return [
        index === 0 ? `${vertex}/${subtask}` : "",
        `attempt ${it.attempt}`,
        `${stateSign(it.state)} ${it.state}`,
        duration(until - from),
        it.taskManager === undefined ? "" : `${it.taskManager}/${it.slot ?? "?"}`,
        it.error === undefined ? "" : pen.bad(plainText(failureText({ ...it, error: it.error, failedAtMs: until }))),
      ];
    }),
  );
  return [pen.strong(summaryOf(facts)), ...aligned(rows, "lllrl", "  ")].join("\n");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

const LEFT = 170;
const RIGHT = 30;
const ROW = 15;
/** Subtasks that have a line. */
const MOST_LINES = 64;
const MOST_FAILURES = 8;

function drawAttempts(facts: AttemptFacts, title: string, width: number): Drawing {
  const { details, history, endMs } = facts;
  const from = Math.min(details.startedAtMs, ...history.states.map(({ atMs }) => atMs));
  const x = timeScale(from, Math.max(endMs, from + 1_000), LEFT, width - RIGHT, Math.floor((width - LEFT - RIGHT) / 90));
  const pieces: Markup[] = [
    textAt(20, 28, title, { size: 14, weight: 600, maxWidth: width - 40 }),
    textAt(20, 48, summaryOf(facts), { size: 11.5, colour: "muted", maxWidth: width - 40 }),
    textAt(20, 75, "job", { size: 11, colour: "muted" }),
    ...stretches(history.states, { endMs, at: x.at, y: 66, height: 10, who: "job" }),
  ];
  let y = 88;
  const top = y;
  const marks = facts.completed.filter(({ atMs }) => atMs >= from && atMs <= Math.max(endMs, from + 1_000));
  const lines = facts.lines.slice(0, MOST_LINES);
  const body: Markup[] = [];
  let before: string | undefined;
  for (const { vertex, name, subtask, attempts: own } of lines) {
    if (vertex !== before) {
      body.push(
        line(20, y, width - 20, y, "grid"),
        textAt(20, y + 15, vertex, { size: 11, colour: "muted" }),
        textAt(44, y + 15, name, { size: 11.5, weight: 600, maxWidth: 420 }),
      );
      before = vertex;
      y += 20;
    }
    body.push(
      textAt(46, y + 9, `subtask ${subtask}`, { size: 10.5, colour: "muted" }),
      ...attemptStretches(own, { endMs, at: x.at, y: y + 1, height: 9, who: `${vertex}/${subtask}` }),
      ...own.slice(1).map((it) => {
        const begun = x.at(it.timestamps["CREATED"] ?? endMs);
        return element(
          "g",
          {},
          element("title", {}, words(`attempt ${it.attempt} began`)),
          line(begun, y - 2, begun, y + 13, "ink", { "stroke-width": 1.2 }),
        );
      }),
    );
    y += ROW;
  }
  if (facts.lines.length > MOST_LINES) {
    body.push(textAt(46, y + 10, `and ${facts.lines.length - MOST_LINES} more subtasks`, { size: 10.5, colour: "muted" }));
    y += ROW;
  }
  y += 5;
  pieces.push(
    ...marks.map(({ id, atMs }) =>
      element(
        "g",
        {},
        element("title", {}, words(`checkpoint ${id} complete at ${moment(atMs)} UTC`)),
        line(x.at(atMs), top, x.at(atMs), y, "busy", { "stroke-dasharray": "2 3", opacity: 0.7 }),
        element("circle", { cx: x.at(atMs), cy: top - 4, r: 2.6, fill: "busy" }),
      ),
    ),
    ...body,
    line(LEFT, y, width - RIGHT, y, "line"),
    ...x.ticks.map((tick) =>
      group(
        line(x.at(tick.value), y, x.at(tick.value), y + 4, "line"),
        textAt(x.at(tick.value), y + 17, tick.text, { size: 10.5, colour: "muted", anchor: "middle" }),
      ),
    ),
  );
  y += 30;
  const failures = history.failures.slice(-MOST_FAILURES);
  for (const it of failures) {
    pieces.push(
      textAt(20, y + 10, `✗ ${it.vertex}/${it.subtask} attempt ${it.attempt}`, {
        size: 11,
        weight: 600,
        colour: "bad",
        maxWidth: LEFT - 28,
      }),
      textAt(LEFT, y + 10, failureText(it), { size: 11, colour: "bad", maxWidth: width - LEFT - 20 }),
    );
    y += 17;
  }
  if (marks.length > 0) {
    pieces.push(
      element("circle", { cx: 24, cy: y + 7, r: 2.6, fill: "busy" }),
      textAt(34, y + 11, "a checkpoint completed", { size: 11, colour: "muted" }),
    );
    y += 18;
  }
  const restored = history.failures.map(failureText).join("; ");
  return drawing(width, y + 10, title, `${summaryOf(facts)}.${restored === "" ? "" : ` ${restored}.`}`, ...pieces);
}
