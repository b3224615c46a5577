/** What is left of a program that ends in the middle of a job with checkpoints, state on disk and a cluster of its own: nothing. */
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Program, ProgramFolder } from "../cluster/local/programs.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });
const deadline = { timeout: 30_000, interval: 50 };
const hasLmdb = ((): boolean => {
  try {
    return createRequire(import.meta.url).resolve("lmdb") !== "";
  } catch {
    return false;
  }
})();

/** Says "running" when a checkpoint is complete, and never ends. */
const FOREVER = `
  import { environment } from "drey";
  const env = environment({ parallelism: 2, configuration: { "state.backend.type": "${hasLmdb ? "lmdb" : "heap"}" } });
  env.enableCheckpointing("100 ms");
  env.generate((i) => i, { rowsPerSecond: 1_000 }).keyBy((x) => x % 100).reduce((a, b) => a + b).sinkTo(() => undefined);
  const job = await env.submit("forever");
  job.checkpoints$.subscribe(({ completed }) => completed === 2 && console.log("running"));
  await job.result();`;

let folder: ProgramFolder;
beforeEach(() => {
  folder = new ProgramFolder();
});
afterEach(() => folder.remove());

const files = (): string[] => readdirSync(folder.env["TMPDIR"] as string);

async function running(program: Program): Promise<Program> {
  await program.said(/running\n/);
  expect(files()).not.toEqual([]);
  return program;
}

async function nothingIsLeft(): Promise<void> {
  await vi.waitFor(() => expect([...folder.processes, ...files()]).toEqual([]), deadline);
}

describe("drey run", () => {
  it("leaves nothing when ctrl-C reaches all of its terminal's processes", async () => {
    folder.write("forever.mjs", FOREVER);
    const program = await running(folder.drey("run", "forever.mjs"));
    program.killGroup("SIGINT");
    expect((await program.ended).code).toBe(130);
    await nothingIsLeft();
  });

  it("leaves nothing when ctrl-C comes again and again", async () => {
    folder.write("forever.mjs", FOREVER);
    const program = await running(folder.drey("run", "forever.mjs"));
    program.killGroup("SIGINT");
    await program.said(/once more ctrl-C ends at once/, "stderr");
    program.killGroup("SIGINT");
    await program.ended;
    await nothingIsLeft();
  });

  it.each(["SIGKILL", "SIGHUP"] as const)("leaves nothing when it gets %s", async (signal) => {
    folder.write("forever.mjs", FOREVER);
    const program = await running(folder.drey("run", "forever.mjs"));
    program.killGroup(signal);
    await program.ended;
    await nothingIsLeft();
  });
});

describe("a program", () => {
  it("that is killed with all of its cluster leaves files, and the next one removes them", async () => {
    const program = await running(folder.node("forever.mjs", FOREVER));
    const pids = folder.processes.map((found) => Number.parseInt(found, 10));
    expect(pids.length).toBeGreaterThan(2);
    // Stopped first: nobody sees the others end.
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    for (const pid of pids) process.kill(pid, "SIGKILL");
    await program.ended;
    await vi.waitFor(() => expect(folder.processes).toEqual([]), deadline);
    expect(files()).not.toEqual([]);
    const next = folder.node("next.mjs", 'import { environment } from "drey"; console.log(await environment().of(1, 2).map((x) => x + 1).collect());');
    expect((await next.ended).code, next.stderr).toBe(0);
    await nothingIsLeft();
  });
});
