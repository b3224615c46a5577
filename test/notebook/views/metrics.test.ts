import { describe, expect, test } from "vitest";
import type { Picture } from "../../../src/notebook/picture.ts";
import { metricsChart } from "../../../src/notebook/views/metrics.ts";
import { minuteOfMetrics, nineExecutions } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const svgOf = (picture: Picture): string => picture.drawing?.markup ?? "";

describe("metrics charts", () => {
  test("time per slot has three shares for each slot", () => {
    const picture = metricsChart(minuteOfMetrics());
    expect(visibleTexts(svgOf(picture))).toEqual(
      expect.arrayContaining(["tm-a1b2 slot 0", "tm-c3d4 slot 0", "busy", "back-pressured", "idle"]),
    );
    expect(picture.figure?.data).toHaveLength(6);
    expect(picture.text()).toMatch(/^How the slots spent their time\ntm-a1b2 slot 0 {2}█+▓+░+ {2}\d+% busy/);
  });

  test("records and lag have a line for each vertex", () => {
    const { graph } = nineExecutions();
    expect(metricsChart(minuteOfMetrics(), { graph, show: "records" }).figure?.data.map((it) => it["name"])).toEqual([
      "v1 Source: rides.jsonl ->…",
      "v2 Source: zones",
      "v3 join zones",
      "v4 window(tumbling 60 s) …",
      "v5 top 10 -> Sink: collect",
    ]);
    expect(metricsChart(minuteOfMetrics(), { graph, show: "lag" }).text()).toContain("join zones");
  });

  test("a job that replays the past shows the event time it has reached", () => {
    const years = 20 * 365 * 86_400_000;
    const reports = minuteOfMetrics(10).map((it) => ({
      ...it,
      subtasks: it.subtasks.map((subtask) => ({
        ...subtask,
        values: { ...subtask.values, currentOutputWatermark: (subtask.values["currentOutputWatermark"] ?? 0) - years },
      })),
    }));
    const picture = metricsChart(reports, { show: "lag" });
    expect(picture.title).toBe("Event time reached");
    expect((picture.figure?.data[0]?.["y"] as string[])[0]).toBe("2006-11-27T20:29:54.601Z");
    expect(picture.figure?.layout["yaxis"]).toMatchObject({ type: "date" });
    expect(visibleTexts(svgOf(picture))).toContain("20:30:00");
    expect(picture.text()).toContain("2006-11-27 20:30:0");
  });

  test("reports of two TaskManagers in one second are one value", () => {
    const { figure } = metricsChart(minuteOfMetrics(10), { show: "records" });
    expect(figure?.data.map((it) => (it["y"] as unknown[]).length)).toEqual([10, 10, 10, 10, 10]);
  });

  test("no metrics yet is said", () => {
    expect(metricsChart([]).text()).toBe("How the slots spent their time\nno metrics yet");
    expect(xmlFault(svgOf(metricsChart([])))).toBeUndefined();
  });
});
