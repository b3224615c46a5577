/**
 * Showing a picture wherever the program runs: in tslab, in Deno's kernel, in our own, or in a plain terminal as text.
 *
 * All output of one process goes through one queue: a front end's socket takes one message at a time, and tslab's throws away what comes
 * while it writes. A display that is updated keeps only its newest picture and sends at most ten a second, so a job that reports faster
 * than a page can draw costs neither memory nor frames.
 */
import { createRequire } from "node:module";
import type { AnyGraph } from "../core/graph/explain.ts";
import type { TaskProfile } from "../core/graph/task-profile.ts";
import { ConfigurationError } from "../core/types/errors.ts";
import type { Comms } from "./kernel/evaluator/comms.ts";
import type { MimeBundle } from "./picture.ts";
import { Picture } from "./picture.ts";
import { flame } from "./views/flame.ts";
import { graph } from "./views/graph.ts";
import { type OutputPlace, carriesPlotly } from "./views/plotly.ts";
import { type SlotOverview, slots } from "./views/slots.ts";
import { table } from "./views/table.ts";
import { FRAME_MS, type LiveAction, offerWidget } from "./widget.ts";

/** Where displays go. Our own kernel puts one at `globalThis[Symbol.for("drey.display")]`. */
export interface DisplayOutlet extends OutputPlace {
  /** Sends `display_data`, or `update_display_data` with `update`. A promise resolves when the next message may be sent; none: at once. */
  send(data: MimeBundle, display: { readonly id: string | undefined; readonly update: boolean }): Promise<void> | undefined;
  /** Channels to the page, where the kernel has them: live pictures are drawn through them if the page can. */
  readonly comms?: Comms;
}

/** Most updates of one display per second, as milliseconds between two. */
export const UPDATE_INTERVAL_MS = 100;

/**
 * Shows a picture, a graph, slots, rows or anything with `[Symbol.for("Jupyter.display")]`; other values as text. In a terminal it is
 * printed to stdout. Several displays keep their order. What a front end refuses is told on stderr.
 */
export function display(what: unknown): void {
  const outlet = presentOutlet();
  const picture = pictureOf(what);
  if (outlet === undefined) {
    process.stdout.write(`${picture === undefined ? String(what) : picture.text(process.stdout)}\n`);
    return;
  }
  const data = picture === undefined ? foreignBundle(what) : staticBundle(picture, outlet);
  inTurn(() => outlet.send(data, { id: undefined, update: false })).catch((error: unknown) =>
    console.error("drey: an output could not be shown:", error),
  );
}

const staticBundle = (picture: Picture, place: OutputPlace): MimeBundle =>
  picture.bundle({ carryPlotly: picture.figure !== undefined && carriesPlotly(place) });

/** What `display` makes of a value; undefined where it knows no picture of it. */
export function pictureOf(what: unknown): Picture | undefined {
  if (what instanceof Picture) return what;
  if (Array.isArray(what)) return table(what);
  if (typeof what !== "object" || what === null || bundleOf(what) !== undefined) return undefined;
  if ("frames" in what && "samples" in what && Array.isArray(what.frames)) return flame(what as TaskProfile);
  if ("taskManagers" in what && Array.isArray(what.taskManagers)) return slots(what as SlotOverview);
  const isGraph =
    ("nodes" in what && "jobName" in what) || ("executions" in what && "graph" in what) || ("vertices" in what && "edges" in what);
  return isGraph ? graph(what as AnyGraph) : undefined;
}

function bundleOf(what: object): (() => unknown) | undefined {
  const method = (what as Readonly<Record<symbol, unknown>>)[Symbol.for("Jupyter.display")];
  return typeof method === "function" ? () => (method as () => unknown).call(what) : undefined;
}

function foreignBundle(what: unknown): MimeBundle {
  const own = typeof what === "object" && what !== null ? bundleOf(what)?.() : undefined;
  return typeof own === "object" && own !== null ? (own as MimeBundle) : { "text/plain": String(what) };
}

