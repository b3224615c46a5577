import { expect, test } from "vitest";
import type { Picture } from "../../../src/notebook/picture.ts";
import { barriers } from "../../../src/notebook/views/barriers.ts";
import { EVIL, nineCheckpoint, nineExecutions, overviewOf } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const svgOf = (picture: Picture): string => picture.drawing?.markup ?? "";

test("as text, who was reached when, in this order, and what each waited for", () => {
  const lines = barriers(nineExecutions(), overviewOf([nineCheckpoint(1)])).text().split("\n");
  expect(lines[0]).toBe(
    "✓ COMPLETED after 300 ms · the last subtask was reached after 160 ms · the longest alignment took 100 ms · 32 KiB",
  );
  expect(lines.slice(2).map((it) => it.trim().split(" ")[0])).toEqual(["v1/0", "v1/1", "v2/0", "v3/0", "v3/1", "v4/0", "v4/1", "v5/0"]);
  expect(lines[5]).toMatch(/v3\/0 +after 80 ms +aligned for 100 ms +stood still 4 ms +wrote 1 KiB in 20 ms/);
});

test("without animation the last frame says when the barrier reached whom, and no barrier is left on its way", () => {
  const svg = svgOf(barriers(nineExecutions(), overviewOf([nineCheckpoint(1)])));
  const texts = visibleTexts(svg);
  expect(texts).toContain("after 160 ms");
  expect(texts.filter((it) => it.startsWith("after 80 ms, waited"))).toHaveLength(2);
  const moving = svg.match(/<circle[^>]*>(?=<animate[^>]*\/><animateMotion)/g) ?? [];
  expect(moving.length).toBeGreaterThan(8);
  expect(moving.every((it) => it.includes('opacity="0"'))).toBe(true);
});

test("each barrier moves once, between 0 and the end of a run", () => {
  const svg = svgOf(barriers(nineExecutions(), overviewOf([nineCheckpoint(1)])));
  for (const [, times = ""] of svg.matchAll(/keyTimes="([^"]*)"/g)) {
    const parts = times.split(";").map(Number);
    expect(parts[0]).toBe(0);
    expect(parts).toEqual([...parts].sort((a, b) => a - b));
    expect(parts.at(-1)).toBeLessThanOrEqual(1);
  }
});

test("shows the checkpoint that is asked for, else the latest complete one", () => {
  const overview = overviewOf([nineCheckpoint(1), nineCheckpoint(2), nineCheckpoint(3, { state: "IN_PROGRESS", subtasks: [] })]);
  expect(barriers(nineExecutions(), overview).title).toBe("Barriers of checkpoint 2");
  expect(barriers(nineExecutions(), overview, { checkpoint: 1 }).title).toBe("Barriers of checkpoint 1");
  expect(barriers(nineExecutions(), overview, { checkpoint: 9 }).text()).toContain("Nothing is told of checkpoint 9");
});

test("no checkpoint, and names that look like markup, are well-formed pictures", () => {
  expect(xmlFault(svgOf(barriers(nineExecutions(), overviewOf([]))))).toBeUndefined();
  const evil = svgOf(barriers(nineExecutions(EVIL), overviewOf([nineCheckpoint(1)]), { title: EVIL }));
  expect(xmlFault(evil)).toBeUndefined();
  expect(evil).not.toContain("<script");
});
