/** The same question about bounded data, asked as a stream and as a data set, comes to the same end; both agree with plain loops. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DataSet, type DataStream, type Environment, globalWindow, localEnvironment, tumbling } from "../../src/core/index.ts";
import { runs } from "./runs.ts";

interface Row { readonly id: number; readonly k: string; readonly v: number; readonly at: number }

const rows: fc.Arbitrary<readonly Row[]> = fc
  .array(fc.record({ k: fc.constantFrom("a", "b", "c", ""), v: fc.integer({ min: -9, max: 9 }), at: fc.integer({ min: 0, max: 60 }) }), { maxLength: 60 })
  .map((drawn) => drawn.map((row, id) => ({ ...row, id })));

/** A question: as a stream, as a data set, and by hand. */
interface Question {
  readonly stream: (stream: DataStream<Row>) => DataStream<unknown>;
  readonly set: (set: DataSet<Row>) => DataSet<unknown>;
  readonly loop: (rows: readonly Row[]) => readonly unknown[];
}

const groupsOf = (all: readonly Row[], key: (row: Row) => unknown): Row[][] => [
  ...all.reduce((groups, row) => groups.set(key(row), [...(groups.get(key(row)) ?? []), row]), new Map<unknown, Row[]>()).values(),
];
const first = <T>(group: readonly T[]): T => group[0] as T;
const ids = (group: Iterable<Row>): number[] => [...group].map((row) => row.id).sort((a, b) => a - b);
const atEnd = globalWindow({ atEnd: true });

const questions: Readonly<Record<string, Question>> = {
  "the sum per key": {
    stream: (stream) => stream.keyBy((row) => row.k).window(atEnd).aggregate(
      { createAccumulator: () => 0, add: (row, sum) => sum + row.v, getResult: (sum) => sum }, (sum, { key }) => [key, sum]),
    set: (set) => set.groupBy("k").sum("v").map(({ k, v }) => [k, v]),
    loop: (all) => groupsOf(all, (row) => row.k).map((group) => [first(group).k, group.reduce((sum, row) => sum + row.v, 0)]),
  },
  "all records of a key": {
    stream: (stream) => stream.keyBy((row) => row.k).window(atEnd).apply((group, { key }) => [[key, ids(group)]]),
    set: (set) => set.groupBy("k").reduceGroup<unknown>((group, out) => {
      const all = [...group];
      out.collect([first(all).k, ids(all)]);
    }),
    loop: (all) => groupsOf(all, (row) => row.k).map((group) => [first(group).k, ids(group)]),
  },
  "the record with the highest value per key and ten units of time": {
    stream: (stream) => stream.keyBy((row) => row.k).window(tumbling(10)).maxBy((row) => row.v * 1_000 - row.id),
    set: (set) => set.groupBy((row) => [row.k, Math.floor(row.at / 10)]).reduce((a, b) => (b.v * 1_000 - b.id > a.v * 1_000 - a.id ? b : a)),
    loop: (all) => groupsOf(all, (row) => `${row.k}/${Math.floor(row.at / 10)}`)
      .map((group) => group.reduce((a, b) => (b.v * 1_000 - b.id > a.v * 1_000 - a.id ? b : a))),
  },
  "pairs of records with opposite values": {
    stream: (stream) => stream.join(stream.filter((row) => row.v > 0)).where((row) => -row.v).equalTo((row) => row.v).window(tumbling(100))
      .apply((a, b) => [a.id, b.id]),
    set: (set) => set.join(set.filter((row) => row.v > 0)).where((row) => -row.v).equalTo((row) => row.v).with((a, b) => [a.id, b.id]),
    loop: (all) => all.flatMap((a) => all.filter((b) => b.v > 0 && b.v === -a.v).map((b) => [a.id, b.id])),
  },
  "distinct keys": {
    stream: (stream) => stream.map((row) => row.k).keyBy((k) => k).distinct(),
    set: (set) => set.map((row) => row.k).distinct(),
    loop: (all) => [...new Set(all.map((row) => row.k))],
  },
};

const sorted = (answer: readonly unknown[]): string[] => answer.map((row) => JSON.stringify(row)).sort();

describe("as stream and as data set", () => {
  test.each(Object.keys(questions))("%s", async (name) => {
    const { stream, set, loop } = questions[name] as Question;
    await fc.assert(
      fc.asyncProperty(rows, fc.integer({ min: 1, max: 4 }), fc.boolean(), async (all, parallelism, spilled) => {
        const environment = (): Environment =>
          localEnvironment({ parallelism, configuration: spilled ? { "taskmanager.memory.managed.size": "2 kb" } : {} });
        const expected = sorted(loop(all));
        const timed = environment().from(all).withTimestamps((row) => row.at, { outOfOrderness: 100 });
        expect(sorted(await stream(timed).collect())).toEqual(expected);
        expect(sorted(await set(environment().dataSet(all)).collect())).toEqual(expected);
      }),
      runs(8, 20),
    );
  });
});
