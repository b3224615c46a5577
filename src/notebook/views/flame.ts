/**
 * Where a task's thread spent its time, as an icicle: callers above, what they called below, as wide as the time that it took. The task's
 * own functions stand out by colour and by their place in the user's source; drey's, and waiting, are quiet.
 */
import type { FrameKind, ProfileFrame, TaskProfile } from "../../core/graph/task-profile.ts";
import { Picture } from "../picture.ts";
import { duration, percent } from "./numbers.ts";
import { type Colour, type Drawing, type Markup, drawing, element, group, rectangle, textAt, textWidth, words } from "./svg.ts";
import { type Pen, aligned, cut, plainText } from "./terminal.ts";

export interface FlameOptions {
  readonly title?: string;
  readonly width?: number;
}

/** A profile, as `job.profile` gives it. As text: the functions that took most. */
export function flame(profile: TaskProfile, options: FlameOptions = {}): Picture {
  const title = options.title ?? `Where ${profile.vertex}/${profile.subtask} ${profile.name} spends its time`;
  const bars = barsOf(profile.frames);
  return new Picture({
    title,
    text: (pen) => flameText(profile, bars, pen),
    svg: () => drawFlame(profile, bars, title, options.width ?? 900),
  });
}

/** A frame with its place in the picture; times in milliseconds. */
interface Bar extends ProfileFrame {
  readonly totalMs: number;
  /** From the left edge of the picture. */
  readonly fromMs: number;
  readonly depth: number;
}

/** Callers that do nothing but call one function are left out at the top: they are the same in every picture. */
function barsOf(frames: readonly ProfileFrame[]): Bar[] {
  const totals = frames.map(({ selfMs }) => selfMs);
  for (let at = frames.length - 1; at >= 0; at--) {
    const { parent } = frames[at] as ProfileFrame;
    if (parent >= 0) totals[parent] = (totals[parent] as number) + (totals[at] as number);
  }
  const childrenOf = new Map<number, number[]>();
  frames.forEach(({ parent }, at) => childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), at]));
  let top = -1;
  for (let only = childrenOf.get(top); only?.length === 1; only = childrenOf.get(top)) {
    const [at] = only as [number];
    const { kind, selfMs } = frames[at] as ProfileFrame;
    if (kind !== "engine" || selfMs > 0 || !childrenOf.has(at)) break;
    top = at;
  }
  const bars: Bar[] = [];
  const place = (at: number, fromMs: number, depth: number): void => {
    const frame = frames[at] as ProfileFrame;
    bars.push({ ...frame, totalMs: totals[at] as number, fromMs, depth });
    let left = fromMs;
    for (const child of widestFirst(childrenOf.get(at) ?? [], totals)) {
      place(child, left, depth + 1);
      left += totals[child] as number;
    }
  };
  let left = 0;
  for (const at of widestFirst(childrenOf.get(top) ?? [], totals)) {
    place(at, left, 0);
    left += totals[at] as number;
  }
  return bars;
}

const widestFirst = (frames: readonly number[], totals: readonly number[]): number[] =>
  [...frames].sort((a, b) => (totals[b] as number) - (totals[a] as number));

const wholeOf = (bars: readonly Bar[]): number => bars.reduce((sum, { selfMs }) => sum + selfMs, 0);

const KINDS: Readonly<Record<FrameKind, { readonly colour: Colour; readonly text: string }>> = {
  user: { colour: "series1", text: "functions of the job" },
  library: { colour: "series5", text: "packages" },
  engine: { colour: "series0", text: "drey" },
  runtime: { colour: "series7", text: "Node and V8" },
  waiting: { colour: "idle", text: "waiting" },
};

/** The end of a path says most. */
const shortPlace = (place: string): string => place.split(/[/\\]/).at(-1) as string;

interface FunctionTime {
  readonly name: string;
  readonly kind: FrameKind;
  readonly place?: string;
  readonly hottest?: string;
  readonly selfMs: number;
}

/** Time spent in each function itself, wherever it was called from, most first. */
function functionsOf(bars: readonly Bar[]): FunctionTime[] {
  const found = new Map<string, FunctionTime & { hottestMs: number }>();
  for (const { name, kind, place, selfMs, hottest } of bars) {
    const key = `${kind} ${name} ${place ?? ""}`;
    const before = found.get(key);
    const isHottest = hottest !== undefined && selfMs >= (before?.hottestMs ?? 0);
    const told = isHottest ? hottest : before?.hottest;
    found.set(key, {
      name,
      kind,
      selfMs: selfMs + (before?.selfMs ?? 0),
      hottestMs: isHottest ? selfMs : (before?.hottestMs ?? 0),
      ...(place === undefined ? {} : { place }),
      ...(told === undefined ? {} : { hottest: told }),
    });
  }
  return [...found.values()].filter(({ selfMs }) => selfMs > 0).sort((a, b) => b.selfMs - a.selfMs);
}

function summaryOf({ durationMs, samples }: TaskProfile, bars: readonly Bar[]): string {
  const whole = wholeOf(bars);
  const shares = (Object.keys(KINDS) as FrameKind[])
    .map((kind) => ({ kind, ms: bars.reduce((sum, it) => (it.kind === kind ? sum + it.selfMs : sum), 0) }))
    .filter(({ ms }) => whole > 0 && ms / whole >= 0.005)
    .map(({ kind, ms }) => `${percent(ms / whole)} ${KINDS[kind].text}`);
  return [`${duration(durationMs)}, ${samples} samples`, ...shares].join(" · ");
}

