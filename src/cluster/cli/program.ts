/**
 * A user's program, loaded and run in this process: a module whose top level submits jobs, or one whose default export is a function
 * `main(args)`. It runs once.
 *
 * TypeScript is loaded by erasing its types, as Node does by itself from 22.18 on and with the same engine, but alike on all Nodes and
 * always as an ES module, whatever a package.json above says. Erased types leave blanks, so every function keeps its line and column, and
 * errors point into the user's file without source maps.
 */
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import * as nodeModule from "node:module";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import { UsageError } from "./command.ts";

/**
 * Loads the module and, if it exports a function as default, calls it with the arguments.
 * `process.argv` is as if the program had been started by `node file …args`.
 * @throws UsageError when there is no such file, and whatever the program throws.
 */
export async function runProgram(file: string, args: readonly string[]): Promise<void> {
  const path = requireFile(file);
  process.argv = [process.argv[0] as string, path, ...args];
  installHooks();
  const module = (await import(pathToFileURL(path).href)) as { default?: unknown };
  const main = module.default;
  if (typeof main === "function") await (main as (args: readonly string[]) => unknown)(args);
  else if (main !== undefined) {
    throw new ConfigurationError(
      `${file} exports ${describe(main)} as default; export a function main(args), or submit jobs at the top level of the module.`,
    );
  }
}

/** The absolute path of the program. @throws UsageError when there is none. */
export function requireFile(file: string): string {
  const path = resolve(file);
  if (!existsSync(path)) throw new UsageError(`there is no file ${path}.`);
  if (!statSync(path).isFile()) throw new UsageError(`${path} is not a file; name the module that builds the job.`);
  if (!/\.[cm]?[jt]s$/.test(path)) throw new UsageError(`${path} is no TypeScript or JavaScript module (.ts, .mts, .js, .mjs).`);
  return path;
}

function installHooks(): void {
  // Deno and Bun read TypeScript themselves.
  if ("Deno" in globalThis || "Bun" in globalThis) return;
  const hooks = new URL("./program-hooks.js", import.meta.url);
  const { registerHooks, register } = nodeModule as unknown as { registerHooks?: (hooks: object) => void; register: (url: URL) => void };
  // Where hooks can run in this thread they are loaded at once; else they get a thread of their own.
  if (registerHooks === undefined) return register(hooks);
  registerHooks((createRequire(import.meta.url)(fileURLToPath(hooks)) as { hooksInThread: object }).hooksInThread);
}
