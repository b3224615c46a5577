/**
 * Who sits in which slot: TaskManagers with their slots, and in each slot the subtasks that share it, with how busy they are.
 *
 * The views take the parts of a ClusterOverview that they draw, so that they depend on no wire.
 */
import type { ExecutionInfo, JobDetails, MetricsReport } from "../../core/graph/job-status.ts";
import { Picture } from "../picture.ts";
import { bar, drawLegend } from "./load-bar.ts";
import { type LoadMoment, type LoadSample, loadSamples, loadsAt, meanLoad, subtaskName } from "./load.ts";
import { bytes, duration, percent } from "./numbers.ts";
import { stateColour, stateSign, stateText } from "./states.ts";
import { type Drawing, type Markup, drawing, element, group, rectangle, seriesColour, textAt, textWidth, words } from "./svg.ts";
import { type Pen, aligned, cut, plainText, shareBar } from "./terminal.ts";

/** What the slot pictures need of a ClusterOverview. */
export interface SlotOverview {
  readonly taskManagers: readonly SlotTaskManager[];
}

/** A TaskManager as its picture needs it. */
export interface SlotTaskManager {
  readonly taskManager: string;
  readonly host?: string;
  readonly pid?: number;
  /** Milliseconds since its last heartbeat. */
  readonly silentMs?: number;
  /** Metrics of its process; `rss` is shown. */
  readonly process?: Readonly<Record<string, number>>;
  readonly slots: readonly SlotContent[];
}

/** A slot as its picture needs it: who is in it. */
export interface SlotContent {
  readonly slot: number;
  readonly job?: string;
  readonly jobName?: string;
  readonly tasks: readonly { readonly vertex: string; readonly name: string; readonly subtask: number; readonly state: string }[];
}

/** How slots are drawn. */
export interface SlotOptions {
  readonly title?: string;
  /** Shows how busy slots and subtasks are. */
  readonly metrics?: readonly MetricsReport[];
  /** Of the metrics, the latest reading (default) or the mean of the whole run. */
  readonly moment?: LoadMoment;
}

type SlotTask = SlotContent["tasks"][number];
/** How a subtask of a slot spent its time; undefined where that is unknown or makes no sense. */
type LoadOf = (slot: SlotContent, task: SlotTask) => LoadSample | undefined;

/** The slots of a cluster, or those that a job sits in. */
export function slots(of: SlotOverview | JobDetails, options: SlotOptions = {}): Picture {
  const overview = "taskManagers" in of ? of : slotsOfJob(of);
  const title = options.title ?? ("taskManagers" in of ? "Slots of the cluster" : `Slots of ${of.name}`);
  const loadOf = loadsOfSlots(overview, options);
  return new Picture({
    title,
    text: (pen) => slotText(overview, loadOf, pen),
    svg: () => drawSlots(overview, title, loadOf),
  });
}

function loadsOfSlots(overview: SlotOverview, { metrics = [], moment = "latest" }: SlotOptions): LoadOf {
  const samples = loadSamples(metrics);
  const jobs = new Set(overview.taskManagers.flatMap((it) => it.slots.map((slot) => slot.job)));
  const loads = new Map([...jobs].map((job) => [job, loadsAt(moment, samples, job)]));
  // Before it runs and after its end a subtask spends no time, whatever its last report said.
  return (slot, task) =>
    moment === "run" || task.state === "RUNNING" ? loads.get(slot.job)?.get(subtaskName(task.vertex, task.subtask)) : undefined;
}

const hasLoads = (overview: SlotOverview, loadOf: LoadOf): boolean =>
  overview.taskManagers.some((it) => it.slots.some((slot) => slot.tasks.some((task) => loadOf(slot, task) !== undefined)));

/** The slots that the present executions of a job hold. Slots of others and free ones are not in it. */
export function slotsOfJob(details: JobDetails): SlotOverview {
  const names = new Map(details.graph.vertices.map((vertex) => [vertex.id, vertex.name]));
  const latest = new Map<string, ExecutionInfo>();
  for (const it of details.executions) {
    const name = subtaskName(it.vertex, it.subtask);
    if (it.attempt >= (latest.get(name)?.attempt ?? 0)) latest.set(name, it);
  }
  const places = new Map<string, Map<number, SlotTask[]>>();
  for (const it of latest.values()) {
    if (it.taskManager === undefined || it.slot === undefined) continue;
    const slotsOf = places.get(it.taskManager) ?? new Map<number, SlotTask[]>();
    places.set(it.taskManager, slotsOf);
    const tasks = slotsOf.get(it.slot) ?? [];
    slotsOf.set(it.slot, tasks);
    tasks.push({ vertex: it.vertex, name: names.get(it.vertex) ?? it.vertex, subtask: it.subtask, state: it.state });
  }
  return {
    taskManagers: [...places]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([taskManager, slotsOf]) => ({
        taskManager,
        slots: [...slotsOf].sort(([a], [b]) => a - b).map(([slot, tasks]) => ({ slot, job: details.job, jobName: details.name, tasks })),
      })),
  };
}

