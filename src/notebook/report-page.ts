/**
 * A report as one HTML file: the page around facts, pictures and their texts. It needs nothing but itself: it opens from a disk, without a
 * network, in a light or a dark room, on paper, and without scripts (images instead of interactive charts).
 */
import type { Picture } from "./picture.ts";
import { moment } from "./views/numbers.ts";
import { plotlyLibrary } from "./views/plotly.ts";
import { COLOURS, type Colour, escapeMarkup } from "./views/svg.ts";

/** Pictures under one heading; without any the section is left out. */
export interface PageSection {
  readonly heading: string;
  readonly lead: string;
  readonly pictures: readonly Picture[];
  /** Side by side where there is room. */
  readonly grid?: boolean;
}

/** What stands on the page. All texts are a user's: they are escaped here. */
export interface PageContent {
  readonly title: string;
  /** What kind of report it is, and of what. */
  readonly kind: string;
  readonly id: string;
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly sections: readonly PageSection[];
  /** A last section of names and values. */
  readonly options?: { readonly heading: string; readonly lead: string; readonly entries: readonly (readonly [string, string])[] };
  /** Interactive charts, at the cost of about 1.9 MB. Without, the page forbids scripts. */
  readonly interactive: boolean;
  /** The moment of the report, milliseconds since the epoch. */
  readonly nowMs: number;
}

/** The page as HTML, to be written to a file. */
export function reportPage({ title, kind, id, facts, sections, options, interactive, nowMs }: PageContent): string {
  const figure = (picture: Picture): string => {
    const markup = interactive ? picture.html() : withoutScripts(picture);
    const text = `<details><summary>As text</summary><pre>${escapeMarkup(picture.text())}</pre></details>`;
    return `<figure>${markup}<figcaption>${text}</figcaption></figure>`;
  };
  const section = ({ heading, lead, pictures, grid = false }: PageSection): string => {
    if (pictures.length === 0) return "";
    const figures = `<div class="${grid ? "grid" : "stack"}">${pictures.map(figure).join("\n")}</div>`;
    return `<section><h2>${escapeMarkup(heading)}</h2><p>${escapeMarkup(lead)}</p>${figures}</section>\n`;
  };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${allowed(interactive)}">
<title>${escapeMarkup(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<p class="kicker">${escapeMarkup(kind)} · <code>${escapeMarkup(id)}</code></p>
<h1>${escapeMarkup(title)}</h1>
<dl>${facts.map(([name, value]) => `<div><dt>${escapeMarkup(name)}</dt><dd>${escapeMarkup(value)}</dd></div>`).join("")}</dl>
</header>
<main>
${sections.map(section).join("")}${options === undefined ? "" : optionsTable(options)}
</main>
<footer>Written by drey on ${moment(nowMs)} UTC. This file needs no network.</footer>
${interactive ? plotlyLibrary() : ""}
</body>
</html>
`;
}

/** The policy that the page gives itself: whatever its data hold, it asks nobody for anything. */
const allowed = (scripts: boolean): string =>
  [
    "default-src 'none'",
    "img-src data: blob:",
    "style-src 'unsafe-inline'",
    `script-src ${scripts ? "'unsafe-inline' blob:" : "'none'"}`,
    "font-src data:",
    "worker-src blob:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");

function withoutScripts(picture: Picture): string {
  const { drawing } = picture;
  return drawing === undefined ? picture.html() : drawing.markup;
}

function optionsTable({ heading, lead, entries }: NonNullable<PageContent["options"]>): string {
  if (entries.length === 0) return "";
  const rows = entries
    .map(([key, value]) => `<tr><td><code>${escapeMarkup(key)}</code></td><td>${escapeMarkup(value)}</td></tr>`)
    .join("");
  const head = `<h2>${escapeMarkup(heading)}</h2><p>${escapeMarkup(lead)}</p>`;
  return `<section>${head}<table class="options"><tbody>${rows}</tbody></table></section>`;
}

const colour = (role: Colour, scheme: 0 | 1): string => `--${role}:${COLOURS[role][scheme]}`;
const scheme = (which: 0 | 1): string =>
  (["paper", "panel", "line", "ink", "muted", "series0"] as const).map((role) => colour(role, which)).join(";");

const STYLE = `
:root{color-scheme:light dark;${scheme(0)}}
@media (prefers-color-scheme:dark){:root{${scheme(1)}}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink)}
body{font:15px/1.55 Inter,system-ui,-apple-system,"Segoe UI","Helvetica Neue",Arial,sans-serif}
header,main,footer{max-width:1180px;margin:0 auto;padding:0 28px}
header{padding-top:44px}
.kicker code{text-transform:none;letter-spacing:0}
.kicker{margin:0;color:var(--muted);font-size:12px;letter-spacing:.08em;text-transform:uppercase}
h1{margin:4px 0 20px;font-size:30px;line-height:1.2;overflow-wrap:anywhere}
h2{margin:44px 0 2px;font-size:19px}
section>p{margin:0 0 16px;color:var(--muted);max-width:70ch}
dl{display:flex;flex-wrap:wrap;gap:10px;margin:0}
dl div{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:9px 15px;min-width:0}
dt{color:var(--muted);font-size:12px}
dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:18px}
.stack{display:grid;gap:18px}
figure{margin:0;border:1px solid var(--line);border-radius:12px;padding:8px;overflow:hidden;min-width:0}
figure>div:first-child,figure>svg{max-width:100%;overflow-x:auto}
figcaption summary{cursor:pointer;color:var(--muted);font-size:12px;padding:2px 12px}
pre{margin:6px 12px 10px;overflow-x:auto;font:12px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
table{border-collapse:collapse}
.options td{border-bottom:1px solid var(--line);padding:5px 18px 5px 0;font-size:13px;overflow-wrap:anywhere}
footer{color:var(--muted);font-size:12px;padding-top:40px;padding-bottom:40px}
@media print{figcaption{display:none}figure{break-inside:avoid}}
`.replaceAll("\n", "");
