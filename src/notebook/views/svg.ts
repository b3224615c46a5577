/**
 * SVG as values: elements, colours and text widths, and the document around a picture.
 *
 * Invariants every view relies on. Markup is a type of its own: a string from a user becomes markup only through `words` or as an
 * attribute value, both of which escape, so no name can become an element. Colours are roles, not values: an element carries the
 * light value as an attribute and a class, and the document's style sheet replaces the classes where the reader prefers dark; a
 * renderer that knows no CSS still shows the light picture. Class names begin with `drey-`, because a style sheet inside an inline
 * SVG is the whole page's. Text stays text, so a reader can select, search and hear it.
 */
declare const brand: unique symbol;
/** Well-formed SVG markup. */
export type Markup = string & { readonly [brand]: "markup" };

/** A finished picture: a whole SVG document and its size in pixels. */
export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly markup: string;
}

/** The roles that colours play. */
export type Colour =
  | "paper"
  | "panel"
  | "raised"
  | "line"
  | "grid"
  | "ink"
  | "muted"
  | "faint"
  | "none"
  | "series0"
  | "series1"
  | "series2"
  | "series3"
  | "series4"
  | "series5"
  | "series6"
  | "series7"
  | "busy"
  | "backPressured"
  | "idle"
  | "busySoft"
  | "good"
  | "waiting"
  | "bad"
  | "ended"
  | "goodSoft"
  | "waitingSoft"
  | "badSoft"
  | "endedSoft";

/**
 * Every colour of every picture: the value on a light page and on a dark one. Series and states differ in lightness too, so they hold
 * without colour vision.
 */
export const COLOURS: Readonly<Record<Colour, readonly [light: string, dark: string]>> = {
  paper: ["#ffffff", "#15181e"],
  panel: ["#f5f7fa", "#1e232c"],
  raised: ["#ffffff", "#272d38"],
  line: ["#d3d9e2", "#3a4250"],
  grid: ["#e9edf2", "#272d38"],
  ink: ["#1b2129", "#e9ecf1"],
  muted: ["#586373", "#9ca7b7"],
  faint: ["#8792a2", "#707b8b"],
  series0: ["#0b66b2", "#5fb0f0"],
  series1: ["#d9640b", "#f5934e"],
  series2: ["#008573", "#35c4a9"],
  series3: ["#b5267a", "#ee79b6"],
  series4: ["#3aa0dc", "#9bd6f7"],
  series5: ["#a97a00", "#e6bd4a"],
  series6: ["#6248b5", "#ab96f0"],
  series7: ["#5f6b7a", "#aab4c2"],
  busy: ["#0b66b2", "#5fb0f0"],
  backPressured: ["#d9640b", "#f5934e"],
  idle: ["#dce2ea", "#353d4a"],
  good: ["#008573", "#35c4a9"],
  waiting: ["#a97a00", "#e6bd4a"],
  bad: ["#bf2c1c", "#ff8573"],
  ended: ["#5f6b7a", "#aab4c2"],
  goodSoft: ["#e2f3f0", "#143b36"],
  waitingSoft: ["#faf1da", "#3d3314"],
  badSoft: ["#fbe7e4", "#48211d"],
  endedSoft: ["#ebeef2", "#2b313b"],
  busySoft: ["#e3eefa", "#17334d"],
  none: ["none", "none"],
};

const SERIES: readonly Colour[] = ["series0", "series1", "series2", "series3", "series4", "series5", "series6", "series7"];
/** The colour of the `index`-th series; they repeat after eight. */
export const seriesColour = (index: number): Colour => SERIES[index % SERIES.length] as Colour;
/** The light values in order of series, for drawers that take hex colours. */
export const seriesValues = (scheme: "light" | "dark"): string[] => SERIES.map((role) => COLOURS[role][scheme === "light" ? 0 : 1]);

/** Attributes of an element. `fill` and `stroke` name colours; undefined leaves an attribute out. */
export interface Attributes {
  readonly fill?: Colour;
  readonly stroke?: Colour;
  readonly [name: string]: string | number | undefined;
}

/** An element with its content. Numbers are written with at most two decimals. */
export function element(name: string, attributes: Attributes, ...content: readonly Markup[]): Markup {
  const classes: string[] = [];
  let text = "";
  for (const key of Object.keys(attributes)) {
    const value = attributes[key];
    if (value === undefined) continue;
    if ((key === "fill" || key === "stroke") && Object.hasOwn(COLOURS, value)) {
      if (value !== "none") classes.push(`drey-${key}-${value}`);
      text += ` ${key}="${COLOURS[value as Colour][0]}"`;
    } else if (key === "class") classes.push(String(value));
    else text += ` ${key}="${typeof value === "number" ? round(value) : escapeMarkup(value)}"`;
  }
  if (classes.length > 0) text += ` class="${escapeMarkup(classes.join(" "))}"`;
  return (content.length === 0 ? `<${name}${text}/>` : `<${name}${text}>${content.join("")}</${name}>`) as Markup;
}

/** A user's text as markup. */
export const words = (text: string): Markup => escapeMarkup(text) as Markup;
/** Several pieces as one. */
export const group = (...content: readonly Markup[]): Markup => content.join("") as Markup;

/** How a text looks. */
export interface TextStyle {
  readonly size?: number;
  readonly anchor?: "start" | "middle" | "end";
  readonly weight?: 400 | 600 | 700;
  readonly colour?: Colour;
  /** Widest the text may be, in pixels; a longer one is cut, and its whole shown on hover. */
  readonly maxWidth?: number;
  readonly monospace?: boolean;
}

