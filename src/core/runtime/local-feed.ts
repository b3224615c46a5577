/**
 * Rows that a program feeds into a job that runs in one thread. They are kept until a complete checkpoint covers them, and are sent again
 * when the job goes back. Bound: the feed's channel, and the rows that come between two checkpoints.
 */
import type { RowFeed } from "./executor.ts";
import type { FeedEnd } from "./local-tasks.ts";
import { output } from "./output.ts";

const FEED_ROWS = 256;

/** One feed. */
export class LocalFeed {
  readonly #rows: RowFeed;
  readonly #keeps: boolean;
  /** Rows that no complete checkpoint covers, oldest first. */
  readonly #kept: unknown[] = [];
  /** How many rows came before those. */
  #covered = 0;
  #ended = false;
  /** Rises with every start, so that the one before stops. */
  #start = 0;
  /** A batch that was asked for. */
  #asked: Promise<readonly unknown[] | null> | undefined;

  /** @param keeps for a job that may go back. */
  constructor(rows: RowFeed, keeps: boolean) {
    this.#rows = rows;
    this.#keeps = keeps;
  }

  /** A checkpoint that covers so many rows is complete. */
  completed(feedRows: number): void {
    const count = feedRows - this.#covered;
    if (count <= 0) return;
    this.#kept.splice(0, count);
    this.#covered = feedRows;
  }

  /**
   * Moves rows into the job, as far as there is room, until the feed ends or the next start; first those that no checkpoint covers.
   * @param over the job has ended. Rejects when the feed fails.
   */
  async run({ channel, classes }: FeedEnd, over: () => boolean): Promise<void> {
    const start = ++this.#start;
    const stopped = (): boolean => start !== this.#start || over();
    const edge = output({ kind: "global" }, [channel], { classes, batchRows: FEED_ROWS, wrote: () => undefined }, 1, 0);
    const send = async (rows: readonly unknown[]): Promise<void> => {
      for (const row of rows) edge.emit(row, Number.NaN);
      edge.flush();
      while (!edge.drain() && !stopped()) await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const again = [...this.#kept];
    for (let from = 0; from < again.length && !stopped(); from += FEED_ROWS) await send(again.slice(from, from + FEED_ROWS));
    while (!this.#ended && !stopped()) {
      this.#asked ??= this.#rows.next(FEED_ROWS);
      const batch = await this.#asked;
      if (stopped()) return;
      this.#asked = undefined;
      if (batch === null) this.#ended = true;
      else {
        if (this.#keeps) for (const row of batch) this.#kept.push(row);
        await send(batch);
      }
    }
    if (stopped()) return;
    edge.end();
    while (!edge.drain() && !stopped()) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  close(): void {
    this.#start++;
    this.#rows.close();
  }
}
