/** What cells may do, in a kernel that runs as Jupyter runs it. */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { KernelSession, Ran } from "../execute-notebook.ts";
import { errorOf, printed, startKernel, valueOf } from "./kernel.ts";

// A compiler on a machine that does much else takes its time.
vi.setConfig({ testTimeout: 60_000 });

let kernel: KernelSession;
beforeAll(async () => {
  kernel = await startKernel();
}, 60_000);
afterAll(() => kernel.end());

const run = (code: string): Promise<Ran> => kernel.execute(code);
/** The value of the last of some cells. */
async function value(...cells: readonly string[]): Promise<unknown> {
  let ran: Ran | undefined;
  for (const cell of cells) {
    ran = await run(cell);
    expect(errorOf(ran), cell).toBeUndefined();
  }
  return valueOf(ran as Ran);
}

describe("values", () => {
  test("the value of the last expression is shown, whatever stands before it", async () => {
    expect(await value("1 + 1")).toBe("2");
    expect(await value("const side = 3\nside * side")).toBe("9");
    expect(await value("export const shown = 4; shown")).toBe("4");
    expect(await value("[1, 2].map((n) => n + 1)")).toBe("[ 2, 3 ]");
    expect(await value("const quiet = 1;")).toBeUndefined();
    expect(await value("undefined")).toBeUndefined();
  });

  test("names carry over to later cells, also as the short form of a property", async () => {
    expect(await value("const name1 = 'a'; let { b: b1, ...rest1 } = { b: 2, c: 3 }", "({ name1, b1, rest1 })")).toBe(
      "{ name1: 'a', b1: 2, rest1: { c: 3 } }",
    );
  });

  test("a function of an earlier cell sees what later cells assign", async () => {
    expect(await value("let count = 1; const read = () => count", "count++; count += 10", "read()")).toBe("12");
  });

  test("everything can be declared anew, with another type", async () => {
    expect(await value("const twice = 1", "const twice = 'text'", "twice.length")).toBe("4");
    expect(await value("function who() { return 1 }", "const calls = () => who()", "function who() { return 'second' }", "calls()")).toBe(
      "'second'",
    );
    expect(await value("class Kind { a = 1 }", "class Kind { b = 2 }", "new Kind()")).toBe("Kind { b: 2 }");
  });

  test("functions are there before the line that declares them, and know their names", async () => {
    expect(await value("early()\nfunction early() { return early.name }")).toBe(undefined);
    expect(await value("[early(), (() => 1).name, (class Named {}).name]")).toBe("[ 'early', '', 'Named' ]");
    expect(await value("const arrow = () => 1; arrow.name")).toBe("'arrow'");
  });

  test("types, enums, generics and interfaces carry over", async () => {
    expect(
      await value(
        "interface Point { x: number }\nenum Colour { Red, Green }\ntype Pair<T> = [T, T]",
        "const p: Pair<Point> = [{ x: 1 }, { x: 2 }]; [p[1].x, Colour.Green]",
      ),
    ).toBe("[ 2, 1 ]");
  });

  test("a name that means something to the process is the cell's own, and the process keeps its own", async () => {
    expect(await value("const process = 5, window = 6", "const both = { process, window }; both")).toBe("{ process: 5, window: 6 }");
    expect(await value("import { environment } from 'drey'; typeof environment")).toBe("'function'");
    expect(await value("((process) => process)(7)")).toBe("7");
  });

  test("decorators, using, await and import.meta work at the top", async () => {
    const code = [
      "function twiceAs(method: (this: unknown) => number, _context: unknown) { return function (this: unknown) { return 2 * method.call(this) } }",
      "class Decorated { @twiceAs four() { return 2 } }",
      "using resource = { [Symbol.dispose]() { console.log('disposed') } };",
      "await Promise.resolve();",
      "[new Decorated().four(), typeof import.meta.url]",
    ].join("\n");
    const ran = await run(code);
    expect(errorOf(ran)).toBeUndefined();
    expect(valueOf(ran)).toBe("[ 4, 'string' ]");
    expect(printed(ran)).toBe("disposed\n");
  });

  test("packages are imported by name, default, namespace and dynamically", async () => {
    expect(
      await value(
        "import fs, { existsSync as exists } from 'node:fs'; import * as path from 'node:path'",
        "[fs.existsSync === exists, typeof path.join]",
      ),
    ).toBe("[ true, 'function' ]");
    expect(await value("const { map } = await import('rxjs'); typeof map")).toBe("'function'");
    expect(await value("typeof require('node:os').cpus")).toBe("'function'");
  });

  test("rows of plain objects are a table, and text beside it", async () => {
    const { outputs } = await run("[{ a: 1, b: '<b>' }, { a: 2, b: 'y' }]");
    const data = outputs[0]?.output_type === "execute_result" ? outputs[0].data : {};
    expect(String(data["text/html"])).toContain("<table");
    expect(String(data["text/html"])).not.toContain("<b>");
    expect(data["text/plain"]).toContain("{ a: 1");
  });

  test("a huge value is cut, with a note", async () => {
    const text = String(await value("Array.from({ length: 100 }, () => 'x'.repeat(9_000))"));
    expect(text.length).toBeLessThan(60_000);
    expect(text).toMatch(/more characters were cut\.$/);
  });
});