/** A place in the output whose picture can be replaced. */
export interface LiveDisplay {
  /** Shows this picture soon; a newer one replaces it if it was not sent yet. Never throws. */
  update(picture: Picture): void;
  /** Shows the last picture as a static bundle and ends the display. Without a picture the last one that `update` got stays. */
  finish(picture?: Picture): Promise<void>;
}

/**
 * Opens a place in the output of the present cell. In a terminal that can redraw, the text is redrawn in place; elsewhere only the last
 * picture is printed. @param actions buttons beside it, where the page can have them.
 */
export function liveDisplay(actions: readonly LiveAction[] = []): LiveDisplay {
  const outlet = presentOutlet();
  return outlet === undefined ? terminalDisplay() : outletDisplay(outlet, actions);
}

function outletDisplay(outlet: DisplayOutlet, actions: readonly LiveAction[]): LiveDisplay {
  const id = `drey-${crypto.randomUUID()}`;
  let pending: Picture | undefined;
  let latest: Picture | undefined;
  let sentOnce = false;
  let ended = false;
  let pump: Promise<void> | undefined;
  const widget = outlet.comms === undefined ? undefined : offerWidget(outlet.comms, actions);
  let showsWidget = false;
  const send = (data: MimeBundle): Promise<void> => {
    const update = sentOnce;
    sentOnce = true;
    return inTurn(() => outlet.send(data, { id, update }));
  };
  const run = async (): Promise<void> => {
    // One frame may be on its way while the next is made, or the page's answer would set the pace.
    let before: Promise<void> | undefined;
    while (pending !== undefined && !ended) {
      const picture = pending;
      pending = undefined;
      const { drawing } = picture;
      // A frame that is lost is followed by another; `finish` tells whether the last one arrived.
      if (widget?.isReady === true && drawing !== undefined) {
        if (!showsWidget) await send({ ...picture.frame(), ...widget.view }).catch(() => undefined);
        showsWidget = true;
        const drawn = widget.draw(drawing.markup);
        await Promise.all([before, pause(FRAME_MS)]);
        before = drawn;
      } else {
        await send(picture.frame()).catch(() => undefined);
        await pause(UPDATE_INTERVAL_MS);
      }
    }
    await before;
    pump = undefined;
    if (pending !== undefined && !ended) pump = run();
  };
  return {
    update(picture) {
      if (ended) return;
      latest = pending = picture;
      pump ??= run();
    },
    async finish(picture = latest) {
      if (ended) return;
      ended = true;
      await pump;
      if (picture !== undefined) await send(staticBundle(picture, outlet));
      widget?.close();
    },
  };
}

