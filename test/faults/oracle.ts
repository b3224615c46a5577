/**
 * The oracle of the fault tests: a job whose whole output is known beforehand, and whose sink would show each row that was lost and each
 * that was written twice.
 *
 *     numbered rows, replayable ─▶ keyBy ─▶ counter that checks: each key's numbers come in order, none missing, none twice
 *                                          ─▶ sum per window ─▶ files, committed in two phases ─▶ an independent reader
 *
 * Nothing here is idempotent: a row that is counted twice changes a sum, one that is written twice is a line too many.
 */
import { appendFileSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AggregateFunction,
  type Collector,
  type Environment,
  KeyedProcessFunction,
  type ProcessContext,
  type RuntimeContext,
  type ValueState,
  jsonLines,
  milliseconds,
  tumbling,
  valueState,
} from "drey";
import { expect } from "vitest";

/** A row of the source: the `number`-th of its key, from 1. */
export interface Numbered {
  readonly key: number;
  readonly number: number;
  readonly at: number;
}

export interface OracleOptions {
  /** Rows in all; a multiple of `keys`. */
  readonly rows: number;
  readonly rowsPerSecond: number;
  readonly keys?: number;
  readonly parallelism?: number;
  /** Misfortune: called for each row, on the task's thread, before it is counted. Must be shippable. */
  readonly before?: (row: Numbered, folder: string) => void;
  /** The same for each row of the result, before it is written. */
  readonly slowSink?: (folder: string) => void;
}

/** One line of the output. */
interface Sum {
  readonly key: number;
  readonly from: number;
  readonly rows: number;
  readonly sum: number;
}

const KEYS = 12;
/** Event time between two rows. */
const STEP_MS = 1;
const WINDOW_MS = 100;

/** A run of the oracle's job: its folder, its program, its verdict. */
export class Oracle {
  readonly folder: string = mkdtempSync(join(tmpdir(), "drey-oracle-"));
  readonly options: Required<Pick<OracleOptions, "rows" | "keys">> & OracleOptions;

  constructor(options: OracleOptions) {
    this.options = { keys: KEYS, ...options };
  }

  get output(): string {
    return join(this.folder, "out");
  }

  /** Declares the job in an environment. */
  declare(env: Environment): void {
    const { rows, keys, rowsPerSecond, parallelism = 2, before, slowSink } = this.options;
    const { folder } = this;
    env
      .generate((i): Numbered => ({ key: i % keys, number: Math.floor(i / keys) + 1, at: i * STEP_MS }), { count: rows, rowsPerSecond })
      // Keys are dealt out so that one key's rows come from one subtask, in order.
      .setParallelism(keys % parallelism === 0 ? parallelism : 1)
      .uid("source")
      .withTimestamps((row) => row.at, { outOfOrderness: milliseconds(50) })
      .uid("times")
      .keyBy((row) => row.key)
      .process(new CheckedCounter(folder, before))
      .uid("counter")
      .setParallelism(parallelism)
      .keyBy((row) => row.key)
      .window(tumbling(milliseconds(WINDOW_MS)))
      .aggregate(sums, (sum, { key, window }): Sum => ({ key, from: window.start, ...sum }))
      .uid("sums")
      .map((sum) => {
        slowSink?.(folder);
        return sum;
      })
      .sinkTo(jsonLines(this.output))
      .uid("files");
  }

  /** What went wrong inside, as the counters noted it. */
  violations(): string[] {
    const path = join(this.folder, "violations");
    return existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
  }

  /** Lines that a reader of the output sees now. */
  visible(): Sum[] {
    if (!existsSync(this.output)) return [];
    return readdirSync(this.output)
      .filter((name) => !name.startsWith("."))
      .flatMap((name) => readFileSync(join(this.output, name), "utf8").split("\n"))
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Sum);
  }

  /** What a reader of the output finds, against what should be there. */
  account(): { readonly expected: number; readonly lost: readonly string[]; readonly doubled: readonly Sum[] } {
    const seen = new Map<string, Sum>();
    const doubled: Sum[] = [];
    for (const sum of this.visible()) {
      const name = `${sum.key}@${sum.from}`;
      if (seen.has(name)) doubled.push(sum);
      seen.set(name, sum);
    }
    const expected = this.#expected();
    const lost = [...expected].filter(([name, sum]) => JSON.stringify(seen.get(name)) !== JSON.stringify(sum)).map(([name]) => name);
    return { expected: expected.size, lost, doubled };
  }

  /** Asserts that every row was counted and written once. */
  check(): void {
    expect(this.violations()).toEqual([]);
    const { lost, doubled } = this.account();
    // The first of them say enough.
    expect({ lost: lost.slice(0, 8), doubled: doubled.slice(0, 8) }).toEqual({ lost: [], doubled: [] });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #expected(): Map<string, Sum> {
    const { rows, keys } = this.options;
    const all = new Map<string, { key: number; from: number; rows: number; sum: number }>();
    for (let i = 0; i < rows; i++) {
      const key = i % keys;
      const from = Math.floor((i * STEP_MS) / WINDOW_MS) * WINDOW_MS;
      const name = `${key}@${from}`;
      const sum = all.get(name) ?? { key, from, rows: 0, sum: 0 };
      sum.rows++;
      sum.sum += Math.floor(i / keys) + 1;
      all.set(name, sum);
    }
    return all;
  }
}

const sums: AggregateFunction<Numbered, { rows: number; sum: number }, { rows: number; sum: number }> = {
  createAccumulator: () => ({ rows: 0, sum: 0 }),
  add: (row, sum) => ({ rows: sum.rows + 1, sum: sum.sum + row.number }),
  getResult: (sum) => sum,
};

/** Keeps the last number of each key in state, and notes every row that is not the next. */
class CheckedCounter extends KeyedProcessFunction<number, Numbered, Numbered> {
  folder: string;
  before: ((row: Numbered, folder: string) => void) | undefined;
  last: ValueState<number> | undefined;

  constructor(folder: string, before?: (row: Numbered, folder: string) => void) {
    super();
    this.folder = folder;
    this.before = before;
  }

  override open(context: RuntimeContext): void {
    this.last = context.state(valueState<number>("last", 0));
  }

  override processElement(row: Numbered, context: ProcessContext<number>, out: Collector<Numbered>): void {
    this.before?.(row, this.folder);
    const last = this.last?.value() ?? 0;
    if (row.number !== last + 1) {
      appendFileSync(join(this.folder, "violations"), `attempt ${context.attempt}: key ${row.key} has ${row.number} after ${last}\n`);
    }
    this.last?.update(row.number);
    out.collect(row);
  }
}

/** True for the first caller of this name among all processes and attempts. */
export function once(folder: string, name: string): boolean {
  mkdirSync(folder, { recursive: true });
  try {
    closeSync(openSync(join(folder, `once-${name}`), "wx"));
    return true;
  } catch {
    return false;
  }
}

/** Misfortune that waits until the test asks for it. */
export const ask = (folder: string, what = "asked"): void => closeSync(openSync(join(folder, what), "w"));
export const asked = (folder: string): boolean => existsSync(join(folder, "asked"));

/** True for whoever asks first after each time that the test has asked for it. */
export function taken(folder: string, what: string): boolean {
  const path = join(folder, what);
  try {
    if (!existsSync(path)) return false;
    unlinkSync(path);
    return true;
  } catch {
    return false;
  }
}