/** `2 TaskManagers, 3 of 4 slots in use`. */
function usage({ taskManagers }: SlotOverview): string {
  const all = taskManagers.flatMap((it) => it.slots);
  const used = all.filter((slot) => slot.tasks.length > 0 || slot.job !== undefined).length;
  return `${taskManagers.length} TaskManager${taskManagers.length === 1 ? "" : "s"}, ${used} of ${all.length} slots in use`;
}

const sharesText = (load: LoadSample): string => `${percent(load.busy)} busy, ${percent(load.backPressured)} back-pressured`;

// ---------------------------------------------------------------------------------------------------------------- text

const BAR = 12;

function slotText(overview: SlotOverview, loadOf: LoadOf, pen: Pen): string {
  const head = pen.strong(usage(overview));
  const lines = [
    hasLoads(overview, loadOf) ? `${head}   ${pen.busy("█")} busy ${pen.backPressured("▓")} back-pressured ${pen.dim("░")} idle` : head,
  ];
  // One table, so that the columns of all TaskManagers stand under one another.
  const rows: string[][] = [];
  const heads: { readonly before: number; readonly text: string }[] = [];
  for (const it of overview.taskManagers) {
    heads.push({ before: rows.length, text: pen.strong(plainText(it.taskManager)) + pen.dim(factsOf(it)) });
    for (const slot of it.slots) {
      if (slot.tasks.length === 0)
        rows.push([`slot ${slot.slot}`, pen.dim(slot.job === undefined ? "free" : `held by ${plainText(slot.jobName ?? slot.job)}`)]);
      slot.tasks.forEach((task, index) => {
        const load = loadOf(slot, task);
        rows.push([
          index === 0 ? `slot ${slot.slot}` : "",
          `${task.vertex}/${task.subtask}`,
          cut(plainText(task.name), 40),
          stateText(task.state, pen),
          ...(load === undefined
            ? []
            : [
                shareBar(load.busy, load.backPressured, BAR, pen),
                `${percent(load.busy)} busy`,
                load.backPressured >= 0.005 ? pen.backPressured(`${percent(load.backPressured)} back-pressured`) : "",
              ]),
        ]);
      });
    }
  }
  const table = aligned(rows, "llllllr", "  ");
  for (const [index, head] of heads.entries()) {
    lines.push("", head.text, ...table.slice(head.before, heads[index + 1]?.before));
  }
  return lines.join("\n");
}

