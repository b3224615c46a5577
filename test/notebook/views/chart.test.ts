import { describe, expect, test } from "vitest";
import { ConfigurationError } from "../../../src/core/types/errors.ts";
import { fiveNumbers } from "../../../src/notebook/views/chart-data.ts";
import type { ChartKind } from "../../../src/notebook/views/chart-spec.ts";
import { chart } from "../../../src/notebook/views/chart.ts";
import { EVIL } from "../jobs.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

const zones = [
  { zone: "Manhattan", hour: "08", rides: 254, fare: 12.5 },
  { zone: "Queens", hour: "08", rides: 73, fare: 31 },
  { zone: "Manhattan", hour: "09", rides: 79, fare: 11 },
];
const svgOf = (picture: ReturnType<typeof chart>): string => picture.drawing?.markup ?? "";

describe("chart", () => {
  test.each<ChartKind>(["line", "bar", "scatter", "heat", "box"])("a %s chart is well-formed SVG, a Plotly figure and text", (kind) => {
    const picture = chart(zones, {
      kind,
      x: "zone",
      y: kind === "heat" ? "hour" : "rides",
      ...(kind === "heat" ? { z: "rides" } : {}),
      title: `All ${kind}`,
    });
    expect(xmlFault(svgOf(picture))).toBeUndefined();
    expect(visibleTexts(svgOf(picture))).toEqual(expect.arrayContaining([`All ${kind}`, "Manhattan", "Queens", "zone"]));
    expect(picture.figure?.data).toHaveLength(1);
    expect(picture.text().split("\n")[0]).toBe(`All ${kind}`);
  });

  test("names that look like markup are text in every form", () => {
    for (const kind of ["line", "bar", "scatter", "box"] as const) {
      const picture = chart({
        kind,
        title: EVIL,
        x: EVIL,
        y: EVIL,
        series: [
          { name: EVIL, x: [EVIL, "b"], y: [1, 2] },
          { name: `${EVIL}2`, x: [EVIL, "b"], y: [1, 2] },
        ],
      });
      expect(xmlFault(svgOf(picture))).toBeUndefined();
      expect(svgOf(picture)).not.toContain("<script");
      expect(picture.html().replace(/<script>\(\(mark/g, "")).not.toContain("<script");
      expect(picture.text()).not.toContain("\u0007");
    }
  });

  test("Plotly, which reads HTML in texts, gets them as literal text", () => {
    const { figure } = chart({ kind: "bar", title: "a<b>", x: "List<T>", series: [{ name: "<i>&", x: ["<b>"], y: [1] }] });
    expect(JSON.stringify(figure)).not.toMatch(/<|&(?!lt;|amp;)/);
    expect(figure?.data[0]).toMatchObject({ name: "&lt;i>&amp;", x: ["&lt;b>"] });
  });

  test("a value that is not a number leaves a gap", () => {
    const markup = svgOf(chart({ series: [{ x: [1, 2, 3, 4, 5], y: [1, 2, null, 4, Number.NaN] }] }));
    expect(markup).not.toContain("NaN");
    expect(markup.match(/<path d="M/g)).toHaveLength(1);
    expect(markup.match(/<circle/g)).toHaveLength(1);
    expect(chart({ series: [{ x: [1, 2], y: [Number.POSITIVE_INFINITY, 5] }] }).figure?.data[0]?.["y"]).toEqual([null, 5]);
  });

  test("dates make a time axis of UTC", () => {
    const hour = Date.UTC(2026, 10, 22, 20);
    const picture = chart({ x: "when", series: [{ x: [new Date(hour), new Date(hour + 3_600_000)], y: [1, 2] }] });
    expect(visibleTexts(svgOf(picture))).toEqual(expect.arrayContaining(["20:30", "when (UTC)"]));
    expect(picture.figure?.data[0]?.["x"]).toEqual(["2026-11-22T20:00:00.000Z", "2026-11-22T21:00:00.000Z"]);
    expect(picture.figure?.layout["xaxis"]).toMatchObject({ type: "date" });
  });

  test("bars start at zero, downwards too", () => {
    const heights = [
      ...svgOf(chart({ kind: "bar", series: [{ x: ["a", "b", "c"], y: [10, -5, 0] }] })).matchAll(
        /<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" rx="2"/g,
      ),
    ].map((match) => [Number(match[1]), Number(match[2])] as const);
    const [up, down, none] = heights as [readonly [number, number], readonly [number, number], readonly [number, number]];
    expect(up[0] + up[1]).toBeCloseTo(down[0], 1);
    expect(up[1]).toBeCloseTo(2 * down[1], 0);
    expect(none[1]).toBe(0);
  });

  test("stacked series stand on one another", () => {
    const picture = chart({
      kind: "bar",
      stacked: true,
      series: [
        { name: "a", x: ["x"], y: [10] },
        { name: "b", x: ["x"], y: [30] },
      ],
    });
    const bars = [...svgOf(picture).matchAll(/<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" rx="2"/g)].map(
      (match) => [Number(match[1]), Number(match[2])] as const,
    );
    expect((bars[1]?.[0] ?? 0) + (bars[1]?.[1] ?? 0)).toBeCloseTo(bars[0]?.[0] ?? 0, 1);
    expect(picture.figure?.layout["barmode"]).toBe("stack");
  });

  test("a long line is thinned without losing its extremes", () => {
    const y = Array.from({ length: 100_000 }, (_, i) => (i === 77_777 ? 1_000 : i % 10));
    const markup = svgOf(chart({ series: [{ x: y.map((_, i) => i), y }] }));
    expect(markup.length).toBeLessThan(60_000);
    expect(visibleTexts(markup)).toContain("1000");
  });

  test("rows become a series for each value of a column", () => {
    const { figure } = chart(zones, { kind: "bar", x: "hour", y: "rides", by: "zone" });
    expect(figure?.data.map((it) => [it["name"], it["x"], it["y"]])).toEqual([
      ["Manhattan", ["08", "09"], [254, 79]],
      ["Queens", ["08"], [73]],
    ]);
  });

  test("bigints are drawn", () => {
    expect(xmlFault(svgOf(chart({ kind: "bar", series: [{ x: [1n, 2n], y: [10n, 20n] }] })))).toBeUndefined();
    expect(chart({ series: [{ x: [1n], y: [10n] }] }).html()).toContain('"y":[10]');
  });

  test("no values are said so", () => {
    for (const kind of ["line", "bar", "scatter", "heat", "box"] as const) {
      expect(visibleTexts(svgOf(chart({ kind, title: "t", series: [] })))).toContain("no values yet");
      expect(String(chart({ kind, title: "t", series: [] }))).toBe("t\nno values yet");
    }
  });

  test("as text bars keep their proportions and stand in columns", () => {
    const rows = [
      { zone: "Manhattan", rides: 40 },
      { zone: "Queens", rides: 10 },
      { zone: "東京", rides: 0 },
    ];
    expect(String(chart(rows, { kind: "bar", x: "zone", y: "rides", title: "Rides" }))).toBe(
      ["Rides", `Manhattan  40  ${"█".repeat(40)}`, `Queens     10  ${"█".repeat(10)}`, "東京        0"].join("\n"),
    );
  });

  test("quartiles are interpolated", () => {
    expect(fiveNumbers([4, 1, 3, 2])).toEqual({ low: 1, q1: 1.75, median: 2.5, q3: 3.25, high: 4 });
    expect(fiveNumbers([7])).toEqual({ low: 7, q1: 7, median: 7, q3: 7, high: 7 });
  });

  test("a mistake is named with the series it is in", () => {
    expect(() => chart({ series: [{ name: "fares", x: [1, 2], y: [1] }] })).toThrow(
      new ConfigurationError('"fares" has 2 values of x and 1 of y; give as many of both.'),
    );
    expect(() => chart({ kind: "pie" as never, series: [] })).toThrow('A chart of kind "pie" cannot be drawn');
    expect(() => chart({ kind: "heat", series: [{ x: [1], y: [1] }] })).toThrow("1 cells, 0 values of z");
  });
});
