/** How the value of a cell's last expression is shown: as a picture where it has one, else as Node's console would. */
import { inspect } from "node:util";
import type { Bundle } from "./protocol.ts";

/** Most characters of a value's text; what is longer is cut, and says so. */
const MOST_TEXT = 50_000;

/** The forms of a value. @throws what the value's own display method throws. */
export async function bundleOf(value: unknown): Promise<Bundle> {
  const own = typeof value === "object" || typeof value === "function" ? ownBundle(value as object | null) : undefined;
  if (own !== undefined) return own;
  const text = textOf(value);
  if (!isRows(value)) return { "text/plain": text };
  const { pictureOf } = await import("../../display.ts");
  return { ...pictureOf(value)?.bundle(), "text/plain": text };
}

function ownBundle(value: object | null): Promise<Bundle> | undefined {
  const method = (value as Readonly<Record<symbol, unknown>> | null)?.[Symbol.for("Jupyter.display")];
  return typeof method === "function" ? Promise.resolve((method as (this: unknown) => Bundle).call(value)) : undefined;
}

const isRows = (value: unknown): value is readonly object[] =>
  Array.isArray(value) && value.length > 0 && value.every((row: unknown) => Object.getPrototypeOf(row ?? 0) === Object.prototype);

/** A value as text, at most so long that a page can show it. */
export function textOf(value: unknown): string {
  const text = inspect(value, { depth: 4, maxArrayLength: 100, maxStringLength: 10_000, breakLength: 100 });
  if (text.length <= MOST_TEXT) return text;
  return `${text.slice(0, MOST_TEXT)}\n… ${text.length - MOST_TEXT} more characters were cut.`;
}
