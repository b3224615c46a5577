/**
 * Plotly in a page, once. The first output that carries it brings the whole library, minified, gzipped and base64 coded; every output,
 * wherever it stands in the page, waits for one shared promise (`window.dreyPlotly`) and then replaces its image. Where the library is
 * missing, scripts are forbidden or drawing fails, the image simply stays. Nothing is fetched from anywhere.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import { COLOURS, type Drawing, fingerprint, seriesValues } from "./svg.ts";

/** A figure as Plotly takes it: https://plotly.com/javascript/reference. */
export interface PlotlyFigure {
  readonly data: readonly Readonly<Record<string, unknown>>[];
  readonly layout: Readonly<Record<string, unknown>>;
}

/**
 * A box of the drawing's size that holds `image` and becomes the figure when scripts run.
 * @param image markup of an `<img>`; must be escaped already. @param carry bring the library along.
 */
export function interactive(figure: PlotlyFigure, drawing: Drawing, image: string, carry: boolean): string {
  const layout = { autosize: true, height: drawing.height, ...figure.layout };
  const text = scriptJson({ data: figure.data, layout });
  const mark = fingerprint(text);
  const { width, height } = drawing;
  // The style is inline and plain, so that sanitizers of untrusted notebooks leave it.
  return (
    `<div data-drey-figure="${mark}" style="position:relative;width:${width}px;max-width:100%">${image}</div>` +
    `<script>(${SHOW})(${scriptJson(mark)},${text},${height},${scriptJson(THEMES)})</script>` +
    (carry ? plotlyLibrary() : "")
  );
}

/** Where an output stands: which cell, and which run of it. Both undefined where the kernel doesn't tell. */
export interface OutputPlace {
  readonly cell?: unknown;
  readonly execution?: unknown;
}

let carrier: OutputPlace | undefined;
/**
 * Should an output at this place bring the library along? The first of this process does. When its cell is run once more, its old output
 * is gone from the notebook, library included, so the first output of the new run does again.
 */
export function carriesPlotly(place: OutputPlace = {}): boolean {
  const again = carrier !== undefined && place.cell !== undefined && place.cell === carrier.cell && place.execution !== carrier.execution;
  if (carrier !== undefined && !again) return false;
  carrier = place;
  return true;
}

/** The library as one script element, for a page that shows figures. About 1.9 MB. @throws Error where the package is not installed. */
export function plotlyLibrary(): string {
  return `<script>(${LOAD})("${packedPlotly()}")</script>`;
}

/** A user's text for a figure. Plotly reads some HTML in texts; what looks like it is meant literally. */
export const plotlyText = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/**
 * A value as an expression of JavaScript that can stand inside a script element: no character ends the element or the line.
 * Not-finite numbers become null, as in JSON; bigints become numbers.
 */
export function scriptJson(value: unknown): string {
  const json = JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? Number(inner) : inner));
  return json.replace(/[<>&\u2028\u2029]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

let packed: string | undefined;
/** The build puts the minified bundle beside this file; without a build (tests on the sources) the package's own file does. */
function packedPlotly(): string {
  if (packed !== undefined) return packed;
  const built = new URL("./plotly.min.js.gz", import.meta.url);
  const bytes = existsSync(built) ? readFileSync(built) : gzipSync(readFileSync(createRequire(import.meta.url).resolve("plotly.js-dist")));
  return (packed = bytes.toString("base64"));
}

const theme = (scheme: 0 | 1): Readonly<Record<string, unknown>> => ({
  paper: COLOURS.paper[scheme],
  ink: COLOURS.ink[scheme],
  muted: COLOURS.muted[scheme],
  grid: COLOURS.grid[scheme],
  line: COLOURS.line[scheme],
  colorway: seriesValues(scheme === 0 ? "light" : "dark"),
});
const THEMES = { light: theme(0), dark: theme(1) };

// Both run in the reader's browser. They are texts, not functions, so that no compiler's helper gets into them.

/** The shared promise: made by whoever comes first, resolved by the one that carries the library. */
const SHARED = `window.dreyPlotly||(window.dreyPlotly=(()=>{
let resolve;const p=new Promise(r=>{resolve=r});p.resolve=resolve;return p})())`;

const LOAD = `async packed=>{
const shared=${SHARED};
if(shared.loading)return;shared.loading=true;
try{
const bytes=Uint8Array.from(atob(packed),c=>c.charCodeAt(0));
const source=await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
const before="(()=>{const module={exports:{}};const exports=module.exports;let define;";
const after="\\n;window.dreyPlotly.resolve(module.exports)})()";
const url=URL.createObjectURL(new Blob([before,source,after],{type:"text/javascript"}));
const script=document.createElement("script");script.src=url;
script.onload=()=>URL.revokeObjectURL(url);script.onerror=()=>{shared.loading=false};
document.head.append(script);
}catch(error){shared.loading=false;console.warn("drey: Plotly could not be loaded, images stay",error)}
}`;

const SHOW = `(mark,figure,height,themes)=>{
const shared=${SHARED};
const dataset=document.body.dataset;
const isDark=()=>dataset.jpThemeLight?dataset.jpThemeLight==="false":matchMedia("(prefers-color-scheme:dark)").matches;
const themed=()=>{
const t=isDark()?themes.dark:themes.light;const layout=structuredClone(figure.layout);
Object.assign(layout,{paper_bgcolor:t.paper,plot_bgcolor:t.paper,colorway:t.colorway});
layout.font=Object.assign({color:t.ink,family:"Inter, system-ui, sans-serif",size:12},layout.font);
const lines={gridcolor:t.grid,zerolinecolor:t.line,linecolor:t.line,tickcolor:t.line};
for(const key of Object.keys(layout))if(/^[xy]axis/.test(key))Object.assign(layout[key],lines);
return layout};
const draw=async box=>{
if(box.dataset.dreyShown)return;box.dataset.dreyShown="1";
const Plotly=await shared;
const image=box.querySelector("img");const target=document.createElement("div");
target.style.cssText="position:absolute;inset:0;visibility:hidden;height:"+height+"px";box.append(target);
try{
await Plotly.newPlot(target,structuredClone(figure.data),themed(),{responsive:true,displaylogo:false});
target.style.cssText="position:relative;height:"+height+"px";if(image)image.remove();
matchMedia("(prefers-color-scheme:dark)").addEventListener("change",()=>Plotly.relayout(target,themed()));
}catch(error){target.remove();console.warn("drey: a figure could not be drawn, its image stays",error)}
};
for(const box of document.querySelectorAll('[data-drey-figure="'+mark+'"]')){
if(typeof IntersectionObserver==="undefined"){draw(box);continue}
const watcher=new IntersectionObserver(entries=>{
if(entries.some(e=>e.isIntersecting)){watcher.disconnect();draw(box)}
},{rootMargin:"200px"});
watcher.observe(box);
}
}`;
