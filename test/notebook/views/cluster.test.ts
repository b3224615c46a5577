import { describe, expect, test } from "vitest";
import type { Picture } from "../../../src/notebook/picture.ts";
import { type ClusterCard, cluster } from "../../../src/notebook/views/cluster.ts";
import { EVIL, START, nineExecutions, twoTaskManagers } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const card = (evil = ""): ClusterCard => ({
  ...twoTaskManagers(evil),
  version: "1.2.3", pid: 4_700, address: "ipc:///run/jm", startedAtMs: START - 90_000, slotsTotal: 4, slotsFree: 2,
  jobs: [nineExecutions(evil), { ...nineExecutions(evil, "FINISHED"), name: "yesterday's" }],
});

const svgOf = (picture: Picture): string => picture.drawing?.markup ?? "";

describe("cluster", () => {
  test("as text: the JobManager, heartbeats, running jobs before ended ones, slots", () => {
    const text = cluster(card(), { nowMs: START }).text();
    expect(text).toMatch(/^JobManager pid 4700 · up 1 min 30 s/);
    expect(text).toContain("tm-a1b2  last heartbeat  120 ms ago");
    expect(text.indexOf("RUNNING")).toBeLessThan(text.indexOf("FINISHED"));
    expect(text).toContain("slot 1  free");
  });

  test("a silent TaskManager is marked before it is lost", () => {
    const { taskManagers, ...rest } = card();
    const silent = taskManagers.map((it, index) => (index === 0 ? { ...it, silentMs: 2_500 } : it));
    const fills = (it: ClusterCard): number => svgOf(cluster(it, { nowMs: START })).split(`fill="#bf2c1c"`).length - 1;
    expect(fills({ ...rest, taskManagers: silent })).toBe(fills(card()) + 1);
  });

  test("as a drawing it holds the slot grid, and is well-formed with hostile names", () => {
    const texts = visibleTexts(svgOf(cluster(card(), { nowMs: START })));
    expect(texts).toContain("2 of 4 slots in use");
    expect(texts.join(" ")).toContain("slot 1");
    expect(xmlFault(svgOf(cluster(card(EVIL), { nowMs: START, title: EVIL })))).toBeUndefined();
  });
});
