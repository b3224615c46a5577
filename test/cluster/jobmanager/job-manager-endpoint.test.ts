import { describe, expect, test } from "vitest";
import { CheckpointError } from "../../../src/core/types/errors.ts";
import type { SnapshotSection } from "../../../src/core/state/snapshot.ts";
import { jobId } from "../../../src/core/types/ids.ts";
import { Configuration } from "../../../src/core/types/options.ts";
import { type Called, JobManagerEndpoint } from "../../../src/cluster/jobmanager/job-manager-endpoint.ts";
import type { TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import type { Peer } from "../../../src/cluster/protocol/rpc.ts";
import type { CheckpointStorage } from "../../../src/cluster/storage/checkpoint-storage.ts";
import { MANIFEST_NAME, loadManifest } from "../../../src/cluster/storage/manifest.ts";
import { MemoryStorage } from "../../../src/cluster/storage/memory-storage.ts";
import { ackOf } from "./control-plane.ts";
import { CODE, CODE_DIGEST, pair } from "./graphs.ts";

const JOB = jobId("1".repeat(32));
let roots = 0;

/** Somebody who is connected, and what was asked of him and told him. */
function connected(id: string): { readonly peer: Peer<Called>; readonly heard: { readonly what: string; readonly message: unknown }[] } {
  const heard: { what: string; message: unknown }[] = [];
  const call = (what: string, message: unknown): Promise<never> => {
    heard.push({ what, message });
    return Promise.resolve(undefined as never);
  };
  const notify = (what: string, message: unknown): void => void heard.push({ what, message });
  const signal = new AbortController().signal;
  return { peer: { id, incarnation: "1", lastSeenMs: 0, signal, data: undefined, call, callForAttachments: call, notify }, heard };
}

/** A job whose first checkpoint all tasks have acknowledged. @param leads what the leader learns at its looks, one after the other. */
async function storing(leads: readonly boolean[], change: (storage: CheckpointStorage) => Partial<CheckpointStorage> = () => ({})) {
  const root = `memory://endpoint-${roots++}`;
  let nowMs = 0;
  const timers: { readonly atMs: number; readonly what: () => void }[] = [];
  const looks = [...leads];
  const endpoint = new JobManagerEndpoint({
    configuration: Configuration.of({ "execution.checkpointing.interval": "1 s" }),
    clocks: { wallMs: () => nowMs, elapsedMs: () => nowMs },
    timers: {
      after(delayMs, what) {
        const timer = { atMs: nowMs + delayMs, what };
        timers.push(timer);
        return () => void (timers.includes(timer) && timers.splice(timers.indexOf(timer), 1));
      },
    },
    storageAt(location) {
      const storage = new MemoryStorage(location);
      const changed = change(storage);
      return new Proxy(storage, { get: (it, key) => Reflect.get(changed, key) ?? (Reflect.get(it, key) as () => void).bind?.(it) ?? location });
    },
    note: () => undefined,
    address: () => "test",
    epoch: 1,
    checkpointRoot: root,
    version: "0",
    pid: 1,
    shared: {
      leadership: { holds: () => Promise.resolve(looks.shift() ?? false) },
      archive: { save: () => Promise.resolve(), forget: () => Promise.resolve() },
    },
    resumesWithinMs: 0,
    shutDown: () => Promise.resolve(),
  });
  const pass = async (ms: number): Promise<void> => {
    nowMs += ms;
    for (const { what } of timers.filter(({ atMs }) => atMs <= nowMs)) what();
    await turns();
  };
  const { handlers } = endpoint;
  const [taskManager, client] = [connected("tm"), connected("client")];
  await handlers.register(
    { taskManager: "tm" as never, slots: 1, dataAddress: "there", host: "here", pid: 2, slotHeapBytes: 0, version: "0" },
    taskManager.peer,
    [],
  );
  await handlers.hello({ version: "0" }, client.peer, []);
  await handlers.submit({ job: JOB, graph: pair("job", 1), code: CODE_DIGEST, attached: false }, client.peer, [CODE]);
  const { tasks } = taskManager.heard.find(({ what }) => what === "deploy")!.message as { readonly tasks: readonly TaskDeployment[] };
  for (const { execution } of tasks) {
    for (const state of ["INITIALIZING", "RUNNING"] as const) await handlers.taskState({ execution, state, atMs: 0 }, taskManager.peer, []);
  }
  await pass(1_000);
  for (const task of tasks) await handlers.acknowledgeCheckpoint({ execution: task.execution, ack: ackOf(task, 1, task === tasks[0]) }, taskManager.peer, []);
  await turns();
  const told = (): readonly string[] => taskManager.heard.map(({ what }) => what).filter((what) => what.startsWith("checkpoint"));
  const stored = async (): Promise<boolean> => (await new MemoryStorage(`${root}/${JOB}/chk-1`).get(MANIFEST_NAME)) !== undefined;
  return { root, told, stored, pass, handlers, tasks, taskManager: taskManager.peer, client: client.peer };
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
};

describe("a leader that stores a manifest", () => {
  test("tells tasks that the checkpoint exists when it leads after that, too", async () => {
    const { told, stored } = await storing([true, true]);
    expect(await stored()).toBe(true);
    expect(told()).toEqual(["checkpointCompleted"]);
  });

  test("tells nobody anything when it was overtaken meanwhile: whether the checkpoint counts is the next leader's to say", async () => {
    const { told, stored } = await storing([true, false]);
    expect(await stored()).toBe(true);
    expect(told()).toEqual([]);
  });

  test("stores nothing when it was overtaken before", async () => {
    const { told, stored } = await storing([false]);
    expect(await stored()).toBe(false);
    expect(told()).toEqual([]);
  });

  test("removes a manifest that may have been stored, as often as needed, before it says that there is no checkpoint", async () => {
    let refusals = 2;
    const { told, stored, pass } = await storing([true, true, true, true, true, true], (storage) => ({
      async create(name, bytes) {
        await storage.create(name, bytes);
        throw new CheckpointError("no answer");
      },
      async delete(name) {
        if (refusals-- > 0) throw new CheckpointError("no answer");
        await storage.delete(name);
      },
    }));
    expect(told()).toEqual([]);
    await pass(60);
    expect([await stored(), told()]).toEqual([true, []]);
    await pass(110);
    expect([await stored(), told()]).toEqual([false, ["checkpointAborted"]]);
  });

  test("leaves it where it is when it was overtaken before that", async () => {
    const { told, stored } = await storing([true, false], (storage) => ({
      async create(name, bytes) {
        await storage.create(name, bytes);
        throw new CheckpointError("no answer");
      },
    }));
    expect(await stored()).toBe(true);
    expect(told()).toEqual([]);
  });
});

describe("a savepoint of a job some of whose tasks have ended", () => {
  const leads = Array.from({ length: 20 }, () => true);
  /** The source has ended after checkpoint 1, and a savepoint of the sink is being taken. */
  async function saving(inCheckpoint: Uint8Array | undefined, change?: Parameters<typeof storing>[1]) {
    const job = await storing(leads, change);
    const { root, handlers, tasks, taskManager, client } = job;
    const there = new MemoryStorage(`${root}/${JOB}`);
    if (inCheckpoint !== undefined) await there.put("chk-1/source-0-0", inCheckpoint);
    await handlers.taskState({ execution: tasks[0]!.execution, state: "FINISHED", atMs: 1_000 }, taskManager, []);
    const asked = Promise.resolve(handlers.savepoint({ job: JOB, target: `${root}-elsewhere` }, client, []) as Promise<{ readonly location: string }>);
    asked.catch(() => undefined);
    await handlers.acknowledgeCheckpoint({ execution: tasks[1]!.execution, ack: ackOf(tasks[1]!, 2) }, taskManager, []);
    await turns();
    return { ...job, asked, there, savepoints: new MemoryStorage(`${root}-elsewhere`) };
  }
  const bytes = Uint8Array.from({ length: 10_008 }, (_, at) => at % 251);

  test("has all of its files in its own folder", async () => {
    const { asked, there, savepoints, tasks } = await saving(bytes);
    const { location } = await asked;
    await there.delete("");
    const folder = new MemoryStorage(location);
    const kept = (await loadManifest(folder)).vertices[0]!.subtasks[0]!.operators[0]!.sections as readonly SnapshotSection[];
    const former = ackOf(tasks[0]!, 1).operators[0]!.sections as readonly SnapshotSection[];
    for (const [index, { file, blocks }] of kept.entries()) {
      expect(file).toBe("ended-0-0");
      for (let at = 0; at < blocks.length; at += 3) {
        const [start, was, length] = [blocks[at + 1]!, former[index]!.blocks[at + 1]!, blocks[at + 2]!];
        expect(await folder.get(file, { start, end: start + length })).toEqual(bytes.slice(was, was + length));
      }
    }
    expect(await savepoints.list()).toHaveLength(2);
  });

  test("fails when they can't be copied, says which, and leaves nothing behind", async () => {
    const { asked, savepoints, told } = await saving(undefined);
    await expect(asked).rejects.toThrow(
      /^savepoint 2 of job "job" failed: .*state of tasks that have ended could not be copied into .*elsewhere.* has no file chk-1\/source-0-0, which state of the savepoint is in\./,
    );
    expect(await savepoints.list()).toEqual([]);
    expect(told()).toEqual(["checkpointCompleted", "checkpointAborted"]);
  });

  test("leaves no copies behind when its manifest can't be stored", async () => {
    const { asked, savepoints } = await saving(bytes, (storage) => ({
      create: (name, content) => (storage.location.includes("elsewhere") ? Promise.reject(new CheckpointError("full")) : storage.create(name, content)),
    }));
    await expect(asked).rejects.toThrow("full");
    expect(await savepoints.list()).toEqual([]);
  });
});
