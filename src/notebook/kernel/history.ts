/** What was run in this kernel, for a console's arrow keys: the latest inputs, in memory. */
import type { Json } from "./wire.ts";

/** Session (always 0: this one), line, input. */
export type HistoryEntry = readonly [session: number, line: number, input: string];

const MOST_ENTRIES = 1_000;

/** The inputs of this kernel. */
export class History {
  readonly #entries: HistoryEntry[] = [];

  add(line: number, input: string): void {
    this.#entries.push([0, line, input]);
    if (this.#entries.length > MOST_ENTRIES) this.#entries.shift();
  }

  /** What a `history_request` asks for. */
  find(request: Json): readonly (HistoryEntry | readonly [number, number, readonly [string, null]])[] {
    const { hist_access_type: access, output, n = MOST_ENTRIES, start = 0, stop, pattern = "*", unique } = request;
    const found = ((): readonly HistoryEntry[] => {
      switch (access) {
        case "range":
          return this.#entries.filter(([, line]) => line >= Number(start) && (typeof stop !== "number" || line < stop));
        case "search": {
          const matches = this.#entries.filter(([, , input]) => globMatches(String(pattern), input));
          const distinct = unique === true ? [...new Map(matches.map((entry) => [entry[2], entry])).values()] : matches;
          return distinct.slice(-Number(n));
        }
        default:
          return this.#entries.slice(-Number(n));
      }
    })();
    return output === true ? found.map(([session, line, input]) => [session, line, [input, null]] as const) : found;
  }
}

/** `*` and `?` stand for any text and any character. */
function globMatches(glob: string, text: string): boolean {
  const escaped = glob
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", "[^]*")
    .replaceAll("?", "[^]");
  return new RegExp(`^${escaped}$`).test(text);
}
