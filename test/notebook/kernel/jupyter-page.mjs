/**
 * JupyterLab in a real browser: opens a notebook on our kernel, runs it, and takes pictures. `openLab` is used by run.mjs and by hand:
 *
 *     node test/notebook/kernel/jupyterlab.mjs <python> <notebook> <folder for pictures>
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** A port that nobody listens on now. */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** JupyterLab and a browser that shows a notebook. Whoever opens it closes it. */
export async function openLab({ python, notebook, browser = BROWSERS.find(Boolean), width = 1100, height = 1400 }) {
  const port = await freePort();
  const home = mkdtempSync(join(tmpdir(), "drey-lab-"));
  const args = ["-m", "jupyterlab", "--no-browser", "--allow-root", `--port=${port}`, "--IdentityProvider.token=", "--ServerApp.password="];
  args.push("--LabApp.expose_app_in_browser=True", "--ServerApp.port_retries=0", `--ServerApp.root_dir=${dirname(notebook)}`);
  const env = {
    ...process.env,
    JUPYTER_CONFIG_DIR: home,
    JUPYTERLAB_SETTINGS_DIR: join(home, "settings"),
    JUPYTERLAB_WORKSPACES_DIR: join(home, "spaces"),
  };
  const server = spawn(python, args, { cwd: dirname(notebook), env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [server.stdout, server.stderr]) stream.on("data", (text) => (log += text));
  const close = async () => {
    await context?.close();
    server.kill("SIGTERM");
    await new Promise((resolve) => (server.exitCode === null ? server.once("exit", resolve) : resolve()));
    rmSync(home, { recursive: true, force: true });
  };
  let context;
  try {
    for (let tries = 0; ; tries++) {
      const up = await fetch(`http://127.0.0.1:${port}/api`).then(
        (answer) => answer.ok,
        () => false,
      );
      if (up) break;
      if (tries > 300 || server.exitCode !== null) throw new Error(`JupyterLab did not start:\n${log}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update"];
    context = await chromium.launchPersistentContext(join(home, "browser"), {
      executablePath: browser,
      headless: true,
      viewport: { width, height },
      args: flags,
    });
    const page = context.pages()[0] ?? (await context.newPage());
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.goto(`http://127.0.0.1:${port}/lab/tree/${basename(notebook)}?reset`, { waitUntil: "domcontentloaded" });
    await page.waitForFunction(() => window.jupyterapp?.shell?.currentWidget?.content?.widgets !== undefined, null, { timeout: 60_000 });
    await page.evaluate(() => window.jupyterapp.shell.currentWidget.sessionContext.ready);
    return {
      page,
      problems,
      close,
      /** Runs all cells; resolves when the kernel is idle again. */
      async runAll(timeout = 120_000) {
        await page.evaluate(() => void window.jupyterapp.commands.execute("notebook:run-all-cells"));
        await page.waitForTimeout(300);
        const done = () => {
          const { content, sessionContext } = window.jupyterapp.shell.currentWidget;
          const idle = sessionContext.session.kernel.status === "idle";
          return idle && content.widgets.every(({ model, promptNode }) => model.type !== "code" || promptNode.textContent !== "[*]:");
        };
        await page.waitForFunction(done, null, { timeout });
      },
      outputs: () =>
        page.evaluate(() =>
          window.jupyterapp.shell.currentWidget.content.widgets.flatMap(({ model }) =>
            model.type === "code" ? model.outputs.toJSON() : [],
          ),
        ),
      /** Scrolls, cell by cell, until something is there: JupyterLab draws only what is near the window. */
      async scrollTo(selector) {
        const cells = await page.evaluate(() => window.jupyterapp.shell.currentWidget.content.widgets.length);
        for (let index = 0; index < cells; index++) {
          await page.evaluate((at) => void window.jupyterapp.shell.currentWidget.content.scrollToItem(at), index);
          await page.waitForTimeout(300);
          if ((await page.locator(selector).count()) > 0) return true;
        }
        return false;
      },
      save: () => page.evaluate(() => window.jupyterapp.commands.execute("docmanager:save")),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [, , python, notebook, pictures] = process.argv;
  mkdirSync(pictures, { recursive: true });
  const lab = await openLab({ python, notebook });
  try {
    const began = performance.now();
    await lab.runAll();
    console.log(`ran in ${((performance.now() - began) / 1000).toFixed(1)} s; page errors: ${JSON.stringify(lab.problems)}`);
    const cells = await lab.page.locator(".jp-Notebook .jp-Cell").count();
    for (let index = 0; index < cells; index += 6) {
      await lab.page.locator(".jp-Notebook .jp-Cell").nth(index).scrollIntoViewIfNeeded();
      await lab.page.waitForTimeout(400);
      await lab.page.screenshot({ path: join(pictures, `${basename(notebook, ".ipynb")}-${index}.png`) });
    }
    const errors = (await lab.outputs()).filter(({ output_type }) => output_type === "error");
    console.log(`errors: ${JSON.stringify(errors.map(({ evalue }) => evalue))}`);
  } finally {
    await lab.close();
  }
}
