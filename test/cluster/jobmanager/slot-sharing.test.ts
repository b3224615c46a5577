import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { slotsNeeded } from "../../../src/core/graph/job-graph.ts";
import { shareSlots } from "../../../src/cluster/jobmanager/slot-sharing.ts";
import { edge, graphOf, vertex } from "./graphs.ts";

describe("slot sharing", () => {
  test("slot i of a group holds subtask i of every vertex of the group", () => {
    const shares = shareSlots(graphOf("job", [vertex("a", 3), vertex("b", 1), vertex("c", 2)], [edge("a", "b"), edge("b", "c")]));
    expect(shares.map(({ subtasks }) => subtasks.map(({ vertex: id, subtask }) => `${id}/${subtask}`))).toEqual([
      ["a/0", "b/0", "c/0"],
      ["a/1", "c/1"],
      ["a/2"],
    ]);
  });

  test("vertices of different groups never share a slot", () => {
    const shares = shareSlots(graphOf("job", [vertex("a", 2), vertex("b", 2, "other")], [edge("a", "b")]));
    expect(shares).toHaveLength(4);
    expect(shares.every(({ subtasks }) => subtasks.length === 1)).toBe(true);
  });

  test("shares at the same fraction of their groups are neighbours", () => {
    const shares = shareSlots(graphOf("job", [vertex("a", 4), vertex("b", 2, "other")], [edge("a", "b", "rescale")]));
    expect(shares.map(({ group, index }) => `${group} ${index}`)).toEqual([
      "default 0",
      "other 0",
      "default 1",
      "default 2",
      "other 1",
      "default 3",
    ]);
  });

  test("a job needs as many slots as the largest parallelism of each group, and every subtask has exactly one place", () => {
    const vertices = fc.array(fc.record({ parallelism: fc.integer({ min: 1, max: 9 }), group: fc.constantFrom("x", "y", "z") }), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(vertices, (specs) => {
        const graph = graphOf(
          "job",
          specs.map(({ parallelism, group }, index) => vertex(`v${index}`, parallelism, group)),
          [],
        );
        const shares = shareSlots(graph);
        expect(shares).toHaveLength(slotsNeeded(graph));
        const places = shares.flatMap(({ subtasks }) => subtasks.map(({ vertex: id, subtask }) => `${id}/${subtask}`));
        expect(new Set(places).size).toBe(places.length);
        expect(places).toHaveLength(specs.reduce((sum, { parallelism }) => sum + parallelism, 0));
        for (const { subtasks } of shares) expect(new Set(subtasks.map(({ vertex: id }) => id)).size).toBe(subtasks.length);
      }),
    );
  });
});
