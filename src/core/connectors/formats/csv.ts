/**
 * CSV as RFC 4180 has it: fields separated by a delimiter, quoted where they contain one, a quote or a line break, quotes doubled.
 * Rows become records under the header's names.
 */
import type { RowFormatKind, RowParser } from "./format.ts";

export interface CsvParameters {
  /** Names of the columns; absent: the first row has them. */
  readonly columns?: readonly string[];
  readonly delimiter: string;
  /** Numbers, true, false and empty fields (null) by their look; else everything is a string. */
  readonly infer: boolean;
}

export const csv: RowFormatKind = {
  name: "CSV",
  start: (parameters: CsvParameters, malformed) => new CsvParser(parameters, malformed),
};

class CsvParser implements RowParser {
  readonly #parameters: CsvParameters;
  readonly #malformed: (line: number, text: string, reason: string) => void;
  #columns: readonly string[] | undefined;
  #text = "";
  #line = 1;

  constructor(parameters: CsvParameters, malformed: (line: number, text: string, reason: string) => void) {
    this.#parameters = parameters;
    this.#malformed = malformed;
    this.#columns = parameters.columns;
  }

  push(text: string): Iterable<unknown> {
    this.#text += this.#line === 1 && this.#text === "" ? text.replace(/^\uFEFF/, "") : text;
    return this.#rows(false);
  }

  end(): Iterable<unknown> {
    return this.#rows(true);
  }

  /** All complete rows of the text at hand; at the end, also the last one without a line break. */
  *#rows(atEnd: boolean): Generator<unknown, undefined> {
    const text = this.#text;
    let rowStart = 0;
    for (;;) {
      const row = this.#row(text, rowStart, atEnd);
      if (row === undefined) break;
      const line = this.#line;
      const raw = text.slice(rowStart, row.end).trimEnd();
      this.#line += row.lineBreaks;
      rowStart = row.end;
      if (raw === "") continue;
      if (row.reason !== undefined) this.#malformed(line, raw, row.reason);
      else if (this.#columns === undefined) this.#columns = row.fields;
      else if (row.fields.length !== this.#columns.length) {
        this.#malformed(line, raw, `${row.fields.length} fields, but there are ${this.#columns.length} columns`);
      } else yield this.#record(row.fields, row.quoted);
    }
    this.#text = text.slice(rowStart);
    return undefined;
  }

  /** The row that begins at `start`; undefined when its end has not come yet. */
  #row(
    text: string,
    start: number,
    atEnd: boolean,
  ): { fields: string[]; quoted: boolean[]; end: number; lineBreaks: number; reason?: string } | undefined {
    const { delimiter } = this.#parameters;
    const fields: string[] = [];
    const quoted: boolean[] = [];
    let lineBreaks = 0;
    let at = start;
    if (at >= text.length) return undefined;
    for (;;) {
      let field = "";
      const isQuoted = text[at] === '"';
      if (isQuoted) {
        at++;
        for (;;) {
          const quote = text.indexOf('"', at);
          if (quote < 0) return atEnd ? { fields, quoted, end: text.length, lineBreaks, reason: "a quoted field has no end" } : undefined;
          field += text.slice(at, quote);
          at = quote + 1;
          if (at === text.length && !atEnd) return undefined;
          if (text[at] !== '"') break;
          field += '"';
          at++;
        }
        for (let i = 0; i < field.length; i++) if (field[i] === "\n") lineBreaks++;
      }
      let end = at;
      while (end < text.length && text[end] !== delimiter && text[end] !== "\n") end++;
      if (end === text.length && !atEnd) return undefined;
      const rest = text.slice(at, end).replace(/\r$/, "");
      if (isQuoted && rest.trim() !== "") {
        const newline = text.indexOf("\n", end);
        return {
          fields,
          quoted,
          end: newline < 0 ? text.length : newline + 1,
          lineBreaks: lineBreaks + 1,
          reason: "text follows a closing quote",
        };
      }
      fields.push(isQuoted ? field : rest);
      quoted.push(isQuoted);
      at = end + 1;
      if (end === text.length || text[end] === "\n") return { fields, quoted, end: Math.min(at, text.length), lineBreaks: lineBreaks + 1 };
    }
  }

  #record(fields: readonly string[], quoted: readonly boolean[]): Record<string, unknown> {
    const record: Record<string, unknown> = {};
    const columns = this.#columns as readonly string[];
    for (const [index, column] of columns.entries()) {
      const field = fields[index] as string;
      record[column] = this.#parameters.infer && quoted[index] !== true ? inferred(field) : field;
    }
    return record;
  }
}

/** A number without a leading zero that would be lost (codes such as 00501 stay text). */
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function inferred(field: string): unknown {
  if (field === "") return null;
  if (field === "true") return true;
  if (field === "false") return false;
  return NUMBER.test(field) && (field.length < 16 || String(Number(field)) === field) ? Number(field) : field;
}
