/** The first notebook, run by our kernel as a front end would: its jobs run on a cluster of processes that the kernel's cells start. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";
import { type Executed, type Notebook, type Output, executeNotebook } from "../execute-notebook.ts";
import { ourKernel } from "./kernel.ts";

const NOTEBOOKS = fileURLToPath(new URL("../../../notebooks", import.meta.url));

describe("00-start.ipynb", () => {
  let executed: Executed;
  let outputs: Output[];
  beforeAll(async () => {
    const notebook = JSON.parse(readFileSync(`${NOTEBOOKS}/00-start.ipynb`, "utf8")) as Notebook;
    executed = await executeNotebook(notebook, { ...ourKernel, cwd: NOTEBOOKS, timeoutMs: 60_000 });
    outputs = executed.notebook.cells.flatMap((cell) => cell.outputs ?? []);
  }, 120_000);

  test("runs from the first cell to the last, without an error or a warning", () => {
    expect(outputs.filter((it) => it.output_type === "error" || (it.output_type === "stream" && it.name === "stderr"))).toEqual([]);
    expect(outputs.at(-1)).toMatchObject({ output_type: "stream", text: "as it should be\n" });
  });

  test("its panel is redrawn in place, and stays as a picture", () => {
    expect(executed.updates).toBeGreaterThan(5);
    const pictures = outputs.flatMap((it) => (it.output_type === "display_data" ? [it.data] : []));
    expect(pictures.length).toBeGreaterThanOrEqual(8);
    expect(pictures.filter((data) => String(data["text/html"]).length > 500_000)).toHaveLength(1);
  });

  test("an error of a function that ran on the cluster points at its line in the cell", () => {
    const cell = executed.notebook.cells.find(({ source }) => [source].flat().join("").includes("new RangeError"));
    const line =
      [cell?.source]
        .flat()
        .join("")
        .split("\n")
        .findIndex((text) => text.includes("new RangeError")) + 1;
    expect(JSON.stringify(cell?.outputs)).toContain(`Cell [${cell?.execution_count}]:${line}`);
  });
});
