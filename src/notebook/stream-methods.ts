/**
 * A stream shows itself: `stream.plot(…)`, `stream.table(…)`, and a stream as the last value of a cell is a table of its first rows.
 * Importing `drey/notebook` adds this to DataStream; programs outside notebooks don't carry it.
 */
import { DataStream } from "../core/api/data-stream.ts";
import { type LivePlotOptions, type LiveRows, type LiveTableOptions, liveTable, plot } from "./live-rows.ts";
import type { MimeBundle } from "./picture.ts";
import type { RowSource } from "./rows.ts";

declare module "../core/api/data-stream.ts" {
  interface DataStream<T> {
    /** Runs the job and draws its rows as they come. The job ends with the view. */
    plot(options: LivePlotOptions<T>): LiveRows;
    /** Runs the job and shows its rows as they come. The job ends with the view. */
    table(options?: LiveTableOptions<T>): LiveRows;
  }
}

/** Rows of a stream that a cell ends with; then its job is cancelled. */
const PREVIEW_ROWS = 20;

const methods = {
  plot(this: RowSource<object>, options: LivePlotOptions<object>): LiveRows {
    return plot(this, options);
  },
  table(this: RowSource<object>, options?: LiveTableOptions<object>): LiveRows {
    return liveTable(this, options);
  },
  async [Symbol.for("Jupyter.display")](this: RowSource<object>): Promise<MimeBundle> {
    const count = await liveTable(this, { take: PREVIEW_ROWS, last: PREVIEW_ROWS, title: "Stream" }).done;
    return { "text/plain": count < PREVIEW_ROWS ? `a stream of ${count} rows` : `a stream; its first ${count} rows` };
  },
};

for (const name of Reflect.ownKeys(methods))
  Object.defineProperty(DataStream.prototype, name, { value: methods[name as "plot"], configurable: true, writable: true });
