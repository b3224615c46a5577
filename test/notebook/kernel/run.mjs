/**
 * The kernel under Jupyter itself, where Python has it: the protocol's own tests (jupyter_kernel_test), a notebook run by nbclient,
 * nbconvert and papermill, a console, and JupyterLab and Notebook 7 in a browser: trusted, saved and reopened, untrusted. What is not
 * installed is skipped and says so. Run by `npm run test:kernel`.
 *
 *     npm run test:kernel                     all of it
 *     npm run test:kernel -- "Notebook 7"     what has this in its name
 *     pip install jupyterlab notebook anywidget nbclient nbconvert papermill jupyter_console jupyter_kernel_test
 *
 * DREY_PYTHON names the Python, CHROMIUM the browser; DREY_KEEP_PICTURES names a folder for pictures of every page, light and dark.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { browserPath, startJupyter } from "./jupyter-page.mjs";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const python = process.env.DREY_PYTHON ?? "python3";
const has = (module) => spawnSync(python, ["-c", `import ${module}`]).status === 0;
const folder = mkdtempSync(join(tmpdir(), "drey-jupyter-"));
// Where Jupyter looks for kernels before it looks elsewhere.
const env = { ...process.env, JUPYTER_PATH: join(folder, "share/jupyter") };
const counts = { passed: 0, failed: 0, skipped: 0 };
/** Most that the first notebook may take on disk, with the library that its charts need. */
const MOST_BYTES = 2.6e6;

const [only = ""] = process.argv.slice(2);

async function check(name, needs, work) {
  if (!name.includes(only)) return;
  const missing = needs.find((need) => !need.there);
  if (missing !== undefined) {
    counts.skipped++;
    console.log(`skipped: ${name} (no ${missing.name})`);
    return;
  }
  const began = performance.now();
  try {
    const note = await work();
    counts.passed++;
    console.log(`passed: ${name} in ${((performance.now() - began) / 1000).toFixed(1)} s${note === undefined ? "" : `: ${note}`}`);
  } catch (error) {
    counts.failed++;
    console.log(`FAILED: ${name}\n${error.stdout ?? ""}${error.stderr ?? ""}${error.stack}`);
  }
}
const module = (name) => ({ name: `Python module ${name}`, there: has(name) });
const run = (args) => execFileSync(python, args, { cwd: folder, env, encoding: "utf8", stdio: "pipe", timeout: 180_000 });
function must(true_, what) {
  if (!true_) throw new Error(what);
}

/** What a notebook's file holds of outputs. */
const outputsOf = (file) => JSON.parse(readFileSync(file, "utf8")).cells.flatMap(({ outputs }) => outputs ?? []);
/** A form as one text: files hold it in lines. */
const text = (form) => (Array.isArray(form) ? form.join("") : String(form));

/** The first notebook ran as it should, and everything in its file can be seen without a kernel. */
function mustBeWhole(file) {
  const outputs = outputsOf(file);
  const errors = outputs.filter(({ output_type }) => output_type === "error");
  must(errors.length === 0, JSON.stringify(errors));
  must(
    outputs.some((it) => it.output_type === "stream" && text(it.text).includes("as it should be")),
    "the notebook's last cell did not agree",
  );
  const shown = outputs.filter(({ data }) => data !== undefined);
  for (const { data } of shown) {
    must(data["application/vnd.jupyter.widget-view+json"] === undefined, "a widget was left in the file");
    must(data["text/html"] !== undefined && data["text/plain"] !== undefined, `an output has ${Object.keys(data)} only`);
  }
  const { size } = statSync(file);
  must(size < MOST_BYTES, `the file has ${size} bytes`);
  return `${(size / 1e6).toFixed(2)} MB`;
}

const keep = process.env.DREY_KEEP_PICTURES;
async function keepPictures(page, name) {
  if (keep === undefined) return;
  for (const theme of ["Light", "Dark"]) {
    await page.theme(theme);
    await page.pictures(keep, `${name}-${theme.toLowerCase()}`);
  }
}

