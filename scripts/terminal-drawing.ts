/** What a program wrote to a terminal, as an SVG: text in a window, with its colours. Dark on every page, as terminals are. */

/** Colours by the codes that src/notebook/views/terminal.ts uses. */
const COLOURS: Readonly<Record<string, string>> = {
  "1": "#ffffff;font-weight:600", "2": "#8792a2", "34": "#5fb0f0", "38;5;208": "#f5934e", "36": "#35c4a9", "33": "#e6bd4a", "1;31": "#ff8573",
};
const PLAIN = "#d5dbe5";
const CHARACTER = 7.83;
const LINE = 17;
const PAD = 18;
const BAR = 34;

/** @param text with escape codes; those that move the cursor are left out. @returns the SVG document. */
export function terminalDrawing(title: string, text: string): string {
  const lines = text.replace(/\u001b\[[\d;?]*[A-HJKhl]|\r/g, "").trimEnd().split("\n");
  const width = Math.ceil(PAD * 2 + CHARACTER * Math.max(...lines.map((line) => plain(line).length)));
  const height = BAR + PAD + LINE * lines.length;
  const dots = ["#ff8573", "#e6bd4a", "#35c4a9"].map((fill, index) => `<circle cx="${20 + index * 18}" cy="17" r="5.5" fill="${fill}"/>`);
  const rows = lines.flatMap((line, index) => (line === "" ? [] : [`<text x="${PAD}" y="${BAR + 14 + index * LINE}">${spans(line)}</text>`]));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)} in a terminal">`,
    `<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre;fill:${PLAIN}}</style>`,
    `<rect width="${width}" height="${height}" rx="10" fill="#15181e"/>`,
    ...dots,
    `<text x="${width / 2}" y="21" text-anchor="middle" style="fill:#8792a2">${escaped(title)}</text>`,
    ...rows,
    "</svg>",
  ].join("\n");
}

const plain = (line: string): string => line.replace(/\u001b\[[\d;]*m/g, "");
const escaped = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

/** Each run of characters stands at its column, so that a font with other widths moves nothing. */
function spans(line: string): string {
  let markup = "";
  let column = 0;
  let style = "";
  for (const piece of line.split(/(\u001b\[[\d;]*m)/)) {
    const code = /^\u001b\[([\d;]*)m$/.exec(piece)?.[1];
    if (code !== undefined) {
      style = COLOURS[code] ?? "";
      continue;
    }
    for (const run of piece.match(/ {2,}|(?:(?! {2,}).)+/g) ?? []) {
      if (run.trim() !== "") {
        const at = `x="${(PAD + column * CHARACTER).toFixed(1)}" textLength="${(run.length * CHARACTER).toFixed(1)}" lengthAdjust="spacingAndGlyphs"`;
        markup += `<tspan ${at}${style === "" ? "" : ` style="fill:${style}"`}>${escaped(run)}</tspan>`;
      }
      column += run.length;
    }
  }
  return markup;
}
