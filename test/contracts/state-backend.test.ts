/**
 * What every state backend must do: behave as plain Maps do, be written as it was at the barrier while it goes on changing, and be the same
 * again after a restore at another parallelism.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ClassRegistry } from "../../src/core/data/classes.ts";
import { keyGroupOf, keyGroupRange, subtaskOfKeyGroup } from "../../src/core/data/key-groups.ts";
import { keyToken } from "../../src/core/data/keys.ts";
import { aggregatingState, listState, mapState, reducingState, valueState } from "../../src/core/state/descriptors.ts";
import type { CheckpointedStates } from "../../src/core/state/operator-states.ts";
import { HeapStates } from "../../src/core/state/operator-states.ts";
import type { SnapshotInProgress } from "../../src/core/state/snapshot.ts";
import { restoredAll, stored, StoredFile } from "../core/state/snapshots.ts";

const MAX_PARALLELISM = 16;
class Point {
  x = 0;
}
const classes = new ClassRegistry([{ name: "Point", constructor: Point, privateFields: [] }]);

const descriptors = {
  value: valueState<unknown>("value"),
  list: listState<unknown>("list"),
  map: mapState<unknown, unknown>("map"),
  sum: reducingState<number>("sum", (a, b) => a + b),
  mean: aggregatingState("mean", {
    createAccumulator: () => ({ n: 0 }),
    add: (_value: number, accumulator: { n: number }) => {
      accumulator.n++;
      return accumulator;
    },
    getResult: ({ n }) => n,
  }),
};

type Action = { readonly what: string; readonly key: unknown; readonly n: number };
const key = fc.oneof(fc.integer({ min: -5, max: 40 }), fc.constantFrom<unknown>("a", "a long string of a key", [1, "x"], { a: 1, b: [2] }, 1.5, 7n, true));
const action: fc.Arbitrary<Action> = fc.record({
  what: fc.constantFrom("set", "change", "clear", "push", "list", "unlist", "put", "alter", "remove", "unmap", "sum", "unsum", "mean", "timer", "untimer", "fire", "work", "peek"),
  key,
  n: fc.integer({ min: 0, max: 5 }),
});

/** State and a model of it made of plain data. */
class Subject {
  readonly states: CheckpointedStates;
  readonly model = new Map<string, unknown>();
  readonly timers = new Set<string>();
  snapshot: { readonly inProgress: SnapshotInProgress; readonly file: StoredFile; done: boolean } | undefined;

  constructor(states: CheckpointedStates) {
    this.states = states;
  }

  act({ what, key, n }: Action): void {
    const { keyed } = this.states;
    keyed.setCurrentKey(key);
    const at = (kind: string): string => `${kind} ${JSON.stringify([typeof key, String(keyToken(key))])}`;
    const get = <T>(kind: string): T | undefined => this.model.get(at(kind)) as T | undefined;
    const value = keyed.state(descriptors.value);
    const list = keyed.state(descriptors.list);
    const map = keyed.state(descriptors.map);
    switch (what) {
      case "set": {
        const point = Object.assign(new Point(), { x: n, inner: [n] });
        value.update(point);
        this.model.set(at("value"), { x: n, inner: [n] });
        break;
      }
      case "change": {
        const held = value.value() as { x: number; inner: number[] } | undefined;
        if (held === undefined) break;
        held.x++;
        held.inner.push(n);
        value.update(held);
        const model = get<{ x: number; inner: number[] }>("value") as { x: number; inner: number[] };
        this.model.set(at("value"), { x: model.x + 1, inner: [...model.inner, n] });
        break;
      }
      case "clear":
        value.clear();
        this.model.delete(at("value"));
        break;
      case "push":
        list.add({ n });
        this.model.set(at("list"), [...(get<unknown[]>("list") ?? []), { n }]);
        break;
      case "list":
        list.update(Array.from({ length: n }, (_, i) => i));
        if (n === 0) this.model.delete(at("list"));
        else this.model.set(at("list"), Array.from({ length: n }, (_, i) => i));
        break;
      case "unlist":
        list.clear();
        this.model.delete(at("list"));
        break;
      case "put":
      case "alter": {
        map.put([n], { n: what });
        const model = get<Record<string, unknown>>("map") ?? {};
        this.model.set(at("map"), { ...model, [n]: { n: what } });
        break;
      }
      case "remove": {
        map.remove([n]);
        const { [n]: _gone, ...model } = get<Record<string, unknown>>("map") ?? {};
        if (Object.keys(model).length === 0) this.model.delete(at("map"));
        else this.model.set(at("map"), model);
        break;
      }
      case "unmap":
        map.clear();
        this.model.delete(at("map"));
        break;
      case "sum":
        keyed.state(descriptors.sum).add(n);
        this.model.set(at("sum"), (get<number>("sum") ?? 0) + n);
        break;
      case "unsum":
        keyed.state(descriptors.sum).clear();
        this.model.delete(at("sum"));
        break;
      case "mean":
        keyed.state(descriptors.mean).add(n);
        this.model.set(at("mean"), (get<number>("mean") ?? 0) + 1);
        break;
      case "timer":
        this.states.timers("event").register(n, keyed.currentToken, key);
        this.timers.add(`${n} ${JSON.stringify([typeof key, String(keyToken(key))])}`);
        break;
      case "untimer":
        this.states.timers("event").delete(n, keyed.currentToken);
        this.timers.delete(`${n} ${JSON.stringify([typeof key, String(keyToken(key))])}`);
        break;
      case "fire":
        this.states.timers("event").advance(n, () => undefined);
        for (const timer of [...this.timers]) if (Number.parseInt(timer, 10) <= n) this.timers.delete(timer);
        break;
      case "work":
        this.work(0);
        break;
    }
  }

