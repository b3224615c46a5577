import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  COLOURS,
  drawing,
  element,
  escapeMarkup,
  fitText,
  imageAddress,
  rectangle,
  textAt,
  textWidth,
} from "../../../src/notebook/views/svg.ts";
import { visibleTexts, xmlFault } from "../xml.ts";

describe("svg", () => {
  test("any text stays text: the document is well-formed whatever a name holds", () => {
    const anyText = fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 12 }).map((codes) => String.fromCharCode(...codes));
    fc.assert(
      fc.property(anyText, fc.string(), (name, title) => {
        const { markup } = drawing(100, 100, title, name, textAt(0, 0, name), element("path", { d: name }));
        expect(xmlFault(markup)).toBeUndefined();
        expect(markup.match(/<text\b/g)).toHaveLength(1);
      }),
    );
  });

  test("the checker of these tests sees broken documents", () => {
    expect(xmlFault("<a><b></a></b>")).toContain("closes nothing");
    expect(xmlFault("<a>&</a>")).toContain("bare &");
    expect(xmlFault('<a x="1" x="2"/>')).toContain("twice");
    expect(xmlFault("<a>")).toContain("never closed");
    expect(xmlFault('<a b="<"/>')).toContain("broken tag");
  });

  test("a script in a name is shown, not run", () => {
    const { markup } = drawing(10, 10, "t", "d", textAt(0, 0, "<script>alert(1)</script>", { maxWidth: 40 }));
    expect(markup).not.toContain("<script");
  });

  test("each used colour has a light attribute and a dark rule, unused ones have no rule", () => {
    const { markup } = drawing(10, 10, "t", "d", rectangle(0, 0, 5, 5, { fill: "busy" }));
    expect(markup).toContain(`fill="${COLOURS.busy[0]}"`);
    expect(markup).toContain(`.drey-fill-busy{fill:${COLOURS.busy[1]}}`);
    expect(markup).not.toContain("drey-fill-idle");
  });

  test("titles and descriptions are found by their ids, which differ between pictures", () => {
    const ids = (markup: string): string[] => [...markup.matchAll(/ id="([^"]+)"/g)].map((match) => match[1] ?? "");
    const one = drawing(10, 10, "one", "d").markup;
    const two = drawing(10, 10, "two", "d").markup;
    const [title = "", description = ""] = ids(one);
    expect(one).toContain(`aria-labelledby="${title} ${description}"`);
    expect(ids(one).filter((id) => ids(two).includes(id))).toEqual([]);
  });

  test("a text that is too wide is cut and tells its whole on hover", () => {
    const long = "a very long operator name that nobody reads";
    const { markup } = drawing(10, 10, "t", "d", textAt(0, 0, long, { maxWidth: 80 }));
    expect(visibleTexts(markup.replace(/<title>a very[^<]*<\/title>/, ""))[0]).toMatch(/^a very .*…$/);
    expect(markup).toContain(`<title>${long}</title>`);
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 20, max: 300 }), (text, width) => {
        const fitted = fitText(text, width);
        expect(fitted === text || textWidth(fitted) <= width).toBe(true);
      }),
    );
  });

  test("an image address holds the whole document", () => {
    const picture = drawing(10, 10, "größe 東京", "d");
    expect(Buffer.from(imageAddress(picture).split(",")[1] ?? "", "base64").toString("utf8")).toBe(picture.markup);
  });

  test("escaping covers quotes and lone surrogates", () => {
    expect(escapeMarkup(`<a b='c' d="e">&\ud800\u0000`)).toBe("&#60;a b=&#39;c&#39; d=&#34;e&#34;&#62;&#38;\ufffd\ufffd");
  });
});
