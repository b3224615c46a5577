/**
 * Pictures as text: columns, bars and sparklines for a terminal, a log or a screen reader.
 *
 * A view writes its text once, with a `Pen`. The plain pen leaves words as they are; the colour pen wraps them in escape codes, which
 * take no room. Texts from users lose their control characters here, so that no value can steer the terminal.
 */

/** How a kind of word looks. */
export interface Pen {
  readonly strong: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly busy: (text: string) => string;
  readonly backPressured: (text: string) => string;
  readonly good: (text: string) => string;
  readonly waiting: (text: string) => string;
  readonly bad: (text: string) => string;
}

const same = (text: string): string => text;
const escape =
  (codes: string) =>
  (text: string): string =>
    text === "" ? "" : `\u001b[${codes}m${text}\u001b[0m`;

/** Words only. */
export const plainPen: Pen = { strong: same, dim: same, busy: same, backPressured: same, good: same, waiting: same, bad: same };

/** Colours that hold on light and dark terminals and without colour vision (blue, orange, cyan, yellow, red). */
export const colourPen: Pen = {
  strong: escape("1"),
  dim: escape("2"),
  busy: escape("34"),
  backPressured: escape("38;5;208"),
  good: escape("36"),
  waiting: escape("33"),
  bad: escape("1;31"),
};

/** Colours where `stream` is a terminal that wants them: a TTY, `NO_COLOR` unset or empty, and `TERM` not `dumb`. */
export function penFor(stream: { readonly isTTY?: boolean }, environment: Readonly<Record<string, string | undefined>> = process.env): Pen {
  const wanted = (environment["NO_COLOR"] ?? "") === "" && environment["TERM"] !== "dumb";
  return stream.isTTY === true && wanted ? colourPen : plainPen;
}

/** A user's text on one line, without anything that a terminal would obey. */
export const plainText = (text: string): string =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]+/g, " ");

const ESCAPES = /\u001b\[[\d;]*m/g;
/** Columns that a text takes in a terminal: escape codes none, East Asian wide characters and emoji two. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const char of text.replace(ESCAPES, "")) {
    const code = char.codePointAt(0) as number;
    if ((code >= 0x300 && code <= 0x36f) || code === 0x200d || (code >= 0xfe00 && code <= 0xfe0f)) continue;
    const wide =
      code >= 0x1100 &&
      (code <= 0x115f ||
        (code >= 0x2e80 && code <= 0xa4cf) ||
        (code >= 0xac00 && code <= 0xd7a3) ||
        (code >= 0xf900 && code <= 0xfaff) ||
        (code >= 0xfe30 && code <= 0xfe6f) ||
        (code >= 0xff00 && code <= 0xff60) ||
        (code >= 0xffe0 && code <= 0xffe6) ||
        (code >= 0x1f300 && code <= 0x1faff));
    columns += wide ? 2 : 1;
  }
  return columns;
}

/** A text cut to `width` columns, its end marked. Only for texts without escape codes. */
export function cut(text: string, width: number): string {
  if (columnsOf(text) <= width) return text;
  let kept = "";
  for (const char of text) {
    if (columnsOf(kept + char) > width - 1) break;
    kept += char;
  }
  return `${kept}…`;
}

const pad = (text: string, width: number, right: boolean): string => {
  const room = " ".repeat(Math.max(0, width - columnsOf(text)));
  return right ? room + text : text + room;
};

/**
 * Rows as aligned columns, two blanks between them, no blanks at the ends of lines.
 * @param align one letter per column: `l` left, `r` right; columns beyond it stand left.
 */
export function aligned(rows: readonly (readonly string[])[], align = "", indent = ""): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: count }, (_, at) => Math.max(0, ...rows.map((row) => columnsOf(row[at] ?? ""))));
  return rows.map((row) => (indent + row.map((cell, at) => pad(cell, widths[at] as number, align[at] === "r")).join("  ")).trimEnd());
}

/**
 * A bar of `width` characters: busy █, back-pressured ▓, the rest (idle) ░. Shares are parts of 1.
 * A share above zero shows at least one character where there is room.
 */
export function shareBar(busy: number, backPressured: number, width: number, pen: Pen = plainPen): string {
  const clamp = (share: number): number => Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0));
  const cells = (share: number): number => (share <= 0 ? 0 : Math.max(1, Math.round(clamp(share) * width)));
  const blocked = Math.min(width, cells(clamp(backPressured)));
  const working = Math.min(width - blocked, cells(clamp(busy)));
  return pen.busy("█".repeat(working)) + pen.backPressured("▓".repeat(blocked)) + pen.dim("░".repeat(width - working - blocked));
}

const STEPS = "▁▂▃▄▅▆▇█";
/**
 * Values as a line of `width` characters, or as many as there are values. Each character is the mean of its share of the values; a gap
 * stays blank.
 */
export function sparkline(values: readonly (number | null)[], width: number, low?: number, high?: number): string {
  const finite = values.filter((value): value is number => value !== null && Number.isFinite(value));
  if (finite.length === 0) return "";
  const bottom = low ?? finite.reduce((a, b) => Math.min(a, b));
  const top = high ?? finite.reduce((a, b) => Math.max(a, b));
  const cells = Math.min(width, values.length);
  let text = "";
  for (let cell = 0; cell < cells; cell++) {
    const part = values
      .slice(Math.floor((cell * values.length) / cells), Math.floor(((cell + 1) * values.length) / cells))
      .filter((value): value is number => value !== null && Number.isFinite(value));
    if (part.length === 0) {
      text += " ";
      continue;
    }
    const mean = part.reduce((a, b) => a + b, 0) / part.length;
    const step = top === bottom ? 3 : Math.floor(((mean - bottom) / (top - bottom)) * STEPS.length);
    text += STEPS[Math.min(STEPS.length - 1, Math.max(0, step))];
  }
  return text;
}
