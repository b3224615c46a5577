import { describe, expect, test } from "vitest";
import type { JobDetails } from "../../src/core/graph/job-status.ts";
import { vertexId } from "../../src/core/types/ids.ts";
import { clusterReport } from "../../src/notebook/cluster-report.ts";
import { report } from "../../src/notebook/report.ts";
import { chart } from "../../src/notebook/views/chart.ts";
import { table } from "../../src/notebook/views/table.ts";
import { JobHistory } from "../../src/notebook/views/job-history.ts";
import { EVIL, START, minuteOfMetrics, nineCheckpoint, nineExecutions, nineNodes, overviewOf, restartedOnce, twoTaskManagers } from "./jobs.ts";

const rows = [
  { zone: "Manhattan", rides: 254 },
  { zone: EVIL, rides: 7 },
];
const details = (evil = ""): JobDetails => {
  const all = nineExecutions(evil, "FINISHED");
  return { ...all, graph: { ...all.graph, options: { "parallelism.default": 2, [`evil${evil}`]: evil } } };
};
const full = (evil = ""): string =>
  report({
    title: `Rides${evil}`,
    details: details(evil),
    streamGraph: nineNodes(evil),
    metrics: minuteOfMetrics(5),
    nowMs: START + 90_000,
    charts: [chart(rows, { kind: "bar", x: "zone", y: "rides", title: `Rides per zone${evil}` })],
    tables: [table(rows, { title: `Top zones${evil}` })],
  });
/** The report without the packed library. */
const readable = (html: string): string => html.replace(/"[\w+/=]{100000,}"/g, '""');

describe("a report", () => {
  test("holds everything: panel, charts, tables, metrics, three graphs, slots, options", () => {
    const html = readable(full());
    for (const text of [
      "How it went",
      "Rides per zone",
      "Top zones",
      "How the slots spent their time",
      "Records per second",
      "Watermark lag",
      "rides per zone: stream graph",
      "rides per zone: job graph",
      "rides per zone: execution graph",
      "Slots of rides per zone",
      "parallelism.default",
      "1 min 01 s",
      "2026-11-22 20:31:30 UTC",
    ])
      expect(html).toContain(text);
  });

  test("has Plotly once and asks nobody for anything", () => {
    const html = full();
    expect(html.match(/new DecompressionStream/g)).toHaveLength(1);
    const text = readable(html).replaceAll("http://www.w3.org/2000/svg", "");
    expect(text).not.toMatch(/https?:|src="(?!data:)|href=|@import|url\((?!#)/);
    expect(text).toContain("default-src 'none'");
  });

  test("without scripts is small and forbids them", () => {
    const html = report({ details: details(), interactive: false });
    expect(html).toContain("script-src 'none'");
    expect(html).not.toContain("<script");
    expect(html.length).toBeLessThan(200_000);
  });

  test("escapes names everywhere", () => {
    const html = readable(full(EVIL));
    expect(html).not.toContain("<script>alert");
    // One script shows each figure or graph, one holds the library.
    const scripts = [...html.matchAll(/<script[^>]*>/g)].map((match) => match[0]);
    expect(new Set(scripts)).toEqual(new Set(["<script>"]));
    expect(scripts).toHaveLength(html.split(/<div data-drey-(?:figure|drawing)=/).length);
    expect(html.match(/<script/g)?.length).toBe(html.match(/<\/script>/g)?.length);
  });

  test("has a section about checkpoints and attempts where there were any, without scripts", () => {
    const { before, now } = restartedOnce(EVIL);
    const history = new JobHistory();
    history.add(before);
    const html = report({ details: now, history, checkpoints: overviewOf([nineCheckpoint(1)]), interactive: false, nowMs: START + 62_000 });
    for (const text of ["<h2>Checkpoints</h2>", "Barriers of checkpoint 1", "Attempts of", "restarted once"]) expect(html).toContain(text);
    expect(html).not.toContain("<script");
    expect(report({ details: details(), checkpoints: overviewOf([]), interactive: false })).not.toContain("<h2>Checkpoints</h2>");
  });

  test("of a job that has just begun is a report too", () => {
    const begun: JobDetails = { ...nineExecutions(), state: "CREATED", executions: [], timestamps: { CREATED: START }, tasks: {} };
    const html = report({ details: begun, nowMs: START + 500 });
    expect(html).toContain("500 ms");
    expect(html).not.toContain("undefined");
  });

  test("says light and dark, and each figure as text", () => {
    const html = readable(full());
    expect(html).toContain('<meta name="color-scheme" content="light dark">');
    expect(html.match(/<figure>/g)?.length).toBe(html.match(/<pre>/g)?.length);
  });

  test("has sections for profiles and for stored state, where they are given", () => {
    const frames = [{ parent: -1, name: `tariff${EVIL}`, kind: "user" as const, place: "/rides.ts:7", selfMs: 40 }];
    const { job } = details();
    const profile = { job, vertex: vertexId("v1"), name: `rides${EVIL}`, subtask: 0, attempt: 1, durationMs: 50, samples: 40, frames };
    const html = report({ details: details(), profiles: [profile], state: [table([{ groups: 128 }], { title: "groups" })], interactive: false });
    for (const text of ["<h2>Where the time went</h2>", "tariff", "<h2>State</h2>", "128"]) expect(html).toContain(text);
    expect(html).not.toContain("<script");
    expect(report({ details: details(), interactive: false })).not.toContain("<h2>State</h2>");
  });
});

test("a cluster's report: its processes, slots and jobs, without scripts, and names are escaped", () => {
  const overview = {
    ...twoTaskManagers(EVIL), version: "1.2.3", pid: 4_700, address: `ipc:///run/jm${EVIL}`, startedAtMs: START - 90_000, slotsTotal: 4, slotsFree: 2,
    jobs: [nineExecutions(EVIL), { ...nineExecutions(EVIL, "FINISHED"), name: "yesterday's" }],
  };
  const html = clusterReport({ overview, jobs: [nineExecutions(EVIL)], nowMs: START + 10_000 });
  for (const text of ["1 min 40 s", "2 of 4", "yesterday&#39;s", "<h2>Processes and slots</h2>", "<h2>Jobs</h2>", "tm-a1b2"]) expect(html).toContain(text);
  expect(html).not.toContain("<script");
  expect(html).toContain("default-src 'none'");
  expect(html.length).toBeLessThan(200_000);
  expect(clusterReport({ overview: { ...overview, jobs: [] } })).not.toContain("<h2>Jobs</h2>");
});
