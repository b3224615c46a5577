/**
 * The three graphs as pictures: the program (StreamGraph), the chains (JobGraph) and what runs where (ExecutionGraph). Dagre decides
 * where boxes stand and how arrows run; this file decides how big a box is and how it is drawn.
 *
 * Boxes never overlap: each is laid out with the size that it is drawn with. Names that do not fit are cut, and shown whole on hover.
 * An operator, its vertex and its subtasks light up together in all three.
 */
import { Graph, layout } from "@dagrejs/dagre";
import { type AnyGraph, type Plan, type PlanArrow, type PlanBox, type PlanSubtask, explain, planOf } from "../../core/graph/explain.ts";
import type { JobDetails, MetricsReport } from "../../core/graph/job-status.ts";
import { targetsOf } from "../../core/graph/job-graph.ts";
import type { PartitioningKind } from "../../core/graph/stream-graph.ts";
import { Picture } from "../picture.ts";
import { type Load, type LoadMoment, type LoadSample, loadSamples, loadsAt, meanLoad, subtaskName } from "./load.ts";
import { type LinkName, linkName, linkStyle, linked } from "./links.ts";
import { bar, drawLegend } from "./load-bar.ts";
import { percent } from "./numbers.ts";
import { stateColour, stateSign } from "./states.ts";
import {
  type Colour,
  type Drawing,
  type Markup,
  drawing,
  element,
  fingerprint,
  group,
  rectangle,
  round,
  textAt,
  textWidth,
} from "./svg.ts";

export interface GraphOptions {
  /** Default: the job's name and the kind of graph. */
  readonly title?: string;
  /** Shows how busy the boxes are; of a JobGraph and an ExecutionGraph. */
  readonly metrics?: readonly MetricsReport[];
  /** Of the metrics, the latest reading (default) or the mean of the whole run. */
  readonly moment?: LoadMoment;
  /** `right` (default) or `down`: where the records flow. */
  readonly flow?: "right" | "down";
}

/** A graph as a picture: what `explain` says, drawn. */
export function graph(of: AnyGraph, options: GraphOptions = {}): Picture {
  const plan = planOf(of);
  const title = options.title ?? `${plan.name}: ${TITLES[plan.kind]}`;
  const job = "executions" in of ? (of as JobDetails).job : undefined;
  return new Picture({
    title,
    inline: true,
    text: () => explain(of),
    svg: () => drawGraph(plan, title, options, loadsAt(options.moment ?? "latest", loadSamples(options.metrics ?? []), job)),
  });
}

const TITLES = { stream: "stream graph", job: "job graph", execution: "execution graph" } as const;

