/** Jobs that outlive their JobManager: real processes, killed. */
import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
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
  readonly address: string = this.addressOf("jm");
  readonly shared: readonly string[] = ["-Dhigh-availability.type=filesystem", `-Dhigh-availability.storageDir=${this.folder}/ha`];

  constructor() {
    cleanups.push(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  addressOf(name: string): string {
    return `ipc://${this.folder}/${name}`;
  }

  /** Resolves when it leads. */
  async jobManager(address: string = this.address): Promise<ChildProcess> {
    const process = this.standby(address);
    await once(process, "message");
    return process;
  }

  standby(address: string): ChildProcess {
    return this.#start("jobmanager", [`-Djobmanager.rpc.address=${address}`, ...this.shared, "-Dhigh-availability.lease-timeout=1 s"]);
  }

  taskManager(id: string, finds: readonly string[] = [`-Djobmanager.rpc.address=${this.address}`]): ChildProcess {
    return this.#start("taskmanager", ["--id", id, ...finds]);
  }

  #start(name: "jobmanager" | "taskmanager", args: readonly string[]): ChildProcess {
    const flags = ["-Dheartbeat.interval=300 ms", "-Dheartbeat.timeout=15 s", ...args];
    const process = fork(role(name), flags, { execArgv: [], stdio: ["ignore", "ignore", "ignore", "ipc"] });
    const exited = once(process, "exit");
    cleanups.push(() => {
      process.kill("SIGKILL");
      return exited;
    });
    return process;
  }
}

const drey = async (...args: readonly string[]): Promise<string> => {
  const program = fileURLToPath(new URL("../../dist/cluster/cli.js", import.meta.url));
  return (await promisify(execFile)(process.execPath, [program, ...args], { timeout: 60_000 })).stdout;
};

async function kill(process: ChildProcess): Promise<void> {
  // On a busy machine it may have been overtaken, and have ended by itself.
  if (process.exitCode !== null) return;
  const exited = once(process, "exit");
  process.kill("SIGKILL");
  await exited;
}

const COUNT = 16_000;

/** A job of several seconds that counts by ten keys, and what its subscriber sees: every count of every key once, in order. */
async function count(address: string, rows: number = COUNT): Promise<{
  readonly job: { readonly id: string; cancel(): Promise<unknown> };
  readonly seen: { rows: number; readonly wrong: string[] };
  readonly ended: Promise<void>;
}> {
  const env = environment({ cluster: address, printLogs: false, configuration: { "parallelism.default": 2 } }).enableCheckpointing(200);
  cleanups.push(() => env.close());
  const counted = env
    .generate((n) => ({ key: n % 10, count: 1 }), { count: rows, rowsPerSecond: 2_000 })
    .keyBy((row) => row.key)
    .reduce((a, b) => ({ key: a.key, count: a.count + b.count }));
  const job = await env.submit({ name: "counts", outputs: { counted } });
  const last = new Map<number, number>();
  const seen = { rows: 0, wrong: [] as string[] };
  const ended = new Promise<void>((resolve, reject) => {
    job.outputs.counted.subscribe({
      next: ({ key, count: counts }) => {
        seen.rows++;
        if (counts !== (last.get(key) ?? 0) + 1) seen.wrong.push(`${key}: ${counts} after ${last.get(key)}`);
        last.set(key, counts);
      },
      complete: resolve,
      error: reject,
    });
  });
  return { job, seen, ended };
}

describe("a job whose JobManager is killed", () => {
  it("goes on under the next one from its last checkpoint, and its subscriber sees every row once", { timeout: 120_000 }, async () => {
    const cluster = new Cluster();
    const [first] = [await cluster.jobManager(), cluster.taskManager("one"), cluster.taskManager("two")];
    const spare = cluster.taskManager("three");
    const { job, seen, ended } = await count(cluster.address);
    await vi.waitFor(() => expect(seen.rows).toBeGreaterThan(2_000), { timeout: 40_000, interval: 20 });
    // First a TaskManager, then, in the middle of the recovery perhaps, the JobManager.
    await kill(spare);
    await kill(first);
    await cluster.jobManager();
    await ended;
    expect(seen).toEqual({ rows: COUNT, wrong: [] });
    // Nothing is kept of a job that has ended.
    await vi.waitFor(() => expect(existsSync(`${cluster.folder}/ha/default/jobs/${job.id}`)).toBe(false), { timeout: 30_000, interval: 50 });
  });

  it("goes on at another address, where TaskManagers, clients and commands find it", { timeout: 120_000 }, async () => {
    const cluster = new Cluster();
    const [one, two] = [cluster.addressOf("one"), cluster.addressOf("two")];
    const first = await cluster.jobManager(one);
    const standby = cluster.standby(two);
    const leads = once(standby, "message");
    await vi.waitFor(() => expect(existsSync(`${cluster.folder}/two`)).toBe(true), { timeout: 40_000, interval: 20 });
    // One knows where to look it up, the other both addresses, the standby first: it is sent on.
    cluster.taskManager("looks-up", cluster.shared);
    cluster.taskManager("asks", [`-Djobmanager.rpc.address=${two},${one}`]);
    // So long that it runs until it is cancelled.
    const { job, seen, ended } = await count(`${one},${two}`, 1_000 * COUNT);
    let failure: unknown;
    ended.catch((error: unknown) => (failure = error));
    expect(await drey("list", ...cluster.shared)).toContain(job.id);
    expect(await drey("list", "-m", two)).toContain(job.id);
    await vi.waitFor(() => expect(seen.rows).toBeGreaterThan(2_000), { timeout: 40_000, interval: 20 });
    await kill(first);
    const before = seen.rows;
    await leads;
    await vi.waitFor(() => expect(seen.rows).toBeGreaterThan(before + 2_000), { timeout: 60_000, interval: 20 });
    expect(failure).toBe(undefined);
    expect(await drey("list", ...cluster.shared)).toContain(job.id);
    expect(await drey("list", "-m", `${one},${two}`)).toContain(job.id);
    await job.cancel();
    await expect(ended).rejects.toThrow(/cancel/i);
    expect(seen.wrong).toEqual([]);
  });
});
