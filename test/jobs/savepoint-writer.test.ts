/** Savepoints written on real processes from data: a job that starts from one finds its state as it was written, at any parallelism. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BroadcastProcessFunction, type Collector, type DataSet, type Environment, KeyedProcessFunction, type KeyedEntry, LocalCluster, type OperatorList,
  type ProcessContext, ProcessFunction, type ReadOnlyBroadcastContext, type RuntimeContext, type TimerContext, changeSavepoint, environment, listState,
  mapState, newSavepoint, openSavepoint, reducingState, valueState,
} from "drey";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const count = valueState<number>("count", 0);
const numbers = listState<number>("numbers");
const names = mapState<string, number>("names");
const highest = reducingState<number>("highest", Math.max);
const rules = mapState<string, number>("rules");

/** Tells what it finds for each key, and of each timer. */
class Telling extends KeyedProcessFunction<string, string, string> {
  override processElement(_row: string, context: ProcessContext<string>, out: Collector<string>): void {
    const found = [context.state(count).value(), context.state(numbers).get(), [...context.state(names).entries()], context.state(highest).get() ?? null];
    out.collect(`${context.key} has ${JSON.stringify(found)}`);
  }
  override onTimer(timeMs: number, context: TimerContext<string>, out: Collector<string>): void {
    out.collect(`${context.key} woke at ${timeMs}`);
  }
}

/** Tells what items its subtasks were given. */
class Listing extends ProcessFunction<string, string> {
  shares!: OperatorList<string>;
  all!: OperatorList<string>;
  subtask = -1;
  told = false;
  override open(context: RuntimeContext): void {
    this.shares = context.listState("shares");
    this.all = context.unionListState("all");
    this.subtask = context.subtask;
  }
  override processElement(row: string, _context: ProcessContext, out: Collector<string>): void {
    if (!this.told) {
      this.told = true;
      for (const item of this.shares.get()) out.collect(`share ${item}`);
      out.collect(`all ${this.subtask} ${JSON.stringify(this.all.get().toSorted())}`);
    }
    out.collect(row);
  }
}

class Ruled extends BroadcastProcessFunction<string, string, string> {
  override processElement(row: string, context: ReadOnlyBroadcastContext, out: Collector<string>): void {
    out.collect(`${row} under ${JSON.stringify([...context.broadcastState(rules).entries()].toSorted())}`);
  }
  override processBroadcastElement(): void {
    // No rule comes.
  }
}

