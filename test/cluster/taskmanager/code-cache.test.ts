import { expect, test } from "vitest";
import { bundleDigest } from "../../../src/cluster/code/bundle.ts";
import { CodeCache } from "../../../src/cluster/taskmanager/code-cache.ts";
import type { JobId } from "../../../src/core/types/ids.ts";

const bytes = new Uint8Array([1, 2, 3]);
const code = bundleDigest(bytes);
const [first, second] = ["a", "b"] as unknown as [JobId, JobId];

test("code is fetched once for all jobs and subtasks, and shared", async () => {
  let fetches = 0;
  const cache = new CodeCache(() => Promise.resolve((fetches++, bytes)));
  const [one, two] = await Promise.all([cache.get(code, first), cache.get(code, second)]);
  expect(one).toBe(two);
  expect([...new Uint8Array(one)]).toEqual([1, 2, 3]);
  expect(fetches).toBe(1);
});

test("code goes when the last job that uses it is released", async () => {
  const cache = new CodeCache(() => Promise.resolve(bytes));
  await Promise.all([cache.get(code, first), cache.get(code, second)]);
  cache.release(first);
  expect(cache.size).toBe(1);
  cache.release(second);
  expect(cache.size).toBe(0);
});

test("other code than asked for is refused, and asked for again the next time", async () => {
  const answers = [new Uint8Array([9]), bytes];
  const cache = new CodeCache(() => Promise.resolve(answers.shift() as Uint8Array));
  await expect(cache.get(code, first)).rejects.toThrow(/1 bytes with the digest/);
  expect((await cache.get(code, first)).byteLength).toBe(3);
});
