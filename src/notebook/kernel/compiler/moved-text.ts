/**
 * A text made of pieces of another one, and where each piece came from: so that a source map of the old text can be turned into one of the
 * new.
 */
import type { MappedSegment } from "../../../cluster/code/source-map.ts";

/** Builds a text out of pieces of `source`. */
export class MovedText {
  readonly source: string;
  text = "";
  /** By rising place in `text`. */
  readonly #pieces: { readonly from: number; readonly to: number; readonly at: number }[] = [];

  constructor(source: string) {
    this.source = source;
  }

  /** Appends what the source does not have. */
  add(text: string): this {
    this.text += text;
    return this;
  }

  /** Appends a piece of the source. */
  keep(from: number, to: number): this {
    if (to > from) {
      this.#pieces.push({ from, to, at: this.text.length });
      this.text += this.source.slice(from, to);
    }
    return this;
  }

  /** Appends a piece of the source with some parts of it replaced; the replacements by rising place, none over another. */
  keepBut(from: number, to: number, replaced: readonly { readonly start: number; readonly end: number; readonly text: string }[]): this {
    let at = from;
    for (const { start, end, text } of replaced) {
      this.keep(at, start).add(text);
      at = end;
    }
    return this.keep(at, to);
  }

  /** The mappings of the source, as mappings of the text. */
  moved(mappings: readonly (readonly MappedSegment[])[]): MappedSegment[][] {
    const sourceLines = lineStarts(this.source);
    const textLines = lineStarts(this.text);
    const moved: MappedSegment[][] = textLines.map(() => []);
    const places = mappings.flatMap((segments, line) =>
      segments.map(([column, ...original]) => ({ offset: (sourceLines[line] ?? this.source.length) + column, original })),
    );
    for (const { from, to, at } of this.#pieces) {
      const first = places.findLastIndex(({ offset }) => offset <= from);
      for (const { offset, original } of places.slice(Math.max(0, first))) {
        if (offset >= to) break;
        const target = at + Math.max(0, offset - from);
        const line = textLines.findLastIndex((start) => start <= target);
        moved[line]?.push([target - (textLines[line] as number), ...original]);
      }
    }
    for (const segments of moved) segments.sort((a, b) => a[0] - b[0]);
    return moved;
  }
}

function lineStarts(text: string): number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
