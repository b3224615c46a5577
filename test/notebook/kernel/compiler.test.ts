/** How cells become scripts: with a compiler, and without one. */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { decodeMappings } from "../../../src/cluster/code/source-map.ts";
import type { CellCompiler } from "../../../src/notebook/kernel/compiler/cell-compiler.ts";
import { erasingCompiler } from "../../../src/notebook/kernel/compiler/erasing-compiler.ts";
import type { Compiled } from "../../../src/notebook/kernel/compiler/protocol.ts";
import { typedCompiler } from "../../../src/notebook/kernel/compiler/typed-compiler.ts";
import { loadTypeScript } from "../../../src/notebook/kernel/compiler/typescript.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const loaded = loadTypeScript(ROOT);
const compilers: [string, (() => CellCompiler) | undefined][] = [
  ["TypeScript", loaded && (() => typedCompiler(loaded, ROOT))],
  ["erased types", () => erasingCompiler(ROOT)],
];

/** Where a word of the script stands in the cell: `line:column`, from 1. */
function placeOf({ script }: Compiled, word: string): string | undefined {
  if (script === undefined) return undefined;
  const at = script.javascript.indexOf(word);
  const before = script.javascript.slice(0, at).split("\n");
  const segments = decodeMappings(script.sourceMap.mappings)[before.length - 1] ?? [];
  const segment = segments.findLast(([column]) => column <= (before.at(-1) as string).length);
  return segment && `${segment[2] + 1}:${segment[3] + 1}`;
}

describe.each(compilers)("with %s", (_name, make) => {
  const test_ = make === undefined ? test.skip : test;
  let made: CellCompiler | undefined;
  // Each test has forgotten the cells of the one before.
  const compiler = (): CellCompiler => {
    made ??= (make as () => CellCompiler)();
    made.forget();
    return made;
  };

  test_("every word of the script knows its place in the cell, also where statements were moved", { timeout: 60_000 }, () => {
    const code =
      "const first: number = alpha();\n\nfunction alpha(): number {\n  const inner: string = 'x';\n  return beta(inner);\n}\nconst beta = (text: string) => text.length;\n  first + gamma();\nfunction gamma() { return 1 }";
    const compiled = compiler().compile(1, code, "off");
    expect(compiled.diagnostics).toEqual([]);
    expect(placeOf(compiled, "beta(inner)")).toBe("5:10");
    expect(placeOf(compiled, "first + gamma")).toBe("8:3");
    expect(placeOf(compiled, "text.length")).toBe("7:32");
  });

  test_("names are declared once, under another spelling where the process has one of its own", { timeout: 60_000 }, () => {
    const { script } = compiler().compile(
      1,
      "const { a, b: [c] } = source(); class D {}\nfunction source() { return { a: 1, b: [2] } }\nconst window = a + c, process = 1;\n({ window, process })",
      "off",
    );
    expect(script?.names).toEqual(expect.arrayContaining(["a", "c", "D", "source", "window", "process"]));
    expect(script?.declares).toEqual(expect.arrayContaining(["a", "c", "D", "source", "window$cell", "process$cell"]));
    expect(script?.javascript).toContain("window: window$cell");
  });

  test_("what can't be read is a diagnostic with its line", { timeout: 60_000 }, () => {
    const { script, diagnostics } = compiler().compile(1, "const fine = 1;\nconst = 2;", "error");
    expect(script).toBeUndefined();
    expect(diagnostics[0]).toMatchObject({ line: 2, syntax: true, text: "const = 2;" });
  });

  test_("an unfinished text is told from a wrong one", { timeout: 60_000 }, () => {
    const it = compiler();
    expect(it.isComplete("const a = 1").status).toBe("complete");
    expect(it.isComplete("function f() {").status).toBe("incomplete");
  });

  test_("drey is imported from the kernel's own package where the notebook's folder has none", { timeout: 60_000 }, () => {
    const { script } = compiler().compile(1, 'import { environment } from "drey";\nenvironment', "off");
    expect(script?.javascript).toMatch(/await import\("file:.*dist\/cluster\/index\.js"\)/);
  });
});
