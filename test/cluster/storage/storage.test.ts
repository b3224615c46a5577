import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CheckpointStorage } from "../../../src/cluster/storage/checkpoint-storage.ts";
import { FileStorage } from "../../../src/cluster/storage/file-storage.ts";
import { type CheckpointManifest, decodeManifest, encodeManifest, loadManifest, storeManifest } from "../../../src/cluster/storage/manifest.ts";
import { MemoryStorage } from "../../../src/cluster/storage/memory-storage.ts";
import { S3Storage } from "../../../src/cluster/storage/s3-storage.ts";
import { storageAt } from "../../../src/cluster/storage/storages.ts";
import { CheckpointError, ConfigurationError, CorruptCheckpointError } from "../../../src/core/types/errors.ts";
import { ObjectStore } from "./object-store.ts";

const store = new ObjectStore();
beforeAll(async () => {
  const endpoint = await store.start();
  Object.assign(process.env, {
    AWS_ENDPOINT_URL_S3: endpoint, AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret",
  });
});
afterAll(() => store.stop());
const root = mkdtempSync(path.join(tmpdir(), "drey-storage-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folders = 0;
const kinds: Readonly<Record<string, () => CheckpointStorage>> = {
  "a folder": () => new FileStorage(path.join(root, String(folders++))),
  memory: () => memory(),
  "an object store": () => new S3Storage(`s3://bucket/prefix/${folders++}`),
};
const memory = (): MemoryStorage => new MemoryStorage(`memory://${folders++}`);
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

describe.each(Object.entries(kinds))("storage: %s", (_, make) => {
  test("what was put can be had, whole or in part", async () => {
    const storage = make();
    await storage.put("a/b", bytes(1, 2, 3, 4));
    expect(await storage.get("a/b")).toEqual(bytes(1, 2, 3, 4));
    expect(await storage.get("a/b", { start: 1, end: 3 })).toEqual(bytes(2, 3));
    expect(await storage.get("a/b", { start: 2, end: 2 })).toEqual(bytes());
    await storage.put("a/b", bytes(9));
    expect(await storage.get("a/b")).toEqual(bytes(9));
    expect(await storage.get("a/c")).toBeUndefined();
    expect(await storage.get("a/b/c")).toBeUndefined();
  });

  test("a range beyond the end of a file is an error", async () => {
    const storage = make();
    await storage.put("a", bytes(1, 2));
    await expect(storage.get("a", { start: 1, end: 5 })).rejects.toThrow(CorruptCheckpointError);
  });

  test("of several that create a file, exactly one succeeds, and its bytes stay", async () => {
    const storage = make();
    const made = await Promise.all(Array.from({ length: 8 }, (_each, index) => storage.create("epochs/1", bytes(index))));
    expect(made.filter(Boolean)).toHaveLength(1);
    expect(await storage.get("epochs/1")).toEqual(bytes(made.indexOf(true)));
    expect(await storage.list()).toEqual(["epochs/1"]);
  });

  test("a file that is written piece by piece is seen when it is finished, not before", async () => {
    const storage = make();
    const writer = storage.write("large");
    const piece = bytes(1, 2);
    await writer.append(piece);
    piece.fill(0);
    await writer.append(bytes(3));
    expect(await storage.get("large")).toBeUndefined();
    expect(await storage.list()).toEqual([]);
    await writer.finish();
    await writer.abort();
    expect(await storage.get("large")).toEqual(bytes(1, 2, 3));
  });

  test("a large file comes back as it was, and a part of it too", async () => {
    const storage = make();
    const writer = storage.write("chk-1/large");
    for (let piece = 0; piece < 20; piece++) await writer.append(new Uint8Array(1 << 20).fill(piece));
    await writer.finish();
    expect(await storage.get("chk-1/large", { start: 9 * (1 << 20) - 1, end: 9 * (1 << 20) + 1 })).toEqual(bytes(8, 9));
    expect((await storage.get("chk-1/large"))!.length).toBe(20 << 20);
    const sibling = storageAt(`${storage.location}/chk-2`);
    expect(await sibling.get("../chk-1/large", { start: 0, end: 2 })).toEqual(bytes(0, 0));
  });

  test("of an aborted file nothing remains", async () => {
    const storage = make();
    const writer = storage.write("a/large");
    await writer.append(bytes(1));
    await writer.abort();
    await storage.write("a/never").abort();
    expect(await storage.list()).toEqual([]);
  });

  test("files are listed by folder and removed by name or folder, which may be missing", async () => {
    const storage = make();
    for (const name of ["chk-1/a", "chk-1/deep/b", "chk-10/a", "chk-2"]) await storage.put(name, bytes(1));
    expect(await storage.list("chk-1")).toEqual(["chk-1/a", "chk-1/deep/b"]);
    expect(await storage.list("none")).toEqual([]);
    await storage.delete("chk-1");
    await storage.delete("chk-2");
    await storage.delete("none/a");
    expect(await storage.list()).toEqual(["chk-10/a"]);
  });
});

describe("a folder as storage", () => {
  test("a place that can't be written is an error that names it, and leaves nothing behind", async () => {
    const folder = path.join(root, "taken");
    writeFileSync(folder, "a file");
    const storage = new FileStorage(folder);
    await expect(storage.put("x", bytes(1))).rejects.toThrow(CheckpointError);
    await expect(storage.put("x", bytes(1))).rejects.toThrow(/could not write .*taken/);
    expect(readFileSync(folder, "utf8")).toBe("a file");
  });

  test("what a crash left unfinished is not listed", async () => {
    const folder = path.join(root, "crashed");
    const storage = new FileStorage(folder);
    await storage.put("a", bytes(1));
    writeFileSync(path.join(folder, ".tmp-1"), "half");
    expect(await storage.list()).toEqual(["a"]);
    expect(readdirSync(folder)).toHaveLength(2);
  });

  test("places are absolute paths or file URLs, and anything else is an error", () => {
    expect(storageAt("/a/b/").location).toBe("/a/b/");
    expect(storageAt("file:///a/b%20c").location).toBe("/a/b c");
    for (const wrong of ["a/b", "", "ftp://host/a", "hdfs://a"]) expect(() => storageAt(wrong)).toThrow(ConfigurationError);
  });
});

describe("manifest", () => {
  const manifest: CheckpointManifest = {
    job: "j",
    jobName: "counts",
    checkpoint: 7,
    kind: "checkpoint",
    timestampMs: 1,
    epoch: 3,
    vertices: [
      {
        id: "v0",
        name: "count",
        parallelism: 1,
        maxParallelism: 128,
        operators: [{ operator: "count", name: "count", kind: "process" }],
        subtasks: [{ operators: [{ operator: "count", sections: [{ name: "n", kind: "keyed", file: "0-0.0" }] }], bytes: 12 }],
      },
    ],
    results: { rows: bytes(0, 255, 7) },
  };

  test("what is stored is loaded again, bytes included", async () => {
    const storage = memory();
    expect(await storeManifest(storage, manifest)).toBe(true);
    expect(await loadManifest(storage)).toEqual(manifest);
    const other = memory();
    await storeManifest(other, { ...manifest, results: { rows: Buffer.from([0, 255, 7]) } });
    expect(await loadManifest(other)).toEqual(manifest);
  });

  test("a checkpoint of one number is completed once", async () => {
    const storage = memory();
    expect(await storeManifest(storage, manifest)).toBe(true);
    expect(await storeManifest(storage, { ...manifest, epoch: 4 })).toBe(false);
    expect((await loadManifest(storage)).epoch).toBe(3);
  });

  test("a manifest that is cut off anywhere, or has any bit flipped, is told from a sound one", () => {
    const sound = encodeManifest(manifest);
    for (let end = 0; end < sound.length; end++) {
      expect(() => decodeManifest(sound.subarray(0, end), "m")).toThrow(CorruptCheckpointError);
    }
    for (let index = 0; index < sound.length; index++) {
      const damaged = sound.slice();
      damaged[index]! ^= 1 << (index % 8);
      expect(() => decodeManifest(damaged, "m")).toThrow(CorruptCheckpointError);
    }
  });

  test("a manifest of a newer drey, a foreign file and a missing one say what is the matter", async () => {
    const newer = encodeManifest(manifest);
    newer[19] = 9;
    expect(() => decodeManifest(newer, "m")).toThrow(/m has version 9.*reads versions up to 1/);
    expect(() => decodeManifest(new TextEncoder().encode("#!/bin/sh and more text that is long enough"), "m")).toThrow(/is not the checkpoint of a drey/);
    await expect(loadManifest(new MemoryStorage("memory://nowhere"))).rejects.toThrow(/no checkpoint or savepoint in "memory:\/\/nowhere"/);
  });

  test("a manifest on a disk survives being copied, and not being truncated", async () => {
    const folder = path.join(root, "savepoint");
    await storeManifest(storageAt(folder), manifest);
    expect(await loadManifest(storageAt(`file://${folder}`))).toEqual(manifest);
    truncateSync(path.join(folder, "_metadata"), 40);
    await expect(loadManifest(storageAt(folder))).rejects.toThrow(/cut off/);
  });
});
