/** Copies of snapshots that stay on a TaskManager: who reads them, what damage does, and when they go. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import type { CheckpointAck } from "../../../src/core/runtime/checkpoint.ts";
import type { JobId, VertexId } from "../../../src/core/types/ids.ts";
import type { ExecutionAddress } from "../../../src/cluster/protocol/messages.ts";
import { MemoryStorage } from "../../../src/cluster/storage/memory-storage.ts";
import { LocalSnapshots } from "../../../src/cluster/taskmanager/local-snapshots.ts";
import { readRestore } from "../../../src/cluster/taskmanager/restored-state.ts";
import { SnapshotFiles } from "../../../src/cluster/taskmanager/snapshot-files.ts";

const folder = mkdtempSync(path.join(tmpdir(), "drey-test-local-snapshots-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const job = "j" as JobId;
const execution = (subtask = 0): ExecutionAddress => ({ job, vertex: "v" as VertexId, subtask, attempt: 0 });
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const waited = { timeout: 30_000, interval: 2 };

/** Files with the number of bytes of each, as an operator's section names them. */
const operators = (files: Readonly<Record<string, number>>): CheckpointAck["operators"] => [
  { operator: "op", sections: Object.entries(files).map(([file, length]) => ({ name: file, kind: "keyed", type: "value", format: 1, file, blocks: [0, 0, length] })) },
];
const ackOf = (checkpoint: number, files: Readonly<Record<string, number>>): CheckpointAck => ({
  checkpoint, operators: operators(files), bytes: 3, writtenBytes: 3, startDelayMs: 0, alignmentMs: 0, syncMs: 0, asyncMs: 0, channelBytes: 0,
});

let worlds = 0;

/** A TaskManager's files, over a storage that counts what is read of it. */
function world() {
  const place = `memory://local-snapshots-${++worlds}`;
  const root = path.join(folder, String(worlds));
  const [reads, said, acknowledged] = [[] as string[], [] as string[], [] as number[]];
  const storageAt = (location: string) => {
    const storage = new MemoryStorage(location);
    const get = storage.get.bind(storage);
    storage.get = (name, range) => {
      reads.push(name);
      return get(name, range);
    };
    return storage;
  };
  const local = new LocalSnapshots({ root, log: (text) => said.push(text) });
  const files = new SnapshotFiles({
    storageAt, local, log: (text) => said.push(text), decline: () => Promise.resolve(),
    acknowledge: (_execution, { checkpoint }) => Promise.resolve(void acknowledged.push(checkpoint)),
  });
  const at = (checkpoint: number): string => `${place}/chk-${checkpoint}`;
  /** Writes a subtask's part of a checkpoint: one file of its own unless it has no bytes, and files of earlier checkpoints. */
  const write = async (checkpoint: number, own: Uint8Array, earlier: Readonly<Record<string, number>> = {}, kind: "checkpoint" | "savepoint" = "checkpoint") => {
    files.begin(job, { checkpoint, kind }, at(checkpoint));
    if (own.length > 0) files.write(execution(), checkpoint, "0-0.0", own, () => undefined);
    files.acknowledge(execution(), "0-0.0", ackOf(checkpoint, { ...earlier, ...(own.length > 0 ? { "0-0.0": own.length } : {}) }));
    await vi.waitFor(() => expect(acknowledged).toContain(checkpoint), waited);
  };
  /** What a task of this TaskManager begins with. */
  const restored = async (checkpoint: number, sizes: Readonly<Record<string, number>>) => {
    const restore = Object.entries(sizes).map(([file, length]) => ({ file, offset: 0, bytes: length, group: 0, first: 0, count: -1 }));
    const deployment = { checkpoint, folder: at(checkpoint), operators: [{ operator: "op", sections: [{ name: "s", kind: "keyed", type: "value", format: 1, blocks: restore }] }] };
    const { ranges } = await readRestore(deployment, local.before(storageAt(at(checkpoint))), new AbortController().signal);
    return ranges.map((range) => [range.file, ...range.bytes]);
  };
  const copies = (): string[] => {
    const [own] = readdirSync(root);
    return own === undefined ? [] : readdirSync(path.join(root, own)).map((name) => path.join(root, own, name));
  };
  return { place, root, reads, said, local, files, write, restored, copies, storageAt, at };
}

