/**
 * The notebooks of `notebooks/`, installed in a folder of their own as a reader installs them, and run under tslab and under our kernel
 * from the first cell to the last. Run by `npm run test:notebooks`, not by `npm test`: the installation takes its time.
 *
 * DREY_KEEP_NOTEBOOKS names a folder for the executed notebooks, to look at them.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Executed, type Notebook, type NotebookCell, type Output, executeNotebook } from "./execute-notebook.ts";
import { ourKernel } from "./kernel/kernel.ts";
import { runs } from "../cluster/local/programs.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const NOTEBOOKS = join(ROOT, "notebooks");
const names = readdirSync(NOTEBOOKS).filter((name) => name.endsWith(".ipynb"));
const read = (name: string): Notebook => JSON.parse(readFileSync(join(NOTEBOOKS, name), "utf8")) as Notebook;
const outputsOf = ({ cells }: Notebook): Output[] => cells.flatMap((cell) => cell.outputs ?? []);
const textOf = (notebook: Notebook): string => outputsOf(notebook).map((it) => (it.output_type === "stream" ? it.text : "")).join("");

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "drey-notebooks-"));
  cpSync(NOTEBOOKS, folder, { recursive: true, filter: (path) => !/node_modules|package-lock\.json$/.test(path.slice(NOTEBOOKS.length)) });
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { dependencies: Record<string, string> };
  manifest.dependencies["drey"] = `file:${ROOT}`;
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest));
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"], { cwd: folder, stdio: "inherit" });
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("notebooks", () => {
  test.each(names)("%s is kept without outputs", (name) => {
    expect(outputsOf(read(name))).toEqual([]);
  });

  test.each(names.flatMap((name) => [name, join("ko", name)]))("%s opens with drey's own kernel", (name) => {
    expect(read(name).metadata).toMatchObject({ kernelspec: { name: "drey", language: "typescript" }, language_info: { name: "typescript" } });
  });

  const korean = readdirSync(join(NOTEBOOKS, "ko")).filter((name) => name.endsWith(".ipynb"));
  test.each(korean)("ko/%s has the same code, in another language's prose", (name) => {
    const cellsOf = (notebook: Notebook, kind: string): string[] =>
      notebook.cells.filter((cell) => cell.cell_type === kind).map((cell) => [cell.source].flat().join(""));
    const [english, translated] = [read(name), read(join("ko", name))];
    expect(cellsOf(translated, "code")).toEqual(cellsOf(english, "code"));
    expect(cellsOf(translated, "markdown")).toHaveLength(cellsOf(english, "markdown").length);
    for (const prose of cellsOf(translated, "markdown")) expect(prose).toMatch(/[가-힣]/);
    expect(outputsOf(translated)).toEqual([]);
  });
});


const executed = new Map<string, Promise<Executed>>();
/** Each notebook runs once under each kernel. */
function run(name: string, under: "tslab" | "drey"): Promise<Executed> {
  let result = executed.get(`${name} ${under}`);
  if (result === undefined) {
    const tslab = join(folder, "node_modules/tslab/bin/tslab");
    const kernel = under === "drey" ? ourKernel : { kernel: [process.execPath, tslab, "kernel", "--config-path={connection}"] as const };
    result = executeNotebook(read(name), { ...kernel, cwd: folder });
    executed.set(`${name} ${under}`, result);
    const keep = process.env["DREY_KEEP_NOTEBOOKS"];
    if (keep !== undefined) {
      void result.then(({ notebook }) => {
        mkdirSync(keep, { recursive: true });
        writeFileSync(join(keep, `${under}-${name}`), JSON.stringify(notebook, null, 1));
      });
    }
  }
  return result;
}

describe.each(["tslab", "drey"] as const)("under %s", (under) => {
  test.each(names)("%s runs from the first cell to the last, without an error", async (name) => {
    const { notebook } = await run(name, under);
    // A lesson that kills a TaskManager is told of it.
    const expected = (text: string): boolean => /^TaskManager \d+ of the local cluster ended unexpectedly/.test(text);
    const said = outputsOf(notebook).filter(
      (it) => it.output_type === "error" || (it.output_type === "stream" && it.name === "stderr" && !expected(it.text)),
    );
    expect(said).toEqual([]);
    expect(textOf(notebook)).toMatch(/as it should be\n$/);
  });

  test.each(names)("%s with its outputs is small enough to be kept and sent", async (name) => {
    const bytes = JSON.stringify((await run(name, under)).notebook).length;
    expect(bytes).toBeLessThan(2_600_000);
  });

  test("pictures come in every form that a front end may want", async () => {
    const pictures = outputsOf((await run("00-start.ipynb", under)).notebook).flatMap((it) => (it.output_type === "display_data" ? [it] : []));
    expect(pictures.length).toBeGreaterThanOrEqual(8);
    for (const { data } of pictures) expect(Object.keys(data)).toEqual(expect.arrayContaining(["text/html", "text/plain"]));
    expect(pictures.filter(({ data }) => "image/svg+xml" in data).length).toBeGreaterThanOrEqual(7);
    // The library that makes charts interactive comes once per page.
    expect(pictures.filter(({ data }) => String(data["text/html"]).length > 500_000)).toHaveLength(1);
  });

  test("the panel of a running job is redrawn, and stays as a picture that needs no kernel", async () => {
    const { updates, notebook } = await run("00-start.ipynb", under);
    expect(updates).toBeGreaterThan(5);
    const panel = outputsOf(notebook)
      .flatMap((it) => (it.output_type === "display_data" ? [it.data] : []))
      .find((data) => String(data["text/plain"]).includes("FINISHED  flight delays"));
    expect(panel?.["text/html"]).toContain("<img");
    expect(panel?.["image/svg+xml"]).toContain("<svg");
  });

  test("an error of a function points at its line in the cell", async () => {
    const { notebook } = await run("00-start.ipynb", under);
    const sourceOf = (cell: NotebookCell): string => [cell.source].flat().join("");
    const cell = notebook.cells.find((it) => it.cell_type === "code" && sourceOf(it).includes("new RangeError")) as NotebookCell;
    const line = sourceOf(cell).split("\n").findIndex((text) => text.includes("new RangeError")) + 1;
    expect(textOf({ ...notebook, cells: [cell] })).toContain(`Cell [${cell.execution_count}]:${line}`);
  });

  test("the cluster's processes end with the kernel", async () => {
    const { notebook } = await run("00-start.ipynb", under);
    const [slots] = outputsOf(notebook);
    const text = slots?.output_type === "display_data" ? String(slots.data["text/plain"]) : "";
    const pids = [...text.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid));
    expect(pids).toHaveLength(2);
    for (const pid of pids) await expect.poll(() => runs(pid), { timeout: 30_000 }).toBe(false);
  });
});
