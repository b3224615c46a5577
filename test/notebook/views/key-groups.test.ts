import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { type CheckpointManifest, storeManifest } from "../../../src/cluster/storage/manifest.ts";
import { storageAt } from "../../../src/cluster/storage/storages.ts";
import { keyGroupRange } from "../../../src/core/data/key-groups.ts";
import type { Picture } from "../../../src/notebook/picture.ts";
import { keyGroupPicture, keyGroups } from "../../../src/notebook/views/key-groups.ts";
import { EVIL } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const svgOf = (picture: Picture): string => picture.drawing?.markup ?? "";

/** A vertex of eight key groups, 100 bytes each but for group 3, which has none. */
function manifest(checkpoint: number, parallelism: number, evil = ""): CheckpointManifest {
  const subtasks = Array.from({ length: parallelism }, (_, subtask) => {
    const { start, end } = keyGroupRange(subtask, parallelism, 8);
    const blocks = Array.from({ length: end - start }, (_, at) => start + at).flatMap((at, index) => (at === 3 ? [] : [at, index * 100, 100]));
    const list = { name: "l", kind: "list", file: "f", blocks: [5, 0, 9_999] };
    return { bytes: 0, operators: [{ operator: "o", sections: [{ name: "counts", kind: "keyed", file: "f", blocks }, list] }] };
  });
  const stateless = { id: "v1", name: "source", parallelism: 1, maxParallelism: 8, operators: [], subtasks: [{ operators: [], bytes: 0 }] };
  const vertices = [stateless, { id: "v2", name: `count${evil}`, parallelism, maxParallelism: 8, operators: [], subtasks }];
  return { job: "j", jobName: "n", checkpoint, kind: "savepoint", timestampMs: 0, epoch: 1, vertices };
}

test("before and after a rescale: every subtask with its range and its bytes, lists not counted", () => {
  expect(keyGroupPicture([manifest(1, 2), manifest(2, 4)]).text().split("\n")).toEqual([
    "count  savepoint 1 · ×2 · 700 B in 7 of 8 key groups",
    "  v2/0  key groups 0–3  300 B  ███▁",
    "  v2/1  key groups 4–7  400 B  ████",
    "count  savepoint 2 · ×4 · 700 B in 7 of 8 key groups",
    "  v2/0  key groups 0–1  200 B  ██",
    "  v2/1  key groups 2–3  100 B  █▁",
    "  v2/2  key groups 4–5  200 B  ██",
    "  v2/3  key groups 6–7  200 B  ██",
  ]);
});

test("draws a cell for each group that holds something, in the row of its subtask", () => {
  const svg = svgOf(keyGroupPicture([manifest(1, 2)]));
  expect(svg.match(/key group \d of v2\/0: 100 B/g)).toEqual(["0", "1", "2"].map((at) => `key group ${at} of v2/0: 100 B`));
  expect(visibleTexts(svg)).toContain("key groups 4–7");
});

test("reads manifests from places, also from what is told of a checkpoint", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "drey-key-groups-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await storeManifest(storageAt(folder), manifest(4, 2));
  expect((await keyGroups(folder)).text()).toContain("savepoint 4");
  expect((await keyGroups([{ location: folder }, folder])).text().match(/savepoint 4/g)).toHaveLength(2);
  await expect(keyGroups(path.join(folder, "nowhere"))).rejects.toThrow("there is no checkpoint or savepoint in");
  await expect(keyGroups({})).rejects.toThrow("says no place");
});

test("a checkpoint without keyed state says so; hostile names stay text", () => {
  expect(keyGroupPicture([manifest(1, 2)], { vertex: "v1" }).text()).toBe("No keyed state is stored there.");
  expect(xmlFault(svgOf(keyGroupPicture([])))).toBeUndefined();
  expect(xmlFault(svgOf(keyGroupPicture([manifest(1, 2, EVIL)], { title: EVIL })))).toBeUndefined();
});
