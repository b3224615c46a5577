import { describe, expect, test } from "vitest";
import type { JobDetails } from "../../../src/core/graph/job-status.ts";
import type { Picture } from "../../../src/notebook/picture.ts";
import { jobPanel } from "../../../src/notebook/views/job.ts";
import { EVIL, START, minuteOfMetrics, nineExecutions } from "../jobs.ts";
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

  test("names and messages that look like markup are text", () => {
    for (const picture of [jobPanel(nineExecutions(EVIL), { metrics: minuteOfMetrics(3) }), jobPanel(failed())]) {
      expect(xmlFault(svgOf(picture))).toBeUndefined();
      expect(svgOf(picture)).not.toContain("<script");
    }
  });
});
