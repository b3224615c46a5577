/**
 * Notebooks in a real browser: a Jupyter server of its own folder, and pages of JupyterLab and Notebook 7 on it, driven as a person drives
 * them. `startJupyter` is used by run.mjs and by the benchmark `notebook`; by hand this file runs a notebook and takes pictures of it:
 *
 *     node test/notebook/kernel/jupyter-page.mjs <python> <notebook> <folder for pictures> [lab | notebook] [dark]
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--enable-precise-memory-info",
];
/** A loaded machine takes its time. */
const PATIENCE_MS = 120_000;

/** The browser that is used; undefined where there is none. */
export const browserPath = () => BROWSERS.find((file) => file && existsSync(file));

/** A port that nobody listens on now. */
function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/**
 * A Jupyter server over a folder, and a browser. It trusts no notebook but those that were run and saved in it: its signatures are its
 * own. Whoever starts it closes it.
 */
export async function startJupyter({ python, folder, browser = browserPath() }) {
  const port = await freePort();
  const home = mkdtempSync(join(tmpdir(), "drey-lab-"));
  const args = ["-m", "jupyterlab", "--no-browser", "--allow-root", `--port=${port}`, "--IdentityProvider.token=", "--ServerApp.password="];
  args.push("--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True");
  args.push("--ServerApp.port_retries=0", `--ServerApp.root_dir=${folder}`, "--ServerApp.disable_check_xsrf=True");
  const env = {
    ...process.env,
    JUPYTER_CONFIG_DIR: home,
    JUPYTER_DATA_DIR: join(home, "data"),
    JUPYTERLAB_SETTINGS_DIR: join(home, "settings"),
    JUPYTERLAB_WORKSPACES_DIR: join(home, "spaces"),
  };
  const server = spawn(python, args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  const address = `http://127.0.0.1:${port}`;
  let log = "";
  let context;
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => (log += text));
  const close = async () => {
    await context?.close();
    server.kill("SIGTERM");
    const late = setTimeout(() => server.kill("SIGKILL"), 20_000);
    await new Promise((done) => (server.exitCode === null && server.signalCode === null ? server.once("exit", done) : done()));
    clearTimeout(late);
    rmSync(home, { recursive: true, force: true });
  };
  const up = async () => {
    const answer = await fetch(`${address}/api`).catch(() => undefined);
    return answer?.ok === true;
  };
  try {
    for (const end = Date.now() + PATIENCE_MS; !(await up()); await new Promise((done) => setTimeout(done, 100)))
      if (Date.now() > end || server.exitCode !== null) throw new Error(`Jupyter did not start:\n${log}`);
    context = await chromium.launchPersistentContext(join(home, "browser"), {
      executablePath: browser,
      headless: true,
      viewport: { width: 1100, height: 1400 },
      args: FLAGS,
    });
  } catch (error) {
    await close();
    throw error;
  }
  const sessions = async () => (await fetch(`${address}/api/sessions`)).json();
  return {
    close,
    sessions,
    /** Ends every kernel; resolves when they are gone. */
    async endKernels() {
      for (const { id } of await sessions()) await fetch(`${address}/api/sessions/${id}`, { method: "DELETE" });
    },
    /** Opens a notebook of the folder in a page of JupyterLab ("lab") or Notebook 7 ("notebook"). Whoever opens it closes it. */
    async open(notebook, { app = "lab", dark = false } = {}) {
      const page = await context.newPage();
      const problems = [];
      page.on("pageerror", (error) => problems.push(String(error)));
      if (dark) await page.emulateMedia({ colorScheme: "dark" });
      const path = app === "lab" ? `lab/tree/${basename(notebook)}?reset` : `notebooks/${basename(notebook)}`;
      const beganAt = performance.now();
      await page.goto(`${address}/${path}`, { waitUntil: "domcontentloaded" });
      return new NotebookPage(page, problems, beganAt);
    },
  };
}

/** One notebook in one page. */
class NotebookPage {
  constructor(page, problems, beganAt) {
    this.page = page;
    /** What was thrown in the page since it was ready. */
    this.problems = problems;
    /** When the page began to load: `performance.now()` of this process. */
    this.beganAt = beganAt;
  }

  /** Resolves when the notebook is there and its kernel answers. */
  async ready() {
    const there = () => window.jupyterapp?.shell?.currentWidget?.content?.widgets !== undefined;
    await this.page.waitForFunction(there, null, { timeout: PATIENCE_MS });
    await this.page.evaluate(() => window.jupyterapp.shell.currentWidget.sessionContext.ready);
    // What a front end throws while it starts (Notebook 7.6 does) is its own.
    this.problems.length = 0;
  }