let cluster: LocalCluster;
let folder: string;
let places = 0;
const place = (): string => join(folder, `savepoint-${++places}`);
const open = (parallelism: number, maxParallelism = 128): Environment =>
  environment({ cluster, parallelism, printLogs: false, configuration: { "pipeline.max-parallelism": maxParallelism } }).enableCheckpointing("200 ms");

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drey-savepoint-writer-"));
  // Nobody is lost here: a machine that is too busy for heartbeats is no fault.
  cluster = await LocalCluster.start({ taskManagers: 1, slots: 3, options: { "heartbeat.timeout": "60 s" } });
}, 60_000);
afterAll(async () => {
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Content {
  readonly keys: readonly { readonly key: string; readonly count: number; readonly numbers: readonly number[]; readonly names: readonly (readonly [string, number])[] }[];
  readonly items: readonly string[];
  readonly rules: readonly (readonly [string, number])[];
}

function written(env: Environment, { keys, items, rules: rulings }: Content, maxParallelism: number): Promise<string> {
  const rows = env.dataSet(keys);
  const values = <T>(of: (row: Content["keys"][number]) => T): DataSet<KeyedEntry<T>> => rows.map((row) => ({ key: row.key, value: of(row) }));
  return newSavepoint({ maxParallelism })
    .keyedState("telling", count, values((row) => row.count))
    .keyedState("telling", numbers, values((row) => row.numbers))
    .keyedState("telling", names, values((row) => row.names))
    .keyedState("telling", highest, rows.flatMap((row) => row.numbers.map((value) => ({ key: row.key, value }))))
    .timers("telling", rows.map((row) => ({ key: row.key, timeMs: 1000 + row.count, name: "event" })))
    .operatorState("listing", "shares", env.dataSet(items))
    .operatorState("listing", "all", env.dataSet(items), "union")
    .broadcastState("ruled", "rules", env.dataSet(rulings.map(([key, value]) => ({ key, value }))))
    .write(place());
}

/** What a job tells that starts from there: a row of each key goes through it, and then time is over. */
async function told(from: string, keys: readonly string[], parallelism: number, maxParallelism: number): Promise<string[]> {
  await using env = open(parallelism, maxParallelism);
  const ruling = env.of<string>("").filter(() => false).broadcast(rules);
  const rows = env.of(...keys).withTimestamps(() => 1).keyBy((key) => key).process(new Telling()).uid("telling")
    .process(new Listing()).uid("listing").connect(ruling).process(new Ruled()).uid("ruled");
  const job = await env.submit({ name: "telling", outputs: { rows }, from });
  const all: string[] = [];
  await new Promise<void>((resolve, reject) => job.outputs.rows.subscribe({ next: (row) => all.push(row), complete: resolve, error: reject }));
  return all;
}

function requireTold(rows: readonly string[], { keys, items, rules: rulings }: Content): void {
  const under = ` under ${JSON.stringify(rulings.toSorted())}`;
  expect(rows.every((row) => row.endsWith(under))).toBe(true);
  const plain = rows.map((row) => row.slice(0, -under.length));
  for (const { key, count: n, numbers: all, names: pairs } of keys) {
    expect(plain).toContain(`${key} has ${JSON.stringify([n, all, pairs, all.length === 0 ? null : Math.max(...all)])}`);
    expect(plain.filter((row) => row === `${key} woke at ${1000 + n}`)).toHaveLength(1);
  }
  const shares = plain.filter((row) => row.startsWith("share "));
  expect(new Set(shares).size).toBe(shares.length);
  for (const share of shares) expect(items).toContain(share.slice("share ".length));
  for (const row of plain.filter((it) => it.startsWith("all "))) expect(JSON.parse(row.slice(row.indexOf("["))) as unknown).toEqual(items.toSorted());
}

describe("a job that starts from a savepoint that was written", () => {
  const word = fc.string({ minLength: 1, maxLength: 6 });
  const content: fc.Arbitrary<Content> = fc.record({
    keys: fc.uniqueArray(
      fc.record({
        key: word, count: fc.integer({ min: 1, max: 1_000 }), numbers: fc.array(fc.integer(), { maxLength: 4 }),
        names: fc.uniqueArray(fc.tuple(word, fc.integer()), { maxLength: 3, selector: ([name]) => name }),
      }),
      { minLength: 1, maxLength: 15, selector: ({ key }) => key },
    ),
    items: fc.uniqueArray(word, { maxLength: 8 }),
    rules: fc.uniqueArray(fc.tuple(word, fc.integer()), { maxLength: 4, selector: ([name]) => name }),
  });
  const parallelism = fc.integer({ min: 1, max: 3 });

  it("finds its state, timers, items and rules as they were written, whatever the parallelisms", { timeout: 240_000 }, async () => {
    const property = fc.asyncProperty(content, parallelism, parallelism, fc.constantFrom(3, 16, 128), async (it, writers, readers, maxParallelism) => {
      await using env = open(writers);
      const from = await written(env, it, maxParallelism);
      requireTold(await told(from, it.keys.map(({ key }) => key), readers, maxParallelism), it);
    });
    await fc.assert(property, { numRuns: 3, endOnFailure: true });
  });

  it("goes on from what a former job kept, transformed by a program", { timeout: 120_000 }, async () => {
    const first: Content = { keys: [{ key: "a", count: 1, numbers: [1], names: [["x", 1]] }, { key: "b", count: 2, numbers: [], names: [] }], items: ["i"], rules: [["r", 1]] };
    await using env = open(2);
    const from = await written(env, first, 128);
    const more = (await openSavepoint(from)).keyedState(env, "telling", count).map(({ key, value }) => ({ key: key as string, value: value + 100 }));
    const changed = await (await changeSavepoint(from)).keyedState("telling", count, more).write(place());
    const rows = await told(changed, ["a", "b"], 3, 128);
    const under = ' under [["r",1]]';
    expect(rows).toContain(`a has [101,[1],[["x",1]],1]${under}`);
    expect(rows).toContain(`b has [102,[],[],null]${under}`);
  });

  it("needs as many key groups, and is told so", { timeout: 60_000 }, async () => {
    await using env = open(1);
    const from = await written(env, { keys: [{ key: "a", count: 1, numbers: [], names: [] }], items: [], rules: [] }, 16);
    await expect(told(from, ["a"], 1, 128)).rejects.toThrow(/"telling" had a maximal parallelism of 16, and now has 128, .* Set pipeline\.max-parallelism, or the operator's setMaxParallelism\(\), to 16\./);
  });
});
