import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DataSet, type Environment, GraphError, localEnvironment } from "../../../src/core/index.ts";

const KEEP_IN_MEMORY = undefined;
/** So little memory that everything goes to disk. */
const SPILL = "2 kb";

const environment = (managed: string | undefined = KEEP_IN_MEMORY, parallelism = 3): Environment =>
  localEnvironment({ parallelism, configuration: managed === undefined ? {} : { "taskmanager.memory.managed.size": managed } });

const sorted = <T>(rows: readonly T[]): T[] => [...rows].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

interface Row {
  readonly k: number;
  readonly v: number;
}

const rowsOf = (count: number, keys = 7): Row[] => Array.from({ length: count }, (_, i) => ({ k: (i * 7919) % keys, v: i }));

describe.each([["in memory", KEEP_IN_MEMORY], ["spilled to disk", SPILL]])("%s", (_, managed) => {
  test("reduceGroup sees each group once, whole, in the order of sortGroup", async () => {
    const rows = rowsOf(2_000);
    const groups = await environment(managed)
      .dataSet(rows)
      .rebalance()
      .groupBy("k")
      .sortGroup("v", "descending")
      .reduceGroup<{ k: number; vs: number[] }>((group, out) => {
        const all = [...group];
        out.collect({ k: (all[0] as Row).k, vs: all.map(({ v }) => v) });
      })
      .collect();
    expect(sorted(groups)).toEqual(
      sorted([...new Set(rows.map(({ k }) => k))].map((k) => ({ k, vs: rows.filter((row) => row.k === k).map(({ v }) => v).reverse() }))),
    );
  });

  test("reduce, sum, minBy, maxBy and distinct agree with plain loops", async () => {
    const rows = rowsOf(3_000, 11);
    const set = environment(managed).dataSet(rows).rebalance();
    const sums = await set.groupBy("k").sum("v").collect();
    for (const { k, v } of sums) expect(v).toBe(rows.filter((row) => row.k === k).reduce((sum, row) => sum + row.v, 0));
    expect(sums).toHaveLength(11);
    expect(await set.map(({ v }) => v).reduce((a, b) => a + b).collect()).toEqual([(2_999 * 3_000) / 2]);
    const least = await set.groupBy("k").minBy("v").collect();
    for (const { k, v } of least) expect(v).toBe(Math.min(...rows.filter((row) => row.k === k).map((row) => row.v)));
    expect(sorted(await set.distinct("k").map(({ k }) => k).collect())).toEqual(sorted([...Array(11).keys()]));
  });

  test("sortPartition of one partition is an order of all", async () => {
    const rows = rowsOf(5_000, 100);
    const ordered = await environment(managed).dataSet(rows).sortPartition("v", "descending").setParallelism(1).collect();
    expect(ordered.map(({ v }) => v)).toEqual(Array.from({ length: 5_000 }, (_row, i) => 4_999 - i));
  });

  test.each(["auto", "hash", "sort-merge"] as const)("joins with hint %s equal nested loops, for every type", async (hint) => {
    const random = fc.array(fc.record({ k: fc.integer({ min: 0, max: 12 }), v: fc.nat(50) }), { maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(random, random, async (a, b) => {
        const env = environment(managed, 2);
        const [left, right] = [env.dataSet(a), env.dataSet(b)];
        const pairs = a.flatMap((x) => b.filter((y) => y.k === x.k).map((y) => [x, y]));
        const onlyLeft = a.filter((x) => !b.some((y) => y.k === x.k)).map((x) => [x, null]);
        const onlyRight = b.filter((y) => !a.some((x) => x.k === y.k)).map((y) => [null, y]);
        const rows = async (joined: DataSet<unknown[]>): Promise<unknown[]> =>
          sorted((await joined.collect()).map((pair) => pair.map((side) => side ?? null)));
        expect(await rows(left.join(right, { hint }).where("k").equalTo("k").pairs() as never)).toEqual(sorted(pairs));
        expect(await rows(left.fullOuterJoin(right, { hint }).where("k").equalTo("k").pairs() as never)).toEqual(
          sorted([...pairs, ...onlyLeft, ...onlyRight]),
        );
        expect(await rows(left.leftOuterJoin(right, { hint }).where("k").equalTo("k").pairs() as never)).toEqual(
          sorted([...pairs, ...onlyLeft]),
        );
        expect(await rows(left.rightOuterJoin(right, { hint }).where("k").equalTo("k").pairs() as never)).toEqual(
          sorted([...pairs, ...onlyRight]),
        );
      }),
      { numRuns: 6 },
    );
  });

  test("coGroup gives each key once, with the rows of both sides", async () => {
    const env = environment(managed);
    const a = rowsOf(300, 5);
    const b = rowsOf(200, 9);
    const groups = await env
      .dataSet(a)
      .coGroup(env.dataSet(b))
      .where("k")
      .equalTo((row) => row.k)
      .with<[number, number]>((left, right, out) => out.collect([[...left].length, [...right].length]))
      .collect();
    const expected = [...Array(9).keys()].map((k) => [a.filter((row) => row.k === k).length, b.filter((row) => row.k === k).length]);
    expect(sorted(groups)).toEqual(sorted(expected));
  });

  test("cross, mapPartition and broadcast variables", async () => {
    const env = environment(managed);
    const letters = env.dataSet(["a", "b", "c"]);
    const numbers = env.dataSet(Array.from({ length: 100 }, (_, i) => i)).rebalance();
    expect(await numbers.cross(letters, (n, letter) => `${letter}${n}`).count()).toBe(300);
    const sums = await numbers.mapPartition<number>((rows, out) => out.collect([...rows].reduce((sum, n) => sum + n, 0))).collect();
    expect(sums.reduce((a, b) => a + b)).toBe(4_950);
    const labelled = await numbers.mapWith({ letters }, (n, { letters: all }) => `${[...all].sort().join("")}${n}`).collect();
    expect(sorted(labelled)).toEqual(sorted(Array.from({ length: 100 }, (_, i) => `abc${i}`)));
  });
});

test("what was spilled is gone when the job is", async () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith("drey-spill"));
  await environment(SPILL).dataSet(rowsOf(5_000)).groupBy("k").sum("v").collect();
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith("drey-spill"))).toEqual(before);
});

