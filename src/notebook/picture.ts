/**
 * A picture: one thing to look at, in every form that a place can show. A notebook takes the MIME bundle, a report the SVG or HTML, a
 * terminal the text. Forms are drawn when they are first asked for, so a live view in a terminal never lays out an SVG.
 *
 * The bundle is static: it survives saving and reopening, shows without trust (an image), and becomes interactive where scripts run.
 */
import { type Pen, penFor, plainPen } from "./views/terminal.ts";
import { type PlotlyFigure, carriesPlotly, interactive } from "./views/plotly.ts";
import { type Drawing, escapeMarkup, fingerprint, imageAddress } from "./views/svg.ts";

/** Data by MIME type, as Jupyter's `display_data` carries it. */
export type MimeBundle = Readonly<Record<string, string>>;

/** The forms of one picture. Each function is called at most once, `text` once per pen. All must be pure. */
export interface PictureForms {
  /** What it is; also its name for screen readers. */
  readonly title: string;
  readonly text: (pen: Pen) => string;
  readonly svg?: () => Drawing;
  /** The drawing answers to the pointer and the keyboard, so where scripts run it stands in the page itself, and not as an image. */
  readonly inline?: boolean;
  readonly plotly?: () => PlotlyFigure;
  /** Self-contained markup without scripts, shown instead of the image: for tables. */
  readonly html?: () => string;
}

/** See the head of this file. Made by `chart`, `graph`, `slots`, `table` and their like; shown by `display`. */
export class Picture {
  readonly title: string;
  readonly #forms: PictureForms;
  #drawing: Drawing | undefined;
  #figure: PlotlyFigure | undefined;

  constructor(forms: PictureForms) {
    this.title = forms.title;
    this.#forms = forms;
  }

  /** The SVG document, absent where the picture has none (tables). */
  get drawing(): Drawing | undefined {
    return (this.#drawing ??= this.#forms.svg?.());
  }

  /** The same as Plotly figure, absent where it would gain nothing. */
  get figure(): PlotlyFigure | undefined {
    return (this.#figure ??= this.#forms.plotly?.());
  }

  /** For a terminal: coloured if `stream` is one and `NO_COLOR` is unset, else plain. No newline at the end. */
  text(stream?: { readonly isTTY?: boolean }): string {
    return this.#forms.text(stream === undefined ? plainPen : penFor(stream));
  }

  /** The plain text. */
  toString(): string {
    return this.text();
  }

  /**
   * Markup for a page of trusted or untrusted HTML: a box of fixed size with the image, interactive where scripts run.
   * @param options.carryPlotly put the library into this markup; once per page is enough, the others find it there.
   */
  html(options: { readonly carryPlotly?: boolean } = {}): string {
    const own = this.#forms.html?.();
    if (own !== undefined) return own;
    const drawing = this.drawing;
    if (drawing === undefined) return `<pre>${escapeMarkup(this.text())}</pre>`;
    const { width, height } = drawing;
    const shown = `src="${imageAddress(drawing)}" width="${width}" height="${height}" alt="${escapeMarkup(this.title)}"`;
    const image = `<img ${shown} style="max-width:100%;height:auto">`;
    if (this.figure !== undefined) return interactive(this.figure, drawing, image, options.carryPlotly ?? false);
    return this.#forms.inline === true ? unpacked(drawing, image) : `<div>${image}</div>`;
  }

  /** The static bundle: `text/html`, `image/svg+xml` where there is a drawing, `text/plain`. */
  bundle(options: { readonly carryPlotly?: boolean } = {}): MimeBundle {
    const drawing = this.drawing;
    return {
      "text/html": this.html(options),
      ...(drawing === undefined ? {} : { "image/svg+xml": drawing.markup }),
      "text/plain": this.text(),
    };
  }

  /** One frame of a live view: nothing that a page would have to run. */
  frame(): MimeBundle {
    const drawing = this.drawing;
    return drawing === undefined ? this.bundle() : { "image/svg+xml": drawing.markup, "text/plain": this.text() };
  }
}

/** The image, and where scripts run the document that is in it. */
function unpacked(drawing: Drawing, image: string): string {
  const mark = fingerprint(drawing.markup);
  return `<div data-drey-drawing="${mark}">${image}</div><script>(${UNPACK})("${mark}")</script>`;
}

// Runs in the reader's browser; a text, so that no compiler's helper gets into it.
const UNPACK = `mark=>{
for(const box of document.querySelectorAll('[data-drey-drawing="'+mark+'"]')){
const image=box.querySelector("img");if(!image)continue;
const bytes=Uint8Array.from(atob(image.src.slice(image.src.indexOf(",")+1)),c=>c.charCodeAt(0));
box.innerHTML=new TextDecoder().decode(bytes);
}
}`;

// Symbols of other programs, so they are no part of the class's type.
Object.defineProperties(Picture.prototype, {
  /** What kernels that know this symbol show for the last expression of a cell. */
  [Symbol.for("Jupyter.display")]: {
    value(this: Picture): MimeBundle {
      return this.bundle({ carryPlotly: this.figure !== undefined && carriesPlotly() });
    },
  },
  /** `console.log(picture)` prints the text. */
  [Symbol.for("nodejs.util.inspect.custom")]: {
    value(this: Picture): string {
      return this.text(process.stdout);
    },
  },
});
