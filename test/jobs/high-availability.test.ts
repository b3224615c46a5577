/** Jobs that outlive their JobManager: real processes, killed. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { environment } from "drey";
import { afterEach, describe, expect, it, vi } from "vitest";

const role = (name: "jobmanager" | "taskmanager"): string => fileURLToPath(new URL(`../../dist/cluster/${name}/main.js`, import.meta.url));
const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** A cluster whose JobManagers keep their jobs in a folder. */
class Cluster {
  readonly folder: string = mkdtempSync(path.join(tmpdir(), "drey-ha-"));
  readonly address: string = `ipc://${this.folder}/jm`;
  readonly #flags = [`-Djobmanager.rpc.address=${this.address}`, "-Dheartbeat.interval=300 ms", "-Dheartbeat.timeout=15 s"];

  constructor() {
    cleanups.push(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  async jobManager(): Promise<ChildProcess> {
    const process = this.#start("jobmanager", [
      "-Dhigh-availability.type=filesystem", `-Dhigh-availability.storageDir=${this.folder}/ha`, "-Dhigh-availability.lease-timeout=500 ms",
    ]);
    await once(process, "message");
    return process;
  }

  taskManager(id: string): ChildProcess {
    return this.#start("taskmanager", ["--id", id]);
  }

  #start(name: "jobmanager" | "taskmanager", args: readonly string[]): ChildProcess {
    const process = fork(role(name), [...this.#flags, ...args], { execArgv: [], stdio: ["ignore", "ignore", "ignore", "ipc"] });
    const exited = once(process, "exit");
    cleanups.push(() => {
      process.kill("SIGKILL");
      return exited;
    });
    return process;
  }
}

async function kill(process: ChildProcess): Promise<void> {
  const exited = once(process, "exit");
  process.kill("SIGKILL");
  await exited;
}

describe("a job whose JobManager is killed", () => {
  it("goes on under the next one from its last checkpoint, and its subscriber sees every row once", { timeout: 120_000 }, async () => {
    const cluster = new Cluster();
    const [first] = [await cluster.jobManager(), cluster.taskManager("one"), cluster.taskManager("two")];
    const spare = cluster.taskManager("three");
    const COUNT = 16_000;
    const env = environment({ cluster: cluster.address, printLogs: false, configuration: { "parallelism.default": 2 } }).enableCheckpointing(200);
    cleanups.push(() => env.close());
    const counted = env
      .generate((n) => ({ key: n % 10, count: 1 }), { count: COUNT, rowsPerSecond: 2_000 })
      .keyBy((row) => row.key)
      .reduce((a, b) => ({ key: a.key, count: a.count + b.count }));
    const job = await env.submit({ name: "counts", outputs: { counted } });
    const last = new Map<number, number>();
    const wrong: string[] = [];
    const ended = new Promise<void>((resolve, reject) => {
      job.outputs.counted.subscribe({
        next: ({ key, count }) => {
          if (count !== (last.get(key) ?? 0) + 1) wrong.push(`${key}: ${count} after ${last.get(key)}`);
          last.set(key, count);
        },
        complete: resolve,
        error: reject,
      });
    });
    await vi.waitFor(() => expect([...last.values()].reduce((a, b) => a + b, 0)).toBeGreaterThan(2_000), { timeout: 40_000, interval: 20 });
    // First a TaskManager, then, in the middle of the recovery perhaps, the JobManager.
    await kill(spare);
    await kill(first);
    await cluster.jobManager();
    await ended;
    expect(wrong).toEqual([]);
    expect([...last.values()]).toEqual(Array.from({ length: 10 }, () => COUNT / 10));
    // Nothing is kept of a job that has ended.
    await vi.waitFor(() => expect(existsSync(`${cluster.folder}/ha/default/jobs/${job.id}`)).toBe(false), { timeout: 30_000, interval: 50 });
  });
});
