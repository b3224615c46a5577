import { describe, expect, test } from "vitest";
import { CheckpointError } from "../../../src/core/types/errors.ts";
import { jobId } from "../../../src/core/types/ids.ts";
import { Configuration } from "../../../src/core/types/options.ts";
import { type Called, JobManagerEndpoint } from "../../../src/cluster/jobmanager/job-manager-endpoint.ts";
import type { TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import type { Peer } from "../../../src/cluster/protocol/rpc.ts";
import type { CheckpointStorage } from "../../../src/cluster/storage/checkpoint-storage.ts";
import { MANIFEST_NAME } from "../../../src/cluster/storage/manifest.ts";
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
  for (const task of tasks) await handlers.acknowledgeCheckpoint({ execution: task.execution, ack: ackOf(task, 1) }, taskManager.peer, []);
  await turns();
  const told = (): readonly string[] => taskManager.heard.map(({ what }) => what).filter((what) => what.startsWith("checkpoint"));
  const stored = async (): Promise<boolean> => (await new MemoryStorage(`${root}/${JOB}/chk-1`).get(MANIFEST_NAME)) !== undefined;
  return { told, stored, pass };
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
