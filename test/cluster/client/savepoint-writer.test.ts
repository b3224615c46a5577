/** Savepoints made of data, written and read in one thread. What a job finds in one: test/jobs/savepoint-writer.test.ts. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type DataSet, type Environment, type KeyedEntry, aggregatingState, average, changeSavepoint, listState, localEnvironment, mapState,
  newSavepoint, openSavepoint, reducingState, valueState,
} from "../../../src/cluster/index.ts";
import { ObjectStore } from "../storage/object-store.ts";

let folder: string;
let places = 0;
const place = (): string => join(folder, `savepoint ${++places}`);
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "drey-savepoint-writer-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const local = (parallelism = 1): Environment => localEnvironment({ parallelism, printLogs: false });
const entries = <T>(env: Environment, of: Iterable<readonly [unknown, T]>): DataSet<KeyedEntry<T>> =>
  env.dataSet([...of].map(([key, value]) => ({ key, value })));
const sorted = (rows: readonly unknown[]): unknown[] => rows.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
const pairs = async <T>(set: DataSet<KeyedEntry<T>>): Promise<unknown[]> => sorted((await set.collect()).map(({ key, value }) => [key, value]));

const count = valueState<number>("count");
const numbers = listState<number>("numbers");
const names = mapState<string, number>("names");
const highest = reducingState<number>("highest", Math.max);
const mean = aggregatingState("mean", average((n: number) => n));

describe("a savepoint that was written", () => {
  const key = fc.oneof(fc.integer(), fc.string(), fc.record({ a: fc.integer(), b: fc.string() }));
  const byKey = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<[unknown, T][]> =>
    fc.uniqueArray(fc.tuple(key, value), { maxLength: 20, selector: ([it]) => JSON.stringify(it) }) as fc.Arbitrary<[unknown, T][]>;
  const state = fc.record({
    values: byKey(fc.oneof(fc.integer(), fc.string(), fc.record({ x: fc.double({ noNaN: true }) }))),
    lists: byKey(fc.array(fc.integer(), { minLength: 1, maxLength: 5 })),
    maps: byKey(fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), { minLength: 1, maxLength: 4, selector: ([it]) => it })),
    items: fc.array(fc.string(), { maxLength: 10 }),
    rules: fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), { maxLength: 6, selector: ([it]) => it }),
    timers: fc.uniqueArray(fc.tuple(fc.string(), fc.nat()), { maxLength: 10, selector: (it) => JSON.stringify(it) }),
  });

  it("is read as it was written, at any parallelism and with any number of key groups; a copy says the same", { timeout: 120_000 }, async () => {
    const parallelism = fc.integer({ min: 1, max: 3 });
    const property = fc.asyncProperty(state, parallelism, parallelism, fc.integer({ min: 1, max: 200 }), async (it, writers, readers, maxParallelism) => {
      const env = local(writers);
      const first = place();
      const values = valueState<unknown>("values");
      await newSavepoint({ maxParallelism })
        .keyedState("a", values, entries(env, it.values))
        .keyedState("a", numbers, entries(env, it.lists))
        .keyedState("b", names, entries(env, it.maps))
        .operatorState("b", "split", env.dataSet(it.items))
        .operatorState("b", "all", env.dataSet(it.items), "union")
        .broadcastState("c", "rules", entries(env, it.rules))
        .timers("b", env.dataSet(it.timers.map(([of, timeMs]) => ({ key: of, timeMs, name: "event" }))))
        .write(first);
      const copy = await (await changeSavepoint(first)).write(place());
      for (const from of [first, copy]) {
        const savepoint = await openSavepoint(from);
        expect(savepoint.operators.every((operator) => operator.maxParallelism === maxParallelism)).toBe(true);
        const reader = local(readers);
        expect(await pairs(savepoint.keyedState(reader, "a", values))).toEqual(sorted(it.values));
        expect(await pairs(savepoint.keyedState(reader, "a", numbers))).toEqual(sorted(it.lists));
        expect(await pairs(savepoint.keyedState(reader, "b", names))).toEqual(sorted(it.maps));
        expect(sorted(await savepoint.operatorState(reader, "b", "split").collect())).toEqual(sorted(it.items));
        expect(sorted(await savepoint.operatorState(reader, "b", "all").collect())).toEqual(sorted(it.items));
        expect(await pairs(savepoint.broadcastState<number>(reader, "c", "rules"))).toEqual(sorted(it.rules));
        const timers = await savepoint.timers(reader, "b").collect();
        expect(sorted(timers.map(({ key: of, timeMs }) => [of, timeMs]))).toEqual(sorted(it.timers));
      }
      expect((await (await changeSavepoint(copy)).write(place())).length).toBeGreaterThan(0);
    });
    await fc.assert(property, { numRuns: 10, endOnFailure: true });
  });

  it("puts rows of one key together as its state does", { timeout: 60_000 }, async () => {
    const env = local(2);
    const written = await newSavepoint()
      .keyedState("a", numbers, entries(env, [["x", [1]], ["x", [2, 3]], ["y", [4]]]))
      .keyedState("a", names, entries(env, [["x", [["one", 1]]], ["x", [["two", 2]]]]))
      .keyedState("a", highest, entries(env, [["x", 5], ["x", 9], ["x", 7]]))
      .keyedState("a", mean, entries(env, [["x", 1], ["x", 4]]))
      .write(place());
    const savepoint = await openSavepoint(written);
    expect(await pairs(savepoint.keyedState(env, "a", numbers))).toEqual([["x", [1, 2, 3]], ["y", [4]]]);
    expect(await pairs(savepoint.keyedState(env, "a", names))).toEqual([["x", [["one", 1], ["two", 2]]]]);
    expect(await pairs(savepoint.keyedState(env, "a", highest))).toEqual([["x", 9]]);
    expect(await pairs(savepoint.keyedState(env, "a", mean))).toEqual([["x", 2.5]]);
  });

  it("holds what a function put into several states and timers of each key", { timeout: 60_000 }, async () => {
    const env = local(2);
    const rides = env.dataSet([{ zone: 1, fare: 5 }, { zone: 2, fare: 6 }, { zone: 1, fare: 7 }]);
    const written = await newSavepoint().bootstrap("rides", rides, "zone", (ride, context) => {
      const seen = context.state(count);
      seen.update((seen.value() ?? 0) + 1);
      context.state(numbers).add(ride.fare);
      context.registerEventTimeTimer(1000 * (context.key as number));
    }).write(place());
    const savepoint = await openSavepoint(written);
    expect(await pairs(savepoint.keyedState(env, "rides", count))).toEqual([[1, 2], [2, 1]]);
    expect(await pairs(savepoint.keyedState(env, "rides", numbers))).toEqual([[1, [5, 7]], [2, [6]]]);
    expect(sorted(await savepoint.timers(env, "rides").collect())).toEqual([{ key: 1, timeMs: 1000, name: "event" }, { key: 2, timeMs: 2000, name: "event" }]);
  });
});

describe("a savepoint that was changed", () => {
  let former: string;
  beforeAll(async () => {
    const env = local(2);
    former = await newSavepoint({ maxParallelism: 16, jobName: "shop" })
      .keyedState("totals", count, entries(env, [["a", 1], ["b", 2]]))
      .keyedState("totals", numbers, entries(env, [["a", [1]], ["b", [2]]]))
      .operatorState("source", "positions", env.dataSet([1, 2, 3]))
      .broadcastState("rules", "rules", entries(env, [["r", 1]]))
      .write(place());
  }, 60_000);

  it("has state that was read, transformed and written in place of the former, and all else as it was", { timeout: 60_000 }, async () => {
    const env = local(2);
    const doubled = (await openSavepoint(former)).keyedState(env, "totals", count).map(({ key, value }) => ({ key: key as string, value: value * 2 }));
    const changed = await (await changeSavepoint(former)).keyedState("totals", count, doubled).write(place());
    const savepoint = await openSavepoint(changed);
    expect(savepoint).toMatchObject({ jobName: "shop", kind: "savepoint" });
    expect(savepoint.operators.map(({ uid, maxParallelism }) => `${uid} ${maxParallelism}`).sort()).toEqual(["rules 16", "source 16", "totals 16"]);
    expect(await pairs(savepoint.keyedState(env, "totals", count))).toEqual([["a", 2], ["b", 4]]);
    expect(await pairs(savepoint.keyedState(env, "totals", numbers))).toEqual([["a", [1]], ["b", [2]]]);
    expect(sorted(await savepoint.operatorState(env, "source", "positions").collect())).toEqual([1, 2, 3]);
    expect(await pairs((await openSavepoint(former)).keyedState(env, "totals", count))).toEqual([["a", 1], ["b", 2]]);
  });

  it("needs no file of the former one", { timeout: 60_000 }, async () => {
    const env = local();
    const once = await (await changeSavepoint(former)).write(place());
    const twice = await (await changeSavepoint(once)).write(place());
    rmSync(once, { recursive: true });
    expect(await pairs((await openSavepoint(twice)).keyedState(env, "totals", numbers))).toEqual([["a", [1]], ["b", [2]]]);
  });

  it("has operators added, renamed and left out", { timeout: 60_000 }, async () => {
    const env = local();
    const writer = await changeSavepoint(former);
    writer.remove("rules").rename("totals", "sums").keyedState("new", count, entries(env, [[7, 7]]));
    expect(writer.operators).toEqual(["source", "sums", "new"]);
    const savepoint = await openSavepoint(await writer.write(place()));
    expect(savepoint.operators.map(({ uid }) => uid).sort()).toEqual(["new", "source", "sums"]);
    expect(await pairs(savepoint.keyedState(env, "sums", count))).toEqual([["a", 1], ["b", 2]]);
    expect(await pairs(savepoint.keyedState(env, "new", count))).toEqual([[7, 7]]);
  });

  it("takes a list in place of the former one, however either is dealt out", { timeout: 60_000 }, async () => {
    const env = local();
    const changed = await (await changeSavepoint(former)).operatorState("source", "positions", env.dataSet([9]), "union").write(place());
    expect(await (await openSavepoint(changed)).operatorState(env, "source", "positions").collect()).toEqual([9]);
  });

  it("refuses keys of another kind than the operator's other state has", { timeout: 60_000 }, async () => {
    const env = local();
    const to = place();
    const writing = (await changeSavepoint(former)).keyedState("totals", count, entries(env, [[1, 1]])).write(to);
    await expect(writing).rejects.toThrow(
      /^The keys that are written for "totals" are of type number, but its other state has keys of type string, such as "[ab]"; a function finds state only under the very key that its stream has\.$/,
    );
    expect(() => readdirSync(to)).toThrow("ENOENT");
    expect(await pairs((await openSavepoint(former)).keyedState(env, "totals", count))).toEqual([["a", 1], ["b", 2]]);
  });
});

describe("an object store", () => {
  const store = new ObjectStore();
  beforeAll(async () => {
    const endpoint = await store.start();
    Object.assign(process.env, {
      AWS_ENDPOINT_URL_S3: endpoint, AWS_REGION: "us-east-1", AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret", AWS_MAX_ATTEMPTS: "1",
    });
  });
  afterAll(() => store.stop());

  it("holds savepoints that are written, read and changed there, from and to folders", { timeout: 60_000 }, async () => {
    const env = local(2);
    const rows: [number, number][] = Array.from({ length: 500 }, (_, n) => [n, n * n]);
    const there = await newSavepoint()
      .keyedState("squares", count, entries(env, rows))
      .keyedState("squares", numbers, entries(env, rows.map(([key, value]) => [key, [value]])))
      .operatorState("source", "positions", env.dataSet([1, 2, 3]))
      .write("s3://bucket/made/");
    expect(there).toBe("s3://bucket/made");
    expect([...store.objects.keys()].every((key) => key.startsWith("made/"))).toBe(true);
    const here = await (await changeSavepoint(there)).remove("source").write(place());
    const back = await (await changeSavepoint(here)).keyedState("more", count, entries(env, [[1, 1]])).write("s3://bucket/back");
    for (const from of [there, here, `${back}/_metadata`]) {
      const savepoint = await openSavepoint(from);
      for (const parallelism of [1, 3]) {
        const reader = local(parallelism);
        expect(await pairs(savepoint.keyedState(reader, "squares", count))).toEqual(sorted(rows));
        expect(await pairs(savepoint.keyedState(reader, "squares", numbers))).toEqual(sorted(rows.map(([key, value]) => [key, [value]])));
        await reader.close();
      }
    }
    await expect(newSavepoint().write(there)).rejects.toThrow("s3://bucket/made is not empty: it has ");
    await env.close();
  });

  it("that holds none, or lacks a file, is told, and one that does not answer too", { timeout: 60_000 }, async () => {
    const env = local();
    await expect(openSavepoint("s3://bucket/nothing")).rejects.toThrow('there is no checkpoint or savepoint in "s3://bucket/nothing": it has no file _metadata. Check the path.');
    const there = await newSavepoint().keyedState("a", count, entries(env, [["x", 1]])).write("s3://bucket/lacking");
    const savepoint = await openSavepoint(there);
    for (const key of [...store.objects.keys()]) if (key.startsWith("lacking/") && !key.endsWith("_metadata")) store.objects.delete(key);
    await expect(savepoint.keyedState(env, "a", count).collect()).rejects.toThrow(/^s3:\/\/bucket\/lacking has no file .*, which state of the savepoint is in\. Was it copied with all its files\?$/);
    store.stop();
    await expect(openSavepoint("s3://bucket/made")).rejects.toThrow(/^could not read s3:\/\/bucket\/made\/_metadata: /);
    await env.close();
  });
});

describe("who writes what can't be", () => {
  const env = local();
  const one = entries(env, [["a", 1]]);
  const failure = (writing: Promise<unknown>): Promise<Error> =>
    writing.then(() => expect.unreachable() as never, (error: Error) => (error.cause as Error | undefined) ?? error);

  it("is told at once of state that is written twice, of uids that are not there or taken, and of key groups that can't be", async () => {
    expect(() => newSavepoint().keyedState("a", count, one).keyedState("a", listState<number>("count"), entries(env, [["a", [1]]])))
      .toThrow('The keyed state "count" of "a" is written twice; put the rows of both into one data set.');
    expect(() => newSavepoint().keyedState("", count, one)).toThrow('State is written for the operator ""; give the uid that the job\'s operator has.');
    expect(() => newSavepoint({ maxParallelism: 40_000 })).toThrow("newSavepoint() got { maxParallelism: 40000 }; give a whole number from 1 to 32768.");
    expect(() => newSavepoint().remove("b")).toThrow('remove() was asked for the operator "b", but there are: none.');
    const former = await changeSavepoint(await newSavepoint().keyedState("a", count, one).keyedState("b", count, one).write(place()));
    expect(() => former.rename("a", "b")).toThrow('rename("a", "b"): there is an operator of this uid already.');
    expect(() => former.keyedState("a", count, one).keyedState("b", count, entries(local(), [["a", 1]]))).toThrow("a data set of another environment");
  });

  it("is told of rows that don't fit the state, with the row", async () => {
    const write = (uid: string, descriptor: Parameters<ReturnType<typeof newSavepoint>["keyedState"]>[1], rows: readonly unknown[]): Promise<Error> =>
      failure(newSavepoint().keyedState(uid, descriptor, env.dataSet(rows as never[])).write(place()));
    expect((await write("a", count, [{ key: "x", value: 1 }, { key: "x", value: 2 }])).message)
      .toContain('Two rows for state "count" of "a" have the key "x", but value state has one value per key; group them before.');
    expect((await write("a", count, [{ key: "x", n: 1 }])).message)
      .toContain('A row for keyed state "count" of "a" is {"key":"x","n":1}; it must be { key, value }, neither of them undefined.');
    expect((await write("a", count, [{ key: null, value: 1 }])).message).toContain("the key is null");
    expect((await write("a", numbers, [{ key: "x", value: 1 }])).message).toContain('The row of key "x" for list state "numbers" of "a" has the value 1; give an array.');
    expect((await write("a", names, [{ key: "x", value: { one: 1 } }])).message).toContain("give a Map, or pairs [key, value].");
  });

  it("is told that the folder is not empty, and what is in it stays", async () => {
    const to = mkdtempSync(join(folder, "taken-"));
    writeFileSync(join(to, "notes.txt"), "mine");
    await expect(newSavepoint().keyedState("a", count, one).write(to))
      .rejects.toThrow(`${to} is not empty: it has "notes.txt". A savepoint is written into a folder of its own.`);
    expect(readdirSync(to)).toEqual(["notes.txt"]);
  });

  it("is told that a place is none, and leaves nothing where the job fails", async () => {
    await expect(newSavepoint().write("ftp://host/x")).rejects.toThrow('write() got "ftp://host/x"; give the folder of a savepoint: a path, file:///path or s3://bucket/path.');
    const to = place();
    await failure(newSavepoint().keyedState("a", count, one.map((): never => {
      throw new Error("no");
    })).write(to));
    expect(() => readdirSync(to)).toThrow("ENOENT");
  });
});
