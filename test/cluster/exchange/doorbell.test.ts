import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import {
  ThreadDoorbell, createBell, flagRaised, raiseFlag, ringBell, takeFlag, waitForBell,
} from "../../../src/cluster/exchange/doorbell.ts";

const program = new URL("./programs/bell-thread.mjs", import.meta.url);
const reply = async (worker: Worker): Promise<unknown> => (await once(worker, "message"))[0];

describe("parking a thread", () => {
  test("does not wait when there is work", () => {
    const before = performance.now();
    new ThreadDoorbell(createBell()).park(60_000, () => true);
    expect(performance.now() - before).toBeLessThan(30_000);
  });

  test("ends at its timeout", () => {
    const before = performance.now();
    new ThreadDoorbell(createBell()).park(30, () => false);
    expect(performance.now() - before).toBeGreaterThanOrEqual(29);
  });

  test("a ring between looking for work and waiting is not lost", () => {
    const bell = createBell();
    const before = performance.now();
    new ThreadDoorbell(bell).park(60_000, () => {
      ringBell(bell);
      return false;
    });
    expect(performance.now() - before).toBeLessThan(30_000);
  });

  test("work is looked for once more after the bell is armed", () => {
    const bell = createBell();
    // Work that appears in the last moment in which a ringer still finds the thread awake, and so does not ring.
    const armed = (): boolean => Atomics.load(bell.words, 32) === 1;
    const before = performance.now();
    new ThreadDoorbell(bell).park(60_000, armed);
    expect(performance.now() - before).toBeLessThan(30_000);
  });

  test("a ring while nobody sleeps leaves no trace", () => {
    const bell = createBell();
    ringBell(bell);
    const before = performance.now();
    new ThreadDoorbell(bell).park(30, () => false);
    expect(performance.now() - before).toBeGreaterThanOrEqual(29);
  });

  test("does not wait while the control flag is raised, and the flag is taken once", () => {
    const bell = createBell();
    raiseFlag(bell);
    const before = performance.now();
    new ThreadDoorbell(bell).park(60_000, () => false);
    expect(performance.now() - before).toBeLessThan(30_000);
    expect([flagRaised(bell), takeFlag(bell), takeFlag(bell), flagRaised(bell)]).toEqual([true, true, false, false]);
  });

  test("a raised flag wakes a parked thread within milliseconds", async () => {
    const bell = createBell();
    const worker = new Worker(program, { workerData: { role: "flag", bell } });
    await reply(worker);
    const delaysMs: number[] = [];
    for (let i = 0; i < 60; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      const answered = reply(worker);
      const before = performance.now();
      raiseFlag(bell);
      await answered;
      delaysMs.push(performance.now() - before);
    }
    await worker.terminate();
    // Where others use the processor it takes what they leave.
    expect(delaysMs.sort((a, b) => a - b)[10]).toBeLessThan(5);
  });
});

describe("waiting with a turning event loop", () => {
  test("ends when another thread rings", async () => {
    const bell = createBell();
    const worker = new Worker(program, { workerData: { role: "ring", bell, afterMs: 30 } });
    await reply(worker);
    const before = performance.now();
    await waitForBell(bell, 60_000);
    expect(performance.now() - before).toBeLessThan(30_000);
    await worker.terminate();
  });

  test("ends at its timeout, at an abort, and when there is work already", async () => {
    const bell = createBell();
    await waitForBell(bell, 10);
    const abort = new AbortController();
    const waiting = waitForBell(bell, 10_000, abort.signal);
    abort.abort();
    await waiting;
    await waitForBell(bell, 10_000, abort.signal);
    await waitForBell(bell, 10_000, undefined, () => true);
    raiseFlag(bell);
    await waitForBell(bell, 60_000);
  }, 5_000);

  test("a second wait for the same bell is refused", async () => {
    const bell = createBell();
    const first = waitForBell(bell, 60_000);
    expect(() => waitForBell(bell, 10)).toThrow("same bell");
    ringBell(bell);
    await first;
    await waitForBell(bell, 5);
  });

  test("a thread that ends while it waits takes nobody with it", async () => {
    const bell = createBell();
    for (let i = 0; i < 5; i += 1) {
      const worker = new Worker(program, { workerData: { role: "wait", bell } });
      await reply(worker);
      const stopped = worker.terminate();
      Atomics.add(bell.words, 0, 1);
      Atomics.notify(bell.words, 0);
      await stopped;
      Atomics.store(bell.words, 32, 0);
    }
  }, 20_000);
});
