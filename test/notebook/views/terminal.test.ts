import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  aligned,
  colourPen,
  columnsOf,
  cut,
  penFor,
  plainPen,
  plainText,
  shareBar,
  sparkline,
} from "../../../src/notebook/views/terminal.ts";

describe("terminal", () => {
  test("there is no colour without a terminal, with NO_COLOR, or on a dumb one", () => {
    expect(penFor({ isTTY: true }, {})).toBe(colourPen);
    expect(penFor({ isTTY: true }, { NO_COLOR: "" })).toBe(colourPen);
    expect(penFor({}, {})).toBe(plainPen);
    expect(penFor({ isTTY: true }, { NO_COLOR: "1" })).toBe(plainPen);
    expect(penFor({ isTTY: true }, { TERM: "dumb" })).toBe(plainPen);
  });

  test("columns align by what is seen, not by bytes, wide characters or escape codes", () => {
    expect(
      aligned(
        [
          ["東京", "7", "x"],
          [colourPen.busy("ab"), "312"],
        ],
        "lr",
      ),
    ).toEqual(["東京    7  x", `${colourPen.busy("ab")}    312`]);
  });

  test("a bar always has its width, and a small share is seen", () => {
    fc.assert(
      fc.property(fc.double(), fc.double(), fc.integer({ min: 1, max: 60 }), (busy, blocked, width) => {
        expect(columnsOf(shareBar(busy, blocked, width))).toBe(width);
      }),
    );
    expect(shareBar(0.5, 0.25, 8)).toBe("████▓▓░░");
    expect(shareBar(0.001, 0.001, 8)).toBe("█▓░░░░░░");
    expect(shareBar(0, 0, 4)).toBe("░░░░");
  });

  test("a sparkline keeps gaps and averages what does not fit", () => {
    expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8)).toBe("▁▂▃▄▅▆▇█");
    expect(sparkline([0, null, 7], 8)).toBe("▁ █");
    expect(sparkline([0, 0, 7, 7], 2)).toBe("▁█");
    expect(sparkline([5, 5], 8)).toBe("▄▄");
    expect(sparkline([Number.NaN], 8)).toBe("");
  });

  test("a value cannot steer the terminal or turn the line around", () => {
    expect(plainText("a\u001b[31mb\r\nc\u202ed\u009b")).toBe("a [31mb c d ");
  });

  test("a cut text fits and says that it was cut", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 20 }), (text, width) => {
        expect(columnsOf(cut(text, width))).toBeLessThanOrEqual(width);
      }),
    );
    expect(cut("abcdef", 4)).toBe("abc…");
    expect(cut("東京都", 4)).toBe("東…");
  });
});
