import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { makeOwnFolder } from "../../../src/core/types/own-folder.ts";

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), "drey-own-"));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

/** As a process that has ended would have made it. */
function ofTheDead(kind: string): string {
  const { pid } = spawnSync(process.execPath, ["-e", ""]);
  const name = basename(makeOwnFolder(kind, mkdtempSync(join(parent, "elsewhere-")))).replace(String(process.pid), String(pid));
  mkdirSync(join(parent, name));
  writeFileSync(join(parent, name, "file"), "left");
  return name;
}

test("a process that was killed leaves its folders to the next that makes one", () => {
  const left = [ofTheDead("state"), ofTheDead("")];
  expect(readdirSync(parent)).toEqual(expect.arrayContaining(left));
  const mine = makeOwnFolder("data", parent);
  expect(readdirSync(parent).filter((name) => name.startsWith("drey-"))).toEqual([basename(mine)]);
});

test("folders of processes that run, of other machines, and of anybody else stay", () => {
  const elsewhere = ofTheDead("").replace(/\.[0-9a-f]{4}-/, (machine) => (machine === ".0000-" ? ".0001-" : ".0000-"));
  const kept = [basename(makeOwnFolder("", parent)), elsewhere, "drey-1000", "drey-state-1", "drey-abcdef"];
  for (const name of kept) mkdirSync(join(parent, name), { recursive: true });
  const mine = makeOwnFolder("", parent);
  expect(readdirSync(parent)).toEqual(expect.arrayContaining([...kept, basename(mine)]));
  expect(statSync(mine).mode & 0o777).toBe(0o700);
});
