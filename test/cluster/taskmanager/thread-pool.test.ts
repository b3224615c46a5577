/** Threads start from the built package. */
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import type { ThreadPool as Pool, ThreadPoolOptions } from "../../../src/cluster/taskmanager/thread-pool.ts";
import { until } from "./fake-job-manager.ts";

vi.setConfig({ testTimeout: 60_000 });

const built = new URL("../../../dist/cluster/taskmanager/thread-pool.js", import.meta.url).href;
const { ThreadPool } = (await import(/* @vite-ignore */ built)) as { ThreadPool: new (options: ThreadPoolOptions) => Pool };

const pools: Pool[] = [];
const pool = (spares: number): Pool => {
  const one = new ThreadPool({ heapBytes: 64 * 1024 * 1024, spares, refillDelayMs: 1 });
  pools.push(one);
  return one;
};
afterEach(async () => {
  for (const one of pools.splice(0)) await one.close();
});

test("a pool keeps so many threads ready, and a taken one is replaced", async () => {
  const two = pool(2);
  two.fill();
  await until(() => two.ready === 2);
  const thread = two.take();
  expect(thread.ready).toBe(true);
  expect(two.ready).toBe(1);
  await until(() => two.ready === 2);
  thread.terminate();
  expect((await thread.exited).error).toBeUndefined();
});

test("an empty pool starts a thread for whoever asks", async () => {
  const none = pool(0);
  const thread = none.take();
  expect(thread.ready).toBe(false);
  await thread.settled;
  expect(thread.ready).toBe(true);
  thread.terminate();
  await thread.exited;
});

test("a thread that was not used goes back, unless the pool is full", async () => {
  const one = pool(1);
  one.fill();
  await until(() => one.ready === 1);
  const thread = one.take();
  one.giveBack(thread);
  expect(one.ready).toBe(1);
  expect(one.take()).toBe(thread);
  await until(() => one.ready === 1);
  one.giveBack(thread);
  await thread.exited;
  expect(one.ready).toBe(1);
});

test.skipIf(!existsSync("/proc/self/fd"))("a thread that is ended while it starts leaves no file open", async () => {
  const none = pool(0);
  const modules = (): number => readdirSync("/proc/self/fd").filter((fd) => linkOf(fd).includes("/dist/")).length;
  const before = modules();
  for (let n = 0; n < 12; n++) {
    const thread = none.take();
    await new Promise((resolve) => setTimeout(resolve, 15 * n));
    thread.terminate();
    await thread.exited;
  }
  expect(modules()).toBe(before);
});

/** What a handle of this process leads to. */
function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return "";
  }
}

test("a closed pool leaves no thread", async () => {
  const two = pool(2);
  two.fill();
  await two.close();
  expect(two.ready).toBe(0);
  two.fill();
  expect(two.ready).toBe(0);
});