/** Where a box stands: its left upper corner and its size, pixels. */
export interface PlacedBox {
  readonly box: PlanBox;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** How an arrow runs, pixels. */
export interface PlacedArrow {
  readonly arrow: PlanArrow;
  readonly points: readonly { readonly x: number; readonly y: number }[];
  readonly label: string;
  /** Middle of the label. */
  readonly x: number;
  readonly y: number;
}

/** A graph laid out: its size and where all things stand, pixels. */
export interface PlacedPlan {
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly PlacedBox[];
  readonly arrows: readonly PlacedArrow[];
}

const PAD = 12;
const ROW = 24;
const HEADER = 28;
const LOAD = 24;
const SUBTASK_ROW = 22;
const WIDEST = 272;
/** Subtasks of one vertex that are drawn one by one; the rest is counted. */
export const MOST_SUBTASKS = 24;

/** Where everything stands; boxes do not overlap. */
export function placePlan(plan: Plan, withLoad: boolean, flow: "right" | "down" = "right"): PlacedPlan {
  const laid = new Graph({ multigraph: true });
  laid.setGraph({
    rankdir: flow === "right" ? "LR" : "TB",
    nodesep: 26,
    ranksep: flow === "right" ? 42 : 34,
    edgesep: 14,
    marginx: 0,
    marginy: 0,
  });
  for (const box of plan.boxes) laid.setNode(box.id, { ...sizeOf(box, plan, withLoad) });
  plan.arrows.forEach((arrow, index) => {
    const label = labelOf(arrow);
    laid.setEdge(
      arrow.from,
      arrow.to,
      { width: label === "" ? 0 : textWidth(label, 10.5) + 14, height: label === "" ? 0 : 18, labelpos: "c" },
      String(index),
    );
  });
  layout(laid);
  const size = laid.graph() as { width?: number; height?: number };
  return {
    width: plan.boxes.length === 0 ? 0 : (size.width ?? 0),
    height: plan.boxes.length === 0 ? 0 : (size.height ?? 0),
    boxes: plan.boxes.map((box) => {
      const node = laid.node(box.id) as { x: number; y: number; width: number; height: number };
      return { box, x: node.x - node.width / 2, y: node.y - node.height / 2, width: node.width, height: node.height };
    }),
    arrows: plan.arrows.map((arrow, index) => {
      const edge = laid.edge({ v: arrow.from, w: arrow.to, name: String(index) }) as {
        points: { x: number; y: number }[];
        x?: number;
        y?: number;
      };
      const middle = edge.points[edge.points.length >> 1] as { x: number; y: number };
      return { arrow, points: edge.points, label: labelOf(arrow), x: edge.x ?? middle.x, y: edge.y ?? middle.y };
    }),
  };
}

function sizeOf(box: PlanBox, plan: Plan, withLoad: boolean): { width: number; height: number } {
  const within = (width: number): number => Math.round(Math.min(WIDEST, Math.max(96, width)));
  const load = withLoad && plan.kind !== "stream" ? LOAD : 0;
  const head = textWidth(headOf(box), 10.5) + 60;
  if (plan.kind === "stream") return { width: within(textWidth(box.name, 12.5, true) + 2 * PAD + 8), height: 46 };
  if (plan.kind === "job") {
    const names = operatorsOf(box).map((it) => textWidth(it, 12) + 2 * PAD + 20);
    return { width: within(Math.max(head, load === 0 ? 0 : 190, ...names)), height: HEADER + operatorsOf(box).length * ROW + load + 8 };
  }
  const rows = Math.max(1, Math.min(MOST_SUBTASKS, box.subtasks.length) + (box.subtasks.length > MOST_SUBTASKS ? 1 : 0));
  const places = box.subtasks.map((it) => textWidth(placeOf(it), 10.5) + 134);
  return { width: within(Math.max(196, textWidth(box.name, 12, true) + 60, ...places)), height: HEADER + 18 + rows * SUBTASK_ROW + 8 };
}

const operatorsOf = (box: PlanBox): string[] => (box.operators.length === 0 ? [box.name] : box.operators.map((it) => it.name));
const groupOf = (box: PlanBox): string =>
  box.slotSharingGroup === undefined || box.slotSharingGroup === "default" ? "" : ` · group ${box.slotSharingGroup}`;
const placeOf = (it: PlanSubtask): string =>
  it.taskManager === undefined ? "" : `${it.taskManager}${it.slot === undefined ? "" : ` · slot ${it.slot}`}`;
const headOf = (box: PlanBox): string => `${box.id}${groupOf(box)}`;

function labelOf(arrow: PlanArrow): string {
  return [
    ...(arrow.sideOutput === undefined ? [] : [`side “${arrow.sideOutput.slice(0, 24)}”`]),
    ...(arrow.partitioning === undefined || arrow.partitioning === "forward" ? [] : [arrow.partitioning]),
    ...(arrow.input === 1 ? ["input 2"] : []),
  ].join(" · ");
}

function drawGraph(plan: Plan, title: string, options: GraphOptions, loads: ReadonlyMap<string, LoadSample>): Drawing {
  const withLoad = loads.size > 0 && plan.kind !== "stream";
  const placed = placePlan(plan, withLoad, options.flow);
  const margin = 20;
  const top = 46;
  const legend = withLoad ? 26 : 0;
  const width = Math.max(placed.width + 2 * margin, textWidth(title, 14, true) + 2 * margin, withLoad ? 340 : 0, 200);
  const height = top + placed.height + margin + legend;
  const loadOf = (box: PlanBox): Load | undefined => meanLoad([...loads.values()].filter((it) => it.vertex === box.id));
  // An id is the whole page's, and a definition in a hidden picture does not count: each picture has its own.
  const arrowhead = `drey-arrow-${fingerprint(title)}`;
  const direct = plan.kind === "execution" ? placed.arrows.filter((it) => drawnByChannel(it, placed)) : [];
  const hasOut = new Set(plan.arrows.map((arrow) => arrow.from));
  const hasIn = new Set(plan.arrows.map((arrow) => arrow.to));
  const roleOf = (box: PlanBox): Colour => (!hasIn.has(box.id) ? "series2" : !hasOut.has(box.id) ? "series6" : "series0");
  return drawing(
    width,
    height,
    title,
    describe(plan),
    element(
      "defs",
      {},
      element(
        "marker",
        { id: arrowhead, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
        element("path", { d: "M0 0.5 7.5 4 0 7.5z", fill: "faint" }),
      ),
    ),
    textAt(margin, 27, title, { size: 14, weight: 600, maxWidth: width - 2 * margin }),
    element(
      "g",
      { transform: `translate(${margin} ${top})` },
      ...placed.arrows.filter((it) => !direct.includes(it)).map((it) => drawArrow(it, arrowhead)),
      ...direct.map((it) => drawChannels(it, placed, arrowhead)),
      ...placed.boxes.map((it) => drawBox(it, plan, roleOf(it.box), loadOf(it.box), loads)),
      ...placed.arrows.filter((it) => it.label !== "").map(drawLabel),
    ),
    ...(plan.boxes.length === 0 ? [] : [linkStyle(plan.boxes.flatMap((box) => linksOf(plan, box)))]),
    ...(withLoad ? [drawLegend(margin, height - 14)] : []),
  );
}

/** What a box stands for: itself, and of a vertex each operator in it. */
const linksOf = (plan: Plan, box: PlanBox): LinkName[] =>
  [box.id, ...box.operators.map(({ id }) => id)].map((id) => linkName(plan.name, id));

function drawBox(it: PlacedBox, plan: Plan, role: Colour, load: Load | undefined, loads: ReadonlyMap<string, LoadSample>): Markup {
  const { box, x, y, width, height } = it;
  const links = linksOf(plan, box);
  const whole = (...content: readonly Markup[]): Markup => linked(links, hint(box), true, ...content);
  const frame = group(
    rectangle(x, y, width, height, { rx: 8, fill: "panel", stroke: "line" }),
    // The strip says source, sink or between; it is cut by the frame's own corner.
    element("path", { d: `M${round(x + 4)} ${round(y)}h-0a4 4 0 0 0 -4 4v${round(height - 8)}a4 4 0 0 0 4 4z`, fill: role }),
  );
  const parallelism = box.parallelism === undefined ? group() : pill(x + width - 8, y + 7, `×${box.parallelism}`);
  if (plan.kind === "stream") {
    return whole(
      frame,
      textAt(x + PAD + 4, y + 20, box.name, { size: 12.5, weight: 600, maxWidth: width - 2 * PAD }),
      textAt(x + PAD + 4, y + 36, `${box.id}${box.parallelism === undefined ? "" : `  ×${box.parallelism}`}${groupOf(box)}`, {
        size: 10.5,
        colour: "muted",
        maxWidth: width - 2 * PAD,
      }),
    );
  }
  if (plan.kind === "job") {
    const rows = operatorsOf(box).map((name, index) =>
      linked(
        [links[index + 1] ?? (links[0] as LinkName)],
        `${box.operators[index]?.id ?? box.id}: ${name}`,
        box.operators.length > 1,
        rectangle(x + 11, y + HEADER + index * ROW, width - 19, ROW - 4, { rx: 5, fill: "raised", stroke: "line" }),
        textAt(x + 20, y + HEADER + index * ROW + 14.5, name, { size: 12, maxWidth: width - 38 }),
      ),
    );
    return group(
      whole(frame, textAt(x + PAD, y + 18, headOf(box), { size: 10.5, colour: "muted", maxWidth: width - 56 }), parallelism),
      ...rows,
      ...(load === undefined ? [] : [loadRow(x + 11, y + height - LOAD - 1, width - 19, load)]),
    );
  }
  const shown = box.subtasks.slice(0, MOST_SUBTASKS);
  const rowY = (index: number): number => subtaskRow(it, index).y;
  return group(
    whole(
      frame,
      textAt(x + PAD, y + 19, box.name, { size: 12, weight: 600, maxWidth: width - 60 }),
      parallelism,
      textAt(x + PAD, y + 35, headOf(box), { size: 10.5, colour: "muted", maxWidth: width - 24 }),
    ),
    ...(shown.length === 0 ? [textAt(x + PAD, rowY(0) + 14, "no executions yet", { size: 11, colour: "muted" })] : []),
    ...shown.map((it, index) => {
      const at = rowY(index);
      const own = loads.get(subtaskName(box.id, it.subtask));
      return linked(
        links,
        `${box.id}/${it.subtask}: ${it.state}${placeOf(it) === "" ? "" : ` on ${placeOf(it)}`}`,
        false,
        rectangle(x + 11, at, width - 19, SUBTASK_ROW - 4, { rx: 5, fill: "raised", stroke: "line" }),
        textAt(x + 18, at + 13, `${stateSign(it.state)} ${it.subtask}`, { size: 11, weight: 600, colour: stateColour(it.state) }),
        textAt(x + 46, at + 13, `${it.state.toLowerCase()}${it.attempt > 1 ? ` (${it.attempt})` : ""}`, {
          size: 10.5,
          colour: stateColour(it.state),
          maxWidth: 62,
        }),
        textAt(x + width - 14, at + 13, placeOf(it), { size: 10.5, colour: "muted", anchor: "end", maxWidth: width - 128 }),
        ...(own === undefined ? [] : [bar(x + 12, at + SUBTASK_ROW - 6.5, width - 21, 2.5, own)]),
      );
    }),
    ...(box.subtasks.length > MOST_SUBTASKS
      ? [textAt(x + PAD, rowY(MOST_SUBTASKS) + 14, `and ${box.subtasks.length - MOST_SUBTASKS} more`, { size: 11, colour: "muted" })]
      : []),
  );
}

/** Where the `index`-th subtask stands in the box of its vertex, pixels; of a plan of executions. */
export const subtaskRow = (it: PlacedBox, index: number): { x: number; y: number; width: number; height: number } => ({
  x: it.x + 11,
  y: it.y + HEADER + 18 + index * SUBTASK_ROW,
  width: it.width - 19,
  height: SUBTASK_ROW - 4,
});

function pill(right: number, top: number, text: string): Markup {
  const width = textWidth(text, 10.5, true) + 12;
  return group(
    rectangle(right - width, top, width, 16, { rx: 8, fill: "idle" }),
    textAt(right - width / 2, top + 12, text, { size: 10.5, weight: 600, anchor: "middle" }),
  );
}

function loadRow(x: number, y: number, width: number, load: Load): Markup {
  return group(
    bar(x, y + 1, width, 6, load),
    textAt(
      x,
      y + 19,
      `${percent(load.busy)} busy${load.backPressured >= 0.005 ? ` · ${percent(load.backPressured)} back-pressured` : ""}`,
      { size: 10, colour: "muted", maxWidth: width },
    ),
  );
}

function drawArrow(it: PlacedArrow, arrowhead: string): Markup {
  return element("path", { d: curve(it.points), fill: "none", stroke: "faint", "stroke-width": 1.4, "marker-end": `url(#${arrowhead})` });
}

/** A smooth line through dagre's points: quadratic arcs between the middles. */
function curve(points: PlacedArrow["points"]): string {
  const at = (p: { x: number; y: number }): string => `${round(p.x)} ${round(p.y)}`;
  const [first, ...rest] = points;
  if (first === undefined) return "";
  const last = rest.at(-1);
  if (last === undefined) return `M${at(first)}`;
  let path = `M${at(first)}`;
  for (let i = 0; i < rest.length - 1; i++) {
    const here = rest[i] as { x: number; y: number };
    const next = rest[i + 1] as { x: number; y: number };
    const end = i === rest.length - 2 ? next : { x: (here.x + next.x) / 2, y: (here.y + next.y) / 2 };
    path += `Q${at(here)} ${at(end)}`;
  }
  return rest.length === 1 ? `${path}L${at(last)}` : path;
}

function drawLabel(it: PlacedArrow): Markup {
  const width = textWidth(it.label, 10.5) + 10;
  return group(
    rectangle(it.x - width / 2, it.y - 9, width, 18, { rx: 9, fill: "paper" }),
    textAt(it.x, it.y + 3.5, it.label, { size: 10.5, colour: "muted", anchor: "middle" }),
  );
}

/** Channels that are drawn one by one; beyond it an arrow between the vertices says enough. */
export const MOST_CHANNELS = 160;

function drawnByChannel(it: PlacedArrow, placed: PlacedPlan): boolean {
  const from = placed.boxes.find((p) => p.box.id === it.arrow.from) as PlacedBox;
  const to = placed.boxes.find((p) => p.box.id === it.arrow.to) as PlacedBox;
  const left = from.x + from.width;
  // Straight lines cross whatever stands between the two.
  const clear = left < to.x && !placed.boxes.some((p) => p !== from && p !== to && p.x < to.x && p.x + p.width > left);
  const { length: producers } = from.box.subtasks;
  const { length: consumers } = to.box.subtasks;
  return (
    clear &&
    producers > 0 &&
    consumers > 0 &&
    producers <= MOST_SUBTASKS &&
    consumers <= MOST_SUBTASKS &&
    producers * consumers <= MOST_CHANNELS
  );
}

function drawChannels(it: PlacedArrow, placed: PlacedPlan, arrowhead: string): Markup {
  const from = placed.boxes.find((p) => p.box.id === it.arrow.from) as PlacedBox;
  const to = placed.boxes.find((p) => p.box.id === it.arrow.to) as PlacedBox;
  const portY = (p: PlacedBox, row: number): number => subtaskRow(p, row).y + SUBTASK_ROW / 2 - 2;
  const x1 = from.x + from.width;
  const x2 = to.x;
  const middle = (x1 + x2) / 2;
  const paths: Markup[] = [];
  const partitioning = (it.arrow.partitioning ?? "forward") as PartitioningKind;
  from.box.subtasks.forEach((producer, row) => {
    for (const target of targetsOf({ partitioning }, producer.subtask, from.box.parallelism ?? 1, to.box.parallelism ?? 1)) {
      const index = to.box.subtasks.findIndex((consumer) => consumer.subtask === target);
      if (index < 0) continue;
      const y1 = round(portY(from, row));
      const y2 = round(portY(to, index));
      paths.push(
        element("path", {
          d: `M${round(x1)} ${y1}C${round(middle)} ${y1} ${round(middle)} ${y2} ${round(x2 - 1)} ${y2}`,
          fill: "none",
          stroke: "faint",
          "stroke-width": 1,
          "marker-end": `url(#${arrowhead})`,
        }),
      );
    }
  });
  return group(...paths);
}

const hint = (box: PlanBox): string => `${box.id}: ${box.name}${box.parallelism === undefined ? "" : `, parallelism ${box.parallelism}`}`;

function describe(plan: Plan): string {
  const names = new Map(plan.boxes.map((box) => [box.id, box.name]));
  const how = (arrow: PlanArrow): string => (arrow.partitioning === undefined ? "" : ` (${arrow.partitioning})`);
  const flows = plan.arrows.slice(0, 40).map((arrow) => `${names.get(arrow.from)} to ${names.get(arrow.to)}${how(arrow)}`);
  const sentences = [plan.notes.join(", "), plan.boxes.map((box) => box.name).join("; ")];
  if (flows.length > 0) sentences.push(`Records flow from ${flows.join("; ")}`);
  return sentences.map((sentence) => `${sentence}.`).join(" ");
}
