/** What becomes of the bytes of snapshots on a TaskManager: files, acknowledgements, declines, and nothing that remains. */
import { describe, expect, test } from "vitest";
import type { CheckpointAck } from "../../../src/core/runtime/checkpoint.ts";
import { ConnectionError, toWire } from "../../../src/core/types/errors.ts";
import type { JobId, VertexId } from "../../../src/core/types/ids.ts";
import type { ExecutionAddress } from "../../../src/cluster/protocol/messages.ts";
import type { CheckpointStorage } from "../../../src/cluster/storage/checkpoint-storage.ts";
import { MemoryStorage } from "../../../src/cluster/storage/memory-storage.ts";
import { SnapshotFiles } from "../../../src/cluster/taskmanager/snapshot-files.ts";

const job = "j" as JobId;
const execution = (subtask = 0, attempt = 0): ExecutionAddress => ({ job, vertex: "v" as VertexId, subtask, attempt });
const ackOf = (checkpoint: number): CheckpointAck => ({
  checkpoint, operators: [], bytes: 3, writtenBytes: 3, startDelayMs: 0, alignmentMs: 0, syncMs: 0, asyncMs: 0, channelBytes: 0,
});
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

/** Waits until something is so. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("what was waited for did not come");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

let worlds = 0;

function world(storageOf: (memory: CheckpointStorage) => CheckpointStorage = (memory) => memory, gated = false) {
  const arrive: (() => void)[] = [];
  const memory = new MemoryStorage(`memory://snapshot-files-${++worlds}`);
  const said: string[] = [];
  const answers: { refuse: number } = { refuse: 0 };
  const answer = (text: string): Promise<void> => {
    if (answers.refuse > 0) {
      answers.refuse--;
      said.push(`lost ${text}`);
      return Promise.reject(new ConnectionError("no way"));
    }
    said.push(text);
    return Promise.resolve();
  };
  const files = new SnapshotFiles({
    storageAt: () => storageOf(memory),
    acknowledge: ({ subtask, attempt }, { checkpoint }) => answer(`ack ${checkpoint} of ${subtask}#${attempt}`),
    decline: ({ subtask, attempt }, checkpoint, error) => answer(`decline ${checkpoint} of ${subtask}#${attempt}: ${error.code}`),
    pause: () => Promise.resolve(),
    ...(gated ? { before: () => new Promise<void>((resolve) => arrive.push(resolve)) } : {}),
    log: (text) => said.push(text),
  });
  return { memory, said, files, answers, arrive };
}

describe("snapshots on their way into files", () => {
  test("an acknowledgement leaves when the file is there", async () => {
    const { files, memory, said } = world();
    let written = 0;
    files.begin(job, { checkpoint: 1, kind: "checkpoint" }, "chk-1");
    files.write(execution(), 1, "f", bytes(1, 2), () => written++);
    files.write(execution(), 1, "f", bytes(3), () => written++);
    expect(said).toEqual([]);
    files.acknowledge(execution(), "f", ackOf(1));
    await until(() => said.length > 0);
    expect(said).toEqual(["ack 1 of 0#0"]);
    expect(written).toBe(2);
    expect(await memory.get("f")).toEqual(bytes(1, 2, 3));
    files.completed(job, 1);
    expect(files.open).toBe(0);
    expect(await memory.list()).toEqual(["f"]);
  });

  test("bytes that overtake the trigger wait for the place where they go", async () => {
    const { files, memory, said } = world();
    let written = 0;
    files.write(execution(), 4, "f", bytes(1), () => written++);
    files.acknowledge(execution(), "f", ackOf(4));
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toBe(0);
    files.begin(job, { checkpoint: 4, kind: "checkpoint" }, "chk-4");
    await until(() => said.length > 0);
    expect(written).toBe(1);
    expect(await memory.list()).toEqual(["f"]);
  });

  test("a subtask without state acknowledges without a file", async () => {
    const { files, memory, said } = world();
    files.begin(job, { checkpoint: 1, kind: "checkpoint" }, "chk-1");
    files.acknowledge(execution(), "f", ackOf(1));
    await until(() => said.length > 0);
    expect(said).toEqual(["ack 1 of 0#0"]);
    expect(await memory.list()).toEqual([]);
  });

  test("nothing remains of an aborted checkpoint, and what comes late for it is dropped", async () => {
    const { files, memory, said } = world();
    let written = 0;
    files.begin(job, { checkpoint: 1, kind: "checkpoint" }, "chk-1");
    files.write(execution(0), 1, "f0", bytes(1), () => written++);
    files.acknowledge(execution(0), "f0", ackOf(1));
    files.write(execution(1), 1, "f1", bytes(1), () => written++);
    await until(() => said.length > 0);
    files.aborted(job, 1);
    files.write(execution(1), 1, "f1", bytes(2), () => written++);
    files.acknowledge(execution(1), "f1", ackOf(1));
    await until(() => written === 3);
    expect(await until(() => files.open === 0).then(() => memory.list())).toEqual([]);
    expect(said).toEqual(["ack 1 of 0#0"]);
  });

  test("an abort frees bytes that wait for a place that nobody will tell", async () => {
    const { files } = world();
    let written = 0;
    files.write(execution(), 2, "f", bytes(1), () => written++);
    files.aborted(job, 2);
    await until(() => written === 1);
    files.write(execution(), 3, "f", bytes(1), () => written++);
    files.completed(job, 5);
    await until(() => written === 2);
  });

  test("a checkpoint is declined when its file can't be written, and what its thread holds is free again", async () => {
    const full = (memory: CheckpointStorage): CheckpointStorage => ({
      location: memory.location,
      put: (name, what) => memory.put(name, what),
      create: (name, what) => memory.create(name, what),
      get: (name, range) => memory.get(name, range),
      list: (folder) => memory.list(folder),
      delete: (name) => memory.delete(name),
      write: () => ({ append: () => Promise.reject(new Error("ENOSPC")), finish: () => Promise.resolve(), abort: () => Promise.resolve() }),
    });
    const { files, said } = world(full);
    let written = 0;
    files.begin(job, { checkpoint: 1, kind: "checkpoint" }, "chk-1");
    files.write(execution(), 1, "f", bytes(1), () => written++);
    files.write(execution(), 1, "f", bytes(2), () => written++);
    files.acknowledge(execution(), "f", ackOf(1));
    await until(() => written === 2 && said.length > 0);
    expect(said).toEqual(["decline 1 of 0#0: DREY_CHECKPOINT"]);
  });

  test("answers are repeated until the JobManager has them", async () => {
    const { files, said, answers } = world();
    answers.refuse = 2;
    files.begin(job, { checkpoint: 1, kind: "checkpoint" }, "chk-1");
    files.acknowledge(execution(0), "f", ackOf(1));
    await until(() => said.includes("ack 1 of 0#0"));
    answers.refuse = 1;
    files.decline(execution(1), 1, toWire(new Error("no")));
    await until(() => said.some((text) => text.startsWith("decline")));
    expect(said.filter((text) => text.startsWith("lost"))).toHaveLength(3);
  });

  test("an acknowledgement waits for what belongs before it, and does not leave when its task fails meanwhile", async () => {
    const { said, files, arrive } = world(undefined, true);
    files.begin(job, { checkpoint: 1, kind: "checkpoint" }, "chk-1");
    files.acknowledge(execution(0), "f", ackOf(1));
    files.acknowledge(execution(1), "f", ackOf(1));
    await until(() => arrive.length === 2);
    files.ended(execution(1), false);
    for (const it of arrive) it();
    await until(() => said.length > 0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(said).toEqual(["ack 1 of 0#0"]);
  });

  test("a savepoint goes on while later checkpoints complete", async () => {
    const { said, files, memory } = world();
    files.begin(job, { checkpoint: 1, kind: "savepoint" }, "savepoint-1");
    files.write(execution(), 1, "f", bytes(1), () => undefined);
    files.completed(job, 2);
    files.write(execution(), 1, "f", bytes(2), () => undefined);
    files.acknowledge(execution(), "f", ackOf(1));
    await until(() => said.length > 0);
    expect(said).toEqual(["ack 1 of 0#0"]);
    expect(await memory.get("f")).toEqual(bytes(1, 2));
  });

  test("a failed task leaves no half of a file, a finished one still acknowledges", async () => {
    const { files, memory, said } = world();
    files.begin(job, { checkpoint: 1, kind: "checkpoint" }, "chk-1");
    files.write(execution(0), 1, "f0", bytes(1), () => undefined);
    files.ended(execution(0), false);
    files.write(execution(1), 1, "f1", bytes(1), () => undefined);
    files.acknowledge(execution(1), "f1", ackOf(1));
    files.ended(execution(1), true);
    await until(() => said.length > 0);
    expect(said).toEqual(["ack 1 of 1#0"]);
    expect(await memory.list()).toEqual(["f1"]);
    await files.releaseJob(job);
    expect(await memory.list()).toEqual(["f1"]);
  });
});