function terminalDisplay(): LiveDisplay {
  const out = process.stdout;
  let lines = 0;
  let latest: Picture | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;
  const draw = (picture: Picture): void => {
    const text = picture.text(out);
    // What does not fit the screen cannot be redrawn: the cursor stops at the first line.
    const height = text.split("\n").length;
    out.write(`${lines > 0 ? `\u001b[${lines}A\u001b[0J` : ""}${text}\n`);
    lines = height;
  };
  return {
    update(picture) {
      if (ended) return;
      latest = picture;
      if (!out.isTTY || picture.text().split("\n").length >= (out.rows ?? 24)) return;
      timer ??= setTimeout(() => {
        timer = undefined;
        if (!ended && latest !== undefined) draw(latest);
      }, UPDATE_INTERVAL_MS);
    },
    async finish(picture = latest) {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      if (picture !== undefined) draw(picture);
    },
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Outputs that may wait for their turn; a loop that shows more at once is a mistake, and is told so. */
const MOST_WAITING = 1_000;
let waiting = 0;
/** Ends when all that was sent so far is through; undefined while nobody sends. */
let sending: Promise<void> | undefined;

/**
 * One message after the other, whoever sends; at once where nobody else does, so that what is shown and what is printed keep their
 * order. A message that fails does not stop those behind it; its sender is told.
 */
function inTurn(send: () => Promise<void> | undefined): Promise<void> {
  if (waiting >= MOST_WAITING)
    return Promise.reject(new ConfigurationError(`${MOST_WAITING} outputs wait to be shown; show fewer, or wait between them.`));
  let turn: Promise<void>;
  if (sending === undefined) {
    try {
      const sent = send();
      if (sent === undefined) return Promise.resolve();
      turn = sent;
    } catch (error) {
      return Promise.reject(error);
    }
  } else turn = sending.then(send);
  waiting++;
  const through = turn
    .catch(() => undefined)
    .then(() => {
      waiting--;
      if (sending === through) sending = undefined;
    });
  sending = through;
  return turn;
}

// ------------------------------------------------------------------------------------------------------------- outlets

/** The outlet of the kernel that runs this program; undefined in a plain process. */
export function presentOutlet(): DisplayOutlet | undefined {
  return ownKernel() ?? denoKernel() ?? tslabKernel();
}

function ownKernel(): DisplayOutlet | undefined {
  return (globalThis as Readonly<Record<symbol, unknown>>)[Symbol.for("drey.display")] as DisplayOutlet | undefined;
}

interface DenoJupyter {
  broadcast(type: string, content: unknown, extra?: unknown): Promise<void>;
}

function denoKernel(): DisplayOutlet | undefined {
  const deno = (globalThis as { Deno?: { jupyter?: DenoJupyter } }).Deno;
  let jupyter: DenoJupyter | undefined;
  try {
    jupyter = deno?.jupyter;
  } catch {
    // Outside its kernel Deno throws on the mere mention.
    return undefined;
  }
  if (jupyter === undefined) return undefined;
  const kernel = jupyter;
  return {
    send: (data, { id, update }) =>
      kernel.broadcast(update ? "update_display_data" : "display_data", {
        data,
        metadata: {},
        transient: id === undefined ? {} : { display_id: id },
      }),
  };
}

type TslabWrite = (content: { data: MimeBundle; metadata: object; transient: object }, update: boolean) => void;

function tslabKernel(): DisplayOutlet | undefined {
  // tslab is running exactly if its module is loaded; loading it ourselves would make a second, dead one.
  const loaded = createRequire(import.meta.url).cache;
  const path = Object.keys(loaded ?? {}).find((file) => /[\\/]tslab[\\/]dist[\\/]jupyter\.js$/.test(file));
  const write =
    path === undefined ? null : (loaded[path]?.exports as { lastWriteDisplayData?: TslabWrite | null } | undefined)?.lastWriteDisplayData;
  if (write === null || write === undefined) return undefined;
  // It belongs to the cell that runs now: what it shows later still lands under that cell.
  return {
    execution: write,
    // The kernel doesn't say which cell runs; where in its code the display is called tells runs of one cell from other cells. Cells are
    // nameless there, or bear the number of their run (cluster/code/notebook-cells.ts).
    cell: new Error().stack
      ?.match(/(?:evalmachine\.<anonymous>|Cell\[\d+\]\.js):\d+:\d+/g)
      ?.map((frame) => frame.replace(/^[^:]+/, ""))
      .join("\n"),
    send(data, { id, update }) {
      const content = { data, metadata: {}, transient: id === undefined ? {} : { display_id: id } };
      return attempt(() => write(content, update));
    },
  };
}

/** Tries until tslab's socket, which refuses after some hundred messages in one turn of the event loop, takes the message. */
function attempt(write: () => void): Promise<void> | undefined {
  try {
    write();
    return undefined;
  } catch (error) {
    if ((error as { code?: unknown }).code !== "EBUSY") throw error;
    return retried(write);
  }
}

const RETRIES = 200;

async function retried(write: () => void): Promise<void> {
  for (let tries = 1; ; tries++) {
    await pause(5);
    try {
      return write();
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EBUSY" || tries === RETRIES) throw error;
    }
  }
}
