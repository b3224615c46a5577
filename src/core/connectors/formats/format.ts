/** What a file format is: lines that stand for themselves, or rows that can span lines. */

/** A format in which every line is a row. */
export interface LineFormatKind {
  /** As in "line 3 is not JSON". */
  readonly name: string;
  readonly extension: string;
  /** @throws anything when the line can't be read. */
  parse(line: string): unknown;
  /** A row as a line, without its end. */
  write(row: unknown): string;
}

/** Reads a text that comes in pieces. */
export interface RowParser {
  push(text: string): Iterable<unknown>;
  end(): Iterable<unknown>;
}

/** A format whose rows can span lines. */
export interface RowFormatKind {
  readonly name: string;
  /**
   * @param malformed told about a row that can't be read; when it returns, the row is left out.
   */
  start(parameters: never, malformed: (line: number, text: string, reason: string) => void): RowParser;
}

/** A line format as data, by its name in the registry. */
export interface LineFormat {
  readonly lines: string;
}

/** A row format as data, with its parameters. */
export interface RowFormat {
  readonly rows: string;
  readonly parameters: unknown;
}
