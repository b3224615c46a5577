/** The simulated job, and its judge: every row is counted once and committed once, whatever happens. */
import { localEnvironment, milliseconds, tumbling, twoPhaseSink, valueState } from "../../src/core/index.ts";
import type { CompiledJob } from "../../src/core/graph/job-graph.ts";
import type { Collector, ProcessContext, RuntimeContext } from "../../src/core/operators/function.ts";
import type { ValueState } from "../../src/core/state/descriptors.ts";
import type { SimulatedProcess } from "./process.ts";

interface Numbered {
  readonly key: number;
  readonly number: number;
  readonly at: number;
}

interface Sum {
  readonly key: number;
  readonly from: number;
  readonly rows: number;
  readonly sum: number;
}

interface Committable {
  readonly transaction: string;
  readonly rows: readonly Sum[];
}

export interface OracleOptions {
  readonly rows: number;
  readonly keys: number;
  readonly rowsPerSecond: number;
  readonly windowMs: number;
  readonly unaligned: boolean;
  readonly checkpointEveryMs: number;
  /** Whether the outside world knows the transactions that were committed, by their ids. */
  readonly remembersCommits: boolean;
  readonly options: Readonly<Record<string, unknown>>;
}

/** What the outside world sees of the job: an external system with transactions. */
export class Oracle {
  readonly settings: OracleOptions;
  /** What went wrong: the run has failed as soon as there is anything. */
  readonly violations: string[] = [];
  /** Set: the next row makes its function throw. */
  throwOnce = false;
  readonly #visible = new Map<string, Sum>();
  readonly #committed = new Set<string>();
  readonly #expected = new Map<string, Sum>();
  #transactions = 0;

  constructor(settings: OracleOptions) {
    this.settings = settings;
    for (let i = 0; i < settings.rows; i++) {
      const key = i % settings.keys;
      const from = Math.floor(i / settings.windowMs) * settings.windowMs;
      const name = `${key}@${from}`;
      const sum = this.#expected.get(name) ?? { key, from, rows: 0, sum: 0 };
      this.#expected.set(name, { key, from, rows: sum.rows + 1, sum: sum.sum + Math.floor(i / settings.keys) + 1 });
    }
  }

  /** Every expected row is visible. */
  get isComplete(): boolean {
    return this.#visible.size === this.#expected.size;
  }

  get progress(): string {
    return `${this.#visible.size} of ${this.#expected.size} rows`;
  }

  /** A fresh copy of the job, as shipped code would be. @param host where it runs; absent: it is only looked at. */
  compile(host?: SimulatedProcess): CompiledJob {
    const { rows, keys, rowsPerSecond, windowMs, unaligned, checkpointEveryMs, options } = this.settings;
    const oracle = this;
    const env = localEnvironment({ parallelism: 2, configuration: { ...options } });
    env.enableCheckpointing(checkpointEveryMs, { unaligned, tolerableFailures: 1_000, timeout: "3 s" });
    env
      .generate((i): Numbered => ({ key: i % keys, number: Math.floor(i / keys) + 1, at: i }), { count: rows, rowsPerSecond })
      .uid("source")
      .withTimestamps((row) => row.at, { outOfOrderness: milliseconds(20) })
      .uid("times")
      .keyBy((row) => row.key)
      .process<Numbered>(counter(oracle, host) as never)
      .uid("counter")
      .keyBy((row) => row.key)
      .window(tumbling(milliseconds(windowMs)))
      .aggregate(
        {
          createAccumulator: () => ({ rows: 0, sum: 0 }),
          add: (row: Numbered, sum: { rows: number; sum: number }) => ({ rows: sum.rows + 1, sum: sum.sum + row.number }),
          getResult: (sum) => sum,
        },
        (sum, { key, window }): Sum => ({ key, from: window.start, ...sum }),
      )
      .uid("sums")
      .sinkTo(oracle.#sink(host))
      .uid("sink");
    return env.compile("oracle");
  }

  #sink(host?: SimulatedProcess): ReturnType<typeof twoPhaseSink<Sum, Committable>> {
    let open: Sum[] = [];
    return twoPhaseSink<Sum, Committable>({
      write: (row) => void open.push(row),
      prepareCommit: () => {
        if (open.length === 0) return [];
        const committable = { transaction: `t${++this.#transactions}`, rows: open };
        open = [];
        return [committable];
      },
      commit: ({ transaction, rows }) => {
        // A process may die before, and after: nobody but the outside world knows then.
        if (host?.step() === false || (this.settings.remembersCommits && this.#committed.has(transaction))) return;
        this.#committed.add(transaction);
        for (const row of rows) this.#show(row);
        host?.step();
      },
    });
  }

  #show(row: Sum): void {
    const name = `${row.key}@${row.from}`;
    const expected = this.#expected.get(name);
    if (this.#visible.has(name)) this.violations.push(`row ${name} is visible twice`);
    if (expected?.sum !== row.sum || expected.rows !== row.rows) {
      this.violations.push(`row ${name} is ${JSON.stringify(row)}, expected ${JSON.stringify(expected)}`);
    }
    this.#visible.set(name, row);
  }
}

function counter(oracle: Oracle, host?: SimulatedProcess): object {
  let last: ValueState<number>;
  return {
    open(context: RuntimeContext) {
      last = context.state(valueState<number>("last", 0));
    },
    processElement(row: Numbered, context: ProcessContext<number>, out: Collector<Numbered>) {
      if (oracle.throwOnce) {
        oracle.throwOnce = false;
        throw new Error("a misfortune (simulated)");
      }
      const before = last.value() ?? 0;
      if (row.number !== before + 1 && host?.isAlive !== false) oracle.violations.push(`attempt ${context.attempt}: key ${row.key} has ${row.number} after ${before}`);
      last.update(row.number);
      out.collect(row);
    },
  };
}
