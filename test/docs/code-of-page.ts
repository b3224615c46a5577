/**
 * Pages of documentation whose code is tested. Every block of TypeScript on a page runs, each by itself, behind the page's first block,
 * which says what the others stand on. A statement whose comment has an arrow is checked:
 *
 *     numbers.map((x) => x * 10); // Map → [10, 20, 30]
 *
 * The value left of it (a stream: its rows; a promise: what it becomes) equals what stands right of the arrow. The words before the arrow
 * are Flink's name for it. A block marked `ts cluster` is type-checked only: it needs processes of its own.
 *
 * Names that the door `drey` exports need no import; all else is imported by the block. `environment()` runs in this thread.
 */
import { deepStrictEqual } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { transformSync } from "@swc/wasm-typescript";
import { type Statement, parse } from "acorn";
import * as drey from "drey";
import * as testing from "drey/testing";
import * as rxjs from "rxjs";

const house = resolve(import.meta.dirname, "../..");

/** A block of code on a page. */
export interface Block {
  readonly code: string;
  /** The heading that it stands under. */
  readonly section: string;
  readonly line: number;
  readonly runs: boolean;
  /** Flink's names of what it checks. */
  readonly names: readonly string[];
}

/** The blocks of a page, the first one too. */
export function blocksOf(page: string): readonly Block[] {
  const text = readFileSync(join(house, page), "utf8");
  const blocks: Block[] = [];
  let section = "";
  for (const match of text.matchAll(/^#+ (.*)$|^```ts( cluster)?\n([^]*?)^```/gm)) {
    const [, heading, cluster, code] = match;
    if (heading !== undefined) section = heading;
    if (code === undefined) continue;
    blocks.push({
      code, section, runs: cluster === undefined, line: text.slice(0, match.index).split("\n").length + 1,
      names: [...code.matchAll(/\/\/ (.*?) ?→/g)].map(([, name]) => name as string),
    });
  }
  return blocks;
}

const exported = /^export (?:type )?\{([^}]*)\}/gm;
const typesOfDoor = [...readFileSync(join(house, "src/cluster/index.ts"), "utf8").matchAll(exported)]
  .flatMap(([, names]) => (names as string).split(","))
  .map((name) => name.replace(/^\s*type /, "").trim())
  .filter((name) => name !== "" && !(name in drey));

/** What the door exports and a text speaks of. */
const namesIn = (code: string, names: readonly string[]): string[] => names.filter((name) => new RegExp(`(?<![.\\w$])${name}(?![\\w$:])`).test(code));

