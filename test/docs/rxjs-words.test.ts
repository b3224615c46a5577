/** The tables of docs/rxjs-words.md say what is so, and leave no word out. */
import { readFileSync } from "node:fs";
import * as rxjs from "rxjs";
import { describe, expect, test } from "vitest";
import * as drey from "../../src/core/index.ts";

const lines = readFileSync(new URL("../../docs/rxjs-words.md", import.meta.url), "utf8").split("\n");
const rows = lines.filter((line) => line.startsWith("| `")).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
const code = (cell: string | undefined): string => /^`(.*)`$/.exec(cell ?? "")?.[1] as string;

async function ofRxjs(text: string): Promise<unknown> {
  const make = new Function("rxjs", `const { ${Object.keys(rxjs).join(", ")} } = rxjs; return ${text};`) as (it: unknown) => rxjs.Observable<unknown>;
  return rxjs.lastValueFrom(make(rxjs).pipe(rxjs.toArray()));
}

async function ofDrey(text: string): Promise<unknown> {
  const env = drey.localEnvironment({ printLogs: false });
  const make = new Function("drey", "of", `const { ${Object.keys(drey).join(", ")} } = drey; return ${text};`) as (
    it: unknown, of: unknown,
  ) => drey.DataStream<unknown>;
  return make(drey, (...values: unknown[]) => env.from(values)).collect();
}

describe("words that mean the same", () => {
  test.each(rows.filter(({ length }) => length === 3).map(([word, both, gives]) => [code(word), code(both), code(gives)] as const))(
    "%s: %s",
    async (_word, both, gives) => {
      expect(await ofRxjs(both)).toEqual(JSON.parse(gives));
      expect(await ofDrey(both)).toEqual(JSON.parse(gives));
    },
  );
});

describe("words that differ", () => {
  test.each(rows.filter(({ length }) => length === 6).map((cells) => cells.slice(0, 5).map(code) as [string, string, string, string, string]))(
    "%s: %s gives %s, %s gives %s",
    async (_word, theirs, theirRows, ours, ourRows) => {
      expect(await ofRxjs(theirs)).toEqual(JSON.parse(theirRows));
      expect(await ofDrey(ours)).toEqual(JSON.parse(ourRows));
    },
  );
});

test("every word that both have stands in a table", () => {
  const theirs = new Set(Object.keys(rxjs).filter((name) => /^[a-z]/.test(name)));
  const methods = [drey.DataStream, drey.KeyedStream, drey.WindowedStream].flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype));
  const both = [...new Set([...methods, ...Object.keys(drey)])].filter((name) => theirs.has(name) && name !== "pipe");
  const told = new Set(rows.map(([word]) => code(word)));
  expect(both.filter((word) => !told.has(word))).toEqual([]);
  expect(both.length).toBeGreaterThan(15);
});