  /** Light or dark, as one chooses it in JupyterLab's and Notebook's settings. */
  async theme(name) {
    await this.page.evaluate((theme) => window.jupyterapp.commands.execute("apputils:change-theme", { theme }), `JupyterLab ${name}`);
    await this.page.waitForFunction((light) => document.body.dataset.jpThemeLight === light, String(name === "Light"));
  }

  command(name) {
    return this.page.evaluate((id) => window.jupyterapp.commands.execute(id), name);
  }

  /** Starts all cells. */
  async startAll() {
    await this.page.evaluate(() => void window.jupyterapp.commands.execute("notebook:run-all-cells"));
  }

  /** Runs all cells; resolves when each has ended. */
  async runAll(timeout = PATIENCE_MS) {
    await this.page.evaluate(() => {
      window.dreyRan = false;
      void window.jupyterapp.commands.execute("notebook:run-all-cells").then(() => (window.dreyRan = true));
    });
    await this.page.waitForFunction(() => window.dreyRan, null, { timeout });
  }

  outputs() {
    return this.page.evaluate(() =>
      window.jupyterapp.shell.currentWidget.content.widgets.flatMap(({ model }) => (model.type === "code" ? model.outputs.toJSON() : [])),
    );
  }

  cells() {
    return this.page.evaluate(() => window.jupyterapp.shell.currentWidget.content.widgets.length);
  }

  /** Brings a cell into the window: front ends draw only what is near it. */
  async scrollToCell(index) {
    await this.page.evaluate((at) => window.jupyterapp.shell.currentWidget.content.scrollToItem(at, "start"), index);
    await this.page.waitForTimeout(300);
  }

  /** Scrolls, cell by cell, until something is there. */
  async scrollTo(selector) {
    for (let index = 0, cells = await this.cells(); index < cells; index++) {
      await this.scrollToCell(index);
      if ((await this.page.locator(selector).count()) > 0) return true;
    }
    return false;
  }

  /**
   * What a reader sees of each code cell with outputs, from top to bottom: images that are really drawn, interactive charts, tables,
   * characters of text; and scripts that stand in its outputs.
   */
  async seen() {
    const seen = [];
    for (let index = 0, cells = await this.cells(); index < cells; index++) {
      await this.scrollToCell(index);
      const has = await this.page.evaluate((at) => {
        const { node, model } = window.jupyterapp.shell.currentWidget.content.widgets[at];
        const area = node.querySelector(".jp-Cell-outputArea");
        if (model.type !== "code" || area === null || model.outputs.length === 0) return undefined;
        const images = [...area.querySelectorAll("img")];
        return {
          images: images.filter((it) => it.complete && it.naturalWidth > 0 && it.clientWidth > 50).length,
          broken: images.filter((it) => !it.complete || it.naturalWidth === 0).length,
          charts: area.querySelectorAll(".js-plotly-plot").length,
          tables: area.querySelectorAll("table").length,
          scripts: area.querySelectorAll("script").length,
          text: area.innerText.trim().length,
          outputs: model.outputs.length,
        };
      }, index);
      if (has !== undefined) seen.push(has);
    }
    return seen;
  }

  save() {
    return this.command("docmanager:save");
  }

  /** Pictures of the whole notebook, window by window. */
  async pictures(folder, name) {
    mkdirSync(folder, { recursive: true });
    const cells = await this.cells();
    // What is drawn when it is first seen is drawn by then.
    for (let index = 0; index < cells; index++) await this.scrollToCell(index);
    await this.scrollToCell(0);
    for (let index = 0; ; index++) {
      await this.page.waitForTimeout(500);
      await this.page.screenshot({ path: join(folder, `${name}-${String(index).padStart(2, "0")}.png`) });
      const more = await this.page.evaluate(() => {
        const outer = document.querySelector(".jp-WindowedPanel-outer");
        const before = outer.scrollTop;
        outer.scrollTop += outer.clientHeight - 60;
        return outer.scrollTop > before + 5;
      });
      if (!more) break;
    }
  }

  close() {
    return this.page.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , python, notebook, pictures, app = "lab", dark] = process.argv;
  const jupyter = await startJupyter({ python, folder: resolve(notebook, "..") });
  try {
    const page = await jupyter.open(notebook, { app, dark: dark !== undefined });
    await page.ready();
    if (dark !== undefined) await page.theme("Dark");
    const began = performance.now();
    await page.runAll();
    console.log(`ran in ${((performance.now() - began) / 1000).toFixed(1)} s; thrown in the page: ${JSON.stringify(page.problems)}`);
    await page.pictures(pictures, `${basename(notebook, ".ipynb")}-${app}${dark === undefined ? "" : "-dark"}`);
    const errors = (await page.outputs()).filter(({ output_type }) => output_type === "error");
    console.log(`errors: ${JSON.stringify(errors.map(({ evalue }) => evalue))}`);
  } finally {
    await jupyter.close();
  }
}
