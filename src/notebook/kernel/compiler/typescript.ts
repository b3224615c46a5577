/**
 * Which TypeScript compiles the cells: one that has the compiler's API, which version 7 has not. The notebook's own comes first, then the
 * one that comes with drey. That one is optional; it is version 5.9 as `@ts-morph/common` packs it, which puts no second `tsc` beside the
 * user's.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import type * as Packed from "@ts-morph/common";
import type { ts } from "@ts-morph/common";

/** The compiler's API. */
export type TypeScript = typeof ts;

/** A compiler, and the files that describe the language itself: `lib.esnext.d.ts` and the like. */
export interface LoadedTypeScript {
  readonly typescript: TypeScript;
  /** The text of one of these files, by any path that ends with its name. */
  readonly library: (file: string) => string | undefined;
}

/** Versions below lack `using`. */
const LEAST = 5.2;

/** @param folder where the notebook lies. @returns undefined where none is installed. */
export function loadTypeScript(folder: string): LoadedTypeScript | undefined {
  return installed(createRequire(join(folder, "cell.js"))) ?? packed(createRequire(import.meta.url));
}

function installed(require: NodeJS.Require): LoadedTypeScript | undefined {
  try {
    const { version } = require("typescript/package.json") as { version: string };
    if (Number.parseFloat(version) < LEAST || Number.parseInt(version, 10) > 6) return undefined;
    const file = require.resolve("typescript/lib/typescript.js");
    return { typescript: require(file) as TypeScript, library: (name) => readIfThere(join(file, "..", basename(name))) };
  } catch {
    return undefined;
  }
}

function packed(require: NodeJS.Require): LoadedTypeScript | undefined {
  try {
    const { ts, getLibFiles } = require("@ts-morph/common") as typeof Packed;
    const texts = new Map(getLibFiles().map(({ fileName, text }) => [fileName, text]));
    return { typescript: ts, library: (name) => texts.get(basename(name)) };
  } catch {
    return undefined;
  }
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
