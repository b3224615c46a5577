/** What a newcomer runs first: it tells its story, writes its report, and leaves nothing behind. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { runs } from "../cluster/local/programs.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DEADLINE_MS = 180_000;

let folder = "";
let running: ChildProcess | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drey-start-"));
});
afterEach(() => {
  running?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** `npm start` without the build, in a folder of its own, which is also where temporary files go. */
function start(rowsPerSecond: number): { readonly said: () => string; readonly ended: Promise<number | null>; readonly process: ChildProcess } {
  const args = [join(ROOT, "dist/cluster/cli.js"), "run", "--quiet", join(ROOT, "examples/flights/start.ts"), String(rowsPerSecond)];
  const env = { ...process.env, TMPDIR: folder, XDG_RUNTIME_DIR: "", DREY_RUNTIME_DIR: "" };
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ["ignore", "pipe", "pipe"] });
  running = child;
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text: Buffer) => (said += text.toString()));
  return { said: () => said, ended: new Promise((resolve) => child.once("close", resolve)), process: child };
}

/** The processes that a process has started. */
function childrenOf(parent: number | undefined): number[] {
  const table = execFileSync("ps", ["-eo", "pid=,ppid="], { encoding: "utf8" }).trim().split("\n");
  return table.map((line) => line.trim().split(/\s+/).map(Number)).flatMap(([pid = 0, ppid]) => (ppid === parent ? [pid] : []));
}


test("the flights job tells what it does, what came out, and leaves a report and nothing else", { timeout: DEADLINE_MS }, async () => {
  const program = start(8_000);
  await expect.poll(program.said, { timeout: 60_000 }).toContain("flights in");
  const cluster = childrenOf(program.process.pid);
  expect(await program.ended).toBe(0);
  const said = program.said();
  expect(said).toContain("20,000 flights of January to March 2001");
  expect(said).toMatch(/FINISHED .* 20,000 flights in, 6,\d{3} rows out/);
  expect(said).toMatch(/JFK +John F Kennedy Intl +\d+ +1\d/);
  expect(said).toMatch(/\d+ of 20,000 flights came after their day was over/);
  // No terminal: no escape codes.
  expect(said).not.toContain("\u001b");
  expect(readdirSync(folder)).toEqual(["report.html"]);
  const report = readFileSync(join(folder, "report.html"), "utf8");
  const pictures = ["stream graph", "job graph", "execution graph", "How the slots spent their time", "Good days and bad days"];
  for (const title of pictures) expect(report).toContain(title);
  expect(report).not.toMatch(/(?:src|href)="https?:/);
  expect(cluster).toHaveLength(3);
  expect(cluster.filter(runs)).toEqual([]);
});

test("ctrl-C ends the flights job in the middle, and its cluster", { timeout: DEADLINE_MS }, async () => {
  const program = start(500);
  await expect.poll(program.said, { timeout: 60_000 }).toMatch(/RUNNING .* [1-9]\d* rows out/);
  const cluster = childrenOf(program.process.pid);
  expect(cluster).toHaveLength(3);
  program.process.kill("SIGINT");
  expect(await program.ended).toBe(130);
  expect(program.said()).toContain("Cancelled.");
  expect(program.said()).not.toContain("Error");
  expect(readdirSync(folder)).toEqual([]);
  expect(cluster.filter(runs)).toEqual([]);
});
