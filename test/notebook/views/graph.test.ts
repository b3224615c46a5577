import { describe, expect, test } from "vitest";
import { explain, planOf } from "../../../src/core/graph/explain.ts";
import { streamGraph } from "../../../src/core/graph/stream-graph.ts";
import { type PlacedBox, graph, placePlan } from "../../../src/notebook/views/graph.ts";
import { EVIL, minuteOfMetrics, nineExecutions, nineNodes, nineVertices } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const overlap = (a: PlacedBox, b: PlacedBox): boolean =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
const three = (evil = "") => [nineNodes(evil), nineVertices(evil), nineExecutions(evil)];
const svgOf = (...args: Parameters<typeof graph>): string => graph(...args).drawing?.markup ?? "";

describe("graph", () => {
  test.each(["right", "down"] as const)("boxes of nine nodes never overlap and lie inside the picture, flowing %s", (flow) => {
    for (const it of three()) {
      const placed = placePlan(planOf(it), true, flow);
      const { boxes } = placed;
      expect(boxes.flatMap((a, index) => boxes.slice(index + 1).filter((b) => overlap(a, b)))).toEqual([]);
      expect(
        boxes.every(
          (box) => box.x >= -0.5 && box.y >= -0.5 && box.x + box.width <= placed.width + 0.5 && box.y + box.height <= placed.height + 0.5,
        ),
      ).toBe(true);
    }
  });

  test("records flow from left to right, and labels stand beside the boxes", () => {
    const placed = placePlan(planOf(nineNodes()), false);
    const box = (id: string): PlacedBox => placed.boxes.find((it) => it.box.id === id) as PlacedBox;
    for (const { arrow, label, x, y } of placed.arrows) {
      expect(box(arrow.from).x).toBeLessThan(box(arrow.to).x);
      if (label !== "")
        expect(placed.boxes.filter((it) => x > it.x && x < it.x + it.width && y > it.y && y < it.y + it.height)).toEqual([]);
    }
  });

  test("the job graph holds each operator in the box of its chain, with parallelism and partitioning", () => {
    const texts = visibleTexts(svgOf(nineVertices()));
    for (const text of [
      "Source: rides.jsonl",
      "withTimestamps",
      "filter(r => r.distance > 0)",
      "window(tumbling 60 s)",
      "Sink: late rides",
      "hash",
      "rebalance",
      "broadcast · input 2",
      "×2",
      "×1",
    ]) {
      expect(texts).toContain(text);
    }
  });

  test("the execution graph shows each subtask with its state and place", () => {
    const texts = visibleTexts(svgOf(nineExecutions()));
    expect(texts.filter((text) => text === "running")).toHaveLength(8);
    expect(texts).toContain("tm-a1b2 · slot 0");
  });

  test("with metrics boxes say how busy they are", () => {
    expect(visibleTexts(svgOf(nineVertices(), { metrics: minuteOfMetrics(3) })).filter((text) => text.includes("% busy"))).toHaveLength(5);
    expect(svgOf(nineVertices())).not.toContain("busy");
  });

  test("names that look like markup are text in every graph", () => {
    for (const it of three(EVIL)) {
      const markup = svgOf(it, { metrics: minuteOfMetrics(2) });
      expect(xmlFault(markup)).toBeUndefined();
      expect(markup).not.toContain("<script");
      expect(graph(it).html()).not.toContain("<script>alert");
    }
  });

  test("a graph of nothing is a picture too", () => {
    expect(xmlFault(svgOf(streamGraph("empty", [])))).toBeUndefined();
  });

  test("its text is what explain tells, and its description says it in words", () => {
    expect(String(graph(nineVertices()))).toBe(explain(nineVertices()));
    expect(svgOf(nineNodes())).toMatch(/<desc [^>]*>9 operators\. .*Records flow from /);
  });

  test("an operator bears the same name in all three graphs, and its vertex and subtasks bear it too", () => {
    const [program, chains, executions] = three().map((it) => svgOf(it as never));
    const elementsOf = (svg = "", part: string): string[] => svg.match(new RegExp(`<g [^>]*class="[^"]*drey-is-\\w+-${part}\\b[^"]*"`, "g")) ?? [];
    expect(elementsOf(program, "n2")).toHaveLength(1);
    // Its box, and its own row in it.
    expect(elementsOf(chains, "n2")).toHaveLength(2);
    // Its box, and each of the two subtasks.
    expect(elementsOf(executions, "n2")).toHaveLength(3);
    expect(elementsOf(program, "v1")).toEqual([]);
    expect(elementsOf(chains, "v1")).toHaveLength(1);
    for (const svg of [program, chains, executions]) expect(svg).toMatch(/<style>:root:has\([^{]*\.drey-is-\w+-n1:is\(:hover,:focus-visible\)\)/);
  });

  test("boxes are reached by the keyboard and say what they are; marked elements don't lie in one another", () => {
    for (const svg of three().map((it) => svgOf(it as never))) {
      expect(svg).toMatch(/^<svg [^>]*role="group"/);
      expect(svg.match(/tabindex="0" role="img" class="[^"]*"><title>/g)?.length).toBe(svg.match(/tabindex="0"/g)?.length);
      for (const [, inside = ""] of svg.matchAll(/<g [^>]*class="drey-is-[^>]*>([\s\S]*?)<\/g>/g)) expect(inside).not.toContain("<g");
    }
  });

  test("a page of two jobs lights up each one's own, whatever they are called", () => {
    const nameOf = (evil: string): string | undefined => /drey-is-\w+-n1/.exec(svgOf(nineNodes(evil)))?.[0];
    expect(nameOf("a")).not.toBe(nameOf("b"));
    expect(svgOf(nineNodes(EVIL)).match(/<style>/g)).toHaveLength(2);
  });
});
