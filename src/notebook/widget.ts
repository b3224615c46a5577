/**
 * A picture in the page that a comm redraws: many times a second, without a new output each time, and with buttons. It is a widget in the
 * sense of Jupyter's widget protocol, drawn by `anywidget` where the front end has it.
 *
 * A front end never says what it can do. So the widget is offered, and used from the moment on that its own code, running in the page, says
 * so; where nobody answers, outputs are replaced as before. Each frame is answered when it was drawn: a page that can't keep up gets fewer
 * frames, not a longer queue.
 */
import type { Comm, Comms } from "./kernel/evaluator/comms.ts";
import type { MimeBundle } from "./picture.ts";

/** A button of a live picture. */
export interface LiveAction {
  readonly label: string;
  /** Asked before it is done; none: done at once. */
  readonly confirm?: string;
  /** A whole number to be chosen beside it, `− 2 +`, that `run` gets: what it is now, and its bounds. None: `run` gets nothing. */
  readonly count?: () => LiveCount;
  /** What is told when it is done; an error is told as well. */
  run(count?: number): Promise<string | undefined>;
}

/** A number that a button takes. */
export interface LiveCount {
  readonly now: number;
  readonly least: number;
  readonly most: number;
}

/** A picture in the page. Whoever opens it closes it. */
export interface LiveWidget {
  /** The page has answered: it can draw. */
  readonly isReady: boolean;
  /** The form that shows the widget, to be sent beside the others. */
  readonly view: MimeBundle;
  /** Draws SVG; resolves when the page has drawn it, or has not for too long. */
  draw(svg: string): Promise<void>;
  close(): void;
}

/** Least time between two frames of a widget. */
export const FRAME_MS = 33;
/** A frame that is not answered for so long is taken for drawn: the page may be hidden. */
const ANSWER_MS = 1_000;
/** A page that has not answered an offer for so long can't draw widgets. */
const PATIENCE_MS = 5_000;

/** A front end that has refused a widget, or left one unanswered, is not asked again. */
let refused = false;

/** Offers a widget to the page; undefined where an earlier one was refused. */
export function offerWidget(comms: Comms, actions: readonly LiveAction[]): LiveWidget | undefined {
  if (refused) return undefined;
  let svg = "";
  let told = "";
  let ready = false;
  const offeredAt = performance.now();
  /** Frames that the page has not answered, oldest first. */
  const unanswered: (() => void)[] = [];
  const drawn = (): void => unanswered.shift()?.();
  const buttonsNow = (): object[] =>
    actions.map(({ label, confirm, count }) => ({ label, confirm: confirm ?? "", count: count?.() ?? null }));
  let buttons = buttonsNow();
  const state = (): Record<string, unknown> => ({ ...MODEL, _esm: PAGE_CODE, svg, told, buttons });
  const update = (changed: object): void => comm.send({ method: "update", state: changed, buffer_paths: [] });
  const tell = (text: string): void => {
    told = text;
    update({ told });
  };
  const act = async (index: number, count: number | undefined): Promise<void> => {
    const action = actions[index];
    if (action === undefined) return;
    tell(`${action.label} …`);
    try {
      tell((await action.run(count)) ?? "");
    } catch (error) {
      tell(`✗ ${(error as Error).message}`);
    }
  };
  const comm: Comm = comms.open(
    "jupyter.widget",
    { state: state(), buffer_paths: [] },
    {
      message(data) {
        const { method, content } = data as { method?: string; content?: { drey?: string; button?: number; count?: number } };
        if (method === "request_state") update(state());
        else if (content?.drey === "ready") ready = true;
        else if (content?.drey === "drawn") drawn();
        else if (content?.drey === "pressed") void act(Number(content.button), content.count);
      },
      closed() {
        if (!ready) refused = true;
        ready = false;
        for (const resolve of unanswered.splice(0)) resolve();
      },
    },
    { metadata: { version: "2.1.0" } },
  );
  return {
    get isReady() {
      return ready;
    },
    // The one form that is JSON and not a text.
    view: {
      "application/vnd.jupyter.widget-view+json": { model_id: comm.id, version_major: 2, version_minor: 0 },
    } as unknown as MimeBundle,
    draw(markup) {
      svg = markup;
      return new Promise((resolve) => {
        const answered = (): void => {
          clearTimeout(late);
          resolve();
        };
        // Answers come in order: those before are late, too.
        const late = setTimeout(() => {
          for (const settle of unanswered.splice(0, unanswered.indexOf(answered) + 1)) settle();
        }, ANSWER_MS);
        unanswered.push(answered);
        const before = JSON.stringify(buttons);
        buttons = buttonsNow();
        update(JSON.stringify(buttons) === before ? { svg } : { svg, buttons });
      });
    },
    close() {
      if (!ready && performance.now() - offeredAt > PATIENCE_MS) refused = true;
      for (const resolve of unanswered.splice(0)) resolve();
      comm.close();
    },
  };
}

const MODEL = {
  _model_module: "anywidget",
  _model_name: "AnyModel",
  _model_module_version: "*",
  _view_module: "anywidget",
  _view_name: "AnyView",
  _view_module_version: "*",
  _view_count: null,
  _dom_classes: [],
  _anywidget_id: "drey.live",
  layout: null,
  tooltip: null,
  tabbable: null,
};

/** Runs in the page. The SVG is ours, and texts of the user in it are escaped; it can't carry scripts. */
const PAGE_CODE = `
export default {
  initialize({ model }) {
    model.send({ drey: "ready" });
  },
  render({ model, el }) {
    const picture = document.createElement("div");
    const bar = document.createElement("div");
    const told = document.createElement("span");
    bar.style.cssText = "display:flex;gap:8px;align-items:center;font:13px system-ui,sans-serif;padding:2px 8px";
    const press = (text, act) => {
      const element = document.createElement("button");
      element.textContent = text;
      element.style.cssText = "font:inherit;padding:2px 12px;border:1px solid currentColor;border-radius:12px;background:none;color:inherit;cursor:pointer";
      element.onclick = act;
      return element;
    };
    const offer = () => bar.replaceChildren(...model.get("buttons").flatMap(({ label, confirm, count }, button) => {
      const chosen = document.createElement("output");
      let n = count?.now;
      const main = press(label, () => {
        if (confirm === "" || window.confirm(confirm)) model.send({ drey: "pressed", button, count: n });
      });
      if (count === null) return [main];
      const step = (by) => {
        n = Math.min(count.most, Math.max(count.least, n + by));
        chosen.textContent = n;
        main.setAttribute("aria-label", label + " to " + n);
      };
      const [less, more] = [press("−", () => step(-1)), press("+", () => step(1))];
      less.setAttribute("aria-label", "less");
      more.setAttribute("aria-label", "more");
      step(0);
      return [main, less, chosen, more];
    }), told);
    model.on("change:buttons", offer);
    offer();
    el.append(picture, bar);
    // What stands in the page itself goes by the system's colours; the front end may have chosen others.
    const coloured = (svg) => {
      const light = document.body.dataset.jpThemeLight;
      return light === undefined ? svg : svg.replace("(prefers-color-scheme:dark)", light === "false" ? "all" : "not all");
    };
    const draw = () => requestAnimationFrame(() => {
      picture.innerHTML = coloured(model.get("svg"));
      model.send({ drey: "drawn" });
    });
    const tell = () => { told.textContent = model.get("told"); };
    model.on("change:svg", draw);
    model.on("change:told", tell);
    draw();
    tell();
  },
};
`;
