/**
 * Faults in real processes: tasks that throw, TaskManagers that are killed, stopped or crash, checkpoints that rot. Each scenario runs the
 * oracle's job (oracle.ts) through its misfortune and then asks for the content of the output: nothing lost, nothing twice.
 */
import { execFileSync, spawn } from "node:child_process";
import { once as event } from "node:events";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { JobFailedError, discard, environment } from "drey";
import { describe, expect, test, vi } from "vitest";
import { ask, asked, once } from "./oracle.ts";
import { runs } from "../cluster/local/programs.ts";
import { Scenario, deadline, until } from "./scenario.ts";

vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

/** About three seconds of rows. */
const SHORT_RUN = { rows: 12_000, rowsPerSecond: 4_000 };

describe("tasks", () => {
  test("1: a function that throws once is restarted from the last checkpoint", async () => {
    await using it = await Scenario.start({
      ...SHORT_RUN,
      before: (_row, folder) => {
        if (asked(folder) && once(folder, "throw")) throw new Error("only once");
      },
    });
    await it.checkpointed(2);
    ask(it.oracle.folder);
    await it.verdict(1);
  });

  test("2: a function that always throws fails its job when the restarts are used up, and no other", async () => {
    await using it = await Scenario.start({
      ...SHORT_RUN,
      options: { "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": 2, "restart-strategy.fixed-delay.delay": "50 ms" },
      before: (row) => {
        if (row.number > 300) throw new RangeError("always");
      },
    });
    const neighbour = environment({ cluster: it.client, parallelism: 1 });
    neighbour.generate((i) => i, { rowsPerSecond: 100 }).sinkTo(discard());
    const other = await neighbour.submit("neighbour");
    const failure = await deadline(it.job.result(), 30_000, "the failure").then(() => undefined, (error: unknown) => error as JobFailedError);
    expect(failure).toBeInstanceOf(JobFailedError);
    expect(failure?.message).toContain("RangeError: always");
    const { executions } = await it.job.details();
    expect(Math.max(...executions.map(({ attempt }) => attempt))).toBe(2);
    expect((await other.details()).state).toBe("RUNNING");
    await until("the failed job's slots are free", async () => (await it.client.overview()).slotsFree === 3);
    expect(it.oracle.violations()).toEqual([]);
    await other.cancel();
  });

  test("8: a function that never returns does not keep a job from being cancelled, nor its slots", async () => {
    await using it = await Scenario.start({
      ...SHORT_RUN,
      options: { "task.cancellation.timeout": "500 ms" },
      before: (row, folder) => {
        if (row.number < 300) return;
        once(folder, "stuck");
        for (;;);
      },
    });
    await it.until("a function is stuck", () => existsSync(join(it.oracle.folder, "once-stuck")));
    await deadline(it.job.cancel(), 15_000, "the cancellation");
    await until("all slots are free", async () => (await it.client.overview()).slotsFree === 4);
  });

  test("9: state that outgrows its heap fails its job alone", async () => {
    await using it = await Scenario.start({
      ...SHORT_RUN,
      options: { "taskmanager.memory.task.heap.size": "64 mb", "restart-strategy.type": "none" },
      before: (row) => {
        const held = ((globalThis as { held?: unknown[] }).held ??= []);
        for (let i = 0; i < 2_000; i++) held.push({ row, i, text: `${row.key} ${i}` });
      },
    });
    const pids = await it.busyTaskManagers();
    const failure = await deadline(it.job.result(), 60_000, "the failure").then(() => undefined, (error: unknown) => error as Error);
    expect(failure?.message).toMatch(/heap/);
    for (const pid of pids) expect(runs(pid)).toBe(true);
  });
});

