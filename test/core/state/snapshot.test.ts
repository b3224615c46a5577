import { readFileSync } from "node:fs";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ClassRegistry } from "../../../src/core/data/classes.ts";
import {
  aggregatingState, average, CorruptCheckpointError, hours, listState, mapState, reducingState, StateError, valueState,
} from "../../../src/core/index.ts";
import { SubtaskStates } from "../../../src/core/state/operator-states.ts";
import { type OperatorSnapshot, redistribute, type SectionKind } from "../../../src/core/state/snapshot.ts";
import { restored, restoredAll, stored, type Stored } from "./snapshots.ts";

const MAX_PARALLELISM = 16;
const fresh = (now = (): number => 0): SubtaskStates => new SubtaskStates({ stateId: "op", maxParallelism: MAX_PARALLELISM, classes: new ClassRegistry(), now });

/** Writes and restores at the same parallelism of 1. */
const again = (states: SubtaskStates, now = (): number => 0): SubtaskStates => restored(stored([states.freeze(1)]), 0, 1, MAX_PARALLELISM, { now });

describe("redistribution", () => {
  const block = (kind: SectionKind): fc.Arbitrary<number> =>
    kind === "keyed" || kind === "timers" ? fc.integer({ min: 0, max: MAX_PARALLELISM - 1 }) : fc.integer({ min: 1, max: 5 });
  const snapshotsOf = (kind: SectionKind): fc.Arbitrary<OperatorSnapshot[]> =>
    fc.array(fc.array(block(kind), { maxLength: 12 }), { minLength: 1, maxLength: 6 }).map((subtasks) =>
      subtasks.map((blocks, subtask) => ({
        operator: "op",
        sections: [{
          name: "s", kind, type: "value", format: 1, file: `f${subtask}`, blocks: blocks.flatMap((first, at) => [first, at * 100, 100]),
        }],
      })));

  test.each(["keyed", "timers"] as const)("gives each %s block to the one subtask that owns its key group, at any parallelism", (kind) => {
    fc.assert(fc.property(snapshotsOf(kind), fc.integer({ min: 1, max: MAX_PARALLELISM }), (old, parallelism) => {
      const seen: string[] = [];
      for (let subtask = 0; subtask < parallelism; subtask++) {
        for (const { blocks } of redistribute(old, subtask, parallelism, MAX_PARALLELISM)?.sections ?? []) {
          for (const { file, offset, group, count } of blocks) {
            expect(Math.floor((group * parallelism) / MAX_PARALLELISM)).toBe(subtask);
            expect(count).toBe(-1);
            seen.push(`${file} ${offset} ${group}`);
          }
        }
      }
      const all = old.flatMap(({ sections }) => sections.flatMap(({ file, blocks }) =>
        Array.from({ length: blocks.length / 3 }, (_, at) => `${file} ${blocks[at * 3 + 1] as number} ${blocks[at * 3] as number}`)));
      expect(seen.toSorted()).toEqual(all.toSorted());
    }));
  });

  test("deals out the items of a list in equal shares, each item once, and leaves them where they were at the same parallelism", () => {
    fc.assert(fc.property(snapshotsOf("list"), fc.integer({ min: 1, max: MAX_PARALLELISM }), (old, parallelism) => {
      const all = old.flatMap(({ sections }) => sections.flatMap(({ file, blocks }) =>
        Array.from({ length: blocks.length / 3 }, (_, at) =>
          Array.from({ length: blocks[at * 3] as number }, (_item, item) => `${file} ${blocks[at * 3 + 1] as number} ${item}`)).flat()));
      const shares = Array.from({ length: parallelism }, (_, subtask) =>
        (redistribute(old, subtask, parallelism, MAX_PARALLELISM)?.sections ?? []).flatMap(({ blocks }) =>
          blocks.flatMap(({ file, offset, first, count }) => Array.from({ length: count }, (_item, item) => `${file} ${offset} ${first + item}`))));
      expect(shares.flat()).toEqual(all);
      if (parallelism === old.length) for (const [subtask, share] of shares.entries()) expect(share.every((item) => item.startsWith(`f${subtask} `))).toBe(true);
      else for (const share of shares) expect(Math.abs(share.length - all.length / parallelism)).toBeLessThan(1);
    }));
  });

  test("gives all items of a union list, and one whole copy of broadcast state, to every subtask", () => {
    fc.assert(fc.property(snapshotsOf("union"), snapshotsOf("broadcast"), fc.integer({ min: 1, max: MAX_PARALLELISM }), (union, broadcast, parallelism) => {
      for (let subtask = 0; subtask < parallelism; subtask++) {
        const items = (redistribute(union, subtask, parallelism, MAX_PARALLELISM)?.sections ?? []).flatMap(({ blocks }) => blocks);
        expect(items.map(({ file, offset, count }) => [file, offset, count])).toEqual(
          union.flatMap(({ sections }) => sections.flatMap(({ file, blocks }) =>
            Array.from({ length: blocks.length / 3 }, (_, at) => [file, blocks[at * 3 + 1], blocks[at * 3]]))));
        const copy = (redistribute(broadcast, subtask, parallelism, MAX_PARALLELISM)?.sections ?? []).flatMap(({ blocks }) => blocks);
        const from = broadcast[subtask % broadcast.length]?.sections[0];
        expect(copy.map(({ file, offset }) => [file, offset])).toEqual(
          Array.from({ length: (from?.blocks.length ?? 0) / 3 }, (_, at) => [from?.file, from?.blocks[at * 3 + 1]]));
      }
    }));
  });

  test("leaves out subtasks without state, and refuses a maximum parallelism below that of the snapshot", () => {
    const section = { name: "s", kind: "keyed", type: "value", format: 1, file: "f", blocks: [12, 0, 10] } as const;
    const old = [undefined, { operator: "op", sections: [section] }];
    expect(redistribute([undefined, undefined], 0, 2, MAX_PARALLELISM)).toBe(undefined);
    expect(redistribute(old, 1, 2, MAX_PARALLELISM)?.sections[0]?.blocks).toHaveLength(1);
    expect(() => redistribute(old, 0, 1, 8)).toThrow(CorruptCheckpointError);
    expect(() => redistribute(old, 0, 1, 8)).toThrow(/key group 12, but the job has 8: pipeline.max-parallelism cannot change/);
  });
});

