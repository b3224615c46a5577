/** What the compiler says of mistakes: see mistakes.ts. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";

const file = path.join(import.meta.dirname, "mistakes.ts");
const lines = readFileSync(file, "utf8").split("\n");
const mistakes = lines.flatMap((line, index) => {
  const says = /^\/\/ says: (.*)$/.exec(line)?.[1];
  return says === undefined ? [] : [{ says, code: lines[index + 1] as string, line: index + 2 }];
});
/** Errors with all that they say, by line. */
const errors = new Map<number, string>();

beforeAll(() => {
  const compiler = path.resolve(path.dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
  const settings = ["--ignoreConfig", "--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "--pretty", "false"];
  const { stdout } = spawnSync(process.execPath, [compiler, ...settings, file], { encoding: "utf8", timeout: 60_000 });
  for (const [, line, text] of stdout.matchAll(/^\S*mistakes\.ts\((\d+),\d+\): (.*(?:\n .*)*)/gm)) {
    errors.set(Number(line), `${errors.get(Number(line)) ?? ""}${text as string}\n`);
  }
}, 90_000);

describe("a mistake is told by the compiler", () => {
  test.each(mistakes)("$code", ({ says, line }) => {
    expect(errors.get(line)).toContain(says);
  });

  test("and nothing else is wrong there", () => {
    expect([...errors.keys()].filter((line) => !mistakes.some((mistake) => mistake.line === line))).toEqual([]);
  });
});
