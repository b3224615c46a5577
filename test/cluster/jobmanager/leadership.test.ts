import { afterEach, describe, expect, test } from "vitest";
import { MemoryStorage } from "../../../src/cluster/storage/memory-storage.ts";
import { highestEpoch, readLease } from "../../../src/cluster/storage/published-leader.ts";
import { Leadership } from "../../../src/cluster/jobmanager/leadership.ts";

let clusters = 0;
const open: Leadership[] = [];
const ending = new AbortController();
afterEach(() => {
  for (const leadership of open.splice(0)) leadership.stop();
});

/** JobManagers of one cluster, each with a clock that is moved by hand. */
function cluster(): { readonly storage: MemoryStorage; candidate(name: string): { readonly leadership: Leadership; clockMs: number; readonly notes: string[] } } {
  const storage = new MemoryStorage(`memory://ha-${clusters++}`);
  return {
    storage,
    candidate(name) {
      const notes: string[] = [];
      const made = { clockMs: 0, notes, leadership: undefined as unknown as Leadership };
      made.leadership = new Leadership({
        storage, name, leaseTimeoutMs: 80, clocks: { wallMs: () => made.clockMs, elapsedMs: () => made.clockMs }, note: (text) => notes.push(text),
      });
      open.push(made.leadership);
      return made;
    },
  };
}
const until = async (what: string, holds: () => boolean): Promise<void> => {
  const endMs = performance.now() + 30_000;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

describe("leadership", () => {
  test("the first JobManager leads at once; of several that come at the same time, one", async () => {
    const { candidate } = cluster();
    const all = ["a", "b", "c"].map(candidate);
    const won: number[] = [];
    for (const { leadership } of all) void leadership.win(ending.signal).then((epoch) => won.push(epoch));
    await until("one leads", () => won.length === 1);
    expect(won).toEqual([1]);
    await until("the others stand by", () => all.filter(({ notes }) => notes.some((note) => /stands by/.test(note))).length === 2);
    expect(all.map(({ leadership }) => leadership.epoch).sort()).toEqual([0, 0, 1]);
    ending.signal.throwIfAborted();
  });

  test("a standby leads when it has seen the same lease for the timeout, by its own clock, and the former leader learns so", async () => {
    const { candidate } = cluster();
    const [first, second] = [candidate("first"), candidate("second")];
    expect(await first.leadership.win(ending.signal)).toBe(1);
    let epoch = 0;
    void second.leadership.win(ending.signal).then((won) => (epoch = won));
    await until("it stands by", () => second.notes.length > 0);
    second.clockMs = 79;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(epoch).toBe(0);
    expect(await first.leadership.holds()).toBe(true);
    second.clockMs = 80;
    await until("it leads", () => epoch === 2);
    expect(await first.leadership.holds()).toBe(false);
    let reason = "";
    first.leadership.keep("ipc://x", (told) => (reason = told));
    await until("the first steps down", () => reason !== "");
    expect(reason).toBe("another JobManager leads, in epoch 2");
  });

  test("a leader says in its lease where it listens, and a standby knows it", async () => {
    const { candidate, storage } = cluster();
    const [first, second] = [candidate("first"), candidate("second")];
    await first.leadership.win(ending.signal);
    expect(await readLease(storage, 1)).toMatchObject({ released: false });
    expect((await readLease(storage, 1)).address).toBe(undefined);
    first.leadership.keep("tcp://10.0.0.1:6123", () => expect.unreachable("it was overtaken"));
    let standsBy = false;
    void second.leadership.win(ending.signal, () => (standsBy = true)).catch(() => undefined);
    await until("the standby knows", () => standsBy && second.leadership.leaderAddress === "tcp://10.0.0.1:6123");
    expect(await readLease(storage, await highestEpoch(storage))).toMatchObject({ address: "tcp://10.0.0.1:6123" });
    await first.leadership.release();
    expect(await readLease(storage, 1)).toEqual({ text: "released", released: true });
  });

  test("a leader that renews its lease stays, however long", async () => {
    const { candidate } = cluster();
    const [first, second] = [candidate("first"), candidate("second")];
    await first.leadership.win(ending.signal);
    first.leadership.keep("ipc://x", () => expect.unreachable("it was overtaken"));
    let epoch = 0;
    void second.leadership.win(ending.signal).then((won) => (epoch = won));
    for (let round = 0; round < 10; round++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      second.clockMs += 30;
    }
    expect(epoch).toBe(0);
  });

  test("a leader that gives it up is followed at once", async () => {
    const { candidate } = cluster();
    const [first, second] = [candidate("first"), candidate("second")];
    await first.leadership.win(ending.signal);
    await first.leadership.release();
    expect(await second.leadership.win(ending.signal)).toBe(2);
  });
});