test("what a name held before it was declared anew is let go", async () => {
  for (let i = 0; i < 60; i++)
    await run("const rows = Array.from({ length: 500_000 }, (_, i) => i + 0.5); function last() { return rows.at(-1) }");
  // When garbage is collected is V8's to choose, so it is asked to.
  const collect = "require('node:v8').setFlagsFromString('--expose-gc'); require('node:vm').runInNewContext('gc')();";
  const heap = Number(await value(`${collect} Math.round(require('node:process').memoryUsage().heapUsed / 1e6)`));
  // Sixty of them would be 240 MB.
  expect(heap).toBeLessThan(150);
}, 60_000);

describe("what goes wrong", () => {
  test("a type error stops the cell and points at the character", async () => {
    const ran = await run("console.log('not run')\nconst wrong: number = 'text'");
    expect(printed(ran)).toBe("");
    expect(errorOf(ran)).toMatchObject({
      ename: "TypeScriptError",
      evalue: expect.stringMatching(/^Cell \[\d+\]:2:7 Type 'string' is not assignable/) as string,
    });
    expect(errorOf(ran)?.traceback).toContain("          ~~~~~");
  });

  test("%diagnostics warning lets it run and tells beside it", async () => {
    await run("%diagnostics warning");
    const ran = await run("const loose: number = 'text'; loose");
    await run("%diagnostics error");
    expect(valueOf(ran)).toBe("'text'");
    expect(printed(ran, "stderr")).toContain("Type 'string' is not assignable");
  });

  test("what can't be read says so at its place", async () => {
    expect(errorOf(await run("const (\n"))).toMatchObject({ ename: "SyntaxError", evalue: expect.stringMatching(/:1:7 /) as string });
  });

  test("a constant of an earlier cell can't be assigned to", async () => {
    await run("const fixed = 1");
    expect(errorOf(await run("fixed = 2"))?.evalue).toContain("constant of an earlier cell");
  });

  test("an error shows the lines of the cells that it went through, and its cause", async () => {
    await run("function inner(n: number): never {\n  throw new RangeError(`no ${n}`, { cause: new Error('below') });\n}");
    const error = errorOf(await run("const start = 1;\n\ninner(start)"));
    expect(error).toMatchObject({ ename: "RangeError", evalue: "no 1" });
    expect(error?.traceback).toMatch(
      /at inner \(Cell \[\d+\]:2:9\)\n.*2 \|   throw new RangeError[^]*at Cell \[\d+\]:3:1[^]*caused by Error: below/,
    );
    expect(error?.traceback).not.toMatch(/node:|evaluator/);
  });

  test("what was assigned before an error stays", async () => {
    await run("let kept = 1;\nkept = 2;\nthrow new Error('after')");
    expect(await value("kept")).toBe("2");
  });

  test("a package that is not there says how to install it", async () => {
    expect(errorOf(await run("import x from 'no-such-package'"))?.evalue).toContain("npm install no-such-package");
    expect(errorOf(await run("await import('no-' + 'such/thing')"))?.traceback).toContain("npm install no-such");
  });

  test("an unhandled rejection is shown under its cell, and the kernel goes on", async () => {
    const ran = await run("Promise.reject(new TypeError('nobody listens')); await new Promise((done) => setTimeout(done, 20))");
    expect(printed(ran, "stderr")).toMatch(/Unhandled rejection: .*TypeError.*: nobody listens/);
    expect(await value("1")).toBe("1");
  });

  test("anything can be thrown", async () => {
    expect(errorOf(await run("throw 'a text'"))?.evalue).toBe("a text");
    expect(errorOf(await run("throw { code: 5 }"))?.evalue).toBe("{ code: 5 }");
  });
});

describe("magics", () => {
  test("%help lists them, and an unknown one names those there are", async () => {
    expect(await value("%help")).toContain("%cluster");
    expect(errorOf(await run("%nothing"))?.evalue).toContain("there is no %nothing; there are %cluster, %jobs");
  });

  test("%%sql is reserved, and says so", async () => {
    expect(errorOf(await run("%%sql\nSELECT 1"))?.evalue).toContain("reserved");
  });

  test("without a cluster the magics of a cluster say how to start one", async () => {
    expect(errorOf(await run("%jobs"))?.evalue).toContain("%cluster start");
  });
});
