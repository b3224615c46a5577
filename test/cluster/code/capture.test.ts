import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { decodeBundle, encodeBundle } from "../../../src/cluster/code/bundle.ts";
import type { CodeBundle } from "../../../src/cluster/code/bundle.ts";
import { capture, captureSync, originalClasses, warmUp } from "../../../src/cluster/code/capture.ts";
import type { CaptureOptions } from "../../../src/cluster/code/capture.ts";
import { revive } from "../../../src/cluster/code/revive.ts";
import { CaptureError, DreyError } from "../../../src/core/types/errors.ts";
import * as errors from "../../../src/core/types/errors.ts";
import * as durations from "../../../src/core/types/duration.ts";

type Callable = (...args: unknown[]) => unknown;

const travel = (bundle: CodeBundle): CodeBundle => decodeBundle(encodeBundle(bundle));
const failureOf = (run: () => unknown): CaptureError => {
  try {
    run();
  } catch (thrown) {
    return thrown as CaptureError;
  }
  throw new Error("was not refused");
};

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});
function folderWith(files: Record<string, string>): string {
  const folder = mkdtempSync(path.join(tmpdir(), "drey-code-"));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
  return folder;
}

describe("several roots in one bundle", () => {
  test("come back in their order and share what they shared", async () => {
    const shared = { hits: 0 };
    const { values } = await revive(
      travel(
        await capture([
          { label: "map(count)", value: () => ++shared.hits },
          { label: "filter(seen)", value: () => shared.hits },
          { label: "window", value: { size: 5, of: shared } },
        ]),
      ),
    );
    const [count, seen, window] = values as [Callable, Callable, { size: number; of: object }];
    count();
    expect([seen(), window]).toEqual([1, { size: 5, of: { hits: 1 } }]);
    expect(shared.hits).toBe(0);
  });

  test("may be primitives, undefined and the same value twice", async () => {
    const f = (): number => 1;
    const { values } = await revive(travel(await capture([1n, undefined, "x", f, f].map((value, i) => ({ label: `root ${i}`, value })))));
    expect(values.slice(0, 3)).toEqual([1n, undefined, "x"]);
    expect(values[3]).toBe(values[4]);
  });

  test("revive independently each time", async () => {
    let n = 0;
    const bundle = travel(await capture([{ label: "map(f)", value: () => ++n }]));
    const [first, second] = [await revive(bundle), await revive(bundle)];
    (first.values[0] as Callable)();
    expect((first.values[0] as Callable)()).toBe(2);
    expect((second.values[0] as Callable)()).toBe(1);
  });
});

describe("the classes of a bundle", () => {
  class Point {
    x = 1;
  }
  class Secret extends Point {
    #pin = 7;
    pin(): number {
      return this.#pin;
    }
  }
  class Later extends Secret {
    y = 2;
  }

  test("are listed alike in every worker, with the private fields that each declares", async () => {
    const bundle = await capture([{ label: "map(f)", value: () => [new Later(), new Point()] }]);
    const [one, two] = [await revive(travel(bundle)), await revive(travel(bundle))];
    const names = one.classes.map((shipped) => shipped.name);
    expect([...names].sort()).toEqual(["Later", "Point", "Secret"]);
    expect(two.classes.map((shipped) => shipped.name)).toEqual(names);
    expect(Object.fromEntries(one.classes.map((shipped) => [shipped.name, shipped.privateFields]))).toEqual({
      Later: [],
      Point: [],
      Secret: ["pin"],
    });
    const made = (one.values[0] as () => object[])();
    expect(made[0]?.constructor).toBe(one.classes[names.indexOf("Later")]?.constructor);
  });

  test("are known to the process that captured them", async () => {
    const bundle = await capture([{ label: "map(f)", value: () => new Point() }]);
    expect(originalClasses(bundle).map((original) => original.constructor)).toEqual([Point]);
    expect(originalClasses(travel(bundle))).toEqual([]);
  });

  test("include those of captured instances and constructor functions", async () => {
    const origin = new Point();
    const Old = new Function("return function Old() {}")() as { prototype: Record<string, unknown> };
    Old.prototype["go"] = () => 1;
    const bundle = await capture([{ label: "map(f)", value: () => [origin, Old] }]);
    expect(bundle.classes.map((shipped) => shipped.name).sort()).toEqual(["Old", "Point"]);
  });
});

