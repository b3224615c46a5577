import { beforeEach, describe, expect, test } from "vitest";
import {
  ConsoleLines,
  LINES_PER_SECOND,
  MAX_LINES_ON_THE_WAY,
  MAX_LINE_CHARACTERS,
} from "../../../src/cluster/taskmanager/console-lines.ts";
import type { ConsoleLine } from "../../../src/cluster/taskmanager/thread-messages.ts";

let posted: ConsoleLine[];
let onTheWay: Int32Array;
let nowMs: number;
let lines: ConsoleLines;
beforeEach(() => {
  posted = [];
  onTheWay = new Int32Array(new SharedArrayBuffer(4));
  nowMs = 0;
  lines = new ConsoleLines(
    (line) => posted.push(line),
    onTheWay,
    () => nowMs,
  );
});
const texts = (): string[] => posted.map(({ text }) => text);

describe("lines of a console", () => {
  test("are cut at line breaks, and a begun one waits for its rest", () => {
    lines.write("log", "a");
    lines.write("log", "b\nc\n\nd");
    expect(texts()).toEqual(["ab", "c", ""]);
    lines.end();
    expect(texts()).toEqual(["ab", "c", "", "d"]);
  });

  test("of different levels don't mix", () => {
    lines.write("log", "half");
    lines.write("error", "whole\n");
    lines.write("log", " done\n");
    expect(posted.map(({ level, text }) => [level, text])).toEqual([
      ["error", "whole"],
      ["log", "half done"],
    ]);
  });

  test("that are too long are cut, with or without a line break", () => {
    lines.write("log", `${"x".repeat(MAX_LINE_CHARACTERS * 2)}\n`);
    lines.write("log", "y".repeat(MAX_LINE_CHARACTERS * 2));
    expect(texts().map((text) => text.length)).toEqual([MAX_LINE_CHARACTERS, MAX_LINE_CHARACTERS]);
    expect(texts()[0]?.endsWith("x…")).toBe(true);
  });

  test("beyond the rate are dropped, and the next that passes says how many", () => {
    for (let index = 0; index < LINES_PER_SECOND + 5; index++) {
      Atomics.store(onTheWay, 0, 0);
      lines.write("log", `${index}\n`);
    }
    expect(posted).toHaveLength(LINES_PER_SECOND);
    nowMs = 1_000;
    lines.write("log", "later\n");
    expect(texts().slice(-2)).toEqual([`(5 lines were dropped here: more than ${LINES_PER_SECOND} per second)`, "later"]);
  });

  test("wait for nobody: while too many were not taken, more are dropped", () => {
    Atomics.store(onTheWay, 0, MAX_LINES_ON_THE_WAY - 1);
    lines.write("log", "one\ntwo\nthree\n");
    expect(texts()).toEqual(["one"]);
    Atomics.store(onTheWay, 0, 0);
    lines.end();
    expect(texts().at(-1)).toContain("2 lines were dropped");
    expect(Atomics.load(onTheWay, 0)).toBe(1);
  });
});
