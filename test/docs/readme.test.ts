/** What the README says is tried: its program runs and prints what it says, its commands exist, its links lead somewhere. */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const CLI = join(ROOT, "dist/cluster/cli.js");
const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { scripts: Record<string, string>; engines: { node: string } };

/** Fenced blocks of a language, with the text block that stands right behind each. */
const programs = [...readme.matchAll(/^```ts\n([^]*?)^```(?:\n\n```text\n([^]*?)^```)?/gm)].map(([, code = "", output]) => ({ code, output }));
const drey = (...args: string[]) => promisify(execFile)(process.execPath, [CLI, ...args], { timeout: 60_000 });

describe("the README", () => {
  test("has a program", () => expect(programs.length).toBeGreaterThan(0));

  test.each(programs)("runs $code", { timeout: 60_000 }, async ({ code, output }) => {
    const folder = mkdtempSync(join(tmpdir(), "drey-readme-"));
    try {
      const file = join(folder, "program.ts");
      writeFileSync(file, code);
      const { stdout, stderr } = await drey("run", "--quiet", file);
      expect(stderr).toBe("");
      // Two subtasks write at the same time: the order of their lines is not promised.
      if (output !== undefined) expect(stdout.split("\n").sort()).toEqual(output.split("\n").sort());
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  const commands = new Set([...readme.matchAll(/npx drey ([a-z]+)/g)].map(([, command]) => command as string));
  test.each([...commands])("names the command drey %s, which exists", async (command) => {
    const { stdout } = await drey(command, "--help");
    expect(stdout).toContain(`drey ${command}`);
  });

  test("names flags that their commands have", async () => {
    for (const [, command = "", flag = ""] of readme.matchAll(/npx drey ([a-z]+) (--[a-z]+)/g)) {
      expect((await drey(command, "--help")).stdout).toContain(flag);
    }
  });

  test("names scripts of package.json", () => {
    const scripts = [...readme.matchAll(/npm (?:run )?(start|test|[a-z]+:[a-z]+|(?<=run )[a-z]+)\b/g)].map(([, script]) => script as string);
    expect(scripts.length).toBeGreaterThan(2);
    for (const script of scripts) expect(Object.keys(manifest.scripts)).toContain(script);
  });

  test("links to files that are there", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path as string);
    expect(links.length).toBeGreaterThan(3);
    expect(links.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test("asks for the Node that package.json asks for", () => {
    expect(manifest.engines.node).toContain("20.19");
    expect(readme).toContain("20.19 or newer");
  });
});