describe("a capture warns when", () => {
  test("a captured variable is assigned", () => {
    let total = 0;
    const add = (x: number): number => (total += x);
    expect(captureSync([{ label: "map(add)", value: add }]).warnings).toEqual([
      "map(add): assigns to the captured variable 'total': each parallel subtask has its own copy.",
    ]);
    expect(total).toBe(0);
  });

  test("large data is captured, naming the innermost value that is large and not what holds it", () => {
    const config = { name: "c", table: Array.from({ length: 200_000 }, (_, i) => i) };
    expect(captureSync([{ label: "map(f)", value: () => config }]).warnings).toEqual([
      "map(f) → config → table: captures 1.6 MB, and each parallel subtask gets a copy; send it as a broadcast stream or read it from a source.",
    ]);
  });

  test("many small values together are large", () => {
    const lookup = new Map(Array.from({ length: 40_000 }, (_, i) => [`key ${i}`, { i }]));
    expect(captureSync([{ label: "map(f)", value: () => lookup }]).warnings).toEqual([
      expect.stringMatching(/^map\(f\) → lookup: captures \d\.\d MB/),
    ]);
  });

  test("nothing is worth a word: then it does not", () => {
    const lookup = new Map([[1, 2]]);
    expect(captureSync([{ label: "map(f)", value: () => lookup }]).warnings).toEqual([]);
  });
});

describe("what every process has travels by name:", () => {
  const knownModules: CaptureOptions["knownModules"] = [
    { specifier: "drey", namespace: { ...errors, ...durations, tools: { double: (x: number) => x * 2 } } },
  ];
  const namespace = knownModules[0]?.namespace as typeof errors & { tools: { double: (x: number) => number } };

  test("exports of a known module, which the worker finds where it is told to", async () => {
    const { tools } = namespace;
    const { double } = tools;
    const file = folderWith({
      "drey.mjs": "export const tools = { double: (x) => x * 20 }; export class DreyError extends Error { code = 'there' }",
    });
    class Mine extends DreyError {
      own = 1;
    }
    const bundle = travel(
      await capture([{ label: "map(f)", value: (x: number) => [double(x), new Mine("E", "user", "m").code] }], { knownModules }),
    );
    const asked: string[] = [];
    const resolve = (specifier: string): string => {
      asked.push(specifier);
      return new URL("drey.mjs", `file://${file}/`).href;
    };
    const { values } = await revive(bundle, { resolve });
    expect((values[0] as Callable)(2)).toEqual([40, "there"]);
    expect(asked).toEqual(["drey"]);
  });

  test("drey's own files, so that its classes stay the same for instanceof", async () => {
    const { values } = await revive(travel(await capture([{ label: "map(f)", value: (x: unknown) => x instanceof DreyError }])));
    expect((values[0] as Callable)(new CaptureError("m"))).toBe(true);
  });

  test("a function of drey's own that is no export travels with fresh caches and drey's own imports", async () => {
    const { privateMembers } = await import("../../../src/cluster/code/value-graph.ts");
    const bundle = travel(await capture([{ label: "map(f)", value: (one: object) => privateMembers(one) }]));
    const [f] = (await revive(bundle)).values as Callable[];
    expect(
      f?.(
        class {
          #a = 1;
          get(): number {
            return this.#a;
          }
        },
      ),
    ).toEqual(["a"]);
    expect(bundle.imports.every((module) => module.origin === "drey" || module.origin === "builtin")).toBe(true);
  });

  test("an instance of a package's class with #private fields can't", () => {
    const folder = folderWith({
      "node_modules/sealed-box/package.json": '{"name": "sealed-box", "version": "1.0.0", "main": "index.js"}',
      "node_modules/sealed-box/index.js": "class Box { #in = 1; get() { return this.#in; } } exports.Box = Box;",
    });
    const { Box } = createRequire(path.join(folder, "x.js"))("sealed-box") as { Box: new () => object };
    const box = new Box();
    expect(failureOf(() => captureSync([{ label: "map(f)", value: () => box }])).message).toBe(
      "map(f) → box: captures 'box' (a Box, whose #fields belong to a class that travels by name); create it inside the function, e.g. in open()",
    );
  });
});

