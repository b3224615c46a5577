import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LogForwarder } from "../../../src/cluster/taskmanager/log-forwarder.ts";
import type { LogLine } from "../../../src/core/graph/job-status.ts";
import type { JobId, VertexId } from "../../../src/core/types/ids.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const line = (text: string): LogLine => ({ job: "j" as JobId, vertex: "v0" as VertexId, subtask: 0, level: "log", text, atMs: 0 });

test("lines of a moment travel together, in order", () => {
  const sent: string[][] = [];
  const logs = new LogForwarder((lines) => sent.push(lines.map(({ text }) => text)));
  logs.take(line("a"));
  logs.take(line("b"));
  expect(sent).toEqual([]);
  vi.advanceTimersByTime(50);
  expect(sent).toEqual([["a", "b"]]);
  vi.advanceTimersByTime(1_000);
  expect(sent).toHaveLength(1);
});

test("a message stays small: large lines and many lines are split", () => {
  const sent: number[] = [];
  const logs = new LogForwarder((lines) => sent.push(lines.length));
  for (let index = 0; index < 3; index++) logs.take(line("x".repeat(400_000)));
  for (let index = 0; index < 4_500; index++) logs.take(line("y"));
  logs.flush();
  expect(sent).toEqual([1, 1, 2_000, 2_000, 501]);
});

test("lines beyond the bound are dropped and counted", () => {
  const sent: string[] = [];
  const logs = new LogForwarder((lines) => sent.push(...lines.map(({ text }) => text)));
  for (let index = 0; index < 10_003; index++) logs.take(line(`${index}`));
  logs.flush();
  expect(sent).toHaveLength(10_000);
  logs.take(line("next"));
  logs.flush();
  expect(sent.slice(-2)).toEqual(["(3 lines were dropped here: the JobManager takes them too slowly)", "next"]);
});
