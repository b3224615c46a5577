/**
 * What a notebook's reader notices, measured: `npm run bench -- notebook`. In a browser (JupyterLab with anywidget, Chromium): from opening
 * a notebook to its first live chart, gaps between frames while a chart lives, and the page's memory meanwhile. In a kernel alone: a burst
 * of updates, memory over many cells and jobs, and what a kernel that is killed leaves behind.
 *
 * Gaps are those of `requestAnimationFrame` in the page, while the chart is in the middle of the window; beside them stands what the same
 * page has while nothing lives, which is what this machine allows. Memory is taken after a collection of garbage; its growth is the slope
 * of a line through the samples.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execFileSync } from "node:child_process";
import { parseArgs } from "node:util";
import type { CDPSession, Page } from "playwright-core";
import type { Ran } from "../../notebook/execute-notebook.ts";
import { errorOf, printed, startKernel, valueOf } from "../../notebook/kernel/kernel.ts";
import { machine, wholeNumber } from "../measure.ts";

const USAGE = `npm run bench -- notebook [options]

  --only <part>      open, frames, page, burst, cells, jobs or killed (all); may be given several times
  --seconds <n>      of each measurement of frames (10)
  --minutes <n>      of each measurement of the page's memory (5)
  --cells <n>        that a kernel runs (1000)
  --jobs <n>         that a kernel submits (100)

DREY_PYTHON names a Python that has jupyterlab and anywidget, CHROMIUM the browser; without them only kernels are measured.
`;
const PARTS = ["open", "frames", "page", "burst", "cells", "jobs", "killed"] as const;

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    seconds: { type: "string", default: "10" },
    minutes: { type: "string", default: "5" },
    cells: { type: "string", default: "1000" },
    jobs: { type: "string", default: "100" },
    help: { type: "boolean" },
  },
});

interface Row {
  readonly what: string;
  readonly measured: string;
  readonly target: string;
  /** Undefined: nothing was promised. */
  readonly good?: boolean;
}
const rows: Row[] = [];
function tell(row: Row): void {
  rows.push(row);
  console.log(lineOf(row));
}
const lineOf = ({ what, measured, target, good }: Row): string =>
  `| ${what.padEnd(52)} | ${measured.padEnd(64)} | ${target.padEnd(14)} | ${good === undefined ? "" : good ? "yes" : "NO"} |`;