describe("a package that travels by name", () => {
  const install = (version: string, code: string): Record<string, string> => ({
    "node_modules/left/package.json": `{"name": "left", "version": "${version}", "main": "lib/index.js"}`,
    "node_modules/left/lib/index.js": code,
  });
  const captureLeft = (folder: string): CodeBundle => {
    const left = createRequire(path.join(folder, "x.js"))("left") as { pad(x: string): string };
    return travel(captureSync([{ label: "map(f)", value: (x: string) => left.pad(x) }]));
  };

  test("is noted with its version and found from the root", async () => {
    const bundle = captureLeft(folderWith(install("1.2.3", "exports.pad = (x) => ' ' + x;")));
    expect(bundle.packages).toEqual({ left: "1.2.3" });
    const { values, warnings } = await revive(bundle, { root: folderWith(install("1.2.3", "exports.pad = (x) => '_' + x;")) });
    expect((values[0] as Callable)("x")).toBe("_x");
    expect(warnings).toEqual([]);
  });

  test("is warned about when its version is another", async () => {
    const client = folderWith(install("1.2.3", "exports.pad = (x) => ' ' + x;"));
    const bundle = captureLeft(client);
    rmSync(client, { recursive: true });
    folders.splice(folders.indexOf(client), 1);
    const root = folderWith(install("2.0.0", "exports.pad = (x) => '_' + x;"));
    const { warnings } = await revive(bundle, { root });
    expect(warnings).toEqual([
      `map(f) → left: uses 'left' 1.2.3, but 2.0.0 is installed in ${path.join(root, "node_modules/left")}; install the same version on the cluster.`,
    ]);
  });

  test("is an error that names it and the function when it is missing", async () => {
    const client = folderWith(install("1.2.3", "exports.pad = (x) => ' ' + x;"));
    const bundle = captureLeft(client);
    rmSync(client, { recursive: true });
    folders.splice(folders.indexOf(client), 1);
    const root = folderWith({});
    const failure = await revive(bundle, { root }).catch((thrown: unknown) => thrown as CaptureError);
    expect(failure).toBeInstanceOf(CaptureError);
    expect((failure as CaptureError).message).toBe(
      `map(f) → left: needs the package 'left' 1.2.3, which is not installed where the task runs (${root}); install it there.`,
    );
  });
});

describe("where there is no inspector", () => {
  const factor = 3;
  const lookup = new Map([["a", 1]]);
  const times = (x: number): number => x * factor;
  const f = (x: number): unknown[] => [times(x), lookup.get("a"), Math.max(1, x)];

  test("named captures are enough, also for the functions that are reached through them", async () => {
    const bundle = captureSync([{ label: "map(f)", value: f, captures: { factor, lookup, times } }], { inspect: false });
    const { values } = await revive(travel(bundle));
    expect((values[0] as Callable)(2)).toEqual([6, 1, 2]);
  });

  test("a name that is missing is asked for", () => {
    const failure = failureOf(() => captureSync([{ label: "map(f)", value: f, captures: { times, lookup } }], { inspect: false }));
    expect(failure.message).toBe(
      "map(f) → times: uses 'factor', which this runtime can't read from the function (it has no V8 inspector); name it: { captures: { factor } }.",
    );
  });

  test("with an inspector named captures win for the function itself", async () => {
    const { values } = await revive(travel(captureSync([{ label: "map(f)", value: () => factor, captures: { factor: 5 } }])));
    expect((values[0] as Callable)()).toBe(5);
  });
});

describe("a capture leaves no trace", () => {
  test("on globalThis, also when it fails", () => {
    const before = Reflect.ownKeys(globalThis);
    const live = new Proxy({}, {});
    captureSync([{ label: "map(f)", value: () => factorial(3) }]);
    failureOf(() => captureSync([{ label: "map(f)", value: () => live }]));
    expect(Reflect.ownKeys(globalThis)).toEqual(before);
  });

  test("and captures that are asked for at once run one after the other", async () => {
    const live = new Proxy({}, {});
    const results = await Promise.allSettled([
      capture([{ label: "map(f)", value: () => factorial(3) }]),
      capture([{ label: "map(g)", value: () => live }]),
      capture([{ label: "map(h)", value: () => factorial(4) }]),
    ]);
    expect(results.map((result) => result.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  });

  test("in the time of later captures: a warm one takes milliseconds", () => {
    warmUp();
    captureSync([{ label: "map(f)", value: () => factorial(3) }]);
    const tookMs = Array.from({ length: 5 }, () => {
      const started = performance.now();
      captureSync([{ label: "map(f)", value: () => factorial(3) }]);
      return performance.now() - started;
    });
    expect(Math.min(...tookMs)).toBeLessThan(200);
  });
});

test("what is nested too deeply to be walked is an error that says so", () => {
  let list: object | null = null;
  for (let i = 0; i < 200_000; i++) list = { next: list };
  expect(failureOf(() => captureSync([{ label: "map(f)", value: () => list }])).message).toMatch(
    /^map\(f\): captures data nested so deeply/,
  );
});

function factorial(n: number): number {
  return n <= 1 ? 1 : n * factorial(n - 1);
}