describe("TaskManagers", () => {
  test("3: a TaskManager that is killed is replaced; its tasks go on from the last checkpoint", async () => {
    await using it = await Scenario.start(SHORT_RUN);
    await it.checkpointed(3);
    process.kill((await it.busyTaskManagers())[0] as number, "SIGKILL");
    await it.restored(1);
    await it.verdict(1);
  });

  test("4, 5: killed again and again while checkpoints follow one another without pause", async () => {
    await using it = await Scenario.start({ rows: 84_000, rowsPerSecond: 4_000, checkpointEveryMs: 20, taskManagers: 3 });
    for (let kill = 1; kill <= 4; kill++) {
      await it.checkpointed((it.checkpoints?.completed ?? 0) + 2);
      process.kill((await it.busyTaskManagers())[0] as number, "SIGKILL");
      await it.restored(kill);
    }
    await it.verdict(4);
  });

  test("6: a short sleep is no loss; a long one is, and what the sleeper still says counts for nothing", async () => {
    await using it = await Scenario.start({ rows: 32_000, rowsPerSecond: 4_000 });
    await it.checkpointed(2);
    const [pid] = (await it.busyTaskManagers()) as [number];
    process.kill(pid, "SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 400));
    process.kill(pid, "SIGCONT");
    await it.checkpointed((it.checkpoints?.completed ?? 0) + 2);
    expect(it.checkpoints?.restored).toBe(0);
    process.kill(pid, "SIGSTOP");
    try {
      await it.restored(1);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await it.verdict(1);
  });

  test("7: a TaskManager whose main loop is stuck while its sockets live is lost, and comes back when it goes on", async ({ skip }) => {
    await using it = await Scenario.start({ rows: 32_000, rowsPerSecond: 4_000 });
    await it.checkpointed(2);
    const [pid] = (await it.busyTaskManagers()) as [number];
    const busy = spawn(process.execPath, [program("busy-loop.mjs"), String(pid), "7000"], { stdio: ["ignore", "pipe", "inherit"] });
    const [code] = await Promise.race([event(busy.stdout, "data").then(() => [undefined]), event(busy, "exit")]);
    skip(code === 2, "the inspector of the TaskManager can't be reached: its port is taken");
    try {
      await it.restored(1);
      expect(runs(pid)).toBe(true);
    } finally {
      busy.kill("SIGKILL");
    }
    await it.until("it is back", async () => (await it.client.overview()).taskManagers.some((tm) => tm.pid === pid));
    await it.verdict(1);
    expect(it.cluster.restarts).toBe(0);
  });

  test("10: a crash of the whole process inside a function is survived", async () => {
    await using it = await Scenario.start({
      ...SHORT_RUN,
      before: (_row, folder) => {
        if (asked(folder) && once(folder, "crash")) process.kill(process.pid, "SIGSEGV");
      },
    });
    await it.checkpointed(2);
    ask(it.oracle.folder);
    await it.verdict(1);
    expect(it.cluster.restarts).toBe(1);
  });
});

describe("checkpoints", () => {
  test("17: a newest checkpoint that has rotted is passed over for the one before", async () => {
    using folder = new TestFolder();
    await using it = await Scenario.start({ ...SHORT_RUN, rows: 16_000, options: { "execution.checkpointing.dir": folder.path } });
    await it.checkpointed(4);
    const pids = await it.busyTaskManagers();
    const manifests = filesBelow(folder.path)
      .filter((path) => path.endsWith("/_metadata"))
      .sort((a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs);
    expect(manifests.length).toBeGreaterThan(1);
    const newest = manifests.at(-1) as string;
    const bytes = readFileSync(newest);
    const file = openSync(newest, "r+");
    writeSync(file, Buffer.from([~(bytes[bytes.length >> 1] as number) & 0xff]), 0, 1, bytes.length >> 1);
    closeSync(file);
    process.kill(pids[0] as number, "SIGKILL");
    await it.restored(1);
    await it.verdict(1);
  });

  test("17: a full disk costs checkpoints, which are tolerated, and nothing else", async ({ skip }) => {
    using folder = new TestFolder();
    const disk = join(folder.path, "disk");
    mkdirSync(disk);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=600k", "tmpfs", disk], { stdio: "pipe" });
    } catch (error) {
      skip(`a small disk can't be mounted here: ${(error as Error).message.trim()}`);
    }
    try {
      await using it = await Scenario.start({ rows: 24_000, rowsPerSecond: 4_000, options: { "execution.checkpointing.dir": disk } });
      await it.checkpointed(2);
      const filler = join(disk, "filler");
      fill(filler);
      const before = it.checkpoints?.failed ?? 0;
      await it.until("checkpoints fail", () => {
        // What an old checkpoint that is deleted had, the filler takes.
        fill(filler);
        return (it.checkpoints?.failed ?? 0) >= before + 3;
      });
      expect((await it.job.details()).state).toBe("RUNNING");
      expect(it.checkpoints?.restored).toBe(0);
      rmSync(filler);
      await it.checkpointed((it.checkpoints?.completed ?? 0) + 2);
      process.kill((await it.busyTaskManagers())[0] as number, "SIGKILL");
      await it.restored(1);
      await it.verdict(1);
    } finally {
      execFileSync("umount", ["-l", disk]);
    }
  });

  test.each([["aligned", false], ["unaligned", true]])("18: a slow consumer holds nobody's memory, and checkpoints go on (%s)", async (_name, unaligned) => {
    await using it = await Scenario.start({
      rows: 6_000,
      rowsPerSecond: 4_000,
      unaligned,
      options: { "taskmanager.memory.segment-size": "4 kb" },
      slowSink: () => {
        const until = performance.now() + 4;
        while (performance.now() < until);
      },
    });
    await it.checkpointed(3);
    process.kill((await it.busyTaskManagers())[0] as number, "SIGKILL");
    await it.verdict(1);
  });

  test("19: rescaled from 2 to 4 to 1 under load, and killed in between", async () => {
    await using it = await Scenario.start({ rows: 32_000, rowsPerSecond: 4_000, taskManagers: 3 });
    await it.checkpointed(2);
    await it.job.rescale(4);
    await it.running();
    await it.checkpointed((it.checkpoints?.completed ?? 0) + 1);
    process.kill((await it.busyTaskManagers())[0] as number, "SIGKILL");
    await it.running();
    await it.checkpointed((it.checkpoints?.completed ?? 0) + 1);
    await it.job.rescale(1);
    await it.running();
    await it.verdict(1);
  });
});

describe("JobManagers", () => {
  const HIGHLY_AVAILABLE = (folder: string): Record<string, unknown> => ({
    "high-availability.type": "filesystem",
    "high-availability.storageDir": join(folder, "ha"),
    "execution.checkpointing.dir": join(folder, "checkpoints"),
  });

  test("11: a JobManager that is killed is replaced; its jobs, and who looks on, go on", async () => {
    using folder = new TestFolder();
    await using it = await Scenario.start({ rows: 24_000, rowsPerSecond: 4_000, options: HIGHLY_AVAILABLE(folder.path) });
    await it.checkpointed(2);
    const before = it.cluster.processes.jobManager as number;
    process.kill(before, "SIGKILL");
    await until("another JobManager leads", () => ![undefined, before].includes(it.cluster.processes.jobManager));
    await it.verdict(0);
  });

  test("21: rows that a client is subscribed to come once each, through the death of a TaskManager and of the JobManager", async () => {
    using folder = new TestFolder();
    await using it = await Scenario.start({ ...SHORT_RUN, rows: 12, options: HIGHLY_AVAILABLE(folder.path) });
    const env = environment({ cluster: it.client, parallelism: 2, printLogs: false, configuration: HIGHLY_AVAILABLE(folder.path) });
    env.enableCheckpointing(150, { tolerableFailures: 1_000 });
    const counts = env
      .generate((i) => ({ key: i % 7, i }), { count: 30_000, rowsPerSecond: 3_000 })
      .keyBy((row) => row.key)
      .reduce((a, b) => ({ key: a.key, i: b.i }));
    const job = await env.submit({ name: "watched", outputs: { counts } });
    const seen = new Map<number, number>();
    const read = new Promise<void>((complete, error) =>
      job.outputs.counts.subscribe({ next: ({ i }) => seen.set(i, (seen.get(i) ?? 0) + 1), complete, error }),
    );
    await until("rows come", () => seen.size > 1_000);
    const { executions } = await job.details();
    const busy = (await it.client.overview()).taskManagers.find((tm) => executions.some((task) => task.taskManager === tm.taskManager));
    process.kill(busy?.pid as number, "SIGKILL");
    const soFar = seen.size;
    await until("rows come again", () => seen.size > soFar + 2_000);
    process.kill(it.cluster.processes.jobManager as number, "SIGKILL");
    await deadline(read, 60_000, "the last row");
    expect(seen.size).toBe(30_000);
    expect([...seen.values()].filter((times) => times !== 1)).toEqual([]);
  });
});

describe("everybody", () => {
  test("21: a cluster and its client that all slept for longer than a heartbeat's timeout go on, and nobody is lost", async () => {
    const sleeper = spawn(process.execPath, [program("sleeper.mjs")], { stdio: ["ignore", "pipe", "inherit"] });
    const lines: string[] = [];
    let text = "";
    sleeper.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      lines.splice(0, lines.length, ...text.split("\n").slice(0, -1));
    });
    try {
      await until("rows come", () => lines.length > 0, 40_000);
      const pids = [sleeper.pid as number, ...(JSON.parse(lines[0] as string) as number[])];
      for (const pid of pids) process.kill(pid, "SIGSTOP");
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      for (const pid of pids) process.kill(pid, "SIGCONT");
      await deadline(event(sleeper, "exit"), 60_000, "the program's end");
      expect(JSON.parse(lines[1] as string)).toEqual({ rows: 12_000, twice: 0, attempts: 0, restored: 0, restarts: 0 });
      expect(sleeper.exitCode).toBe(0);
    } finally {
      // Its processes end with it, those that sleep once they are woken.
      sleeper.kill("SIGKILL");
      for (const pid of JSON.parse(lines[0] ?? "[]") as number[]) if (runs(pid)) process.kill(pid, "SIGCONT");
    }
  });
});

/** Takes what room a disk has left. */
function fill(path: string): void {
  const file = openSync(path, "a");
  try {
    for (const bytes of [16_384, 4_096, 512]) {
      try {
        for (;;) if (writeSync(file, Buffer.alloc(bytes)) < bytes) break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    }
  } finally {
    closeSync(file);
  }
}

const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** A folder that is gone after the test. */
class TestFolder implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "drey-faults-"));

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).filter((it) => it.isFile()).map((it) => join(it.parentPath ?? it.path, it.name));
