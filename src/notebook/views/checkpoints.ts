/**
 * A job's checkpoints: each as a bar of where its time went (waiting for the barrier, aligning, standing still, writing), with its size,
 * and below them the subtasks of the latest, so that the slow one shows. Drawn from what the JobManager recorded.
 */
import type { CheckpointInfo, CheckpointOverview, CheckpointSubtaskInfo } from "../../core/graph/job-status.ts";
import { Picture } from "../picture.ts";
import { type Scale, linearScale } from "./axis.ts";
import { bytes, duration } from "./numbers.ts";
import { stateColour, stateSign, stateText } from "./states.ts";
import { type Colour, type Drawing, type Markup, drawing, element, group, line, rectangle, textAt, textWidth, words } from "./svg.ts";
import { type Pen, aligned, plainText } from "./terminal.ts";

export interface CheckpointsOptions {
  readonly title?: string;
  /** How many of the latest checkpoints are drawn, default 10. */
  readonly last?: number;
  readonly width?: number;
}

/** The checkpoints of one job. */
export function checkpoints(overview: CheckpointOverview, options: CheckpointsOptions = {}): Picture {
  const title = options.title ?? "Checkpoints";
  const shown = overview.latest.slice(-(options.last ?? 10));
  return new Picture({
    title,
    text: (pen) => checkpointText(overview, shown, pen),
    svg: () => drawCheckpoints(overview, shown, title, options.width ?? 820),
  });
}

/**
 * The checkpoints of a job in a line or two, for its panel: the latest that is complete, with its age, time and size; counts; what it went
 * back to. None for a job that takes no checkpoints.
 * @param nowMs the present, for ages; undefined: of a job that has ended.
 */
export function checkpointLines(overview: CheckpointOverview, nowMs: number | undefined): string[] {
  if (overview.latest.length === 0 && overview.completed + overview.failed + overview.inProgress + overview.restored === 0) return [];
  const last = overview.latest.findLast(({ state }) => state === "COMPLETED");
  const failed = overview.latest.findLast(({ state }) => state === "FAILED");
  const told = last === undefined ? ["no checkpoint is complete yet"] : [
    `${last.kind} ${last.id} complete${nowMs === undefined ? "" : ` ${duration(Math.max(0, nowMs - last.triggeredAtMs - lengthOf(last)))} ago`}`,
    `took ${duration(lengthOf(last))}`,
    sizeOf(last),
  ];
  const lines = [[...told, summaryOf(overview)].join(" · ")];
  // An older failure has been made good by what completed since.
  if (failed !== undefined && failed.id > (last?.id ?? 0)) lines.push(`${failed.kind} ${failed.id} failed: ${failed.failure ?? "for an unknown reason"}`);
  return lines;
}

/** Something that a subtask spends time on. */
export interface CheckpointPhase {
  readonly name: string;
  readonly colour: Colour;
  readonly ms: (it: CheckpointSubtaskInfo) => number;
}

/** What a subtask spent its part of a checkpoint on, in the order in which it happens. */
export const CHECKPOINT_PHASES: readonly CheckpointPhase[] = [
  { name: "waiting for the barrier", colour: "idle", ms: (it) => it.startDelayMs },
  { name: "aligning", colour: "backPressured", ms: (it) => it.alignmentMs },
  { name: "standing still", colour: "bad", ms: (it) => it.syncMs },
  { name: "writing", colour: "busy", ms: (it) => it.asyncMs },
];

/** Subtasks of the latest checkpoint that have a bar. */
const MOST_SUBTASKS = 16;

/** The checkpoint's time is its slowest subtask's. */
const slowest = ({ subtasks }: CheckpointInfo): CheckpointSubtaskInfo | undefined =>
  [...subtasks].sort((a, b) => b.durationMs - a.durationMs)[0];

const lengthOf = (checkpoint: CheckpointInfo): number => checkpoint.durationMs ?? slowest(checkpoint)?.durationMs ?? 0;

function summaryOf({ completed, failed, inProgress, restored, restoredFrom }: CheckpointOverview): string {
  return [
    `${completed} completed`,
    ...(failed === 0 ? [] : [`${failed} failed`]),
    ...(inProgress === 0 ? [] : [`${inProgress} in progress`]),
    ...(restored === 0 ? [] : [`restored ${restored === 1 ? "once" : `${restored} times`}, last from ${restoredFrom ?? "the beginning"}`]),
  ].join(" · ");
}

function sizeOf(checkpoint: CheckpointInfo): string {
  return checkpoint.writtenBytes === checkpoint.bytes
    ? bytes(checkpoint.bytes)
    : `${bytes(checkpoint.bytes)}, ${bytes(checkpoint.writtenBytes)} written`;
}

// ---------------------------------------------------------------------------------------------------------------- text