const MIB = 1 << 20;
const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
const least = (numbers: readonly number[]): number => Math.min(...numbers);
const quantile = (sorted: readonly number[], share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN;
/** Of a line through points, least squares. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (at: 0 | 1): number => points.reduce((sum, point) => sum + point[at], 0) / points.length;
  const [x0, y0] = [mean(0), mean(1)];
  const over = points.reduce((sum, [x, y]) => sum + (x - x0) * (y - y0), 0);
  return over / points.reduce((sum, [x]) => sum + (x - x0) ** 2, 0);
}
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

// -------------------------------------------------------------------------------------------------------------- in a page

/** What of jupyter-page.mjs is used. */
interface NotebookPage {
  readonly page: Page;
  ready(): Promise<void>;
  startAll(): Promise<void>;
  close(): Promise<void>;
}
interface Jupyter {
  open(notebook: string): Promise<NotebookPage>;
  endKernels(): Promise<void>;
  close(): Promise<void>;
}
interface JupyterPages {
  browserPath(): string | undefined;
  startJupyter(options: { readonly python: string; readonly folder: string }): Promise<Jupyter>;
}

/** As a stream's rows come: a chart of the last 200 points, drawn anew thirty times a second. */
const LIVE = (seconds: number): string => `import { chart, liveDisplay } from "drey/notebook";
const place = liveDisplay();
const points: { x: number; y: number }[] = [];
for (const end = Date.now() + ${seconds * 1_000}; Date.now() < end; ) {
  points.push({ x: (points.at(-1)?.x ?? 0) + 1, y: Math.sin((points.at(-1)?.x ?? 0) / 20) });
  if (points.length > 200) points.shift();
  place.update(chart(points, { kind: "line", x: "x", y: "y", title: "live" }));
  await new Promise((done) => setTimeout(done, 33));
}
await place.finish();`;

/** What follows is shown without comms, as where the page can't have them. */
const NO_COMMS = `const outlet = Object.getOwnPropertyDescriptor(globalThis, Symbol.for("drey.display"))!.get!;
Object.defineProperty(globalThis, Symbol.for("drey.display"), { configurable: true, get() { const { comms, ...rest } = outlet(); return rest; } });`;

const FIRST_CHART = [
  `import { notebookSession } from "drey/notebook";
const session = await notebookSession({ taskManagers: 1, slots: 2 });
const env = session.environment();`,
  `const wave = env.generate((i) => ({ x: i, y: Math.sin(i / 20) }), { rowsPerSecond: 100 });
await wave.plot({ kind: "line", x: "x", y: "y", take: 300 }).done;`,
];

/** Expressions of the page: a line of a chart that is in the window; undefined as long as there is none. */
const LINE_SEEN = `[...document.querySelectorAll(".jp-OutputArea svg, .jp-OutputArea img")].find((it) => {
  const drawn = it.tagName === "IMG" ? decodeURIComponent(it.src) : it.innerHTML;
  const { top, bottom, width } = it.getBoundingClientRect();
  return drawn.includes("stroke-linejoin") && width > 200 && bottom > 0 && top < innerHeight;
})`;

interface Gaps {
  readonly gaps: readonly number[];
  /** Times that the chart changed. */
  readonly drawn: number;
  /** The chart could be seen at the beginning and at the end. */
  readonly seen: boolean;
}
const gapsIn = (page: Page, seconds: number): Promise<Gaps> =>
  page.evaluate(`new Promise((done) => {
    const line = () => ${LINE_SEEN};
    const seen = line() !== undefined;
    const gaps = [];
    let drawn = 0;
    const changes = new MutationObserver(() => drawn++);
    changes.observe(document.querySelector(".jp-Notebook"), { childList: true, subtree: true, attributeFilter: ["src"] });
    const begin = performance.now();
    let last = begin;
    requestAnimationFrame(function step(now) {
      if (now > last) gaps.push(now - last);
      last = now;
      if (now - begin < ${seconds * 1_000}) return requestAnimationFrame(step);
      changes.disconnect();
      done({ gaps, drawn, seen: seen && line() !== undefined });
    });
  })`);

function tellGaps(what: string, { gaps, drawn, seen }: Gaps, seconds: number, most?: number): void {
  const sorted = [...gaps].sort((a, b) => a - b);
  const p95 = quantile(sorted, 0.95);
  const figures = `p50 ${quantile(sorted, 0.5).toFixed(0)}, p95 ${p95.toFixed(0)}, longest ${quantile(sorted, 1).toFixed(0)} ms`;
  if (most === undefined) return tell({ what, measured: figures, target: "" });
  const measured = `${figures}; ${(drawn / seconds).toFixed(1)} pictures/s${seen ? "" : "; NOT IN THE WINDOW"}`;
  tell({ what, measured, target: `p95 < ${most} ms`, good: p95 < most && seen });
}

async function inPages(parts: ReadonlySet<string>, seconds: number, minutes: number): Promise<void> {
  const pages = new URL("../../notebook/kernel/jupyter-page.mjs", import.meta.url).href;
  const { browserPath, startJupyter } = (await import(pages)) as JupyterPages;
  const python = process.env["DREY_PYTHON"] ?? "python3";
  const hasJupyter = (): boolean => {
    try {
      execFileSync(python, ["-c", "import jupyterlab, anywidget"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  };
  if (browserPath() === undefined || !hasJupyter()) {
    console.log("Not in a browser: that takes Chromium, and a Python with jupyterlab and anywidget (DREY_PYTHON).");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "drey-bench-"));
  const command = fileURLToPath(new URL("../../../dist/cluster/cli.js", import.meta.url));
  execFileSync(process.execPath, [command, "kernel", "install", "--prefix", folder]);
  process.env["JUPYTER_PATH"] = join(folder, "share/jupyter");
  const notebook = (name: string, cells: readonly string[]): string => {
    const file = join(folder, `${name}.ipynb`);
    const code = cells.map((source, at) => ({ cell_type: "code", id: `c${at}`, metadata: {}, source, outputs: [], execution_count: null }));
    const kernelspec = { name: "drey", display_name: "drey (TypeScript)", language: "typescript" };
    writeFileSync(file, JSON.stringify({ cells: code, metadata: { kernelspec }, nbformat: 4, nbformat_minor: 5 }));
    return file;
  };
  const jupyter = await startJupyter({ python, folder });
  /** A page in which a notebook runs. */
  const running = async <T>(name: string, cells: readonly string[], work: (page: Page, ran: NotebookPage) => Promise<T>): Promise<T> => {
    const opened = await jupyter.open(notebook(name, cells));
    try {
      await opened.ready();
      await opened.startAll();
      return await work(opened.page, opened);
    } finally {
      await opened.close();
      await jupyter.endKernels();
    }
  };
  const live = (page: Page): Promise<unknown> => page.waitForFunction(`${LINE_SEEN} !== undefined`, null, { timeout: 120_000 });
  try {
    if (parts.has("open")) {
      // The page's own clock began when the browser was told to go there.
      const times: number[] = [];
      for (const name of ["first", "second", "third"])
        await running(name, FIRST_CHART, async (page) => {
          await page.waitForFunction(`${LINE_SEEN} !== undefined && (window.dreySeen ??= performance.now())`, null, {
            timeout: 120_000,
            polling: "raf",
          });
          times.push(Number(await page.evaluate("window.dreySeen")));
        });
      const [first = Number.NaN, ...others] = times.map((ms) => ms / 1_000);
      const measured = `${least(others).toFixed(1)} s (${others.map((it) => it.toFixed(1)).join(", ")}; browser's first page ${first.toFixed(1)})`;
      tell({ what: "opening a notebook → first live chart of a job", measured, target: "< 5 s", good: least(others) < 5 });
    }
    if (parts.has("frames")) {
      await running("idle", ["1"], async (page) => {
        await pause(3_000);
        tellGaps("frame gaps, nothing lives (what the machine allows)", await gapsIn(page, seconds), seconds);
      });
      await running("comms", [LIVE(seconds + 20)], async (page) => {
        await page.waitForSelector(".jp-OutputArea svg", { timeout: 120_000 });
        await live(page);
        await pause(3_000);
        tellGaps("frame gaps, a live chart with comms, 30 Hz", await gapsIn(page, seconds), seconds, 34);
      });
      await running("plain", [NO_COMMS, LIVE(seconds + 20)], async (page) => {
        await live(page);
        await pause(3_000);
        tellGaps("frame gaps, a live chart without comms, 10 Hz", await gapsIn(page, seconds), seconds, 34);
      });
    }
    if (parts.has("page"))
      for (const [name, cells] of [
        ["with comms", [LIVE(minutes * 60 + 60)]],
        ["without comms", [NO_COMMS, LIVE(minutes * 60 + 60)]],
      ] as const)
        await running(name.replace(" ", "-"), cells, async (page) => {
          await live(page);
          tellMemory(`page's memory, ${minutes} minutes ${name}`, await samples(page, minutes));
        });
  } finally {
    await jupyter.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Sample {
  readonly minute: number;
  readonly bytes: number;
  readonly nodes: number;
}

async function samples(page: Page, minutes: number): Promise<readonly Sample[]> {
  const devtools: CDPSession = await page.context().newCDPSession(page);
  await devtools.send("Performance.enable");
  const began = performance.now();
  const taken: Sample[] = [];
  while ((performance.now() - began) / 60_000 < minutes) {
    await pause(Math.min(15_000, (minutes * 60_000) / 12));
    await devtools.send("HeapProfiler.collectGarbage");
    const { metrics } = await devtools.send("Performance.getMetrics");
    const of = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
    taken.push({ minute: (performance.now() - began) / 60_000, bytes: of("JSHeapUsedSize"), nodes: of("Nodes") });
  }
  return taken;
}

/** More than this per minute is growth. */
const MOST_GROWTH = 0.2 * MIB;

function tellMemory(what: string, taken: readonly Sample[]): void {
  // At first a page still loads and compiles.
  const settled = taken.slice(Math.floor(taken.length / 4));
  const growth = slope(settled.map(({ minute, bytes }) => [minute, bytes]));
  const nodes = slope(settled.map(({ minute, nodes: count }) => [minute, count]));
  const [from, to] = [settled[0], settled.at(-1)];
  const measured = `${mib(from?.bytes ?? 0)} → ${mib(to?.bytes ?? 0)}; ${(growth / MIB).toFixed(3)} MiB/min, ${nodes.toFixed(1)} nodes/min`;
  tell({ what, measured, target: "< 0.2 MiB/min", good: growth < MOST_GROWTH });
}

// ------------------------------------------------------------------------------------------------------------ in a kernel

function must(ran: Ran): Ran {
  const error = errorOf(ran);
  if (error !== undefined) throw new Error(`A cell of the benchmark failed: ${error.traceback}`);
  return ran;
}
const residentBytes = (pid: number): number => {
  const [, pages] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
  return Number(pages) * 4_096;
};
const COLLECT = "require('node:v8').setFlagsFromString('--expose-gc'); require('node:vm').runInNewContext('gc')();";

type Kernel = Awaited<ReturnType<typeof startKernel>>;
interface KernelMemory {
  /** Of the process that runs cells, after a collection. */
  readonly heap: number;
  readonly evaluator: number;
  /** Of the process that holds sockets and compiles. */
  readonly front: number;
}
async function memoryOf(kernel: Kernel): Promise<KernelMemory> {
  const text = printed(must(await kernel.execute(`${COLLECT} console.log(process.pid, process.memoryUsage().heapUsed);`)));
  const [pid = 0, heap = 0] = text.trim().split(" ").map(Number);
  return { heap, evaluator: residentBytes(pid), front: residentBytes(kernel.pid) };
}

/**
 * Growth of the second half: the first has what is loaded and compiled once. What counts is the heap; the front process, whose compiling
 * thread makes much garbage, is as large as V8 lets it be: some 600 MiB for 90 that live, and no more after that.
 */
function tellKernelMemory(what: string, unit: string, mostKib: number, taken: readonly (readonly [number, KernelMemory])[]): void {
  const later = taken.slice(Math.floor(taken.length / 2));
  const heap = slope(later.map(([at, memory]) => [at, memory.heap])) / 1_024;
  const last = later.at(-1)?.[1];
  const resident = `evaluator ${mib(last?.evaluator ?? 0)}, front ${mib(last?.front ?? 0)} resident`;
  const measured = `heap ${mib(last?.heap ?? 0)}, ${heap.toFixed(1)} KiB/${unit}; ${resident}`;
  tell({ what, measured, target: `< ${mostKib} KiB/${unit}`, good: heap < mostKib });
}

/** Cells as people write them: values, functions and classes that are declared anew, prints, tables and charts. */
const cellNumber = (n: number): string =>
  [
    `const rows = Array.from({ length: 1_000 }, (_, i) => ({ i, n: i * ${n} })); rows.length`,
    `function half(n: number): number { return n / 2 }\nclass Kind${n % 7} { constructor(readonly n = half(${n})) {} }\nnew Kind${n % 7}()`,
    `for (let i = 0; i < 20; i++) console.log("line", i, ${n});`,
    `import { chart, table } from "drey/notebook"; table(rows.slice(0, 20))`,
    `chart(rows.slice(0, 200), { kind: "line", x: "i", y: "n", title: "${n}" })`,
  ][n % 5] as string;

async function inKernels(parts: ReadonlySet<string>, cells: number, jobs: number): Promise<void> {
  if (parts.has("burst") || parts.has("cells")) {
    const kernel = await startKernel();
    try {
      if (parts.has("burst")) await burst(kernel);
      if (parts.has("cells")) {
        const taken: [number, KernelMemory][] = [];
        const began = performance.now();
        for (let n = 1; n <= cells; n++) {
          must(await kernel.execute(cellNumber(n - 1)));
          if (n % Math.max(1, Math.floor(cells / 20)) === 0) taken.push([n, await memoryOf(kernel)]);
        }
        const ms = (performance.now() - began) / cells;
        tellKernelMemory(`kernel's memory over ${cells} cells (${ms.toFixed(0)} ms each)`, "cell", 8, taken);
      }
    } finally {
      await kernel.end();
    }
  }
  if (parts.has("jobs") || parts.has("killed")) {
    const kernel = await startKernel();
    try {
      const session = `import { notebookSession } from "drey/notebook"; const session = await notebookSession({ taskManagers: 1, slots: 2 });
const env = session.environment(); const { processes } = session.cluster; console.log(processes.jobManager, ...processes.taskManagers);`;
      const pids = printed(must(await kernel.execute(session))).trim().split(" ").map(Number);
      if (parts.has("jobs")) {
        const taken: [number, KernelMemory][] = [];
        for (let n = 1; n <= jobs; n++) {
          const sum = must(await kernel.execute(`(await env.of(1, 2, 3).map((x) => x * ${n}).collect()).length`));
          if (valueOf(sum) !== "3") throw new Error(`A job gave ${String(valueOf(sum))} rows.`);
          if (n % Math.max(1, Math.floor(jobs / 20)) === 0) taken.push([n, await memoryOf(kernel)]);
        }
        // A client remembers its last 1,000 jobs.
        tellKernelMemory(`kernel's memory over ${jobs} jobs`, "job", 32, taken);
      }
      if (parts.has("killed")) {
        const began = performance.now();
        process.kill(kernel.pid, "SIGKILL");
        let left = pids;
        for (const end = Date.now() + 30_000; left.length > 0 && Date.now() < end; await pause(20)) left = left.filter(isAlive);
        const measured = `${pids.length} processes; ${left.length} left after ${((performance.now() - began) / 1_000).toFixed(2)} s`;
        tell({ what: "kernel killed with -9: processes of its cluster", measured, target: "0 left", good: left.length === 0 });
      }
    } finally {
      await kernel.end();
    }
  }
}

async function burst(kernel: Kernel): Promise<void> {
  const most = 5_000;
  const shown: number[] = [];
  const stop = kernel.listen(({ type, content }) => {
    if (type.endsWith("display_data")) shown.push(Number((content["data"] as Record<string, string>)["text/plain"]));
  });
  const began = performance.now();
  const code = `const burst = (globalThis as any)[Symbol.for("drey.display")];
for (let i = 0; i < ${most}; i++) burst.send({ "text/plain": String(i) }, { id: "burst", update: i > 0 });`;
  must(await kernel.execute(code));
  stop();
  const inOrder = shown.every((n, at) => n === at);
  const measured = `${shown.length} arrived, ${inOrder ? "in order" : "NOT in order"}, in ${(performance.now() - began).toFixed(0)} ms`;
  tell({ what: `a burst of ${most} display updates`, measured, target: "all, in order", good: inOrder && shown.length === most });
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

if (values.help === true) console.log(USAGE);
else {
  const unknown = (values.only ?? []).filter((part) => !(PARTS as readonly string[]).includes(part));
  if (unknown.length > 0) throw new Error(`There is no part ${unknown.join(", ")}.\n${USAGE}`);
  const parts = new Set<string>(values.only ?? PARTS);
  const number = (name: "seconds" | "minutes" | "cells" | "jobs"): number => wholeNumber(`--${name}`, values[name], 1);
  const { cpu, cores, node } = machine();
  console.log(`${cpu}, ${cores} cores, Node ${node}; load ${loadavg().map((it) => it.toFixed(1)).join(" ")}`);
  if (["open", "frames", "page"].some((part) => parts.has(part))) await inPages(parts, number("seconds"), number("minutes"));
  await inKernels(parts, number("cells"), number("jobs"));
  console.log(`\nload ${loadavg().map((it) => it.toFixed(1)).join(" ")}\n${rows.map(lineOf).join("\n")}`);
  process.exitCode = rows.every(({ good }) => good !== false) ? 0 : 1;
}
