import { describe, expect, test } from "vitest";
import type { CheckpointInfo, CheckpointOverview, CheckpointSubtaskInfo } from "../../../src/core/graph/job-status.ts";
import { vertexId } from "../../../src/core/types/ids.ts";
import type { Picture } from "../../../src/notebook/picture.ts";
import { checkpoints } from "../../../src/notebook/views/checkpoints.ts";
import { EVIL, JOB, START } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const subtask = (vertex: string, index: number, alignmentMs: number): CheckpointSubtaskInfo => ({
  vertex: vertexId(vertex), subtask: index, durationMs: 20 + alignmentMs, bytes: 2_048, writtenBytes: 2_048,
  startDelayMs: 5, alignmentMs, syncMs: 2, asyncMs: 10, channelBytes: 0,
});

const checkpoint = (id: number, more: Partial<CheckpointInfo> = {}): CheckpointInfo => {
  const subtasks = [subtask("v1", 0, 0), subtask("v2", 0, 100 * id), subtask("v2", 1, 0)];
  return {
    id, kind: "checkpoint", state: "COMPLETED", triggeredAtMs: START + 1_000 * id, durationMs: 30 + 100 * id,
    bytes: 6_144, writtenBytes: 6_144, acknowledged: 3, expected: 3, subtasks, ...more,
  };
};

const overview = (latest: readonly CheckpointInfo[], more: Partial<CheckpointOverview> = {}): CheckpointOverview => ({
  job: JOB, completed: latest.length, failed: 0, inProgress: 0, restored: 0, latest, ...more,
});

const svgOf = (picture: Picture): string => picture.drawing?.markup ?? "";

describe("checkpoints", () => {
  test("as text, the newest first, each with what its slowest subtask waited for", () => {
    const lines = checkpoints(overview([checkpoint(1), checkpoint(2)])).text().split("\n");
    expect(lines[0]).toBe("2 completed");
    expect(lines[1]).toMatch(/^ {2}checkpoint 2 +✓ COMPLETED +230 ms +3\/3 subtasks +6 KiB +.*200 ms aligning/);
    expect(lines[2]).toMatch(/^ {2}checkpoint 1 .*100 ms aligning/);
  });

  test("what failed says why; what was restored from is told", () => {
    const failed = checkpoint(2, { state: "FAILED", failure: "the disk is full", subtasks: [] });
    const text = checkpoints(overview([checkpoint(1), failed], { failed: 1, completed: 1, restored: 2, restoredFrom: 1 })).text();
    expect(text).toContain("1 completed · 1 failed · restored 2 times, last from 1");
    expect(text).toContain("the disk is full");
  });

  test("an incremental one tells what it wrote beside what it is", () => {
    expect(checkpoints(overview([checkpoint(1, { writtenBytes: 1_024 })])).text()).toContain("6 KiB, 1 KiB written");
  });

  test("as a drawing, a bar each, and one for each subtask of the latest, the slowest first", () => {
    const texts = visibleTexts(svgOf(checkpoints(overview([checkpoint(1), checkpoint(2)]))));
    expect(texts).toContain("Subtasks of 2");
    expect(texts.indexOf("v2/0")).toBeLessThan(texts.indexOf("v1/0"));
    expect(texts).toContain("aligning");
  });

  test("draws no checkpoints at all, and hostile texts, as well-formed markup", () => {
    expect(xmlFault(svgOf(checkpoints(overview([]))))).toBeUndefined();
    expect(xmlFault(svgOf(checkpoints(overview([checkpoint(1, { state: "FAILED", failure: EVIL })]), { title: EVIL })))).toBeUndefined();
  });
});