describe("operator state", () => {
  test("lists are dealt out or given to all, broadcast state is everywhere, timers go with their keys", () => {
    const subtasks = [fresh(), fresh()];
    for (const [subtask, states] of subtasks.entries()) {
      for (let i = 0; i < 5; i++) states.list<unknown>("splits", "split").add({ file: `${subtask}-${i}`, at: i });
      states.list<unknown>("all", "union").update([subtask]);
      for (let i = 0; i < 3; i++) states.broadcast<unknown, unknown>("rules").put([i], { rule: i });
    }
    const from = stored(subtasks.map((it) => it.freeze(1)));
    // Whatever comes after the barrier is not part of it.
    (subtasks[0] as SubtaskStates).list<{ file: string }>("splits", "split").update([]);
    for (const parallelism of [1, 2, 3, 7]) {
      const now = restoredAll(from, parallelism, MAX_PARALLELISM);
      expect(now.flatMap((it) => it.list<{ file: string }>("splits", "split").get().map(({ file }) => file)).toSorted()).toEqual(
        ["0-0", "0-1", "0-2", "0-3", "0-4", "1-0", "1-1", "1-2", "1-3", "1-4"]);
      for (const it of now) {
        expect(it.list("all", "union").get()).toEqual([0, 1]);
        expect([...it.broadcast("rules").entries()]).toEqual([[[0], { rule: 0 }], [[1], { rule: 1 }], [[2], { rule: 2 }]]);
      }
    }
  });

  test("what a broadcast map held at the barrier is written, whatever changes meanwhile", () => {
    const states = fresh();
    const rules = states.broadcast<string, { limit: number }>("rules");
    for (let i = 0; i < 100; i++) rules.put(`r${i}`, { limit: i });
    const snapshot = states.freeze(1);
    rules.put("new", { limit: 0 });
    rules.remove("r3");
    (rules.get("r50") as { limit: number }).limit = -1;
    rules.put("r99", { limit: -1 });
    for (const [, rule] of rules.entries()) rule.limit--;
    const back = restored(stored([snapshot]), 0, 1, MAX_PARALLELISM).broadcast("rules");
    expect([...back.entries()].toSorted(([, a], [, b]) => (a as { limit: number }).limit - (b as { limit: number }).limit)).toEqual(
      Array.from({ length: 100 }, (_, i) => [`r${i}`, { limit: i }]));
  });

  test("state that nobody asks for any more stays in the snapshots that follow, until somebody does", () => {
    let states = fresh();
    states.keyed.setCurrentKey("k");
    states.keyed.state(valueState("v")).update({ n: 1 });
    states.list("l", "split").add("item");
    states.broadcast("b").put(1, 2);
    states.timers("event").register(5, "k", "k");
    for (let i = 0; i < 3; i++) states = again(states);
    states.keyed.setCurrentKey("k");
    expect(states.keyed.state(valueState("v")).value()).toEqual({ n: 1 });
    expect(states.list("l", "split").get()).toEqual(["item"]);
    expect(states.broadcast("b").get(1)).toBe(2);
    expect(states.timers("event").nextTime).toBe(5);
  });

  test("a snapshot is written as slowly as its reader takes it, and can be given up", () => {
    const states = fresh();
    for (let i = 0; i < 1_000; i++) {
      states.keyed.setCurrentKey(i);
      states.keyed.state(valueState("v")).update("x".repeat(1_000));
    }
    const snapshot = states.freeze(1);
    for (let i = 0; i < 20; i++) expect(snapshot.work(1_000, () => false)).toBe(false);
    expect(snapshot.bytes).toBe(0);
    let taken = 0;
    for (let i = 0; !snapshot.work(1_000, () => i++ % 2 === 0 && ++taken > 0); );
    expect(taken).toBeGreaterThan(10);
    expect(() => snapshot.finish("f", 0)).not.toThrow();
    expect(() => states.freeze(2)).not.toThrow();
    expect(() => states.freeze(3)).toThrow(/Checkpoint 3 begins while another is being written/);
    states.close();
    expect(() => states.freeze(4)).not.toThrow();
  });

  test("what can't be written fails the snapshot, not the function that touched it", () => {
    const states = fresh();
    const state = states.keyed.state(valueState<unknown>("callbacks"));
    states.keyed.setCurrentKey("a");
    state.update({ next: [() => 1] });
    const snapshot = states.freeze(1);
    expect(state.value()).toBeDefined();
    expect(() => snapshot.work(10, () => true)).toThrow(/State "callbacks" can't be written: what it keeps for "a" holds .*next\[0\].*a function cannot travel/);
    expect(() => states.freeze(2)).not.toThrow();
  });
});

describe("what was restored", () => {
  const first = (): Stored => {
    const states = fresh();
    states.keyed.setCurrentKey(1);
    states.keyed.state(valueState("v")).update(7);
    return stored([states.freeze(1)]);
  };

  test("under another kind of state is refused with both kinds named", () => {
    const states = restored(first(), 0, 1, MAX_PARALLELISM);
    expect(() => states.keyed.state(listState("v"))).toThrow(StateError);
    expect(() => states.keyed.state(listState("v"))).toThrow(/"v" is declared as list state, but what was restored under this name is value state/);
    states.keyed.setCurrentKey(1);
    expect(states.keyed.state(valueState("v")).value()).toBe(7);
  });

  test("for another operator is refused", () => {
    const states = restored(first(), 0, 1, MAX_PARALLELISM);
    expect(() => states.tables("v", { store: (it) => it, load: (it) => it })).toThrow(/is value state of another kind of operator/);
    expect(() => states.tables("other", { store: (it) => it, load: (it) => it })).not.toThrow();
  });

  test.each([
    ["damaged", (bytes: Uint8Array): void => void (bytes[31] = (bytes[31] as number) ^ 1), /is damaged/],
    ["of a later version", (bytes: Uint8Array): void => void (bytes[9] = 9), /version 9 of the state format; this version of drey reads version 1/],
    ["something else", (bytes: Uint8Array): void => void bytes.fill(0x20), /holds no state/],
  ])("and is %s is refused", (_name, spoil, message) => {
    const from = first();
    spoil(from.files.get("file-0") as Uint8Array);
    const states = restored(from, 0, 1, MAX_PARALLELISM);
    expect(() => states.keyed.state(valueState("v"))).toThrow(CorruptCheckpointError);
    expect(() => restored(from, 0, 1, MAX_PARALLELISM).keyed.state(valueState("v"))).toThrow(message);
  });

  test("and is cut short is refused", () => {
    const { files, snapshots } = first();
    const cut = new Map([...files].map(([name, bytes]) => [name, bytes.subarray(0, bytes.length - 1)]));
    expect(() => restored({ files: cut, snapshots }, 0, 1, MAX_PARALLELISM).keyed.state(valueState("v"))).toThrow(/is damaged/);
  });
});

describe("a lifetime", () => {
  test("ends what was not written for so long; nothing that is over is given out, also after a restore", () => {
    let now = 0;
    const clock = (): number => now;
    const ttl = hours(1);
    const declare = (of: SubtaskStates["keyed"]) => ({
      value: of.state(valueState("v", 0, { ttl })),
      read: of.state(valueState("r", 0, { ttl: { time: ttl, refresh: "on-read" } })),
      list: of.state(listState<string>("l", { ttl })),
      map: of.state(mapState<string, number>("m", { ttl })),
      sum: of.state(reducingState<number>("s", (a, b) => a + b, { ttl })),
      mean: of.state(aggregatingState("a", average((x: number) => x), { ttl })),
    });
    let states = fresh(clock);
    let { keyed } = states;
    let it = declare(keyed);
    keyed.setCurrentKey("k");
    it.value.update(1);
    it.read.update(1);
    it.list.add("old");
    it.map.put("old", 1);
    it.sum.add(2);
    it.mean.add(4);
    now = hours(0.6);
    expect(it.read.value()).toBe(1);
    it.list.add("new");
    it.map.put("new", 2);
    it.mean.add(6);
    expect([it.value.value(), it.list.get(), [...it.map.keys()], it.sum.get(), it.mean.get()]).toEqual([1, ["old", "new"], ["old", "new"], 2, 5]);
    now = hours(1.1);
    const after = (of: typeof it): unknown[] => [of.value.value(), of.read.value(), of.list.get(), [...of.map.keys()], of.map.contains("old"), of.sum.get(), of.mean.get()];
    states = again(states, clock);
    ({ keyed } = states);
    keyed.setCurrentKey("k");
    expect(after(declare(keyed))).toEqual([0, 1, ["new"], ["new"], false, undefined, 5]);
    now = hours(3);
    it = declare(keyed);
    expect(after(it)).toEqual([0, 0, [], [], false, undefined, undefined]);
    expect(it.map.isEmpty()).toBe(true);
  });

  test("frees the memory of keys that nobody asks for, a few with each write, and no snapshot holds them", () => {
    let now = 0;
    const states = fresh(() => now);
    const state = states.keyed.state(valueState<number>("v", undefined, { ttl: 10 }));
    for (let i = 0; i < 1_000; i++) {
      states.keyed.setCurrentKey(i);
      state.update(i);
    }
    now = 20;
    const snapshot = states.freeze(1);
    while (!snapshot.work(100, () => true));
    expect(snapshot.bytes).toBe(0);
    for (let i = 0; i < 3_000; i++) {
      states.keyed.setCurrentKey("busy");
      state.update(i);
    }
    expect(states.keyed.entries).toBe(1);
  });

  test("may be given to state that had none, and taken away", () => {
    const plain = fresh();
    plain.keyed.setCurrentKey(1);
    plain.keyed.state(valueState("v")).update(1);
    plain.keyed.state(mapState("m")).put("a", 1);
    plain.keyed.state(listState("l")).update(["a", "b"]);
    let now = 100;
    const timed = again(plain, () => now);
    timed.keyed.setCurrentKey(1);
    const declare = (of: SubtaskStates, options: object) =>
      [of.keyed.state(valueState<unknown>("v", undefined, options)), of.keyed.state(mapState("m", options)), of.keyed.state(listState("l", options))] as const;
    const [value, map, list] = declare(timed, { ttl: 10 });
    now = 105;
    expect([value.value(), map.get("a"), list.get()]).toEqual([1, 1, ["a", "b"]]);
    const [back, backMap, backList] = ((of: SubtaskStates) => {
      of.keyed.setCurrentKey(1);
      return declare(of, {});
    })(again(timed, () => now));
    expect([back.value(), backMap.get("a"), backList.get()]).toEqual([1, 1, ["a", "b"]]);
    now = 111;
    expect([value.value(), map.get("a"), list.get()]).toEqual([undefined, undefined, []]);
  });
});

test("a snapshot of version 1 stays readable", () => {
  const { files, snapshots } = JSON.parse(readFileSync(path.join(import.meta.dirname, "../../golden/state-snapshot-1.json"), "utf8")) as {
    files: Record<string, string>; snapshots: OperatorSnapshot[];
  };
  const golden: Stored = { files: new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text, "base64")])), snapshots };
  const read = restoredAll(golden, 3, 128, { now: () => 0 }).map(goldenContents);
  expect(read.flatMap(({ keyed }) => keyed).toSorted()).toEqual(goldenContents(goldenStates()).keyed.toSorted());
  expect(read.flatMap(({ timers }) => timers).toSorted()).toEqual(goldenContents(goldenStates()).timers.toSorted());
  expect(read.flatMap(({ list }) => list)).toEqual([1, { a: [2] }, "é한"]);
  for (const { broadcast } of read) expect(broadcast).toEqual([["rule", { limit: 5n }]]);
});