test("first and count", async () => {
  const set = environment().dataSet(rowsOf(100)).rebalance();
  expect(await set.first(5).collect()).toHaveLength(5);
  expect(await set.groupBy("k").first(2).count()).toBe(14);
  expect(await set.count()).toBe(100);
  expect(await set.filter(() => false).count()).toBe(0);
});

test("a bulk iteration finds the same pages as a plain loop: PageRank", async () => {
  const links: readonly [number, number][] = [[0, 1], [1, 2], [2, 0], [2, 1], [3, 2], [0, 2]];
  const outDegree = (page: number): number => links.filter(([from]) => from === page).length;
  let plain = [0.25, 0.25, 0.25, 0.25];
  for (let step = 0; step < 5; step++)
    plain = plain.map((_, page) => 0.0375 + 0.85 * links.filter(([, to]) => to === page).reduce((sum, [from]) => sum + (plain[from] as number) / outDegree(from), 0));

  await using env = environment(undefined, 2);
  const edges = env.dataSet(links.map(([from, to]) => ({ from, to, share: 1 / outDegree(from) }))).persist();
  const ranks = env.dataSet([0, 1, 2, 3].map((page) => ({ page, rank: 0.25 })));
  const result = await ranks
    .iterate(5, (current) =>
      current
        .join(edges)
        .where("page")
        .equalTo("from")
        .with(({ rank }, { to, share }) => ({ page: to, rank: 0.85 * rank * share }))
        .union(current.map(({ page }) => ({ page, rank: 0.0375 })))
        .groupBy("page")
        .sum("rank"),
    )
    .collect();
  expect(sorted(result).map(({ rank }) => rank.toFixed(9))).toEqual(plain.map((rank) => rank.toFixed(9)));
});

