import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { Picture } from "../../src/notebook/picture.ts";
import { chart } from "../../src/notebook/views/chart.ts";
import { graph } from "../../src/notebook/views/graph.ts";
import { drawing } from "../../src/notebook/views/svg.ts";
import { table } from "../../src/notebook/views/table.ts";
import { EVIL, nineNodes } from "./jobs.ts";
import { xmlFault } from "./xml.ts";

const rides = chart({ title: "Rides", series: [{ x: [1, 2], y: [3, 4] }] });

describe("a picture", () => {
  test("of a chart is one bundle: HTML with the image and a script, SVG, text", () => {
    const bundle = rides.bundle();
    expect(Object.keys(bundle)).toEqual(["text/html", "image/svg+xml", "text/plain"]);
    const [box, image] = (bundle["text/html"] ?? "").split("<img ");
    expect(box).toMatch(/^<div data-drey-figure="\w+" style="[^"]*width:720px[^"]*">$/);
    expect(image).toMatch(/^src="data:image\/svg\+xml;base64,[\w+/=]+" width="720" height="360" alt="Rides"/);
    expect(bundle["text/html"]?.match(/<script>/g)).toHaveLength(1);
    expect(xmlFault(bundle["image/svg+xml"] ?? "")).toBeUndefined();
    expect(bundle["text/plain"]).toMatch(/^Rides\n/);
  });

  test("of a graph is an image, and stands in the page itself where scripts run", () => {
    const [box, script] = (graph(nineNodes()).bundle()["text/html"] ?? "").split("<script>");
    expect(box).toMatch(/^<div data-drey-drawing="\w+"><img src="data:image\/svg\+xml;base64,[\w+/=]+" [^>]*><\/div>$/);
    expect(script?.length).toBeLessThan(600);
  });

  test("of a table is HTML and text", () => {
    expect(Object.keys(table([{ a: 1 }]).bundle())).toEqual(["text/html", "text/plain"]);
  });

  test("carries Plotly only when asked to, compressed and without a network", () => {
    const carried = rides.bundle({ carryPlotly: true })["text/html"] ?? "";
    expect(carried.length).toBeGreaterThan(1_000_000);
    expect(carried.length).toBeLessThan(2_700_000);
    expect(carried).toContain("DecompressionStream");
    expect(carried.replace(/"[\w+/=]{1000,}"/, "")).not.toMatch(/https?:/);
    expect((rides.bundle()["text/html"] ?? "").length).toBeLessThan(20_000);
  });

  test("as a frame of a live view is light: no HTML", () => {
    expect(Object.keys(rides.frame())).toEqual(["image/svg+xml", "text/plain"]);
  });

  test("draws nothing before it is asked to, and only once", () => {
    let drawn = 0;
    const picture = new Picture({ title: "t", text: () => "text", svg: () => (drawn++, drawing(1, 1, "t", "d")) });
    expect(picture.text()).toBe("text");
    expect(drawn).toBe(0);
    picture.bundle();
    picture.bundle();
    expect(drawn).toBe(1);
  });

  test("prints as its text, and shows itself to kernels that know the symbol", () => {
    expect(inspect(rides)).toBe(rides.text(process.stdout));
    expect(`${rides}`).toBe(rides.text());
    const show = (rides as unknown as Record<symbol, () => Record<string, string>>)[Symbol.for("Jupyter.display")];
    expect(Object.keys(show?.call(rides) ?? {})).toContain("text/html");
  });

  test("cannot be broken out of by data, in a script neither", () => {
    const html = chart({ title: `</script>${EVIL}\u2028`, series: [{ name: `</script>${EVIL}`, x: ["</script>"], y: [1] }] }).html();
    expect(html.match(/<\/?script/g)).toEqual(["<script", "</script"]);
    expect(html.split("<script>")[1]).not.toContain("\u2028");
  });
});
