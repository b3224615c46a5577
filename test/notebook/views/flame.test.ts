import { expect, test } from "vitest";
import type { TaskProfile } from "../../../src/core/graph/task-profile.ts";
import { jobId, vertexId } from "../../../src/core/types/ids.ts";
import { pictureOf } from "../../../src/notebook/display.ts";
import { flame } from "../../../src/notebook/views/flame.ts";
import { EVIL } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

/** One second: most of it in a function of the job, which was called from two places. */
const profile = (evil = ""): TaskProfile => ({
  job: jobId("0123456789abcdef0123456789abcdef"),
  vertex: vertexId("v1"),
  name: `Source: rides -> map${evil}`,
  subtask: 0,
  attempt: 1,
  durationMs: 1_004,
  samples: 830,
  frames: [
    { parent: -1, name: "run", kind: "engine", place: "drey/core/runtime/task.ts", selfMs: 0 },
    { parent: 0, name: "step", kind: "engine", place: "drey/core/runtime/task.ts", selfMs: 20 },
    { parent: 1, name: "park", kind: "waiting", place: "drey/cluster/exchange/doorbell.ts", selfMs: 80 },
    { parent: 1, name: "the chain v1", kind: "user", selfMs: 100 },
    { parent: 3, name: `tariff${evil}`, kind: "user", place: "/home/me/rides.ts:7", selfMs: 500, hottest: `9: while (i < n)${evil}` },
    { parent: 3, name: "map", kind: "user", place: "/home/me/rides.ts:17", selfMs: 100 },
    { parent: 5, name: `tariff${evil}`, kind: "user", place: "/home/me/rides.ts:7", selfMs: 160, hottest: "8: let i" },
    { parent: -1, name: "(garbage collector)", kind: "runtime", selfMs: 40 },
  ],
});
const svgOf = (it: TaskProfile): string => flame(it).drawing?.markup ?? "";

test("as text: the functions that took most, wherever they were called from, with their lines in the user's source", () => {
  const [head, first, ...rest] = flame(profile()).text().split("\n");
  expect(head).toBe("v1/0 Source: rides -> map: 1 s, 830 samples · 86% functions of the job · 2% drey · 4% Node and V8 · 8% waiting");
  expect(first).toMatch(/^ +66% +660 ms +tariff +rides\.ts:7 +mostly line 9: while \(i < n\)$/);
  expect(rest.map((line) => line.trim().split(/ {2,}/)[2])).toEqual(["the chain v1", "map", "park", "(garbage collector)", "step"]);
});

test("callees stand below their callers and within them, the widest first", () => {
  const bars = [...svgOf(profile()).matchAll(/<title>([^<]*?)(?: &#\d+;|\n| \()[\s\S]*?<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"/g)].map(
    ([, name, x, y, width]) => ({ name, x: Number(x), y: Number(y), width: Number(width) }),
  );
  const bar = (name: string, nth = 0) => bars.filter((it) => it.name === name)[nth]!;
  expect(bar("tariff").y).toBeGreaterThan(bar("the chain v1").y);
  expect(bar("tariff").x).toBe(bar("the chain v1").x);
  expect(bar("tariff").width).toBeGreaterThan(3 * bar("tariff", 1).width);
  expect(bar("tariff", 1).x).toBe(bar("map").x);
  expect(bar("map").x).toBeGreaterThan(bar("tariff").x + bar("tariff").width);
  expect(visibleTexts(svgOf(profile()))).toEqual(expect.arrayContaining(["functions of the job", "waiting", "Node and V8", "tariff  rides.ts:7"]));
});

test("names and lines that look like markup are text; what saw nothing says so; a profile shows itself", () => {
  expect(xmlFault(svgOf(profile(EVIL)))).toBeUndefined();
  expect(svgOf(profile(EVIL))).not.toContain("<script");
  const nothing = { ...profile(), samples: 0, frames: [] };
  expect(flame(nothing).text()).toContain("The thread was not seen at work.");
  expect(xmlFault(svgOf(nothing))).toBeUndefined();
  expect(pictureOf(profile())?.text()).toBe(flame(profile()).text());
});
