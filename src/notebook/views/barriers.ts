/**
 * One checkpoint in slow motion: its barriers leave the sources, travel from subtask to subtask, are waited for where inputs are aligned,
 * and each subtask stores its state. Drawn from the times that every subtask recorded; nothing is simulated.
 *
 * What is recorded, and what is not: of each subtask the first barrier, the last, how long it stood still and wrote. A barrier left when
 * its subtask had aligned. On which channel which barrier came is not recorded: the producers' order is taken, so the first to leave is
 * the first to arrive and the last the last, and those between lie between. A way too short to be seen is drawn a little longer.
 *
 * The animation is SVG's own and needs no script. Without it the last frame stands: when the barrier reached whom, and what each spent.
 */
import { planOf } from "../../core/graph/explain.ts";
import { targetsOf } from "../../core/graph/job-graph.ts";
import type { CheckpointInfo, CheckpointOverview, CheckpointSubtaskInfo, JobDetails } from "../../core/graph/job-status.ts";
import { Picture } from "../picture.ts";
import { linearScale } from "./axis.ts";
import { CHECKPOINT_PHASES } from "./checkpoints.ts";
import { MOST_CHANNELS, MOST_SUBTASKS, type PlacedBox, placePlan, subtaskRow } from "./graph.ts";
import { bytes, duration } from "./numbers.ts";
import { stateSign } from "./states.ts";
import {
  type Attributes, type Colour, type Drawing, type Markup, drawing, element, group, line, rectangle, round, textAt, textWidth, words,
} from "./svg.ts";
import { type Pen, aligned } from "./terminal.ts";

export interface BarriersOptions {
  readonly title?: string;
  /** The checkpoint's number; default: the latest that is complete and whose subtasks are told. */
  readonly checkpoint?: number;
  /** How long one run of the animation takes, milliseconds, default 6000; a third of it the last frame stands. */
  readonly playMs?: number;
}

/** Barriers of one checkpoint on their way through the job. Without any checkpoint to show, the picture says so. */
export function barriers(details: JobDetails, overview: CheckpointOverview, options: BarriersOptions = {}): Picture {
  const chosen = overview.latest.findLast(({ id, state, subtasks }) =>
    options.checkpoint === undefined ? state === "COMPLETED" && subtasks.length > 0 : id === options.checkpoint,
  );
  const title = options.title ?? (chosen === undefined ? "Barriers" : `Barriers of ${chosen.kind} ${chosen.id}`);
  return new Picture({
    title,
    text: (pen) => barriersText(chosen, options.checkpoint, pen),
    svg: () => drawBarriers(details, chosen, title, options),
  });
}

/** When the barrier reached a subtask and what followed, milliseconds after the trigger. */
interface Passage {
  readonly info: CheckpointSubtaskInfo;
  /** First barrier. */
  readonly reached: number;
  /** Last barrier; from here it travels on. */
  readonly sent: number;
  readonly acknowledged: number;
}

const passageOf = (info: CheckpointSubtaskInfo): Passage => {
  const sent = info.startDelayMs + info.alignmentMs;
  return { info, reached: info.startDelayMs, sent, acknowledged: Math.max(info.durationMs, sent + info.syncMs + info.asyncMs) };
};

const nothing = (checkpoint: number | undefined): string =>
  checkpoint === undefined ? "No checkpoint is complete yet." : `Nothing is told of checkpoint ${checkpoint}: it is too old, or there is none.`;

function summaryOf(chosen: CheckpointInfo): string {
  const passages = chosen.subtasks.map(passageOf);
  const last = Math.max(0, ...passages.map((it) => it.reached));
  const aligning = Math.max(0, ...passages.map(({ info }) => info.alignmentMs));
  return [
    `${stateSign(chosen.state)} ${chosen.state} after ${duration(chosen.durationMs ?? 0)}`,
    `the last subtask was reached after ${duration(last)}`,
    ...(aligning < 1 ? [] : [`the longest alignment took ${duration(aligning)}`]),
    bytes(chosen.bytes),
  ].join(" · ");
}

// ---------------------------------------------------------------------------------------------------------------- text