function factsOf(it: SlotTaskManager): string {
  const rss = it.process?.["rss"];
  return [
    ...(it.host === undefined ? [] : [` · ${plainText(it.host)}`]),
    ...(it.pid === undefined ? [] : [` · pid ${it.pid}`]),
    ...(rss === undefined ? [] : [` · ${bytes(rss)}`]),
    ...(it.silentMs === undefined || it.silentMs < 3_000 ? [] : [` · silent for ${duration(it.silentMs)}`]),
  ].join("");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

const CELL = 262;
const GAP = 10;
const TASK = 34;
/** Subtasks of one slot that are drawn; the rest is counted. */
const MOST_TASKS = 8;

function drawSlots(overview: SlotOverview, title: string, loadOf: LoadOf): Drawing {
  const columns = Math.max(1, Math.min(4, Math.max(1, ...overview.taskManagers.map((it) => it.slots.length))));
  const jobs = [...new Set(overview.taskManagers.flatMap((it) => it.slots.map((slot) => slot.job)).filter((job) => job !== undefined))];
  const width = 40 + columns * (CELL + GAP) - GAP + 24;
  const pieces: Markup[] = [textAt(20, 28, title, { size: 14, weight: 600, maxWidth: width - 40 })];
  let y = 46;
  if (overview.taskManagers.length === 0) {
    pieces.push(textAt(20, y + 14, "no TaskManager is registered", { colour: "muted" }));
    y += 30;
  }
  for (const it of overview.taskManagers) {
    const rows: SlotContent[][] = [];
    for (let at = 0; at < it.slots.length; at += columns) rows.push(it.slots.slice(at, at + columns));
    const heights = rows.map((row) => Math.max(...row.map(cellHeight)));
    const nameWidth = Math.min(260, textWidth(it.taskManager, 12.5, true)) + 4;
    const height = 36 + heights.reduce((sum, h) => sum + h + GAP, 0) + 2;
    pieces.push(
      rectangle(20, y, width - 40, height, { rx: 10, fill: "panel", stroke: "line" }),
      textAt(32, y + 23, it.taskManager, { size: 12.5, weight: 600, maxWidth: 260 }),
      ...(factsOf(it) === ""
        ? []
        : [textAt(32 + nameWidth, y + 23, factsOf(it), { size: 11, colour: "muted", maxWidth: width - 64 - nameWidth })]),
    );
    let top = y + 36;
    rows.forEach((row, index) => {
      row.forEach((slot, column) => pieces.push(drawSlot(slot, 32 + column * (CELL + GAP), top, heights[index] as number, loadOf, jobs)));
      top += (heights[index] as number) + GAP;
    });
    y += height + 12;
  }
  const legend = hasLoads(overview, loadOf);
  if (legend) pieces.push(drawLegend(24, y + 12));
  return drawing(width, y + (legend ? 26 : 8), title, usage(overview), ...pieces);
}

const cellHeight = (slot: SlotContent): number =>
  30 + Math.max(1, Math.min(slot.tasks.length, MOST_TASKS)) * TASK + (slot.tasks.length > MOST_TASKS ? 18 : 0) + 4;

function drawSlot(slot: SlotContent, x: number, y: number, height: number, loadOf: LoadOf, jobs: readonly string[]): Markup {
  const free = slot.tasks.length === 0;
  const own = slot.tasks.flatMap((task) => loadOf(slot, task) ?? []);
  const mean = meanLoad(own);
  return group(
    rectangle(x, y, CELL, height, {
      rx: 8,
      fill: free ? "none" : "raised",
      stroke: "line",
      ...(free ? { "stroke-dasharray": "4 4" } : {}),
    }),
    textAt(x + 12, y + 19, `slot ${slot.slot}`, { size: 11, weight: 600, colour: "muted" }),
    ...(slot.job === undefined
      ? []
      : [
          element("circle", { cx: x + 62, cy: y + 15, r: 4, fill: seriesColour(jobs.indexOf(slot.job)) }),
          textAt(x + 71, y + 19, slot.jobName ?? slot.job, { size: 11, maxWidth: mean === undefined ? CELL - 84 : CELL - 150 }),
        ]),
    ...(mean === undefined
      ? []
      : [textAt(x + CELL - 12, y + 19, `${percent(mean.busy)} busy`, { size: 11, colour: "muted", anchor: "end" })]),
    ...(free
      ? [
          textAt(x + CELL / 2, y + height / 2 + 10, slot.job === undefined ? "free" : "held, nothing runs", {
            size: 11.5,
            colour: "faint",
            anchor: "middle",
          }),
        ]
      : []),
    ...slot.tasks.slice(0, MOST_TASKS).map((task, index) => {
      const at = y + 30 + index * TASK;
      const load = loadOf(slot, task);
      return element(
        "g",
        {},
        element(
          "title",
          {},
          words(`${task.vertex}/${task.subtask} ${task.name}: ${task.state}${load === undefined ? "" : `, ${sharesText(load)}`}`),
        ),
        textAt(x + 12, at + 14, stateSign(task.state), { size: 10.5, colour: stateColour(task.state) }),
        textAt(x + 28, at + 14, `${task.vertex}/${task.subtask}`, { size: 10.5, colour: "muted" }),
        textAt(x + 68, at + 14, task.name, { size: 11.5, maxWidth: CELL - 80 }),
        load === undefined
          ? textAt(x + 28, at + 27, task.state.toLowerCase(), { size: 10, colour: "muted" })
          : bar(x + 28, at + 20, CELL - 40, 6, load),
      );
    }),
    ...(slot.tasks.length > MOST_TASKS
      ? [textAt(x + 28, y + height - 10, `and ${slot.tasks.length - MOST_TASKS} more`, { size: 10.5, colour: "muted" })]
      : []),
  );
}
