import { existsSync, readdirSync } from "node:fs";
import { dirname } from "node:path";
import { ConfigurationError, ConnectionError, LocalCluster } from "drey";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ProgramFolder, runs } from "./programs.ts";

const deadline = { timeout: 30_000, interval: 20 };
const pidsOf = ({ processes }: LocalCluster): number[] =>
  [processes.jobManager, ...processes.taskManagers].filter((pid) => pid !== undefined);
const folderOf = (address: string): string => dirname(address.slice("ipc://".length));

describe("a local cluster", () => {
  let cluster: LocalCluster | undefined;
  afterEach(() => cluster?.stop());

  it("has its TaskManagers registered when it has started, and leaves nothing when it is stopped", async () => {
    cluster = await LocalCluster.start({ taskManagers: 2, slots: 3 });
    const client = await cluster.connect();
    expect(await client.overview()).toMatchObject({ slotsTotal: 6, slotsFree: 6, taskManagers: [{}, {}] });
    await client.close();
    const pids = pidsOf(cluster);
    expect(pids.map(runs)).toEqual([true, true, true]);
    await cluster.stop();
    expect(pids.map(runs)).toEqual([false, false, false]);
    expect(existsSync(folderOf(cluster.address))).toBe(false);
    expect(cluster.isRunning).toBe(false);
    await expect(cluster.addTaskManager()).rejects.toThrow("does not run any more");
  });

  it("gets more TaskManagers, and loses some by accident", async () => {
    cluster = await LocalCluster.start({ taskManagers: 1, slots: 1, restart: false });
    const client = await cluster.connect();
    expect(await cluster.addTaskManager()).toBe(1);
    expect((await client.overview()).slotsTotal).toBe(2);
    const [first] = cluster.processes.taskManagers;
    await cluster.killTaskManager(0);
    expect([runs(first as number), cluster.processes.taskManagers[0]]).toEqual([false, undefined]);
    await vi.waitFor(async () => expect((await client.overview()).slotsTotal).toBe(1), deadline);
    await client.close();
    await expect(cluster.killTaskManager(7)).rejects.toThrow(ConfigurationError);
  });

  it("replaces a TaskManager that ended by accident, and not one that was told to end", async () => {
    cluster = await LocalCluster.start({ taskManagers: 2, slots: 1 });
    const client = await cluster.connect();
    const [first] = cluster.processes.taskManagers;
    process.kill(first as number, "SIGKILL");
    await vi.waitFor(() => expect(cluster?.restarts).toBe(1), deadline);
    await vi.waitFor(async () => expect((await client.overview()).slotsTotal).toBe(2), deadline);
    expect(cluster.processes.taskManagers[0]).not.toBe(first);
    await cluster.killTaskManager(1, "SIGTERM");
    await vi.waitFor(async () => expect((await client.overview()).slotsTotal).toBe(1), deadline);
    await client.close();
    expect(cluster.restarts).toBe(1);
  });

  it("does not replace what ended with the cluster", async () => {
    cluster = await LocalCluster.start({ taskManagers: 1, slots: 1 });
    const pids = pidsOf(cluster);
    const client = await cluster.connect();
    await client.shutdownCluster();
    await client.close();
    await vi.waitFor(() => expect(pids.map(runs)).toEqual([false, false]), deadline);
    expect([cluster.restarts, cluster.isRunning]).toEqual([0, false]);
  });

  it("ends a TaskManager that was stopped in its tracks", async () => {
    cluster = await LocalCluster.start({ taskManagers: 1, slots: 1 });
    await cluster.killTaskManager(0, "SIGSTOP");
    const pids = pidsOf(cluster);
    await cluster.stop();
    expect(pids.map(runs)).toEqual([false, false]);
  });

  it("that can't start says why, in the words of the process that failed, and leaves nothing", async () => {
    const starting = LocalCluster.start({
      taskManagers: 1,
      options: { "heartbeat.interval": "10 s", "heartbeat.timeout": "1 s" },
      startTimeoutMs: 5_000,
    });
    await expect(starting).rejects.toThrow(ConnectionError);
    await expect(starting).rejects.toThrow(
      /did not start: it ended with exit code 1\. It said:\n\[(JobManager|TaskManager 0)\] .*heartbeat/,
    );
  });

  it("refuses sizes that can't be and options that don't exist", async () => {
    await expect(LocalCluster.start({ taskManagers: -1 })).rejects.toThrow("can't have -1 TaskManagers");
    await expect(LocalCluster.start({ slots: 0 })).rejects.toThrow("taskmanager.numberOfTaskSlots is 0");
    await expect(LocalCluster.start({ options: { "heartbeat.timeot": 1 } })).rejects.toThrow("Did you mean heartbeat.timeout?");
  });
});