/** Runs a block. @throws AssertionError with the line of the page where a check fails. */
export async function run(block: Block, first: Block): Promise<void> {
  const source = block === first ? first.code : `${first.code}\n${block.code}`;
  const offset = block === first ? block.line : block.line - first.code.split("\n").length;
  const js = transformSync(source, { mode: "strip-only" }).code;
  const comments: { readonly text: string; readonly start: number }[] = [];
  const { body } = parse(js, {
    ecmaVersion: "latest", sourceType: "module", allowAwaitOutsideFunction: true,
    onComment: (_block, text, start) => void comments.push({ text, start }),
  });
  const lineAt = (position: number): number => js.slice(0, position).split("\n").length;
  let out = "";
  for (const statement of body as readonly Statement[]) {
    const text = js.slice(statement.start, statement.end);
    const comment = comments.find(({ start }) => start >= statement.end && lineAt(start) === lineAt(statement.end))?.text;
    const expected = comment === undefined ? undefined : /→ (.*)$/.exec(comment)?.[1];
    if ((statement.type as string) === "ImportDeclaration") {
      const [, names, from] = /^import \{([^}]*)\} from "([^"]*)"/.exec(text) as unknown as [string, string, string];
      out += `const {${names.replaceAll(/(\w+) as (\w+)/g, "$1: $2")}} = $modules[${JSON.stringify(from)}];\n`;
    } else if (expected !== undefined && statement.type === "ExpressionStatement") {
      const expression = js.slice(statement.expression.start, statement.expression.end);
      out += `await $check(async () => (${expression}), () => (${expected}), ${lineAt(statement.start) + offset - 1});\n`;
    } else out += `${text}\n`;
  }
  const opened: drey.Environment[] = [];
  const environment = (...options: Parameters<typeof drey.localEnvironment>): drey.Environment => {
    const env = drey.localEnvironment(...options);
    opened.push(env);
    return env;
  };
  const modules = { drey: { ...drey, environment, localEnvironment: environment }, rxjs, "drey/testing": testing, "node:fs": await import("node:fs") };
  const given = namesIn(source, Object.keys(drey)).filter((name) => !new RegExp(`import \\{[^}]*\\b${name}\\b[^}]*\\}`).test(source));
  const AsyncFunction = (async () => undefined).constructor as new (...parts: string[]) => (...values: unknown[]) => Promise<void>;
  const body_ = `const { ${given.join(", ")} } = $modules.drey;\n${out}`;
  const folder = mkdtempSync(join(tmpdir(), "drey-page-"));
  const before = process.cwd();
  try {
    process.chdir(folder);
    await new AsyncFunction("$modules", "$check", body_)(modules, check);
  } finally {
    process.chdir(before);
    // What loops left on disk for their next step goes with their environment.
    for (const env of opened) await env.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function check(actual: () => Promise<unknown>, expected: () => unknown, line: number): Promise<void> {
  let value = await actual();
  if (value instanceof drey.DataStream || value instanceof drey.DataSet) value = await value.collect();
  try {
    deepStrictEqual(value, expected());
  } catch (error) {
    (error as Error).message = `line ${line} of the page: ${(error as Error).message}`;
    throw error;
  }
}

/** What the compiler says of the blocks of a page, by the page's lines. */
export function typeErrors(page: string): string[] {
  const blocks = blocksOf(page);
  const [first] = blocks as [Block];
  const folder = mkdtempSync(join(tmpdir(), "drey-page-"));
  try {
    mkdirSync(join(folder, "node_modules"));
    symlinkSync(house, join(folder, "node_modules/drey"));
    for (const name of ["rxjs", "@types"]) {
      symlinkSync(resolve(dirname(createRequire(import.meta.url).resolve("rxjs/package.json")), "..", name), join(folder, "node_modules", name));
    }
    writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
    for (const [index, block] of blocks.entries()) {
      const source = block === first ? first.code : `${first.code}\n${block.code}`;
      const imported = [...source.matchAll(/import \{([^}]*)\}/g)].flatMap(([, names]) => (names as string).split(",").map((name) => name.trim()));
      const fresh = (names: readonly string[]): string[] => namesIn(source, names).filter((name) => !imported.includes(name));
      const line = block === first ? block.line : block.line - first.code.split("\n").length;
      writeFileSync(
        join(folder, `block-${index}-${line}.ts`),
        `import { ${fresh(Object.keys(drey)).join(", ")} } from "drey"; import type { ${fresh(typesOfDoor).join(", ")} } from "drey"; export {};\n${source}`,
      );
    }
    const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
    const settings = ["--ignoreConfig", "--noEmit", "--strict", "--target", "es2023", "--lib", "es2023,esnext.disposable", "--module", "nodenext", "--types", "node", "--skipLibCheck"];
    const files = blocks.map((block, index) => `block-${index}-${block === first ? block.line : block.line - first.code.split("\n").length}.ts`);
    const { stdout } = spawnSync(process.execPath, [compiler, ...settings, "--pretty", "false", ...files], { cwd: folder, encoding: "utf8", timeout: 90_000 });
    return stdout.split("\n").filter((line) => line !== "").map((line) =>
      line.replace(/^block-\d+-(-?\d+)\.ts\((\d+),(\d+)\)/, (_, at: string, row: string, column: string) => `${page}:${Number(at) + Number(row) - 2}:${column}`),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
