import { describe, expect, test } from "vitest";
import { regionsOf } from "../../../src/cluster/jobmanager/failover.ts";
import { edge, graphOf, vertex } from "./graphs.ts";

const regions = (graph: Parameters<typeof regionsOf>[0]): string[][] => regionsOf(graph).map((region) => [...region].sort());

describe("failover", () => {
  test("subtasks that exchange records fail together", () => {
    expect(regions(graphOf("job", [vertex("a", 2), vertex("b", 2)], [edge("a", "b", "hash")]))).toEqual([["a/0", "a/1", "b/0", "b/1"]]);
  });

  test("pipelines that never meet are regions of their own", () => {
    expect(regions(graphOf("job", [vertex("a", 2), vertex("b", 2)], [edge("a", "b", "forward")]))).toEqual([
      ["a/0", "b/0"],
      ["a/1", "b/1"],
    ]);
    expect(regions(graphOf("job", [vertex("a", 2)], []))).toEqual([["a/0"], ["a/1"]]);
  });
});
