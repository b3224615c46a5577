/**
 * Source maps, version 3, as far as positions need them: for each generated line its segments by rising column. All numbers are
 * 0-based.
 */

/** The JSON of a source map. */
export interface SourceMapJson {
  readonly version?: number;
  readonly sources: readonly (string | null)[];
  readonly sourcesContent?: readonly (string | null)[];
  readonly sourceRoot?: string;
  readonly mappings: string;
}

/** From this generated column on: source, line and column of the original. */
export type MappedSegment = readonly [column: number, source: number, line: number, originalColumn: number];

const DIGITS = new Map(
  [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].map((digit, value) => [digit.charCodeAt(0), value]),
);

/** Decodes `mappings`. Segments without a source are left out; a malformed rest of the text is ignored. */
export function decodeMappings(mappings: string): MappedSegment[][] {
  const lines: MappedSegment[][] = [];
  let source = 0;
  let originalLine = 0;
  let originalColumn = 0;
  for (const line of mappings.split(";")) {
    const segments: MappedSegment[] = [];
    let column = 0;
    for (const text of line.split(",")) {
      const numbers = decodeNumbers(text);
      if (numbers[0] === undefined) continue;
      column += numbers[0];
      if (numbers[1] === undefined || numbers[2] === undefined || numbers[3] === undefined) continue;
      source += numbers[1];
      originalLine += numbers[2];
      originalColumn += numbers[3];
      segments.push([column, source, originalLine, originalColumn]);
    }
    lines.push(segments.sort((a, b) => a[0] - b[0]));
  }
  return lines;
}

/** Base64 VLQ: five bits a digit, least significant first, the sign in the lowest bit of the number. */
function decodeNumbers(text: string): number[] {
  const numbers: number[] = [];
  let value = 0;
  let shift = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = DIGITS.get(text.charCodeAt(i));
    if (digit === undefined) return numbers;
    value += (digit & 31) << shift;
    shift += 5;
    if ((digit & 32) !== 0) continue;
    numbers.push((value & 1) === 1 ? -(value >>> 1) : value >>> 1);
    value = 0;
    shift = 0;
  }
  return numbers;
}

const LETTERS = [...DIGITS.keys()].map((code) => String.fromCharCode(code));

/** Encodes `mappings`; what `decodeMappings` reads. Segments of a line by rising column. */
export function encodeMappings(lines: readonly (readonly MappedSegment[])[]): string {
  const before = [0, 0, 0, 0];
  return lines
    .map((segments) => {
      before[0] = 0;
      return segments
        .map((segment) =>
          segment
            .map((value, field) => {
              const text = encodeNumber(value - (before[field] as number));
              before[field] = value;
              return text;
            })
            .join(""),
        )
        .join(",");
    })
    .join(";");
}

function encodeNumber(value: number): string {
  let rest = value < 0 ? (-value << 1) | 1 : value << 1;
  let text = "";
  do {
    const digit = rest & 31;
    rest >>>= 5;
    text += LETTERS[rest > 0 ? digit | 32 : digit];
  } while (rest > 0);
  return text;
}

/**
 * Reads the map that a script's `sourceMappingURL` holds inline.
 * @returns undefined when it is a file's name or not a source map.
 */
export function inlineSourceMap(url: string): SourceMapJson | undefined {
  const match = /^data:application\/json[^,]*?(;base64)?,(.*)$/s.exec(url);
  if (match === null) return undefined;
  return parseSourceMap(
    match[1] === undefined ? decodeURIComponent(match[2] as string) : Buffer.from(match[2] as string, "base64").toString(),
  );
}

/** The text of a source map; undefined when it is none. */
export function parseSourceMap(text: string): SourceMapJson | undefined {
  try {
    const map = JSON.parse(text) as SourceMapJson;
    return typeof map.mappings === "string" && Array.isArray(map.sources) ? map : undefined;
  } catch {
    return undefined;
  }
}
