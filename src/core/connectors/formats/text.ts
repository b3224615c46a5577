/** Text: each line is a row, a string. Empty lines are left out. */
import { printed } from "../print.ts";
import type { LineFormatKind } from "./format.ts";

export const textLines: LineFormatKind = {
  name: "text",
  extension: "txt",
  parse: (line) => line,
  write: printed,
};
