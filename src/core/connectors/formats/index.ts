/** Every file format by its name. */
import { InvariantError } from "../../types/errors.ts";
import { csv } from "./csv.ts";
import type { LineFormat, LineFormatKind, RowFormat, RowFormatKind, RowParser } from "./format.ts";
import { jsonLines } from "./json.ts";
import { textLines } from "./text.ts";

const lineFormats: readonly LineFormatKind[] = [jsonLines, textLines];
const rowFormats: readonly RowFormatKind[] = [csv];

/** The format of a file whose lines are rows. */
export function lineFormat(format: LineFormat): LineFormatKind {
  return named(lineFormats, format.lines);
}

/** The format of a file whose rows can span lines, with its parameters. */
export function rowFormat(format: RowFormat): { start(malformed: (line: number, text: string, reason: string) => void): RowParser } {
  const kind = named(rowFormats, format.rows);
  return { start: (malformed) => kind.start(format.parameters as never, malformed) };
}

function named<Kind extends { readonly name: string }>(kinds: readonly Kind[], name: string): Kind {
  const kind = kinds.find((it) => it.name === name);
  if (kind === undefined) throw new InvariantError(`No format is named ${name}.`);
  return kind;
}