const goldenKeys: readonly unknown[] = [0, -1, 2 ** 40, 1.5, "", "zone 7", "한", "\u0001", true, 12n, ["a", 1], { a: null, b: { c: new Date(5) } }];

/** What the stored snapshot was made of: `SubtaskStates` at maximum parallelism 128, written to its end. */
function goldenStates(): SubtaskStates {
  const states = new SubtaskStates();
  for (const [i, key] of goldenKeys.entries()) {
    states.keyed.setCurrentKey(key);
    states.keyed.state(valueState("value")).update({ i, at: new Date(i), of: new Map([[i, "x"]]) });
    states.keyed.state(listState("list")).update([i, null, -0.5]);
    states.keyed.state(mapState("map")).put([i], "v");
    states.keyed.state(valueState<number>("timed", undefined, { ttl: 10 })).update(i);
    states.timers("event").register(i * 10, states.keyed.currentToken, key);
    states.tables("slices", { store: (it: { n: number }) => it.n, load: (n) => ({ n: n as number }) }).table(60_000).set(states.keyed.currentToken, { n: i });
  }
  states.list("list", "split").update([1, { a: [2] }, "é한"]);
  states.broadcast("rules").put("rule", { limit: 5n });
  return states;
}

function goldenContents(states: SubtaskStates): { keyed: string[]; timers: string[]; list: readonly unknown[]; broadcast: unknown[] } {
  const text = (value: unknown): string => JSON.stringify(value, (_key, it: unknown) => (typeof it === "bigint" ? `${it}n` : it instanceof Map ? [...it] : it));
  const keyed: string[] = [];
  for (const descriptor of [valueState("value"), listState("list"), mapState("map")]) {
    states.keyed.state(descriptor);
    for (const key of states.keyed.keys(descriptor.name)) keyed.push(text([descriptor.name, key, states.keyed.query(descriptor.name, key)]));
  }
  for (const [slice, table] of states.tables("slices", { store: (it: { n: number }) => it.n, load: (n) => ({ n: n as number }) }).entries()) {
    table.forEach(({ n }, token) => keyed.push(text([slice, token, n])));
  }
  const timers: string[] = [];
  states.timers("event").advance(Infinity, (time, key) => timers.push(text([time, key])));
  return { keyed, timers, list: states.list("list", "split").get(), broadcast: [...states.broadcast("rules").entries()] };
}
