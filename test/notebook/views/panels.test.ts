import { describe, expect, test } from "vitest";
import { jobPanel } from "../../../src/notebook/views/job.ts";
import { latestLoads, loadSamples } from "../../../src/notebook/views/load.ts";
import { metricsChart } from "../../../src/notebook/views/metrics.ts";
import { slots } from "../../../src/notebook/views/slots.ts";
import { table } from "../../../src/notebook/views/table.ts";
import type { Picture } from "../../../src/notebook/picture.ts";
import type { JobDetails, MetricsReport } from "../../../src/core/graph/job-status.ts";
import { taskManagerId, vertexId } from "../../../src/core/types/ids.ts";
import { EVIL, JOB, START, minuteOfMetrics, nineExecutions, twoTaskManagers } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const svgOf = (picture: Picture): string => picture.drawing?.markup ?? "";
const failed = (): JobDetails => ({
  ...nineExecutions("", "FINISHED"),
  state: "FAILED",
  timestamps: { CREATED: START, RUNNING: START + 20, FAILING: START + 60_000, FAILED: START + 61_000 },
  failure: {
    name: "UserFunctionError",
    code: "DREY_USER_FUNCTION",
    domain: "user",
    message: "filter threw",
    cause: { name: "TypeError", code: "", domain: "user", message: `no distance ${EVIL}` },
  },
});

describe("loads", () => {
  const report = (atMs: number, attempt: number, values: Record<string, number>): MetricsReport => ({
    taskManager: taskManagerId("tm"),
    atMs,
    process: {},
    subtasks: [{ job: JOB, vertex: vertexId("v1"), subtask: 0, attempt, slot: 0, values }],
  });

  test("rates that a TaskManager derived are taken as they are", () => {
    const [sample] = loadSamples([
      report(1_000, 1, { busyTimeMsPerSecond: 600, backPressuredTimeMsPerSecond: 100, idleTimeMsPerSecond: 300, numRecordsInPerSecond: 5 }),
    ]);
    expect(sample).toMatchObject({ busy: 0.6, backPressured: 0.1, recordsInPerSecond: 5 });
    expect(sample?.idle).toBeCloseTo(0.3);
  });

  test("without rates two reports of one attempt make one load", () => {
    const counters = (idle: number, records: number) => ({
      accumulateIdleTimeMs: idle,
      accumulateBackPressuredTimeMs: 0,
      numRecordsIn: records,
    });
    const samples = loadSamples([report(3_000, 2, counters(0, 0)), report(1_000, 1, counters(0, 0)), report(2_000, 1, counters(250, 100))]);
    expect(samples).toHaveLength(1);
    expect(samples[0]).toMatchObject({ atMs: 2_000, busy: 0.75, idle: 0.25, recordsInPerSecond: 100 });
  });

  test("a watermark before the first and after the last is none", () => {
    const watermarks = [Number.NEGATIVE_INFINITY, Number.MAX_VALUE, 5].map((currentOutputWatermark) =>
      report(1_000, 1, { busyTimeMsPerSecond: 0, currentOutputWatermark }),
    );
    expect(loadSamples(watermarks).map((it) => it.watermarkMs)).toEqual([undefined, undefined, 5]);
  });

  test("the latest sample of each subtask is kept, of the job that is asked for", () => {
    const latest = latestLoads(loadSamples(minuteOfMetrics(5)), JOB);
    expect(latest.size).toBe(8);
    expect([...latest.values()].every((it) => it.atMs >= START + 5_000)).toBe(true);
    expect(latestLoads(loadSamples(minuteOfMetrics(5)), "another").size).toBe(0);
  });
});

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
});

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

  test("reports of two TaskManagers in one second are one value", () => {
    const { figure } = metricsChart(minuteOfMetrics(10), { show: "records" });
    expect(figure?.data.map((it) => (it["y"] as unknown[]).length)).toEqual([10, 10, 10, 10, 10]);
  });

  test("no metrics yet is said", () => {
    expect(metricsChart([]).text()).toBe("How the slots spent their time\nno metrics yet");
    expect(xmlFault(svgOf(metricsChart([])))).toBeUndefined();
  });
});