describe("copies of snapshots on the TaskManager that wrote them", () => {
  test("a task that begins again here reads nothing from the storage", async () => {
    const { local, files, write, restored, reads } = world();
    local.keep(job);
    await write(1, bytes(1, 2, 3));
    files.completed(job, 1);
    expect(await restored(1, { "0-0.0": 3 })).toEqual([["0-0.0", 1, 2, 3]]);
    expect(reads).toEqual([]);
    await local.close();
  });

  test("what another TaskManager wrote comes from the storage", async () => {
    const { local, files, write, restored, reads, storageAt, at } = world();
    local.keep(job);
    await write(1, bytes(1, 2, 3));
    files.completed(job, 1);
    await storageAt(at(1)).put("0-1.0", bytes(7));
    expect(await restored(1, { "0-0.0": 3, "0-1.0": 1 })).toEqual([["0-0.0", 1, 2, 3], ["0-1.0", 7]]);
    expect(reads).toEqual(["0-1.0"]);
    await local.close();
  });

  test("a damaged copy is noticed, told of and left aside for good", async () => {
    const { local, files, write, restored, reads, said, copies } = world();
    local.keep(job);
    await write(1, bytes(1, 2, 3));
    files.completed(job, 1);
    writeFileSync(copies()[0] as string, bytes(1, 9, 3));
    expect(await restored(1, { "0-0.0": 3 })).toEqual([["0-0.0", 1, 2, 3]]);
    expect(await restored(1, { "0-0.0": 3 })).toEqual([["0-0.0", 1, 2, 3]]);
    expect(reads).toEqual(["0-0.0", "0-0.0"]);
    expect(said).toEqual([expect.stringMatching(/the copy of .*chk-1\/0-0\.0 can't be used \(its checksum is wrong\)/)]);
    await local.close();
  });

  test("a copy that was cut off or is missing is no hindrance either", async () => {
    const { local, files, write, restored, copies } = world();
    local.keep(job);
    await write(1, bytes(1, 2, 3));
    files.completed(job, 1);
    writeFileSync(copies()[0] as string, bytes(1));
    expect(await restored(1, { "0-0.0": 3 })).toEqual([["0-0.0", 1, 2, 3]]);
    await write(2, bytes(4));
    files.completed(job, 2);
    rmSync(copies()[0] as string);
    expect(await restored(2, { "0-0.0": 1 })).toEqual([["0-0.0", 4]]);
    await local.close();
  });

  test("a completed checkpoint lets go of earlier ones, but for what it builds upon", async () => {
    const { local, files, write, restored, reads, copies } = world();
    local.keep(job);
    await write(1, bytes(1));
    files.completed(job, 1);
    await write(2, bytes(2), { "../chk-1/0-0.0": 1 });
    files.completed(job, 2);
    await vi.waitFor(() => expect(copies()).toHaveLength(2), waited);
    // Nothing of its own: it is the two before.
    await write(3, bytes(), { "../chk-1/0-0.0": 1, "../chk-2/0-0.0": 1 });
    files.completed(job, 3);
    expect(await restored(3, { "../chk-1/0-0.0": 1, "../chk-2/0-0.0": 1 })).toEqual([["../chk-1/0-0.0", 1], ["../chk-2/0-0.0", 2]]);
    expect(reads).toEqual([]);
    await write(4, bytes(4));
    files.completed(job, 4);
    await vi.waitFor(() => expect(copies()).toHaveLength(1), waited);
    await local.close();
  });

  test("nothing remains of aborted checkpoints, of a job that leaves, and of a TaskManager that ends", async () => {
    const { local, files, write, copies, root } = world();
    local.keep(job);
    await write(1, bytes(1));
    files.aborted(job, 1);
    await vi.waitFor(() => expect(copies()).toEqual([]), waited);
    await write(2, bytes(2));
    files.completed(job, 2);
    expect(local.size).toBe(1);
    local.release(job);
    await vi.waitFor(() => expect(copies()).toEqual([]), waited);
    await write(3, bytes(3));
    expect(local.size).toBe(0);
    await local.close();
    expect(readdirSync(root)).toEqual([]);
  });

  test("savepoints, and jobs that don't ask for it, are not copied", async () => {
    const { local, write } = world();
    await write(1, bytes(1));
    expect(local.size).toBe(0);
    local.keep(job);
    await write(2, bytes(2), {}, "savepoint");
    expect(local.size).toBe(0);
    await local.close();
  });

  test("a checkpoint does not fail when there is no place for copies", async () => {
    const { local, files, write, restored, root, said, reads } = world();
    writeFileSync(root, "no folder");
    local.keep(job);
    await write(1, bytes(1));
    files.completed(job, 1);
    expect(await restored(1, { "0-0.0": 1 })).toEqual([["0-0.0", 1]]);
    expect(reads).toEqual(["0-0.0"]);
    expect(said).toEqual([expect.stringContaining("no copies of snapshots are kept here")]);
    await local.close();
  });
});
