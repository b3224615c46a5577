import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { carriesPlotly, interactive, scriptJson } from "../../../src/notebook/views/plotly.ts";
import { drawing } from "../../../src/notebook/views/svg.ts";

test("the library comes with the first output, and again with the first one when that cell is run once more", () => {
  const [first, second] = [{}, {}];
  expect(carriesPlotly({ cell: "cell 1", execution: first })).toBe(true);
  expect(carriesPlotly({ cell: "cell 1", execution: first })).toBe(false);
  expect(carriesPlotly({ cell: "cell 2", execution: second })).toBe(false);
  expect(carriesPlotly()).toBe(false);
  const again = {};
  expect(carriesPlotly({ cell: "cell 1", execution: again })).toBe(true);
  expect(carriesPlotly({ cell: "cell 1", execution: again })).toBe(false);
});

test("data in a script can neither end the element nor change the value", () => {
  const value = { a: "</script><!-- & \u2028\u2029", n: [1, null] };
  expect(scriptJson(value)).not.toMatch(/[<>&\u2028\u2029]/);
  expect(runInNewContext(`JSON.stringify(${scriptJson(value)})`)).toBe(JSON.stringify(value));
  expect(scriptJson({ big: 10n, not: Number.NaN })).toBe('{"big":10,"not":null}');
});

/** A page with as much of a browser as the scripts need. */
function page() {
  const box = {
    dataset: {} as Record<string, string>,
    image: {
      removed: false,
      remove() {
        this.removed = true;
      },
    },
    children: [] as { style: { cssText: string }; removed?: boolean }[],
  };
  const element = {
    ...box,
    querySelector: () => box.image,
    append: (child: { style: { cssText: string } }) => void box.children.push(child),
  };
  const window: Record<string, unknown> = {};
  const globals = {
    window,
    structuredClone,
    Promise,
    Object,
    RegExp,
    console: { warn: () => undefined },
    matchMedia: () => ({ matches: true, addEventListener: () => undefined }),
    document: {
      body: { dataset: {} },
      querySelectorAll: () => [element],
      createElement: () => ({
        style: { cssText: "" },
        remove(this: { removed?: boolean }) {
          this.removed = true;
        },
      }),
    },
  };
  const run = (html: string): void => {
    for (const [, script = ""] of html.matchAll(/<script>([\s\S]*?)<\/script>/g)) runInNewContext(script, globals);
  };
  return { box, window: window as { dreyPlotly?: Promise<unknown> & { resolve(plotly: unknown): void } }, run };
}

const picture = drawing(720, 360, "t", "d");
const html = (): string => interactive({ data: [{ type: "bar", x: ["a"], y: [1] }], layout: { xaxis: {} } }, picture, "<img>", false);
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("an output waits for the library, then replaces its image, in the page's colours", async () => {
  const { box, window, run } = page();
  run(html());
  await settled();
  expect(box.image.removed).toBe(false);
  const drawn: unknown[][] = [];
  window.dreyPlotly?.resolve({ newPlot: async (...given: unknown[]) => void drawn.push(given) });
  await settled();
  expect(drawn).toHaveLength(1);
  expect(drawn[0]?.[1]).toEqual([{ type: "bar", x: ["a"], y: [1] }]);
  expect(drawn[0]?.[2]).toMatchObject({ paper_bgcolor: "#15181e", height: 360, xaxis: { gridcolor: "#272d38" } });
  expect(box.image.removed).toBe(true);
});

test("an output after the library finds it, and an output is upgraded once although its script runs twice", async () => {
  const { box, window, run } = page();
  run(html());
  let drawn = 0;
  window.dreyPlotly?.resolve({ newPlot: async () => void drawn++ });
  await settled();
  run(html());
  await settled();
  expect(drawn).toBe(1);
  expect(box.children).toHaveLength(1);
});

test("where drawing fails the image stays", async () => {
  const { box, window, run } = page();
  run(html());
  window.dreyPlotly?.resolve({ newPlot: () => Promise.reject(new Error("no WebGL")) });
  await settled();
  expect(box.image.removed).toBe(false);
  expect(box.children[0]?.removed).toBe(true);
});