describe("the job panel", () => {
  test("as text it is a headline and a line for each vertex", () => {
    expect(jobPanel(nineExecutions(), { metrics: minuteOfMetrics(), nowMs: START + 62_000 }).text()).toBe(
      [
        "▶ RUNNING  rides per zone  1 min 02 s  0123456789abcdef0123456789abcdef",
        "  v1  Source: rides.jsonl -> withTimestamps -> fi…  ×2  2 running  ██▓░░░░░░░░░  13% busy   3.1 M records  51.6 k/s",
        "  v2  Source: zones                                 ×1  1 running  ██▓░░░░░░░░░  16% busy   415 k records   6,912/s",
        "  v3  join zones                                    ×2  2 running  ███████░░░░░  60% busy   344 k records   5,739/s",
        "  v4  window(tumbling 60 s) -> Sink: late rides     ×2  2 running  ███████░░░░░  60% busy   194 k records   3,228/s",
        "  v5  top 10 -> Sink: collect                       ×1  1 running  ██▓░░░░░░░░░  16% busy  66.4 k records   1,106/s",
      ].join("\n"),
    );
  });

  test("a failed job says what really happened", () => {
    const picture = jobPanel(failed());
    expect(picture.text().split("\n").slice(0, 2)).toEqual([
      "✗ FAILED  rides per zone  1 min 01 s  0123456789abcdef0123456789abcdef",
      `  TypeError: no distance ${EVIL.replace("\u0007", " ")}`,
    ]);
    expect(visibleTexts(svgOf(picture))).toEqual(expect.arrayContaining(["✗ FAILED", "TypeError"]));
  });

  test("a waiting job says for what", () => {
    const waiting: JobDetails = { ...nineExecutions(), state: "WAITING", executions: [], waitingFor: "needs 4 slots, 2 are free" };
    expect(jobPanel(waiting, { nowMs: START + 8_000 }).text()).toContain("… WAITING  rides per zone  8 s");
    expect(visibleTexts(svgOf(jobPanel(waiting, { nowMs: START + 8_000 })))).toContain("Waits: needs 4 slots, 2 are free");
  });

  test("colour adds escape codes and nothing else", () => {
    const picture = jobPanel(failed());
    const coloured = picture.text({ isTTY: true });
    if ((process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb") expect(coloured).toContain("\u001b[1;31m");
    expect(coloured.replace(/\u001b\[[\d;]*m/g, "")).toBe(picture.text());
  });
});

describe("tables", () => {
  const rows = [
    { zone: "Manhattan", rides: 254, at: new Date(START) },
    { zone: "東京", rides: 7, fare: 12.5, path: { a: [1] } },
  ];

  test("as text numbers stand right and columns are found in all rows", () => {
    expect(table(rows, { title: "Rides" }).text()).toBe(
      [
        "Rides",
        "zone       rides  at                   fare  path",
        "Manhattan    254  2026-11-22 20:30:00",
        '東京           7                       12.5  {"a":[1]}',
      ].join("\n"),
    );
  });

  test("a long table shows its beginning and counts the rest", () => {
    const long = Array.from({ length: 1_234 }, (_, n) => ({ n }));
    expect(table(long, { limit: 2 }).text()).toBe("n\n0\n1\nand 1,232 more rows");
    expect(table(long).html().match(/<tr>/g)).toHaveLength(51);
    expect(table([]).text()).toBe("no rows");
  });

  test("values that look like markup are text, and inherited names are no columns", () => {
    const html = table([{ [EVIL]: EVIL }], { title: EVIL, columns: [EVIL, "constructor"] }).html();
    expect(html).not.toContain("<script");
    expect(html).toContain("&#60;script&#62;");
    expect(html).not.toContain("native code");
    expect(xmlFault(html)).toBeUndefined();
  });

  test("plain values have a column of their own", () => {
    expect(table([1, "a", null, 5n]).text()).toBe("value\n1\na\n\n5n");
  });
});

test("names that look like markup are text in every panel", () => {
  const metrics = minuteOfMetrics(3);
  for (const picture of [
    slots(twoTaskManagers(EVIL), { metrics }),
    slots(nineExecutions(EVIL)),
    jobPanel(nineExecutions(EVIL), { metrics }),
    jobPanel(failed()),
    metricsChart(metrics),
  ]) {
    expect(xmlFault(svgOf(picture))).toBeUndefined();
    expect(svgOf(picture)).not.toContain("<script");
  }
});