function checkpointText(overview: CheckpointOverview, shown: readonly CheckpointInfo[], pen: Pen): string {
  const rows = [...shown].reverse().map((it) => {
    const slow = slowest(it);
    return [
      `${it.kind} ${it.id}`,
      stateText(it.state, pen, `${stateSign(it.state)} ${it.state}`),
      it.state === "IN_PROGRESS" ? "" : duration(lengthOf(it)),
      `${it.acknowledged}/${it.expected} subtasks`,
      sizeOf(it),
      it.failure !== undefined
        ? pen.bad(plainText(it.failure))
        : slow === undefined
          ? ""
          : pen.dim(CHECKPOINT_PHASES.flatMap(({ name, ms }) => (ms(slow) >= 1 ? [`${duration(ms(slow))} ${name}`] : [])).join(", ")),
    ];
  });
  return [pen.strong(summaryOf(overview)), ...aligned(rows, "llrll", "  ")].join("\n");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

const LEFT = 190;
const RIGHT = 190;
const ROW = 24;

function drawCheckpoints(overview: CheckpointOverview, shown: readonly CheckpointInfo[], title: string, width: number): Drawing {
  const pieces: Markup[] = [
    textAt(20, 28, title, { size: 14, weight: 600 }),
    textAt(20, 48, summaryOf(overview), { size: 11.5, colour: "muted", maxWidth: width - 40 }),
  ];
  const longest = Math.max(1, ...shown.map(lengthOf), ...(shown.at(-1)?.subtasks ?? []).map((it) => it.durationMs));
  const x = linearScale(0, longest, LEFT, width - RIGHT, 5);
  let y = 64;
  for (const it of [...shown].reverse()) {
    pieces.push(drawCheckpoint(it, x, y, width));
    y += ROW;
  }
  const latest = shown.findLast((it) => it.subtasks.length > 1);
  if (latest !== undefined) {
    pieces.push(line(20, y + 6, width - 20, y + 6, "grid"), textAt(20, y + 26, `Subtasks of ${latest.id}`, { size: 12, weight: 600 }));
    y += 36;
    const subtasks = [...latest.subtasks].sort((a, b) => b.durationMs - a.durationMs).slice(0, MOST_SUBTASKS);
    for (const it of subtasks) {
      pieces.push(
        textAt(46, y + 14, `${it.vertex}/${it.subtask}`, { size: 11, colour: "muted", maxWidth: LEFT - 56 }),
        ...phases(it, it.durationMs, x, y + 5, 10, `${it.vertex}/${it.subtask}`),
        textAt(width - 20, y + 14, `${duration(it.durationMs)} · ${bytes(it.writtenBytes)}`, {
          size: 10.5,
          colour: "muted",
          anchor: "end",
        }),
      );
      y += 18;
    }
  }
  pieces.push(
    line(LEFT, y + 4, width - RIGHT, y + 4, "line"),
    ...x.ticks.map((tick) =>
      group(
        line(x.at(tick.value), y + 4, x.at(tick.value), y + 8, "line"),
        textAt(x.at(tick.value), y + 21, duration(tick.value), { size: 10.5, colour: "muted", anchor: "middle" }),
      ),
    ),
  );
  let at = 20;
  for (const { name, colour } of CHECKPOINT_PHASES) {
    pieces.push(rectangle(at, y + 34, 11, 11, { rx: 2, fill: colour }), textAt(at + 16, y + 44, name, { size: 11, colour: "muted" }));
    at += textWidth(name, 11) + 34;
  }
  return drawing(width, y + 58, title, summaryOf(overview), ...pieces);
}

function drawCheckpoint(it: CheckpointInfo, x: Scale, y: number, width: number): Markup {
  const slow = slowest(it);
  const length = lengthOf(it);
  const name = it.kind === "savepoint" ? `savepoint ${it.id}` : String(it.id);
  return element(
    "g",
    {},
    element("title", {}, words(`${it.kind} ${it.id} ${it.state}: ${it.acknowledged} of ${it.expected} subtasks, ${sizeOf(it)}`)),
    textAt(20, y + 15, stateSign(it.state), { size: 11, colour: stateColour(it.state) }),
    textAt(36, y + 15, name, { size: 12, weight: 600 }),
    textAt(LEFT - 12, y + 15, it.state === "IN_PROGRESS" ? `${it.acknowledged}/${it.expected}` : duration(length), {
      size: 11,
      colour: "muted",
      anchor: "end",
    }),
    ...(it.failure === undefined
      ? slow === undefined
        ? []
        : phases(slow, length, x, y + 4, 14, name)
      : [textAt(LEFT, y + 15, it.failure, { size: 11, colour: "bad", maxWidth: width - LEFT - 20 })]),
    ...(it.failure === undefined
      ? [textAt(width - 20, y + 15, sizeOf(it), { size: 11, colour: "muted", anchor: "end", maxWidth: RIGHT - 30 })]
      : []),
  );
}

/** One bar of the phases of a subtask; what is left of `length` is the way to the JobManager and the manifest. */
function phases(it: CheckpointSubtaskInfo, length: number, x: Scale, y: number, height: number, who: string): Markup[] {
  const bars: Markup[] = [rectangle(x.at(0), y, x.at(length) - x.at(0), height, { rx: 2, fill: "endedSoft" })];
  let from = 0;
  for (const { name, colour, ms } of CHECKPOINT_PHASES) {
    const spent = Math.min(ms(it), length - from);
    if (spent <= 0) continue;
    const hint = element("title", {}, words(`${who}: ${duration(ms(it))} ${name}`));
    bars.push(
      element("rect", { x: x.at(from), y, width: Math.max(1, x.at(from + spent) - x.at(from)), height, rx: 1, fill: colour }, hint),
    );
    from += spent;
  }
  return bars;
}
