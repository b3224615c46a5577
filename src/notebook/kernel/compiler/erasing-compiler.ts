/**
 * Cells without a compiler: types are erased, nothing is checked, and what needs compiling (enums, decorators, namespaces) is refused. For
 * installations that leave TypeScript out.
 */
import { createRequire } from "node:module";
import { parse } from "acorn";
import { encodeMappings } from "../../../cluster/code/source-map.ts";
import type { CellCompiler } from "./cell-compiler.ts";
import { cellScript } from "./cell-script.ts";
import { importOfDrey } from "./own-package.ts";
import type { Compiled, Completions } from "./protocol.ts";

interface Eraser {
  transformSync(source: string, options: { mode: "strip-only"; module: boolean; filename: string }): { code: string };
}

/** A compiler that only erases types. @param folder where the notebook lies. */
export function erasingCompiler(folder: string): CellCompiler {
  const eraser = createRequire(import.meta.url)("@swc/wasm-typescript") as Eraser;
  const respelled = new Map<string, string>();
  const names = new Set<string>();
  const importAs = importOfDrey(folder);
  const erase = (code: string): string => eraser.transformSync(code, { mode: "strip-only", module: true, filename: "cell.ts" }).code;
  return {
    about: { compiler: "types are erased (no TypeScript is installed)", checksTypes: false },
    compile(_cell, code): Compiled {
      try {
        const module = { javascript: erase(code), sourceMap: identityMap(code), linesBefore: 0, importAs };
        const script = cellScript(module, () => true, respelled);
        for (const name of script.names) names.add(name);
        return { script, diagnostics: [] };
      } catch (problem) {
        const {
          message = String(problem),
          startLine = 1,
          startColumn = 0,
          loc,
        } = problem as {
          message?: string;
          startLine?: number;
          startColumn?: number;
          loc?: { line: number; column: number };
        };
        const line = loc?.line ?? startLine;
        const column = (loc?.column ?? startColumn) + 1;
        return { diagnostics: [{ message, line, column, text: code.split("\n")[line - 1] ?? "", length: 1, syntax: true }] };
      }
    },
    complete(code, cursor): Completions {
      const word = /[\w$]*$/.exec(code.slice(0, cursor))?.[0] ?? "";
      const matches = [...names, ...Object.getOwnPropertyNames(globalThis)].filter((name) => word !== "" && name.startsWith(word));
      return { matches: matches.map((text) => ({ text, type: "variable" })), start: cursor - word.length, end: cursor };
    },
    inspect: () => undefined,
    isComplete(code) {
      try {
        parse(erase(code), { ecmaVersion: "latest", sourceType: "module", allowAwaitOutsideFunction: true });
        return { status: "complete" };
      } catch (problem) {
        const { loc } = problem as { loc?: { line: number } };
        const atEnd = loc !== undefined && loc.line >= code.trimEnd().split("\n").length;
        return atEnd || /[{([,]\s*$/.test(code) ? { status: "incomplete", indent: "  " } : { status: "invalid" };
      }
    },
    forget() {
      names.clear();
      respelled.clear();
    },
  };
}

/** Erased types leave blanks: every character keeps its place. One segment per word is as good as one per character. */
function identityMap(code: string): { sources: string[]; mappings: string } {
  const lines = code.split("\n").map((line) => [0, ...[...line.matchAll(/[\w$]+|[^\w$\s]/g)].map(({ index }) => index)]);
  return {
    sources: ["cell"],
    mappings: encodeMappings(lines.map((columns, line) => [...new Set(columns)].map((column) => [column, 0, line, column]))),
  };
}
