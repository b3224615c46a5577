/** JSON lines: one JSON value per line. */
import { RecordError, describe } from "../../types/errors.ts";
import type { LineFormatKind } from "./format.ts";

export const jsonLines: LineFormatKind = {
  name: "JSON",
  extension: "jsonl",
  parse: (line) => JSON.parse(line) as unknown,
  write: (row) => {
    const text = JSON.stringify(row) as string | undefined;
    if (text === undefined) throw new RecordError(`${describe(row)} has no JSON form; map it to a plain record before the sink.`);
    return text;
  },
};
