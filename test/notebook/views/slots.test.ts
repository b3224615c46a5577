import { describe, expect, test } from "vitest";
import type { Picture } from "../../../src/notebook/picture.ts";
import { slots } from "../../../src/notebook/views/slots.ts";
import { EVIL, minuteOfMetrics, nineExecutions, twoTaskManagers } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const svgOf = (picture: Picture): string => picture.drawing?.markup ?? "";

describe("slots", () => {
  test("as text, one line per subtask under its TaskManager and slot, in columns", () => {
    expect(slots(twoTaskManagers()).text()).toBe(
      [
        "2 TaskManagers, 2 of 4 slots in use",
        "",
        "tm-a1b2 · localhost · pid 4710 · 191 MiB",
        "  slot 0  v1/0  Source: rides.jsonl -> withTimestamps -…  RUNNING",
        "          v2/0  Source: zones                             RUNNING",
        "          v3/0  join zones                                RUNNING",
        "          v4/0  window(tumbling 60 s) -> Sink: late rid…  RUNNING",
        "          v5/0  top 10 -> Sink: collect                   RUNNING",
        "  slot 1  free",
        "",
        "tm-c3d4 · localhost · pid 4711 · 191 MiB",
        "  slot 0  v1/1  Source: rides.jsonl -> withTimestamps -…  RUNNING",
        "          v3/1  join zones                                RUNNING",
        "          v4/1  window(tumbling 60 s) -> Sink: late rid…  RUNNING",
        "  slot 1  free",
      ].join("\n"),
    );
  });

  test("a subtask that has ended has no bar, whatever its last report said", () => {
    const details = nineExecutions("", "FINISHED");
    const text = slots(details, { metrics: minuteOfMetrics() }).text();
    expect(text).toContain("FINISHED");
    expect(text).not.toContain("busy");
    expect(visibleTexts(svgOf(slots(details, { metrics: minuteOfMetrics() }))).join(" ")).not.toContain("busy");
  });

  test("with metrics each subtask has its bar", () => {
    const text = slots(twoTaskManagers(), { metrics: minuteOfMetrics() }).text();
    expect(text).toContain("v3/0  join zones                                RUNNING  ████████░░░░  64% busy");
    expect(text).toContain("v2/0  Source: zones                             RUNNING  ██▓░░░░░░░░░  16% busy  12% back-pressured");
    expect(visibleTexts(svgOf(slots(twoTaskManagers(), { metrics: minuteOfMetrics() })))).toContain("35% busy");
  });

  test("a job's own slots are found in its executions", () => {
    expect(slots(nineExecutions()).text().split("\n")[0]).toBe("2 TaskManagers, 2 of 2 slots in use");
  });

  test("free slots are drawn as such, and no TaskManager is said", () => {
    expect(visibleTexts(svgOf(slots(twoTaskManagers()))).filter((text) => text === "free")).toHaveLength(2);
    expect(visibleTexts(svgOf(slots({ taskManagers: [] })))).toContain("no TaskManager is registered");
  });

  test("names that look like markup are text", () => {
    for (const picture of [slots(twoTaskManagers(EVIL), { metrics: minuteOfMetrics(3) }), slots(nineExecutions(EVIL))]) {
      expect(xmlFault(svgOf(picture))).toBeUndefined();
      expect(svgOf(picture)).not.toContain("<script");
    }
  });

  test("a subtask that has ended is not busy any more, but the mean of its run remains", () => {
    const ended = nineExecutions("", "FINISHED");
    expect(slots(ended, { metrics: minuteOfMetrics() }).text()).not.toContain("busy");
    expect(slots(ended, { metrics: minuteOfMetrics(), moment: "run" }).text()).toContain("v3/0  join zones");
    expect(slots(ended, { metrics: minuteOfMetrics(), moment: "run" }).text()).toContain("% busy");
  });
});
