/**
 * Rows as a table: a bounded number of them, every value escaped. A table is real HTML (selectable, readable aloud, alive in untrusted
 * notebooks) and aligned text.
 */
import { describe } from "../../core/types/errors.ts";
import { Picture } from "../picture.ts";
import { moment } from "./numbers.ts";
import { escapeMarkup } from "./svg.ts";
import { aligned, cut, plainText } from "./terminal.ts";

export interface TableOptions {
  readonly title?: string;
  /** Columns in this order; default: the keys of the rows, in order of appearance. */
  readonly columns?: readonly string[];
  /** Rows that are shown, default 50; the rest is counted. */
  readonly limit?: number;
}

/** Longest value that a cell shows, characters. */
const LONGEST = 200;
/** Most columns that are found in rows by themselves. */
const MOST_COLUMNS = 30;

/** Rows as a table. Rows that are not objects stand in a column `value`. */
export function table(rows: readonly unknown[], options: TableOptions = {}): Picture {
  const title = options.title ?? "Table";
  const shown = rows.slice(0, options.limit ?? 50);
  const columns = options.columns ?? columnsOfRows(shown);
  const cells = shown.map((row) => columns.map((column) => valueOf(row, column)));
  const hidden = rows.length - shown.length;
  const numeric = columns.map(
    (_, at) => cells.length > 0 && cells.every((row) => isNumber(row[at]) || row[at] === null || row[at] === undefined),
  );
  const end = hidden > 0 ? `and ${hidden.toLocaleString("en-US")} more rows` : rows.length === 0 ? "no rows" : "";
  return new Picture({
    title,
    text: (pen) =>
      [
        ...(options.title === undefined ? [] : [pen.strong(plainText(title))]),
        ...(columns.length === 0
          ? []
          : aligned(
              [
                columns.map((column) => pen.strong(cut(plainText(column), 40))),
                ...cells.map((row) => row.map((value) => cut(plainText(cellText(value)), 40))),
              ],
              numeric.map((is) => (is ? "r" : "l")).join(""),
            )),
        ...(end === "" ? [] : [pen.dim(end)]),
      ].join("\n"),
    html: () => tableMarkup(options.title, columns, cells, numeric, end),
  });
}

function columnsOfRows(rows: readonly unknown[]): string[] {
  const names = new Set<string>();
  let plainValues = false;
  for (const row of rows) {
    if (isRecord(row)) for (const key of Object.keys(row)) names.add(key);
    else plainValues = true;
  }
  if (plainValues) names.add("value");
  return [...names].slice(0, MOST_COLUMNS);
}

const isRecord = (row: unknown): row is Readonly<Record<string, unknown>> =>
  typeof row === "object" && row !== null && !(row instanceof Date) && !Array.isArray(row);
const isNumber = (value: unknown): boolean => typeof value === "number" || typeof value === "bigint";
const valueOf = (row: unknown, column: string): unknown =>
  isRecord(row) ? (Object.hasOwn(row, column) ? row[column] : undefined) : column === "value" ? row : undefined;

/** A value as it stands in a cell. */
function cellText(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return value.length > LONGEST ? `${value.slice(0, LONGEST - 1)}…` : value;
  if (value instanceof Date) return moment(value.getTime());
  if (typeof value === "number")
    return Number.isInteger(value) || !Number.isFinite(value) ? String(value) : String(Number(value.toPrecision(12)));
  return describe(value, LONGEST);
}

const CELL = "padding:4px 10px;border-bottom:1px solid rgba(128,136,150,.25);vertical-align:top;white-space:pre-wrap";

function tableMarkup(
  title: string | undefined,
  columns: readonly string[],
  cells: readonly (readonly unknown[])[],
  numeric: readonly boolean[],
  end: string,
): string {
  // Inline styles only: what a notebook's sanitizer leaves. Colours are the page's own.
  const align = (at: number): string => (numeric[at] === true ? "text-align:right;font-variant-numeric:tabular-nums" : "text-align:left");
  const head = columns
    .map((column, at) => `<th scope="col" style="${CELL};${align(at)};font-weight:600">${escapeMarkup(column)}</th>`)
    .join("");
  const body = cells
    .map((row) => `<tr>${row.map((value, at) => `<td style="${CELL};${align(at)}">${escapeMarkup(cellText(value))}</td>`).join("")}</tr>`)
    .join("");
  const below = end === "" ? "" : `<div style="padding:4px 10px;opacity:.7;font-size:12px">${escapeMarkup(end)}</div>`;
  return (
    `<div class="drey-table" style="max-width:100%;overflow-x:auto"><table style="border-collapse:collapse;font-size:13px">` +
    (title === undefined ? "" : `<caption style="text-align:left;padding:4px 10px;font-weight:600">${escapeMarkup(title)}</caption>`) +
    `<thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>${below}</div>`
  );
}