// ---------------------------------------------------------------------------------------------------------------- text

const MOST_ROWS = 15;
const NOTHING = "The thread was not seen at work.";

function flameText(profile: TaskProfile, bars: readonly Bar[], pen: Pen): string {
  const head = pen.strong(plainText(`${profile.vertex}/${profile.subtask} ${profile.name}: ${summaryOf(profile, bars)}`));
  const functions = functionsOf(bars);
  if (functions.length === 0) return `${head}\n  ${NOTHING}`;
  const whole = wholeOf(bars);
  const rows = functions
    .slice(0, MOST_ROWS)
    .map(({ name, kind, place, hottest, selfMs }) => [
      percent(selfMs / whole),
      duration(selfMs),
      kind === "user" ? pen.strong(cut(plainText(name), 40)) : cut(plainText(name), 40),
      place === undefined ? pen.dim(KINDS[kind].text) : cut(plainText(shortPlace(place)), 40),
      hottest === undefined ? "" : pen.dim(cut(plainText(`mostly line ${hottest}`), 60)),
    ]);
  const more = functions.length > MOST_ROWS ? [`  and ${functions.length - MOST_ROWS} more`] : [];
  return [head, ...aligned(rows, "rrlll", "  "), ...more].join("\n");
}

// ----------------------------------------------------------------------------------------------------------------- SVG

const MARGIN = 20;
const TOP = 62;
const ROW = 19;
/** Narrower bars are not drawn. */
const LEAST_WIDTH = 0.7;
const MOST_DEPTH = 48;

function drawFlame(profile: TaskProfile, bars: readonly Bar[], title: string, width: number): Drawing {
  const summary = summaryOf(profile, bars);
  const whole = Math.max(wholeOf(bars), 0.01);
  const scale = (width - 2 * MARGIN) / whole;
  const shown = bars.filter(({ totalMs, depth }) => totalMs * scale >= LEAST_WIDTH && depth < MOST_DEPTH);
  const deepest = Math.max(0, ...shown.map(({ depth }) => depth));
  const bottom = TOP + (deepest + 1) * ROW + 26;
  const top = functionsOf(bars).slice(0, 5);
  const spoken = top.map(({ name, place, selfMs }) => `${name}${place === undefined ? "" : ` at ${place}`}: ${percent(selfMs / whole)}`);
  return drawing(
    width,
    bottom + 14,
    title,
    `${summary}. ${spoken.length === 0 ? NOTHING : `Most time was spent in ${spoken.join("; ")}.`}`,
    textAt(MARGIN, 27, title, { size: 14, weight: 600, maxWidth: width - 2 * MARGIN }),
    textAt(MARGIN, 47, summary, { size: 11.5, colour: "muted", maxWidth: width - 2 * MARGIN }),
    ...(shown.length === 0 ? [textAt(MARGIN, TOP + 15, NOTHING, { colour: "muted" })] : []),
    ...shown.map((bar) => drawBar(bar, MARGIN + bar.fromMs * scale, bar.totalMs * scale, whole)),
    drawKey(MARGIN, bottom, shown),
  );
}

function drawBar({ name, kind, place, hottest, totalMs, selfMs, depth }: Bar, x: number, width: number, whole: number): Markup {
  const y = TOP + depth * ROW;
  const { colour } = KINDS[kind];
  const hint = [
    `${name}${place === undefined ? "" : ` (${place})`}`,
    `${duration(totalMs)}, ${percent(totalMs / whole)}; in itself ${duration(selfMs)}`,
    ...(hottest === undefined ? [] : [`mostly line ${hottest}`]),
  ].join("\n");
  const label = kind === "user" && place !== undefined ? `${name}  ${shortPlace(place)}` : name;
  // The colour is the strip's, the text stays on the paper's: readable in both schemes.
  return element(
    "g",
    {},
    element("title", {}, words(hint)),
    rectangle(x, y, Math.max(0.5, width - 1), ROW - 2, {
      rx: Math.min(3, width / 4),
      fill: colour,
      "fill-opacity": kind === "waiting" ? 0.6 : 0.28,
    }),
    rectangle(x, y, Math.min(3, Math.max(0.5, width - 1)), ROW - 2, { fill: colour }),
    ...(width < 34 ? [] : [textAt(x + 7, y + 12.5, label, { size: 10.5, weight: kind === "user" ? 600 : 400, maxWidth: width - 12 })]),
  );
}

function drawKey(x: number, y: number, bars: readonly Bar[]): Markup {
  let at = x;
  return group(
    ...(Object.keys(KINDS) as FrameKind[])
      .filter((kind) => bars.some((it) => it.kind === kind))
      .map((kind) => {
        const { colour, text } = KINDS[kind];
        const piece = group(
          rectangle(at, y - 8, 10, 10, { rx: 2.5, fill: colour }),
          textAt(at + 15, y + 1, text, { size: 11, colour: "muted" }),
        );
        at += 15 + textWidth(text, 11) + 18;
        return piece;
      }),
  );
}
