import { describe, expect, test } from "vitest";
import type { MetricsReport } from "../../../src/core/graph/job-status.ts";
import { taskManagerId, vertexId } from "../../../src/core/types/ids.ts";
import { latestLoads, loadSamples, loadsAt } from "../../../src/notebook/views/load.ts";
import { JOB, START, minuteOfMetrics } from "../jobs.ts";

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

  test("over a whole run shares and rates are means, counts the latest", () => {
    const rates = (busy: number, records: number) => ({ busyTimeMsPerSecond: busy, numRecordsInPerSecond: records, numRecordsIn: records });
    const samples = loadSamples([report(1_000, 1, rates(200, 10)), report(2_000, 1, rates(600, 30))]);
    expect(loadsAt("run", samples).get("v1/0")).toMatchObject({ busy: 0.4, recordsInPerSecond: 20, recordsIn: 30 });
    expect(loadsAt("latest", samples).get("v1/0")).toMatchObject({ busy: 0.6, recordsInPerSecond: 30, recordsIn: 30 });
  });
});