test("a bulk iteration ends when `until` is empty, and when `converged` says so", async () => {
  await using env = environment(undefined, 1);
  const grown = await env
    .dataSet([1, 5])
    .iterate(100, (rows) => {
      const result = rows.map((n) => n * 2);
      return { result, until: result.filter((n) => n < 100) };
    })
    .collect();
  expect(sorted(grown)).toEqual(sorted([128, 640]));
  const seen: number[] = [];
  await env
    .dataSet([0])
    .iterate(100, (rows) => {
      const result = rows.map((n) => n + 1);
      return { result, aggregate: result, converged: ([n]: readonly never[]) => (seen.push(n as never) , (n as number) >= 3) };
    })
    .collect();
  expect(seen).toEqual([1, 2, 3]);
});

test("a delta iteration finds connected components, touching only what changed", async () => {
  const edges = [[1, 2], [2, 3], [4, 5], [6, 6]].flatMap(([a, b]) => [{ from: a as number, to: b as number }, { from: b as number, to: a as number }]);
  await using env = environment(undefined, 2);
  const links = env.dataSet(edges).persist();
  const vertices = env.dataSet([1, 2, 3, 4, 5, 6].map((id) => ({ id, component: id })));
  const worked: number[] = [];
  const components = await vertices
    .iterateDelta(vertices, 50, "id", (solution, workset, superstep) => {
      worked.push(superstep);
      const candidates = workset
        .join(links)
        .where("id")
        .equalTo("from")
        .with(({ component }, { to }) => ({ id: to, component }))
        .groupBy("id")
        .minBy("component");
      const delta = candidates
        .join(solution)
        .where("id")
        .equalTo("id")
        .pairs()
        .filter(([candidate, known]) => candidate.component < known.component)
        .map(([candidate]) => candidate);
      return { delta, workset: delta };
    })
    .collect();
  expect(sorted(components)).toEqual(sorted([1, 1, 1, 4, 4, 6].map((component, index) => ({ id: index + 1, component }))));
  expect(worked.length).toBeLessThan(6);
});

test("a persisted data set is computed once", async () => {
  await using env = environment(undefined, 1);
  const once = env.dataSet(env.generate((i) => ({ i, random: Math.random() }), { count: 3 })).persist();
  expect(await once.collect()).toEqual(await once.collect());
});

test("closing the environment removes what its loops left on disk", async () => {
  const env = environment(undefined, 1);
  await env.dataSet([1]).persist().collect();
  const place = env.workFolder.place("x");
  await env.close();
  expect(existsSync(place.slice(0, place.lastIndexOf("/")))).toBe(false);
});

test("the same program as stream and as data set comes to the same end", async () => {
  const rows = rowsOf(500, 6);
  const env = environment();
  const running = await env.from(rows).keyBy((row) => row.k).reduce((a, b) => ({ k: a.k, v: a.v + b.v })).collect();
  const last = new Map(running.map((row) => [row.k, row]));
  expect(sorted(await env.dataSet(rows).groupBy("k").sum("v").collect())).toEqual(sorted([...last.values()]));
});

describe("mistakes", () => {
  const set = environment().dataSet(rowsOf(3));
  test.each([
    [() => set.groupBy(3 as never), "groupBy() got 3; it takes a function of the row, the name of a field, or several names."],
    [() => set.sortPartition("v", "up" as never), 'sortPartition() got the order "up"'],
    [() => set.first(0), "first() got 0; give a positive whole number."],
    [() => set.join(set, { hint: "magic" as never }), "join(…, { hint }) is \"magic\""],
    [() => set.leftOuterJoin(set, { hint: "broadcast-first" }), "the broadcast input is the one whose rows it keeps"],
    [() => set.join(environment().dataSet([{ k: 1 }])).where("k").equalTo("k").pairs(), "two environments"],
    [() => set.mapWith({}, (row) => row), "names no data set"],
  ])("%s", (mistake, sentence) => {
    expect(mistake).toThrow(GraphError);
    expect(mistake).toThrow(sentence);
  });
});
