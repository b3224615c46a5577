import { describe, expect, test } from "vitest";
import type { JobDetails } from "../../../src/core/graph/job-status.ts";
import type { Picture } from "../../../src/notebook/picture.ts";
import { JobHistory } from "../../../src/notebook/views/job-history.ts";
import { jobPanel } from "../../../src/notebook/views/job.ts";
import { EVIL, START, minuteOfMetrics, nineCheckpoint, nineExecutions, overviewOf, restartedOnce } from "../jobs.ts";
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

describe("the job panel", () => {
  test("as text it is a headline and a line for each vertex", () => {
    expect(jobPanel(nineExecutions(), { metrics: minuteOfMetrics(), nowMs: START + 62_000 }).text()).toBe(
      [
        "▶ RUNNING  rides per zone  1 min 02 s  0123456789abcdef0123456789abcdef",
        "  3.51 M records read",
        "  v1  Source: rides.jsonl -> withTimestamps -> fi…  ×2  2 running  ██▓░░░░░░░░░  13% busy   3.1 M records  51.6 k/s  lag 4.6 s",
        "  v2  Source: zones                                 ×1  1 running  ██▓░░░░░░░░░  16% busy   415 k records   6,912/s  lag 4.6 s",
        "  v3  join zones                                    ×2  2 running  ███████░░░░░  60% busy   344 k records   5,739/s  lag 6.1 s",
        "  v4  window(tumbling 60 s) -> Sink: late rides     ×2  2 running  ███████░░░░░  60% busy   194 k records   3,228/s  lag 6.1 s",
        "  v5  top 10 -> Sink: collect                       ×1  1 running  ██▓░░░░░░░░░  16% busy  66.4 k records   1,106/s  lag 4.6 s",
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

  test("tells of restarts, and of what failed with the user's line", () => {
    const { before, now } = restartedOnce();
    const history = new JobHistory();
    history.add(before);
    const picture = jobPanel(now, { history, nowMs: START + 62_000 });
    expect(picture.text().split("\n").slice(1, 3)).toEqual([
      "  restarted once",
      "  v3/1 attempt 1 failed at 20:30:25: TypeError: no zone at rides.ts:17:22: return r.zone.name;",
    ]);
    expect(visibleTexts(svgOf(picture))).toContain("restarted once · 1 attempt failed");
    expect(svgOf(picture)).toContain("v1/0 attempt 1 RUNNING");
    expect(svgOf(picture)).toContain("v1/0 attempt 2 RUNNING");
  });

  test("tells of the last complete checkpoint, its age, time and size, of restores, and of a failure since", () => {
    const failure = nineCheckpoint(6, { state: "FAILED", failure: "the disk is full" });
    const checkpoints = overviewOf([nineCheckpoint(5), failure], { completed: 1, failed: 1, restored: 1, restoredFrom: 2 });
    const text = jobPanel(nineExecutions(), { checkpoints, nowMs: START + 62_300 }).text();
    expect(text).toContain("checkpoint 5 complete 12 s ago · took 300 ms · 32 KiB, 8 KiB written · 1 completed · 1 failed · restored once, last from 2");
    expect(text).toContain("checkpoint 6 failed: the disk is full");
  });

  test("has no line about checkpoints for a job without any", () => {
    const without = jobPanel(nineExecutions(), { nowMs: START + 62_000 }).text();
    expect(jobPanel(nineExecutions(), { checkpoints: overviewOf([]), nowMs: START + 62_000 }).text()).toBe(without);
  });

  test("colour adds escape codes and nothing else", () => {
    const picture = jobPanel(failed());
    const coloured = picture.text({ isTTY: true });
    if ((process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb") expect(coloured).toContain("\u001b[1;31m");
    expect(coloured.replace(/\u001b\[[\d;]*m/g, "")).toBe(picture.text());
  });

  test("names and messages that look like markup are text", () => {
    for (const picture of [jobPanel(nineExecutions(EVIL), { metrics: minuteOfMetrics(3) }), jobPanel(failed())]) {
      expect(xmlFault(svgOf(picture))).toBeUndefined();
      expect(svgOf(picture)).not.toContain("<script");
    }
  });
});
