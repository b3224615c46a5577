/** A failure for people: what really happened, and on which line of the user's code. */
import type { WireError } from "../../core/types/errors.ts";

/** The deepest cause: what really happened. */
export function rootOf(error: WireError): WireError {
  return error.cause === undefined ? error : rootOf(error.cause);
}

/** The user's line where it happened, with its text where that is known: `rides.ts:17:22: r.zone.name`; undefined where none is. */
export function lineOf(error: WireError): string | undefined {
  for (let it: WireError | undefined = error; it !== undefined; it = it.cause) {
    const { file, line, column, text } = it.details ?? {};
    if (typeof file !== "string" || typeof line !== "number") continue;
    const name = file.split(/[/\\]/).at(-1) as string;
    const place = `${name}:${line}${typeof column === "number" ? `:${column}` : ""}`;
    return typeof text === "string" && text.trim() !== "" ? `${place}: ${text.trim()}` : place;
  }
  return undefined;
}