  work(budgetMs: number): void {
    const it = this.snapshot;
    if (it !== undefined && !it.done) it.done = it.inProgress.work(budgetMs, it.file.write);
  }

  freeze(): void {
    this.snapshot = { inProgress: this.states.freeze(1), file: new StoredFile(), done: false };
  }
}

/** All that some states hold, in the shape of the model. */
function contents(states: CheckpointedStates): { model: Map<string, unknown>; timers: Set<string> } {
  const model = new Map<string, unknown>();
  const timers = new Set<string>();
  const { keyed } = states;
  for (const [name, descriptor] of Object.entries(descriptors)) {
    keyed.state(descriptor);
    for (const key of keyed.keys(name)) {
      const at = `${name} ${JSON.stringify([typeof key, String(keyToken(key))])}`;
      const held = keyed.query(name, key);
      if (name === "value") {
        expect(Object.getPrototypeOf(held)).toBe(Point.prototype);
        model.set(at, { ...(held as object) });
      } else if (name === "map") model.set(at, Object.fromEntries((held as [unknown[], unknown][]).map(([[n], value]) => [n, value])));
      else model.set(at, held);
    }
  }
  states.timers("event").advance(Infinity, (time, key) => {
    expect(timers.has(`${time} ${JSON.stringify([typeof key, String(keyToken(key))])}`)).toBe(false);
    timers.add(`${time} ${JSON.stringify([typeof key, String(keyToken(key))])}`);
  });
  return { model, timers };
}

const fresh = (): CheckpointedStates => new HeapStates({ stateId: "op", maxParallelism: MAX_PARALLELISM, classes, now: () => 0 });

describe("a state backend", () => {
  test("holds what a Map would hold; a snapshot is as it was at the barrier, whatever happens meanwhile, and at any parallelism after it", () => {
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 120 }), fc.array(action, { maxLength: 120 }), fc.array(action, { maxLength: 30 }),
        fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: MAX_PARALLELISM }), fc.boolean(), fc.boolean(),
        (before, during, after, parallelism, next, abortOneBefore, integersOnly) => {
          if (integersOnly) for (const list of [before, during, after]) for (const [i, it] of list.entries()) list[i] = { ...it, key: Number(it.key) | 0 };
          const subjects = Array.from({ length: parallelism }, () => new Subject(fresh()));
          const ownerOf = (of: unknown): Subject =>
            subjects[subtaskOfKeyGroup(keyGroupOf(keyToken(of), MAX_PARALLELISM), parallelism, MAX_PARALLELISM)] as Subject;
          const half = before.length >> 1;
          for (const it of before.slice(0, half)) ownerOf(it.key).act(it);
          if (abortOneBefore) for (const it of subjects) it.freeze();
          for (const it of before.slice(half)) ownerOf(it.key).act(it);
          if (abortOneBefore) for (const it of subjects) it.snapshot?.inProgress.abort();
          const expected = { model: new Map<string, unknown>(), timers: new Set<string>() };
          for (const it of subjects) {
            it.freeze();
            for (const [at, value] of it.model) expected.model.set(at, structuredClone(value));
            for (const timer of it.timers) expected.timers.add(timer);
          }
          for (const it of during) ownerOf(it.key).act(it);
          const begun = subjects.map((it) => it.snapshot as NonNullable<typeof it.snapshot>);
          const at = stored(begun.map((it) => it.inProgress), begun.map((it) => it.file));
          for (const it of after) ownerOf(it.key).act(it);
          // The states themselves did not suffer.
          for (const it of subjects) {
            const held = contents(it.states);
            expect(held.model).toEqual(it.model);
            expect(held.timers).toEqual(it.timers);
          }
          const found = { model: new Map<string, unknown>(), timers: new Set<string>() };
          for (const [subtask, states] of restoredAll(at, next, MAX_PARALLELISM, { classes }).entries()) {
            const held = contents(states);
            const range = keyGroupRange(subtask, next, MAX_PARALLELISM);
            for (const [name] of Object.entries(descriptors)) {
              for (const own of states.keyed.keys(name)) {
                const group = keyGroupOf(keyToken(own), MAX_PARALLELISM);
                expect(group >= range.start && group < range.end).toBe(true);
              }
            }
            for (const [name, value] of held.model) found.model.set(name, value);
            for (const timer of held.timers) {
              expect(found.timers.has(timer)).toBe(false);
              found.timers.add(timer);
            }
          }
          expect(found.model).toEqual(expected.model);
          expect(found.timers).toEqual(expected.timers);
        },
      ),
      { numRuns: 300 },
    );
  });
});
