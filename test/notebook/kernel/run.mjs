/**
 * The kernel under Jupyter itself, where Python has it: the protocol's own tests (jupyter_kernel_test), a notebook run by nbclient and
 * turned into a page by nbconvert, and JupyterLab in a browser. What is not installed is skipped and says so. Run by `npm run test:kernel`.
 *
 *     pip install jupyterlab nbclient nbconvert jupyter_kernel_test
 *
 * DREY_PYTHON names the Python, CHROMIUM the browser; DREY_KEEP_PICTURES names a folder for pictures of JupyterLab.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const python = process.env.DREY_PYTHON ?? "python3";
const has = (module) => spawnSync(python, ["-c", `import ${module}`]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "drey-jupyter-"));
// Where Jupyter looks for kernels before it looks elsewhere.
const env = { ...process.env, JUPYTER_PATH: join(folder, "share/jupyter") };
const counts = { passed: 0, failed: 0, skipped: 0 };

async function check(name, needs, work) {
  const missing = needs.find((need) => !need.there);
  if (missing !== undefined) {
    counts.skipped++;
    console.log(`skipped: ${name} (no ${missing.name})`);
    return;
  }
  const began = performance.now();
  try {
    await work();
    counts.passed++;
    console.log(`passed: ${name} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  } catch (error) {
    counts.failed++;
    console.log(`FAILED: ${name}\n${error.stdout ?? ""}${error.stderr ?? ""}${error.stack}`);
  }
}
const module = (name) => ({ name: `Python module ${name}`, there: has(name) });
const run = (args) => execFileSync(python, args, { cwd: folder, env, encoding: "utf8", stdio: "pipe", timeout: 180_000 });

try {
  execFileSync(process.execPath, [join(ROOT, "dist/cluster/cli.js"), "kernel", "install", "--prefix", folder]);
  const notebook = join(folder, "00-start.ipynb");
  cpSync(join(ROOT, "notebooks/00-start.ipynb"), notebook);
  const cells = JSON.parse(readFileSync(notebook, "utf8"));
  cells.metadata.kernelspec = { name: "drey", display_name: "drey (TypeScript)", language: "typescript" };
  writeFileSync(notebook, JSON.stringify(cells));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(join(ROOT, "node_modules/vega-datasets"), join(folder, "node_modules/vega-datasets"));

  await check("jupyter_kernel_test: every test of the protocol, none skipped", [module("jupyter_kernel_test")], () => {
    const { status, stdout, stderr } = spawnSync(python, [join(ROOT, "test/notebook/kernel/python/conformance.py"), "-v"], {
      cwd: folder,
      env,
      encoding: "utf8",
    });
    if (status !== 0 || /skipped=/.test(stderr)) throw new Error(`${stdout}${stderr}`);
    console.log(`  ${/Ran .*/.exec(stderr)?.[0]}`);
  });
  await check("nbclient runs a notebook and nbconvert makes a page of it", [module("nbclient"), module("nbconvert")], () => {
    run(["-m", "nbconvert", "--to", "html", "--execute", "--output", "page.html", notebook]);
    const page = readFileSync(join(folder, "page.html"), "utf8");
    if (!page.includes("as it should be") || !page.includes("data:image/svg+xml")) throw new Error("the page lacks outputs or pictures");
  });
  const browser = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
    (file) => file && existsSync(file),
  );
  const chromium = { name: "Chromium (CHROMIUM names it)", there: browser !== undefined };
  await check(
    "JupyterLab in a browser: the notebook runs, its charts are drawn, nothing fails in the page",
    [module("jupyterlab"), chromium],
    async () => {
      Object.assign(process.env, { JUPYTER_PATH: env.JUPYTER_PATH });
      const { openLab } = await import("./jupyterlab.mjs");
      const lab = await openLab({ python, notebook, browser });
      try {
        await lab.runAll();
        const errors = (await lab.outputs()).filter(({ output_type }) => output_type === "error");
        if (errors.length + lab.problems.length > 0) throw new Error(JSON.stringify([errors, lab.problems]));
        if (!(await lab.scrollTo(".js-plotly-plot"))) throw new Error("no chart became interactive");
        const keep = process.env.DREY_KEEP_PICTURES;
        if (keep !== undefined) {
          mkdirSync(keep, { recursive: true });
          await lab.page.screenshot({ path: join(keep, "jupyterlab.png") });
        }
      } finally {
        await lab.close();
      }
    },
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;
