import { describe, expect, test } from "vitest";
import { table } from "../../../src/notebook/views/table.ts";
import { EVIL, START } from "../jobs.ts";
import { xmlFault } from "../xml.ts";

describe("tables", () => {
  const rows = [
    { zone: "Manhattan", rides: 254, at: new Date(START) },
    { zone: "東京", rides: 7, fare: 12.5, path: { a: [1] } },
  ];

  test("as text numbers stand right and columns are found in all rows", () => {
    expect(table(rows, { title: "Rides" }).text()).toBe(
      [
        "Rides",
        "zone       rides  at                   fare  path",
        "Manhattan    254  2026-11-22 20:30:00",
        '東京           7                       12.5  {"a":[1]}',
      ].join("\n"),
    );
  });

  test("a long table shows its beginning and counts the rest", () => {
    const long = Array.from({ length: 1_234 }, (_, n) => ({ n }));
    expect(table(long, { limit: 2 }).text()).toBe("n\n0\n1\nand 1,232 more rows");
    expect(table(long).html().match(/<tr>/g)).toHaveLength(51);
    expect(table([]).text()).toBe("no rows");
  });

  test("values that look like markup are text, and inherited names are no columns", () => {
    const html = table([{ [EVIL]: EVIL }], { title: EVIL, columns: [EVIL, "constructor"] }).html();
    expect(html).not.toContain("<script");
    expect(html).toContain("&#60;script&#62;");
    expect(html).not.toContain("native code");
    expect(xmlFault(html)).toBeUndefined();
  });

  test("plain values have a column of their own", () => {
    expect(table([1, "a", null, 5n]).text()).toBe("value\n1\na\n\n5n");
  });
});