describe("the processes of a local cluster end with their program", () => {
  let folder: ProgramFolder;
  beforeEach(() => {
    folder = new ProgramFolder();
  });
  afterEach(() => folder.remove());

  /** A program that starts a cluster, prints its processes, and goes on with `rest`. */
  async function started(rest: string) {
    const program = folder.node(
      "program.mjs",
      `import { LocalCluster } from "drey";
       const cluster = await LocalCluster.start({ taskManagers: 1 });
       console.log(JSON.stringify([cluster.processes.jobManager, ...cluster.processes.taskManagers]));
       ${rest}`,
    );
    const [text] = await program.said(/\[\d.*\]/);
    return { program, pids: JSON.parse(text as string) as number[] };
  }
  const waits = "setInterval(() => undefined, 1000);";
  const nothingIsLeft = async (pids: number[]): Promise<void> => {
    await vi.waitFor(() => expect(pids.map(runs)).toEqual(pids.map(() => false)), deadline);
  };
  const socketFolders = (): string[] => readdirSync(folder.env["TMPDIR"] as string);

  it("when it has nothing more to do, without being told", async () => {
    const { program, pids } = await started("");
    expect(await program.ended).toEqual({ code: 0, signal: null });
    await nothingIsLeft(pids);
    expect(socketFolders()).toEqual([]);
  });

  it("when it throws", async () => {
    const { program, pids } = await started("throw new Error('oh');");
    expect((await program.ended).code).toBe(1);
    await nothingIsLeft(pids);
    expect(socketFolders()).toEqual([]);
  });

  it("when it calls process.exit", async () => {
    const { program, pids } = await started("process.exit(3);");
    expect((await program.ended).code).toBe(3);
    await nothingIsLeft(pids);
    expect(socketFolders()).toEqual([]);
  });

  it.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("when it gets %s", async (signal) => {
    const { program, pids } = await started(waits);
    program.kill(signal);
    expect(await program.ended).toEqual({ code: null, signal });
    await nothingIsLeft(pids);
    expect(socketFolders()).toEqual([]);
  });

  it("when it is killed", async () => {
    const { program, pids } = await started(waits);
    program.kill("SIGKILL");
    await program.ended;
    await nothingIsLeft(pids);
    expect(socketFolders()).toEqual([]);
  });

  it("when it is killed, also after a TaskManager was killed and replaced", async () => {
    const { program } = await started(
      `process.kill(cluster.processes.taskManagers[0], "SIGKILL");
       const look = setInterval(async () => {
         if (cluster.restarts === 0) return;
         const client = await cluster.connect();
         const { slotsTotal } = await client.overview();
         await client.close();
         if (slotsTotal === 0 || cluster.processes.taskManagers[0] === undefined) return;
         clearInterval(look);
         console.log("replaced " + JSON.stringify([cluster.processes.jobManager, ...cluster.processes.taskManagers]));
       }, 100);
       ${waits}`,
    );
    const [, text] = await program.said(/replaced (\[\d.*\])/);
    program.kill("SIGKILL");
    await program.ended;
    await nothingIsLeft(JSON.parse(text as string) as number[]);
    await vi.waitFor(() => expect(socketFolders()).toEqual([]), deadline);
  });

  it("but a program that handles ctrl-C itself decides what happens", async () => {
    const { program, pids } = await started(
      `process.on("SIGINT", async () => { console.log("mine"); await cluster.stop(); process.exit(7); }); ${waits}`,
    );
    program.kill("SIGINT");
    await program.said(/mine/);
    expect(await program.ended).toEqual({ code: 7, signal: null });
    expect(pids.map(runs)).toEqual(pids.map(() => false));
  });

  it("and when a TaskManager ends unasked, its last words are shown", async () => {
    const { program, pids } = await started(`${waits} process.kill(cluster.processes.taskManagers[0], "SIGKILL");`);
    await program.said(/TaskManager 0 of the local cluster ended unexpectedly: it was ended by SIGKILL\./, "stderr");
    program.kill("SIGTERM");
    await nothingIsLeft(pids);
  });
});
