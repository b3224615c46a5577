/**
 * Results as they come: a table or a chart in a cell that follows a stream until it ends or is stopped, and then stays as a static
 * picture. What is kept is bounded: the last rows, or the latest row of each key; what came before is counted.
 */
import { ConfigurationError, describe } from "../core/types/errors.ts";
import { type LiveDisplay, UPDATE_INTERVAL_MS, liveDisplay } from "./display.ts";
import type { Picture } from "./picture.ts";
import { type RowSource, readRows } from "./rows.ts";
import { chart } from "./views/chart.ts";
import type { RowChart } from "./views/chart-spec.ts";
import { table } from "./views/table.ts";

/** How many rows a live view keeps. */
export interface LiveRowsOptions {
  /** Rows that are kept and shown, the newest; default 20 of a table, 2,000 of a chart. */
  readonly last?: number;
  /** The view, and with it the stream's job, ends after so many rows; default: never. */
  readonly take?: number;
  readonly signal?: AbortSignal;
}

/** How a live table follows its stream. */
export interface LiveTableOptions<Row> extends LiveRowsOptions {
  readonly title?: string;
  readonly columns?: readonly (keyof Row & string)[];
  /**
   * append: the newest rows; update: the latest row of each `key`; latest: the newest row alone. Default: update with a key, else append.
   */
  readonly mode?: "append" | "update" | "latest";
  /** A column, or a function of the row, that says which row a new one replaces. Needed by mode `update`. */
  readonly key?: (keyof Row & string) | ((row: Row) => unknown);
}

/** How a live chart follows its stream. `color` is another word for `by`: a series for each of its values. */
export interface LivePlotOptions<Row> extends RowChart<Row>, LiveRowsOptions {
  readonly color?: keyof Row & string;
}

/** A live view that runs. */
export interface LiveRows {
  /** Resolves with the number of rows when the stream has ended or the view was stopped; rejects with the stream's error. */
  readonly done: Promise<number>;
  /** Rows so far. */
  readonly count: number;
  /** Ends the view; its stream's job is cancelled. The picture stays. */
  stop(): Promise<void>;
}

const TABLE_ROWS = 20;
const CHART_ROWS = 2_000;

/** Shows the rows of a stream as a table that follows it. @throws ConfigurationError when mode `update` has no key. */
export function liveTable<Row>(source: RowSource<Row>, options: LiveTableOptions<Row> = {}): LiveRows {
  const mode = options.mode ?? (options.key === undefined ? "append" : "update");
  if (mode === "update" && options.key === undefined)
    throw new ConfigurationError("A live table in mode update needs a key, to know which row a new one replaces; give { key: … }.");
  const last = mode === "latest" ? 1 : positive(options.last ?? TABLE_ROWS, "last");
  const { key } = options;
  const keyOf = typeof key === "function" ? key : (row: Row) => (row as Readonly<Record<string, unknown>>)[key as string];
  const kept = mode === "update" ? new LatestRows(last, keyOf) : new NewestRows<Row>(last);
  return follow(source, kept, options, (rows, count) => {
    const more = count > rows.length ? ` (${rows.length.toLocaleString("en-US")} of ${count.toLocaleString("en-US")} rows)` : "";
    return table(rows, {
      title: `${options.title ?? "Rows"}${more}`,
      limit: last,
      ...(options.columns === undefined ? {} : { columns: options.columns }),
    });
  });
}

/** Draws the rows of a stream as a chart that follows it: line, bar, scatter, heat map or box. */
export function plot<Row extends object>(source: RowSource<Row>, options: LivePlotOptions<Row>): LiveRows {
  const { last, take: _take, signal: _signal, color, ...how } = options;
  const by = how.by ?? color;
  const kept = new NewestRows<Row>(positive(last ?? CHART_ROWS, "last"));
  return follow(source, kept, options, (rows) => chart(rows, { ...how, ...(by === undefined ? {} : { by }) }));
}

function positive(value: number, name: string): number {
  if (Number.isInteger(value) && value > 0) return value;
  throw new ConfigurationError(`A live view keeps ${name}: ${describe(value)} rows; give a positive whole number.`);
}

interface KeptRows<Row> {
  add(row: Row): void;
  readonly rows: readonly Row[];
}

/** The newest rows, oldest first. */
class NewestRows<Row> implements KeptRows<Row> {
  readonly #ring: Row[] = [];
  readonly #most: number;
  #next = 0;

  constructor(most: number) {
    this.#most = most;
  }

  add(row: Row): void {
    this.#ring[this.#next] = row;
    this.#next = (this.#next + 1) % this.#most;
  }

  get rows(): readonly Row[] {
    return this.#ring.length < this.#most ? this.#ring : [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
  }
}

/** The latest row of each key, in order of the keys' first appearance; a key that was not heard of for longest makes room. */
class LatestRows<Row> implements KeptRows<Row> {
  readonly #byKey = new Map<unknown, Row>();
  readonly #most: number;
  readonly #keyOf: (row: Row) => unknown;

  constructor(most: number, keyOf: (row: Row) => unknown) {
    this.#most = most;
    this.#keyOf = keyOf;
  }

  add(row: Row): void {
    const key = this.#keyOf(row);
    const known = typeof key === "object" && key !== null ? JSON.stringify(key) : key;
    if (!this.#byKey.has(known) && this.#byKey.size >= this.#most) this.#byKey.delete(this.#byKey.keys().next().value);
    this.#byKey.set(known, row);
  }

  get rows(): readonly Row[] {
    return [...this.#byKey.values()];
  }
}

function follow<Row>(
  source: RowSource<Row>,
  kept: KeptRows<Row>,
  { take = Number.POSITIVE_INFINITY, signal }: LiveRowsOptions,
  draw: (rows: readonly Row[], count: number) => Picture,
): LiveRows {
  const place: LiveDisplay = liveDisplay();
  const stop = new AbortController();
  const ended = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  let count = 0;
  let drawn = -1;
  const frame = (): void => {
    if (drawn === count) return;
    drawn = count;
    place.update(draw(kept.rows, count));
  };
  const run = async (): Promise<number> => {
    frame();
    // Pictures are made as often as they are sent, and not for each row.
    const frames = setInterval(frame, UPDATE_INTERVAL_MS);
    try {
      const add = (row: Row): void => {
        if (count >= take) return;
        count++;
        kept.add(row);
        if (count >= take) stop.abort();
      };
      await readRows(source, add, ended);
      return count;
    } finally {
      clearInterval(frames);
      await place.finish(draw(kept.rows, count));
    }
  };
  const done = run();
  // Whoever doesn't wait is told by the kernel; whoever stops the view waits through `stop`.
  return {
    done,
    get count() {
      return count;
    },
    async stop() {
      stop.abort();
      await done;
    },
  };
}
