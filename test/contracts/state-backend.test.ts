/**
 * What every state backend must do: behave as plain Maps do, be written as it was at the barrier while it goes on changing, and be the same
 * again after a restore at another parallelism.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test, vi } from "vitest";
import { ClassRegistry } from "../../src/core/data/classes.ts";
import { keyGroupOf, keyGroupRange, subtaskOfKeyGroup } from "../../src/core/data/key-groups.ts";
import { keyToken } from "../../src/core/data/keys.ts";
import { aggregatingState, listState, mapState, reducingState, valueState } from "../../src/core/state/descriptors.ts";
import type { DiskOptions } from "../../src/core/state/disk-tables.ts";
import type { CheckpointedStates } from "../../src/core/state/operator-states.ts";
import { SubtaskStates } from "../../src/core/state/operator-states.ts";
import type { SnapshotInProgress } from "../../src/core/state/snapshot.ts";
import { restoredAll, stored, type Stored, StoredFile } from "../core/state/snapshots.ts";

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
const key = fc.oneof(fc.integer({ min: -3, max: 9 }), fc.constantFrom<unknown>("a", "a long string of a key", [1, "x"], { a: 1, b: [2] }, 1.5, 7n, true));
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
    for (const key of [...keyed.keys(name)]) {
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

const folder = mkdtempSync(path.join(tmpdir(), "drey-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** So few keys in memory that nearly each access goes to disk. */
const onDisk: DiskOptions = { folder, cachedEntries: 3, incremental: true };
const backends: readonly (readonly [string, DiskOptions | undefined, DiskOptions | undefined])[] = [
  ["in memory", undefined, undefined],
  ["on disk", onDisk, onDisk],
  ["in memory, then on disk", undefined, onDisk],
  ["on disk, then in memory", onDisk, undefined],
];

const fresh = (disk: DiskOptions | undefined): SubtaskStates =>
  new SubtaskStates({ stateId: "op", maxParallelism: MAX_PARALLELISM, classes, now: () => 0, ...(disk === undefined ? {} : { disk }) });

describe.each(backends)("state %s", (_name, disk, thenDisk) => {
  // Opening a store takes its time.
  const inMemory = disk === undefined && thenDisk === undefined;
  test("holds what a Map would hold; a snapshot is as it was at the barrier, whatever happens meanwhile, and at any parallelism after it", () => {
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 120, size: "max" }), fc.array(action, { maxLength: 120, size: "max" }), fc.array(action, { maxLength: 30 }),
        fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: inMemory ? MAX_PARALLELISM : 4 }), fc.boolean(), fc.boolean(),
        (before, during, after, parallelism, next, abortOneBefore, integersOnly) => {
          if (integersOnly) for (const list of [before, during, after]) for (const [i, it] of list.entries()) list[i] = { ...it, key: Number(it.key) | 0 };
          const subjects = Array.from({ length: parallelism }, () => new Subject(fresh(disk)));
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
          for (const [subtask, states] of restoredAll(at, next, MAX_PARALLELISM, { classes, ...(thenDisk === undefined ? {} : { disk: thenDisk }) }).entries()) {
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
            states.close();
          }
          for (const it of subjects) it.states.close();
          expect(found.model).toEqual(expected.model);
          expect(found.timers).toEqual(expected.timers);
        },
      ),
      { numRuns: inMemory ? 150 : 20 },
    );
  });
});

describe("checkpoints of state on disk", () => {
  test("write what changed since the last complete one, and each can be restored, whichever of them complete", () => {
    const step = fc.oneof({ weight: 12, arbitrary: action }, { weight: 3, arbitrary: fc.constantFrom("freeze", "complete", "complete the one before", "savepoint") });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150, size: "max" }), fc.integer({ min: 1, max: 3 }), (steps, parallelism) => {
        const subject = new Subject(fresh(onDisk));
        const files = new Map<string, Uint8Array>();
        const known: { readonly id: number; readonly model: Map<string, unknown>; readonly stored: Stored }[] = [];
        let taken = 0;
        let model = new Map<string, unknown>();
        let kind: "checkpoint" | "savepoint" = "checkpoint";
        const finish = (): void => {
          const it = subject.snapshot;
          if (it === undefined) return;
          while (!it.done) subject.work(10);
          subject.snapshot = undefined;
          const id = taken;
          files.set(`chk-${id}/f`, it.file.bytes);
          const snapshot = it.inProgress.finish("f", 0);
          if (kind === "savepoint") expect(snapshot.sections.every(({ file }) => file === "f")).toBe(true);
          const own = new Map(snapshot.sections.map(({ file }) => [file, files.get(file.startsWith("../") ? file.slice(3) : `chk-${id}/${file}`) as Uint8Array]));
          known.push({ id: kind === "savepoint" ? -1 : id, model, stored: { files: own, snapshots: [snapshot] } });
        };
        for (const it of steps) {
          if (typeof it === "object") subject.act(it);
          else if (it.startsWith("complete")) {
            const which = known.at(it === "complete" ? -1 : -2);
            if (which !== undefined) subject.states.completed(which.id);
          } else {
            finish();
            model = structuredClone(subject.model);
            kind = it === "savepoint" ? "savepoint" : "checkpoint";
            subject.snapshot = { inProgress: subject.states.freeze(++taken, kind), file: new StoredFile(), done: false };
          }
        }
        finish();
        expect(contents(subject.states).model).toEqual(subject.model);
        subject.states.close();
        for (const it of known) {
          const found = new Map<string, unknown>();
          for (const states of restoredAll(it.stored, parallelism, MAX_PARALLELISM, { classes })) {
            for (const [name, value] of contents(states).model) found.set(name, value);
          }
          expect(found).toEqual(it.model);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("cost what changed, not what there is, until it is cheaper to begin anew", () => {
    const states = fresh({ ...onDisk, cachedEntries: 1_000 });
    const value = states.keyed.state(valueState<string>("v"));
    const change = (from: number, to: number): void => {
      for (let i = from; i < to; i++) {
        states.keyed.setCurrentKey(i);
        value.update("x".repeat(100) + i);
      }
    };
    const take = (checkpoint: number, kind?: "savepoint"): number => {
      const snapshot = states.freeze(checkpoint, kind);
      while (!snapshot.work(100, () => true));
      snapshot.finish("f", 0);
      states.completed(checkpoint);
      return snapshot.bytes;
    };
    change(0, 5_000);
    const whole = take(1);
    change(0, 50);
    const part = take(2);
    expect(part).toBeLessThan(whole / 50);
    expect(take(3)).toBe(0);
    expect(take(4, "savepoint")).toBeGreaterThan(whole * 0.9);
    change(50, 100);
    expect(take(5)).toBeLessThan(whole / 50);
    for (let checkpoint = 6, written = 0; ; checkpoint++) {
      change(0, 1_000);
      const bytes = take(checkpoint);
      written += bytes;
      if (bytes > whole * 0.9) {
        // What was added had outgrown the rest.
        expect(written).toBeGreaterThan(whole * 1.9);
        break;
      }
      expect(checkpoint).toBeLessThan(30);
    }
    states.close();
  });

  test("a key that is too long for the disk says so, and the folder goes with the state", async () => {
    const states = fresh(onDisk);
    const value = states.keyed.state(valueState<number>("v"));
    states.keyed.setCurrentKey("k".repeat(1_000));
    expect(() => value.update(1)).toThrow(/is too long for state on disk: 2000 of at most 1900 bytes/);
    states.close();
    await vi.waitFor(() => expect(readdirSync(folder)).toEqual([]), { timeout: 30_000 });
  });
});