/** One line of text with its baseline at (x, y). */
export function textAt(x: number, y: number, text: string, style: TextStyle = {}): Markup {
  const { size = 12, anchor = "start", weight = 400, colour = "ink", maxWidth = Number.POSITIVE_INFINITY, monospace = false } = style;
  const shown = fitText(text, maxWidth, size, weight > 400);
  return element(
    "text",
    {
      x,
      y,
      fill: colour,
      "font-size": size,
      ...(anchor === "start" ? {} : { "text-anchor": anchor }),
      ...(weight === 400 ? {} : { "font-weight": weight }),
      ...(monospace ? { "font-family": "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" } : {}),
    },
    ...(shown === text ? [] : [element("title", {}, words(text))]),
    words(shown),
  );
}

/** A rectangle that is never negative in size. */
export const rectangle = (x: number, y: number, width: number, height: number, attributes: Attributes = {}): Markup =>
  element("rect", { x, y, width: Math.max(0, width), height: Math.max(0, height), ...attributes });

/** A straight line. */
export const line = (x1: number, y1: number, x2: number, y2: number, stroke: Colour, attributes: Attributes = {}): Markup =>
  element("line", { x1, y1, x2, y2, stroke, ...attributes });

const FONT = "Inter, system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif";

/**
 * The document around a picture: size, title and description for those who hear it, its own background, both colour schemes.
 * @param title what it is. @param description what it shows, in words.
 */
export function drawing(width: number, height: number, title: string, description: string, ...body: readonly Markup[]): Drawing {
  const w = Math.ceil(width);
  const h = Math.ceil(height);
  const content = group(rectangle(0, 0, w, h, { fill: "paper" }), ...body);
  // Ids are the page's as well, so they come from the content: two equal pictures may share them, two different ones don't.
  const id = `drey-${fingerprint(title + description + content)}`;
  const used = new Set([...content.matchAll(/drey-(?:fill|stroke)-\w+/g)].map((match) => match[0]));
  const dark = [...used].sort().map((name) => {
    const [, property = "", role = ""] = name.split("-");
    return `.${name}{${property}:${COLOURS[role as Colour][1]}}`;
  });
  const markup = element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      width: w,
      height: h,
      viewBox: `0 0 ${w} ${h}`,
      // What can be reached inside would be hidden by an image.
      role: content.includes(' tabindex="0"') ? "group" : "img",
      "aria-labelledby": `${id}-t ${id}-d`,
      "font-family": FONT,
      style: "max-width:100%;height:auto;color-scheme:light dark",
    },
    element("title", { id: `${id}-t` }, words(title)),
    element("desc", { id: `${id}-d` }, words(description)),
    element("style", {}, `@media (prefers-color-scheme:dark){${dark.join("")}}` as Markup),
    content,
  );
  return { width: w, height: h, markup };
}

/** The document as an address that an `<img>` can show; a notebook that trusts nobody still shows it. */
export const imageAddress = (picture: Drawing): string =>
  `data:image/svg+xml;base64,${Buffer.from(picture.markup, "utf8").toString("base64")}`;

/** Escaped for content and for quoted attributes of HTML and XML; what XML 1.0 can't carry becomes U+FFFD. */
export function escapeMarkup(text: string): string {
  return text
    .replace(
      /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
      "\ufffd",
    )
    .replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** A short name for a text, equal for equal texts (FNV-1a, 2 × 32 bits, base 36). Not for secrets. */
export function fingerprint(text: string): string {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ (code + i), 0x01000193);
  }
  return (a >>> 0).toString(36) + (b >>> 0).toString(36);
}

// Widths of ASCII in Helvetica, in hundredths of the font size, from the space on. Other scripts are taken as wide.
const WIDTHS: readonly number[] = [
  28, 28, 36, 56, 56, 89, 67, 19, 33, 33, 39, 58, 28, 33, 28, 28, 56, 56, 56, 56, 56, 56, 56, 56, 56, 56, 28, 28, 58, 58, 58, 56, 102, 67,
  67, 72, 72, 67, 61, 78, 72, 28, 50, 67, 56, 83, 72, 78, 67, 78, 72, 67, 61, 72, 67, 94, 67, 67, 61, 28, 28, 28, 47, 56, 33, 56, 56, 50,
  56, 56, 28, 56, 56, 22, 22, 50, 22, 83, 56, 56, 56, 56, 33, 50, 28, 56, 50, 72, 50, 50, 50, 33, 26, 33, 58,
];
/** Fonts differ; DejaVu Sans, the widest of the usual ones, still fits. */
const SLACK = 1.15;
const BOLD = 1.12;

/** About how wide a text is, in pixels; rather too much than too little. */
export function textWidth(text: string, size = 12, bold = false): number {
  let hundredths = 0;
  for (const char of text) {
    const code = char.codePointAt(0) as number;
    hundredths += WIDTHS[code - 32] ?? (code < 0x1100 ? 60 : 100);
  }
  return (hundredths / 100) * size * SLACK * (bold ? BOLD : 1);
}

/** The text, or its beginning with an ellipsis where it is wider than `maxWidth` pixels. */
export function fitText(text: string, maxWidth: number, size = 12, bold = false): string {
  if (textWidth(text, size, bold) <= maxWidth) return text;
  const chars = [...text];
  while (chars.length > 0 && textWidth(`${chars.join("")}…`, size, bold) > maxWidth) chars.pop();
  return `${chars.join("").trimEnd()}…`;
}

/** At most two decimals, for coordinates. */
export const round = (value: number): number => Math.round(value * 100) / 100;
