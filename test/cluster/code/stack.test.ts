import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import vm from "node:vm";
import { describe, expect, test } from "vitest";
import { decodeBundle, encodeBundle } from "../../../src/cluster/code/bundle.ts";
import { captureSync } from "../../../src/cluster/code/capture.ts";
import { registerCell } from "../../../src/cluster/code/notebook-cells.ts";
import type { NotebookCell } from "../../../src/cluster/code/notebook-cells.ts";
import { revive } from "../../../src/cluster/code/revive.ts";
import { remapStack } from "../../../src/cluster/code/stack.ts";
import type { RemappedStack } from "../../../src/cluster/code/stack.ts";

/** Ships a function, calls it there, and reads the stack of what it throws. */
async function failureOf(value: unknown, label = "map(f)", ...args: unknown[]): Promise<RemappedStack> {
  const bundle = decodeBundle(encodeBundle(captureSync([{ label, value }])));
  const [shipped] = (await revive(bundle)).values as ((...args: unknown[]) => unknown)[];
  try {
    shipped?.(...args);
  } catch (thrown) {
    return remapStack((thrown as Error).stack ?? "", bundle);
  }
  throw new Error("did not fail");
}

const thisFile = fileURLToPath(import.meta.url);
/** The line of this file that calls it, counted from 1. */
const lineHere = (): number => Number(/stack\.test\.ts:(\d+):\d+/.exec(new Error().stack?.split("\n")[2] ?? "")?.[1]);

interface Order {
  price: { cents: number };
}
const K = 3;

describe("an error in shipped code points at", () => {
  test("the line of TypeScript that threw, with its text", async () => {
    const base = lineHere();
    const f = (order: Order): number => {
      const K = 5;
      return order.price.cents * K;
    };
    const { firstUserFrame, stack } = await failureOf(f, "map(f)", {});
    expect(firstUserFrame).toEqual({ file: thisFile, line: base + 3, column: expect.any(Number), text: "return order.price.cents * K;" });
    expect(stack).toMatch(/^TypeError: Cannot read properties of undefined/);
    expect(stack).toContain(`at f (${thisFile}:${base + 3}:`);
    expect(stack).not.toContain("drey-code-");
  });

  test("each function on the way, also where variables were renamed and code was cut out", async () => {
    const base = lineHere();
    class Check {
      static readonly limits: readonly number[] = [1, 2].map((limit) => {
        return limit * K;
      });
      #seen = 0;
      run(order: Order): number {
        this.#seen += K;
        return order.price.cents + Check.limits.length;
      }
    }
    const check = new Check();
    const g = (K: Order): number => check.run(K);
    const { stack } = await failureOf(g, "map(g)", {});
    const frames = stack
      .split("\n")
      .filter((line) => line.includes(thisFile))
      .slice(0, 2);
    expect(frames[0]).toContain(`${thisFile}:${base + 8}:`);
    expect(frames[1]).toContain(`${thisFile}:${base + 12}:`);
  });

  test("the column in plain JavaScript, in a process that runs the build", async () => {
    const script = fileURLToPath(new URL("./fixtures/failing.mjs", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 30_000 });
    const { stack, firstUserFrame } = JSON.parse(stdout) as RemappedStack;
    expect(firstUserFrame).toEqual({ file: script, line: 11, column: 22, text: "return order.price.cents > low;" });
    expect(stack).toContain(`at check (${script}:11:22)`);
    expect(stack).toContain(`at keep (${script}:13:25)`);
  });

  test("the path to the function when nobody knows where it was written", async () => {
    const value = vm.runInThisContext("(order) => order.price.cents") as unknown;
    const { stack } = await failureOf(value, "map(anonymous)", {});
    expect(stack).toMatch(/at (?:.*\()?(?:map\(anonymous\):1|evalmachine\.<anonymous>:1)/);
  });
});

describe("an error in a notebook cell's code points at the cell", () => {
  const typescript =
    "interface Order { price: { cents: number } }\n\nconst total = (order: Order): number => {\n  const tax = 1;\n  return order.price.cents + tax;\n};";

  const run = (cell: NotebookCell): unknown => {
    registerCell(cell);
    return vm.runInThisContext(cell.javascript, { filename: cell.url });
  };

  test("when the kernel gave a source map", async () => {
    // const total = … on line 0 came from line 2, and so on.
    const sourceMap = { version: 3, sources: ["cell.ts"], mappings: "AAEA;AACA;EACA;AACA" };
    const value = run({
      label: "Cell [4]",
      url: "drey-cell:4",
      typescript,
      javascript: "((order) => {\nconst tax = 1;\nreturn order.price.cents + tax;\n})",
      sourceMap,
    });
    const { firstUserFrame, stack } = await failureOf(value, "map(total)", {});
    expect(firstUserFrame).toMatchObject({ file: "Cell [4]", line: 5, text: "return order.price.cents + tax;" });
    expect(stack).toContain("Cell [4]:5");
  });

  test("when the kernel could only compile it again, to lines that look a little different", async () => {
    const javascript =
      "(function (exports, require) {\nexports.total = void 0;\nconst total = (order) => {\n    const tax = exports.one;\n    return order.price.cents + tax;\n};\nexports.total = total;\nreturn total;\n})({ one: 1 })";
    const again = "const total = (order) => {\n    const tax = one;\n    return order.price.cents + tax;\n};\nexport {};";
    const transpile: NotebookCell["transpile"] = () => ({
      javascript: again,
      sourceMap: { version: 3, sources: ["cell.ts"], mappings: "AAEA;IACA;IACA;AACA" },
    });
    const value = run({ label: "Cell [7]", url: "Cell[7].js", typescript, javascript, transpile });
    const { firstUserFrame, stack } = await failureOf(value, "map(total)", {});
    expect(firstUserFrame).toEqual({ file: "Cell [7]", line: 5, text: "return order.price.cents + tax;" });
    expect(stack).toMatch(/at total \(Cell \[7\]:5\)/);
  });

  test("when a later run of the cell replaced it: at the latest", async () => {
    const make = (tax: number): NotebookCell => ({
      label: `Cell [${tax}]`,
      url: "Cell[9].js",
      typescript,
      javascript: `(order) => order.price.cents + ${tax}`,
      sourceMap: { sources: ["c"], mappings: "AAEA" },
    });
    run(make(1));
    const { firstUserFrame } = await failureOf(run(make(2)), "map(f)", {});
    expect(firstUserFrame).toMatchObject({ file: "Cell [2]", line: 3 });
  });
});

test("a stack that has no shipped code stays as it is", () => {
  const bundle = captureSync([{ label: "map(f)", value: () => 1 }]);
  expect(remapStack("Error: x\n    at somewhere (/else.js:1:2)", bundle)).toEqual({ stack: "Error: x\n    at somewhere (/else.js:1:2)" });
});
