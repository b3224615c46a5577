import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { listState, mapState, valueState } from "../../../src/core/index.ts";
import { SubtaskStates } from "../../../src/core/state/operator-states.ts";

describe("keyed state in memory", () => {
  test("each key has a value of its own, and the initial one before", () => {
    const backend = new SubtaskStates().keyed;
    const state = backend.state(valueState("n", 0));
    backend.setCurrentKey({ a: 1, b: 2 });
    state.update(5);
    backend.setCurrentKey({ b: 2, a: 1 });
    expect(state.value()).toBe(5);
    backend.setCurrentKey("other");
    expect(state.value()).toBe(0);
    expect(backend.entries).toBe(1);
  });

  test("a list keeps order, and what is given to update is copied", () => {
    const backend = new SubtaskStates().keyed;
    const state = backend.state(listState<number>("list"));
    backend.setCurrentKey(1);
    expect(state.get()).toEqual([]);
    state.add(3);
    state.add(1);
    expect(state.get()).toEqual([3, 1]);
    const mine = [9];
    state.update(mine);
    mine.push(8);
    expect(state.get()).toEqual([9]);
    state.update([]);
    expect(backend.entries).toBe(0);
  });

  test("a map compares its keys by structure and belongs to one key of the stream", () => {
    const backend = new SubtaskStates().keyed;
    const state = backend.state(mapState<unknown, string>("map"));
    backend.setCurrentKey("k");
    state.put([1, 2], "a");
    state.put([1, 2], "b");
    state.put("x", "c");
    expect([state.get([1, 2]), state.contains("x"), [...state.entries()]]).toEqual(["b", true, [[[1, 2], "b"], ["x", "c"]]]);
    backend.setCurrentKey("l");
    expect([state.isEmpty(), [...state.keys()], [...state.values()]]).toEqual([true, [], []]);
    backend.setCurrentKey("k");
    state.remove([1, 2]);
    state.remove("x");
    expect([state.isEmpty(), backend.entries]).toEqual([true, 0]);
  });

  test("a name stands for one declaration, and state needs a key", () => {
    const backend = new SubtaskStates().keyed;
    const state = backend.state(valueState("s", 1));
    expect(backend.state(valueState("s", 1))).toBe(state);
    expect(() => backend.state(listState("s"))).toThrow(/declared twice/);
    expect(() => state.value()).toThrow(/outside a record or timer/);
    expect(() => valueState("o", {})).toThrow(/which all keys would share/);
  });
});

test("state keeps no batch alive: strings out of a long text are copied out of it", () => {
  const batch = "0123456789abcdef".repeat(64 * 1024);
  const backend = new SubtaskStates().keyed;
  const [value, list, map] = [backend.state(valueState<string>("v")), backend.state(listState<{ text: string }>("l")), backend.state(mapState<string, string>("m"))];
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 200; i++) {
    // A text of 2 MB of its own per round, of which state keeps 20 characters.
    const text = `${i}${batch}${i}`.slice(1);
    const part = (from: number): string => text.slice(from, from + 20);
    backend.setCurrentKey(part(i));
    value.update(part(100 + i));
    list.add({ text: part(200 + i) });
    map.put(part(300 + i), part(400 + i));
  }
  collect();
  // The texts are 200 MB and more.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(50 * 1024 * 1024);
});