try {
  execFileSync(process.execPath, [join(ROOT, "dist/cluster/cli.js"), "kernel", "install", "--prefix", folder]);
  const notebook = join(folder, "00-start.ipynb");
  cpSync(join(ROOT, "notebooks/00-start.ipynb"), notebook);
  const cells = JSON.parse(readFileSync(notebook, "utf8"));
  cells.metadata.kernelspec = { name: "drey", display_name: "drey (TypeScript)", language: "typescript" };
  writeFileSync(notebook, JSON.stringify(cells));
  mkdirSync(join(folder, "node_modules"));
  const data = dirname(dirname(createRequire(import.meta.url).resolve("vega-datasets")));
  symlinkSync(data, join(folder, "node_modules/vega-datasets"));

  await check("jupyter_kernel_test: every test of the protocol, none skipped", [module("jupyter_kernel_test")], () => {
    const { status, stdout, stderr } = spawnSync(python, [join(ROOT, "test/notebook/kernel/python/conformance.py"), "-v"], {
      cwd: folder,
      env,
      encoding: "utf8",
    });
    if (status !== 0 || /skipped=/.test(stderr)) throw new Error(`${stdout}${stderr}`);
    return /Ran .*/.exec(stderr)?.[0];
  });
  await check("jupyter console: cells, an error, and its end", [module("jupyter_console")], async () => {
    const said = await consoleSession(["const here = 6", "missing", "here * 20"]);
    must(/Cannot find name 'missing'[^]*Out\[3\]: 120/.test(said), `the console said:\n${said}`);
  });
  await check("nbclient runs a notebook", [module("nbclient")], () => {
    run([join(ROOT, "test/notebook/kernel/python/execute.py"), notebook, "nbclient.ipynb"]);
    return mustBeWhole(join(folder, "nbclient.ipynb"));
  });
  await check("papermill runs a notebook", [module("papermill")], () => {
    run(["-m", "papermill", "--no-progress-bar", notebook, "papermill.ipynb"]);
    return mustBeWhole(join(folder, "papermill.ipynb"));
  });
  await check("nbconvert makes a page of a notebook", [module("nbconvert")], () => {
    run(["-m", "nbconvert", "--to", "html", "--execute", "--output", "page.html", notebook]);
    const page = readFileSync(join(folder, "page.html"), "utf8");
    must(page.includes("as it should be") && page.includes("data:image/svg+xml"), "the page lacks outputs or pictures");
  });

  const chromium = { name: "Chromium (CHROMIUM names it)", there: browserPath() !== undefined };
  const lab = [module("jupyterlab"), chromium];
  Object.assign(process.env, { JUPYTER_PATH: env.JUPYTER_PATH });
  /** A page of a server that knows no signature but its own. */
  const inPage = async (file, options, work) => {
    const jupyter = await startJupyter({ python, folder });
    try {
      const page = await jupyter.open(file, options);
      await page.ready();
      return await work(page, jupyter);
    } finally {
      await jupyter.close();
    }
  };
  const saved = join(folder, "saved.ipynb");
  await check("JupyterLab: the notebook runs, its charts are drawn; saved and reopened without a kernel they are there again", lab, async () => {
    cpSync(notebook, saved);
    return inPage(saved, {}, async (page, jupyter) => {
      await page.runAll();
      const errors = (await page.outputs()).filter(({ output_type }) => output_type === "error");
      must(errors.length + page.problems.length === 0, JSON.stringify([errors, page.problems]));
      const before = await page.seen();
      must(
        before.some(({ charts }) => charts > 0),
        `no chart became interactive: ${JSON.stringify(before)}`,
      );
      await keepPictures(page, "lab");
      await page.save();
      await page.close();
      await jupyter.endKernels();
      const size = mustBeWhole(saved);
      const again = await jupyter.open(saved);
      await again.ready();
      const after = await again.seen();
      must(JSON.stringify(after) === JSON.stringify(before), `before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
      must(again.problems.length === 0, JSON.stringify(again.problems));
      await keepPictures(again, "reopened");
      return size;
    });
  });
  await check("JupyterLab, untrusted: pictures and tables are there, and no script", lab, () =>
    inPage(saved, {}, async (page) => {
      const seen = await page.seen();
      const told = JSON.stringify(seen);
      must(seen.length > 0 && seen.every(({ broken, scripts, charts }) => broken + scripts + charts === 0), told);
      must(
        seen.every(({ images, tables, text: characters }) => images + tables > 0 || characters > 0),
        `a cell shows nothing: ${told}`,
      );
      const shown = outputsOf(saved).filter(({ data: forms }) => forms?.["image/svg+xml"] !== undefined).length;
      const images = seen.reduce((sum, one) => sum + one.images, 0);
      must(images === shown, `${images} images of ${shown} pictures: ${told}`);
      await keepPictures(page, "untrusted");
      return `${images} pictures`;
    }),
  );
  await check("Notebook 7: the notebook runs, its charts are drawn", [module("notebook"), ...lab], async () => {
    const own = join(folder, "notebook7.ipynb");
    cpSync(notebook, own);
    return inPage(own, { app: "notebook" }, async (page) => {
      await page.runAll();
      const errors = (await page.outputs()).filter(({ output_type }) => output_type === "error");
      must(errors.length + page.problems.length === 0, JSON.stringify([errors, page.problems]));
      const seen = await page.seen();
      must(
        seen.some(({ charts }) => charts > 0),
        `no chart became interactive: ${JSON.stringify(seen)}`,
      );
      await keepPictures(page, "notebook7");
      await page.save();
      return mustBeWhole(own);
    });
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exitCode = counts.failed === 0 ? 0 : 1;

/** What a console says to these lines, each typed when the console asks for it; then the input ends. */
function consoleSession(lines) {
  const args = ["-m", "jupyter_console", "--simple-prompt", "--ZMQTerminalInteractiveShell.confirm_exit=False", "--kernel", "drey"];
  const shell = spawn(python, args, { cwd: folder, env, stdio: "pipe" });
  return new Promise((done, reject) => {
    let said = "";
    let heard = 0;
    const late = setTimeout(() => {
      shell.kill("SIGKILL");
      reject(new Error(`the console did not end; it said:\n${said}`));
    }, 120_000);
    const hear = (bytes) => {
      said += bytes;
      for (const prompts = said.match(/In \[\d+\]: /g)?.length ?? 0; heard < prompts; heard++) {
        const line = lines.shift();
        if (line === undefined) shell.stdin.end();
        else shell.stdin.write(`${line}\n`);
      }
    };
    shell.stdout.on("data", hear);
    shell.stderr.on("data", (bytes) => (said += bytes));
    shell.once("close", () => {
      clearTimeout(late);
      done(said);
    });
  });
}
