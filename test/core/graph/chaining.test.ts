import { describe, expect, test } from "vitest";
import { GraphError, compileJob, localEnvironment, slotsNeeded } from "../../../src/core/index.ts";
import { targetsOf } from "../../../src/core/graph/job-graph.ts";

const names = (env: ReturnType<typeof localEnvironment>): string[] => env.compile().graph.vertices.map((vertex) => vertex.name);

describe("chaining", () => {
  test("operators joined by forward edges of equal parallelism become one vertex", () => {
    const env = localEnvironment({ parallelism: 2 });
    env.generate((i) => i).map((x) => x + 1).filter((x) => x > 1).print();
    expect(names(env)).toEqual(["Source: generator -> map -> filter -> print"]);
  });

  test("a hash edge, a change of parallelism and a union each begin a new vertex", () => {
    const env = localEnvironment({ parallelism: 2 });
    const a = env.generate((i) => i);
    const b = env.generate((i) => i);
    a.union(b).map((x) => x).keyBy((x) => x).reduce((_, x) => x).map((x) => x).setParallelism(1).print().setParallelism(1);
    expect(names(env)).toEqual(["Source: generator", "Source: generator", "map", "reduce", "map -> print"]);
    expect(env.compile().graph.edges.map((edge) => [edge.id, edge.partitioning])).toEqual([
      ["v1->v3", "forward"], ["v2->v3", "forward"], ["v3->v4", "hash"], ["v4->v5", "rebalance"],
    ]);
  });

  test("a result is taken where it arises, so that it keeps its order whatever the parallelism of the program", async () => {
    const env = localEnvironment({ parallelism: 4 });
    const stream = env.from(Array.from({ length: 100 }, (_, i) => i)).map((x) => x + 1).setParallelism(1);
    expect(compileJob(env.streamGraph({ outputs: { stream } }), { parallelism: 4, maxParallelism: 128, chaining: true, options: {} }).graph.vertices).toMatchObject([
      { parallelism: 1, name: "Source: collection -> map -> result: stream" },
    ]);
    expect(await stream.collect()).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  test("an operator with two consumers is chained with both", () => {
    const env = localEnvironment();
    const source = env.of(1, 2);
    source.map((x) => x).print("a");
    source.filter((x) => x > 1).print("b");
    const { graph } = env.compile();
    expect(graph.vertices).toHaveLength(1);
    expect(graph.vertices[0]?.operators.map((operator) => operator.chainedAfter)).toEqual([[], [0], [1], [0], [3]]);
  });

  test("startNewChain, disableChaining and the option each cut the chain where they say", () => {
    const cut = (change: (env: ReturnType<typeof localEnvironment>) => void, options = {}): string[] => {
      const env = localEnvironment(options);
      change(env);
      return names(env);
    };
    expect(cut((env) => env.of(1).map((x) => x).startNewChain().filter(() => true).print())).toEqual(["Source: collection", "map -> filter -> print"]);
    expect(cut((env) => env.of(1).map((x) => x).disableChaining().filter(() => true).print())).toEqual(["Source: collection", "map", "filter -> print"]);
    expect(cut((env) => env.of(1).map((x) => x).print(), { chaining: false })).toEqual(["Source: collection", "map", "print"]);
  });

  test("operators of different slot-sharing groups are not chained, and the job needs slots for each group", () => {
    const env = localEnvironment({ parallelism: 3 });
    env.generate((i) => i).map((x) => x).slotSharingGroup("heavy").print();
    const { graph } = env.compile();
    expect(graph.vertices.map((vertex) => [vertex.name, vertex.slotSharingGroup])).toEqual([["Source: generator", "default"], ["map -> print", "heavy"]]);
    expect(slotsNeeded(graph)).toBe(6);
  });

  test("a job needs as many slots as its highest parallelism", () => {
    const env = localEnvironment({ parallelism: 3 });
    env.of(1).keyBy((x) => x).reduce((a) => a).print().setParallelism(1);
    expect(slotsNeeded(env.compile().graph)).toBe(3);
  });

  test("forward() between different parallelisms is refused with both numbers", () => {
    const env = localEnvironment({ parallelism: 2 });
    env.of(1).forward().map((x) => x).print();
    expect(() => env.compile()).toThrow(/forward\(\) joins "Source: collection" \(parallelism 1\) to "map" \(parallelism 2\)/);
  });

  test("a parallelism above the number of key groups is refused", () => {
    const env = localEnvironment();
    env.of(1).keyBy((x) => x).reduce((a) => a).setParallelism(9).setMaxParallelism(8).print();
    expect(() => env.compile()).toThrow(/parallelism 9 but only 8 key groups/);
  });

  test("two operators with one uid are refused by name", () => {
    const env = localEnvironment();
    env.of(1).map((x) => x).uid("u").name("first").map((x) => x).uid("u").name("second").print();
    expect(() => env.compile()).toThrow(/uid "u": "first" and "second"/);
  });

  test.each([0, -1, 1.5, Number.NaN])("setParallelism(%d) is refused", (parallelism) => {
    expect(() => localEnvironment().generate((i) => i).setParallelism(parallelism)).toThrow(GraphError);
  });

  test("a source that can't be split refuses more than one subtask", () => {
    expect(() => localEnvironment().of(1).setParallelism(2)).toThrow(/cannot be split/);
  });

  test("a forward edge pairs equal indices; rescale shares consumers out, each fed by someone", () => {
    expect(targetsOf({ partitioning: "forward" }, 2, 4, 4)).toEqual([2]);
    expect(targetsOf({ partitioning: "hash" }, 0, 2, 3)).toEqual([0, 1, 2]);
    for (const [producers, consumers] of [[2, 4], [4, 2], [3, 5], [5, 3], [1, 7], [7, 1]] as const) {
      const reached = Array.from({ length: producers }, (_, from) => targetsOf({ partitioning: "rescale" }, from, producers, consumers));
      expect(reached.every((targets) => targets.length > 0)).toBe(true);
      expect([...new Set(reached.flat())].sort((a, b) => a - b)).toEqual(Array.from({ length: consumers }, (_, index) => index));
    }
  });
});