function barriersText(chosen: CheckpointInfo | undefined, asked: number | undefined, pen: Pen): string {
  if (chosen === undefined) return nothing(asked);
  const rows = chosen.subtasks
    .map(passageOf)
    .sort((a, b) => a.reached - b.reached || a.sent - b.sent)
    .map(({ info, reached }) => [
      `${info.vertex}/${info.subtask}`,
      `after ${duration(reached)}`,
      info.alignmentMs < 1 ? "" : `aligned for ${duration(info.alignmentMs)}`,
      `stood still ${duration(info.syncMs)}`,
      `wrote ${bytes(info.writtenBytes)} in ${duration(info.asyncMs)}`,
      info.channelBytes === 0 ? "" : `${bytes(info.channelBytes)} on their way stored`,
    ]);
  return [pen.strong(summaryOf(chosen)), "  The barrier reached", ...aligned(rows, "lrlll", "  ")].join("\n");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

const MARGIN = 20;
const TOP = 64;
/** Shares of one run: moving, then standing. */
const MOVING = 2 / 3;
/** The shortest way on a channel, as a share of the moving part. */
const SHORTEST = 0.05;

function drawBarriers(details: JobDetails, chosen: CheckpointInfo | undefined, title: string, options: BarriersOptions): Drawing {
  if (chosen === undefined) {
    const text = nothing(options.checkpoint);
    return drawing(520, 70, title, text, textAt(20, 28, title, { size: 14, weight: 600 }), textAt(20, 50, text, { colour: "muted" }));
  }
  const plan = planOf(details);
  const placed = placePlan(plan, false);
  const width = Math.max(placed.width + 2 * MARGIN, 680);
  const passages = new Map(chosen.subtasks.map((it) => [`${it.vertex}/${it.subtask}`, passageOf(it)]));
  const totalMs = Math.max(1, chosen.durationMs ?? 0, ...[...passages.values()].map((it) => it.acknowledged));
  const play: Play = { seconds: (options.playMs ?? 6_000) / 1_000, at: (ms) => (MOVING * Math.min(totalMs, Math.max(0, ms))) / totalMs };
  const boxOf = new Map(placed.boxes.map((it) => [it.box.id, it]));
  const channels: Markup[] = [];
  const dots: Markup[] = [];
  for (const edge of details.graph.edges) {
    const from = boxOf.get(edge.source);
    const to = boxOf.get(edge.target);
    if (from === undefined || to === undefined || edge.feedback === true) continue;
    const pairs = channelsOf(edge, from, to);
    for (const { producer, consumer, path } of pairs) {
      channels.push(element("path", { d: path, fill: "none", stroke: "line", "stroke-width": 1 }));
      const [left, here] = [passages.get(`${edge.source}/${producer}`), passages.get(`${edge.target}/${consumer}`)];
      if (left === undefined || here === undefined) continue;
      const others = pairs.flatMap((it) => (it.consumer === consumer ? [passages.get(`${edge.source}/${it.producer}`)?.sent ?? 0] : []));
      dots.push(dot(path, left.sent, arrivalOf(left.sent, here, others), play));
    }
  }
  const axisY = TOP + placed.height + 30;
  const x = linearScale(0, totalMs, MARGIN + 4, width - MARGIN - 30, 6);
  return drawing(
    width,
    axisY + 62,
    title,
    `${summaryOf(chosen)}. ${[...passages].map(([who, it]) => `The barrier reached ${who} after ${duration(it.reached)}`).join(". ")}.`,
    textAt(MARGIN, 27, title, { size: 14, weight: 600, maxWidth: width - 2 * MARGIN }),
    textAt(MARGIN, 46, summaryOf(chosen), { size: 11.5, colour: "muted", maxWidth: width - 2 * MARGIN }),
    element(
      "g",
      { transform: `translate(${round((width - placed.width) / 2)} ${TOP})` },
      ...channels,
      ...placed.boxes.map((it) => drawVertex(it, passages, totalMs, play)),
      ...dots,
    ),
    line(x.at(0), axisY, x.at(totalMs), axisY, "line"),
    ...x.ticks
      .filter((tick) => tick.value <= totalMs)
      .map((tick) =>
        group(
          line(x.at(tick.value), axisY, x.at(tick.value), axisY + 4, "line"),
          textAt(x.at(tick.value), axisY + 17, duration(tick.value), { size: 10.5, colour: "muted", anchor: "middle" }),
        ),
      ),
    // The present of the animation, on the axis.
    element(
      "circle",
      { cx: x.at(totalMs), cy: axisY, r: 4.5, fill: "series3" },
      animate("cx", [x.at(0), x.at(totalMs), x.at(totalMs)], [0, MOVING, 1], play, "linear"),
    ),
    drawKey(MARGIN, axisY + 44),
  );
}

/** Where in a run of the animation (0 to 1) a moment of the checkpoint is. */
interface Play {
  readonly seconds: number;
  readonly at: (ms: number) => number;
}

/** When the barrier of a producer arrived: see the head of this file. @param sent when all producers of the consumer sent theirs. */
function arrivalOf(sent: number, here: Passage, all: readonly number[]): number {
  if (sent <= Math.min(...all)) return here.reached;
  if (sent >= Math.max(...all)) return here.sent;
  return Math.min(here.sent, Math.max(here.reached, sent));
}

interface Channel {
  readonly producer: number;
  readonly consumer: number;
  readonly path: string;
}

function channelsOf(edge: JobDetails["graph"]["edges"][number], from: PlacedBox, to: PlacedBox): Channel[] {
  const [producers, consumers] = [from.box.parallelism ?? 1, to.box.parallelism ?? 1];
  const found: Channel[] = [];
  for (let producer = 0; producer < Math.min(producers, MOST_SUBTASKS); producer++) {
    for (const consumer of targetsOf(edge, producer, producers, consumers)) {
      if (consumer >= MOST_SUBTASKS || found.length === MOST_CHANNELS) continue;
      const [a, b] = [subtaskRow(from, producer), subtaskRow(to, consumer)];
      const [x1, y1] = [round(from.x + from.width), round(a.y + a.height / 2)];
      const [x2, y2] = [round(to.x), round(b.y + b.height / 2)];
      const middle = round((x1 + x2) / 2);
      found.push({ producer, consumer, path: `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}` });
    }
  }
  return found;
}

/** A barrier on a channel: seen only while it travels, so that nothing of it is left in the last frame. */
function dot(path: string, sentMs: number, arrivedMs: number, play: Play): Markup {
  const begin = Math.min(play.at(sentMs), MOVING * (1 - SHORTEST));
  const end = Math.max(play.at(arrivedMs), begin + MOVING * SHORTEST);
  return element(
    "circle",
    { r: 4.5, fill: "series3", opacity: 0 },
    animate("opacity", [0, 1, 0], [0, begin, end], play, "discrete"),
    element("animateMotion", {
      path,
      keyPoints: "0;0;1;1",
      keyTimes: [0, begin, end, 1].map(share).join(";"),
      calcMode: "linear",
      dur: `${play.seconds}s`,
      repeatCount: "indefinite",
    }),
  );
}

function drawVertex(it: PlacedBox, passages: ReadonlyMap<string, Passage>, totalMs: number, play: Play): Markup {
  const { box, x, y, width, height } = it;
  const count = box.parallelism ?? 1;
  const rows = Array.from({ length: Math.min(count, MOST_SUBTASKS) }, (_, subtask) => {
    const row = subtaskRow(it, subtask);
    const passage = passages.get(`${box.id}/${subtask}`);
    const name = textAt(row.x + 7, row.y + 11.5, String(subtask), { size: 11, weight: 600 });
    const frame = rectangle(row.x, row.y, row.width, row.height, { rx: 5, fill: "raised", stroke: "line" });
    if (passage === undefined) {
      return group(frame, name, textAt(row.x + 26, row.y + 12, "not told", { size: 10.5, colour: "faint" }));
    }
    return drawPassage(passage, row, totalMs, play, frame, name);
  });
  return group(
    rectangle(x, y, width, height, { rx: 8, fill: "panel", stroke: "line" }),
    textAt(x + 12, y + 19, box.name, { size: 12, weight: 600, maxWidth: width - 24 }),
    textAt(x + 12, y + 35, `${box.id} ×${count}`, { size: 10.5, colour: "muted" }),
    ...rows,
    ...(count > MOST_SUBTASKS
      ? [textAt(x + 12, subtaskRow(it, MOST_SUBTASKS).y + 13, `and ${count - MOST_SUBTASKS} more`, { size: 10.5, colour: "muted" })]
      : []),
  );
}

function drawPassage(
  { info, reached, sent, acknowledged }: Passage,
  row: { readonly x: number; readonly y: number; readonly width: number; readonly height: number },
  totalMs: number,
  play: Play,
  frame: Markup,
  name: Markup,
): Markup {
  const place: Attributes = { rx: 5 };
  const lit = (fill: Colour, fromMs: number, untilMs: number): Markup =>
    element(
      "rect",
      { x: row.x, y: row.y, width: row.width, height: row.height, fill, opacity: 0, ...place },
      animate("opacity", [0, 1, 0], [0, play.at(fromMs), Math.max(play.at(untilMs), play.at(fromMs) + 0.01)], play, "discrete"),
    );
  const done = element(
    "rect",
    { x: row.x, y: row.y, width: row.width, height: row.height, fill: "goodSoft", stroke: "good", ...place },
    animate("opacity", [0, 1], [0, play.at(acknowledged)], play, "discrete"),
  );
  // Where its time went, on the checkpoint's own scale: the static trace of the animation.
  const [from, long] = [row.x + 4, row.width - 8];
  const trace: Markup[] = [];
  let ms = 0;
  for (const { colour, ms: of } of CHECKPOINT_PHASES) {
    const spent = of(info);
    const width = Math.max(1.5, (long * spent) / totalMs);
    const left = from + (long * ms) / totalMs;
    if (spent > 0 && colour !== "idle") trace.push(rectangle(left, row.y + row.height - 3.5, width, 2.5, { fill: colour }));
    ms += spent;
  }
  const waited = info.alignmentMs < 1 ? "" : `, waited ${duration(info.alignmentMs)}`;
  const hint =
    `${info.vertex}/${info.subtask}: reached after ${duration(reached)}, aligned for ${duration(info.alignmentMs)}, ` +
    `stood still ${duration(info.syncMs)}, wrote ${bytes(info.writtenBytes)} in ${duration(info.asyncMs)}, done after ${duration(acknowledged)}`;
  return element(
    "g",
    {},
    element("title", {}, words(hint)),
    frame,
    done,
    lit("waitingSoft", reached, sent),
    lit("busySoft", sent, acknowledged),
    name,
    textAt(row.x + row.width - 7, row.y + 11, `after ${duration(reached)}${waited}`, {
      size: 10.5,
      colour: "muted",
      anchor: "end",
      maxWidth: row.width - 34,
    }),
    ...trace,
  );
}

function drawKey(x: number, y: number): Markup {
  const entries: [Colour, string][] = [
    ["series3", "a barrier, and the present"],
    ["backPressured", "aligning"],
    ["bad", "standing still"],
    ["busy", "writing"],
    ["good", "stored"],
  ];
  let at = x;
  return group(
    ...entries.map(([fill, text], index) => {
      const piece = group(
        index === 0 ? element("circle", { cx: at + 5, cy: y - 3, r: 4.5, fill }) : rectangle(at, y - 8, 10, 10, { rx: 2.5, fill }),
        textAt(at + 15, y + 1, text, { size: 11, colour: "muted" }),
      );
      at += 15 + textWidth(text, 11) + 18;
      return piece;
    }),
  );
}

const share = (value: number): number => Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000;

/** An attribute over one run; with the last value it stands till the end. */
function animate(
  attributeName: string, values: readonly number[], times: readonly number[], play: Play, calcMode: "discrete" | "linear",
): Markup {
  return element("animate", {
    attributeName,
    values: values.map(round).join(";"),
    keyTimes: times.map(share).join(";"),
    calcMode,
    dur: `${play.seconds}s`,
    repeatCount: "indefinite",
  });
}
