import { expect, test } from "vitest";
import { JobHistory } from "../../../src/notebook/views/job-history.ts";
import { attempts } from "../../../src/notebook/views/attempts.ts";
import { EVIL, START, nineCheckpoint, nineExecutions, overviewOf, restartedOnce } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const historyOf = (evil = ""): { readonly history: JobHistory; readonly now: ReturnType<typeof restartedOnce>["now"] } => {
  const { before, now } = restartedOnce(evil);
  const history = new JobHistory();
  history.add(before);
  history.add(now);
  return { history, now };
};

test("every attempt of a subtask has a line of text: how it ended, when, where, and why", () => {
  const { history, now } = historyOf();
  const lines = attempts(now, { history, nowMs: START + 62_000 }).text().split("\n");
  expect(lines[0]).toBe("8 subtasks, 16 attempts · 1 failed · the job restarted once");
  const failed = lines.findIndex((it) => it.includes("v3/1"));
  expect(lines[failed]).toMatch(/v3\/1 +attempt 1 +✗ FAILED +25 s +tm-c3d4\/0 +TypeError: no zone at rides\.ts:17:22: return r\.zone\.name;$/);
  expect(lines[failed + 1]).toMatch(/^ +attempt 2 +▶ RUNNING +35\.5 s/);
});

test("draws attempts on one line, and marks of the checkpoints that completed", () => {
  const { history, now } = historyOf();
  const picture = attempts(now, { history, checkpoints: overviewOf([nineCheckpoint(1), nineCheckpoint(2)]), nowMs: START + 62_000 });
  const svg = picture.drawing?.markup ?? "";
  expect(svg.match(/attempt 2 began/g)).toHaveLength(8);
  expect(svg).toContain("checkpoint 2 complete at 2026-11-22 20:30:20 UTC");
  expect(visibleTexts(svg)).toContain("TypeError: no zone at rides.ts:17:22: return r.zone.name;");
});

test("a history keeps what later details forget, each state and attempt once", () => {
  const { history, now } = historyOf();
  history.add(now);
  expect(history.states.map(({ state }) => state)).toEqual(["CREATED", "WAITING", "RUNNING", "RESTARTING", "RUNNING"]);
  expect(history.attemptsOf("v3", 1).map(({ state }) => state)).toEqual(["FAILED", "RUNNING"]);
  expect(history.restarts).toBe(1);
});

test("a picture shows the history as it was when it was made", () => {
  const { before, now } = restartedOnce();
  const history = JobHistory.of(before);
  const picture = attempts(before, { history, nowMs: START + 26_000 });
  history.add(now);
  expect(picture.text()).toContain("8 subtasks, 8 attempts");
});

test("hostile names and messages stay text", () => {
  const { history, now } = historyOf(EVIL);
  expect(xmlFault(attempts(now, { history }).drawing?.markup ?? "")).toBeUndefined();
  expect(xmlFault(attempts({ ...nineExecutions(EVIL), executions: [] }).drawing?.markup ?? "")).toBeUndefined();
});
