import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Observable } from "rxjs";
import { afterAll, describe, expect, test } from "vitest";
import {
  CheckpointError,
  type Collector,
  type Environment,
  KeyedProcessFunction,
  type OperatorList,
  type ProcessContext,
  type RuntimeContext,
  type ValueState,
  count,
  jsonLines,
  localEnvironment,
  tumbling,
  twoPhaseSink,
  valueState,
} from "../../../src/core/index.ts";

const folder = mkdtempSync(join(tmpdir(), "drey-recovery-"));
afterAll(() => rmSync(folder, { recursive: true }));

const COUNT = 20_000;

/** Checkpoints as often as the clock allows, small batches, restarts at once. */
const env = (parallelism: number, more: Record<string, string | number | boolean> = {}): Environment =>
  localEnvironment({
    parallelism,
    printLogs: false,
    configuration: {
      "execution.checkpointing.interval": "1 ms",
      "restart-strategy.exponential-delay.initial-backoff": "0 ms",
      ...more,
    },
  });

/** Throws once at each of some calls. */
class Faults {
  failed = 0;
  #calls = 0;
  readonly #at: Set<number>;
  constructor(...at: number[]) {
    this.#at = new Set(at);
  }
  pass<T>(value: T): T {
    if (!this.#at.has(this.#calls++)) return value;
    this.failed++;
    throw new Error(`fault ${this.failed}`);
  }
}

const keyOf = (i: number): number => i % 7;
const byKey = (rows: readonly { key: number; n: number }[]): Map<number, number[]> => {
  const all = new Map<number, number[]>();
  for (const { key, n } of rows) all.set(key, [...(all.get(key) ?? []), n]);
  return all;
};

/** Counts per key, and insists that no number is missing or doubled. */
class Numbered extends KeyedProcessFunction<number, number, { key: number; n: number }> {
  private last!: ValueState<number>;
  override open(context: RuntimeContext): void {
    this.last = context.state(valueState<number>("last", -1));
  }
  override processElement(i: number, context: ProcessContext<number>, out: Collector<{ key: number; n: number }>): void {
    const n = Math.floor(i / 7);
    const last = this.last.value() as number;
    if (n !== last + 1) throw new Error(`key ${context.key}: ${n} follows ${last}`);
    this.last.update(n);
    out.collect({ key: context.key, n });
  }
}

describe("a job that fails goes back to its last checkpoint", () => {
  test.each([1, 3])("keyed state and the client's rows are exactly-once, parallelism %i", async (parallelism) => {
    const faults = new Faults(3_000, 9_000, 15_000, 30_000);
    const rows = await env(parallelism)
      .generate((i) => i, { count: COUNT })
      .setParallelism(1)
      .keyBy(keyOf)
      .process(new Numbered())
      .map((row) => faults.pass(row))
      .collect();
    expect(faults.failed).toBeGreaterThan(2);
    expect(rows.length).toBe(COUNT);
    for (const [key, numbers] of byKey(rows)) {
      expect(numbers).toEqual(Array.from({ length: Math.ceil((COUNT - key) / 7) }, (_, n) => n));
    }
  });

  test("unaligned checkpoints keep what was on its way", async () => {
    const faults = new Faults(3_000, 9_000, 15_000, 30_000);
    const rows = await env(3, { "execution.checkpointing.unaligned.enabled": true })
      .generate((i) => i, { count: COUNT })
      .setParallelism(1)
      .keyBy(keyOf)
      .process(new Numbered())
      .rebalance()
      .map((row) => faults.pass(row))
      .keyBy((row) => row.key)
      .map((row) => row)
      .collect();
    expect(faults.failed).toBeGreaterThan(2);
    expect(rows.length).toBe(COUNT);
    expect(new Set(rows.map(({ key, n }) => n * 7 + key)).size).toBe(COUNT);
  });

  test("at-least-once doubles some rows and loses none", async () => {
    const faults = new Faults(3_000, 9_000, 15_000, 30_000);
    const rows = await env(3, { "execution.checkpointing.mode": "at-least-once" })
      .generate((i) => i, { count: COUNT })
      .keyBy(keyOf)
      .map((row) => faults.pass(row))
      .collect();
    expect(faults.failed).toBeGreaterThan(2);
    expect(new Set(rows).size).toBe(COUNT);
  });

  test("windows fire once, and what was late before is late again", async () => {
    const events = Array.from({ length: COUNT }, (_, i) => ({ key: i % 5, at: i * 10 - (i % 11 === 0 ? 700 : i % 13) }));
    const run = async (faults: Faults): Promise<unknown[]> => {
      // What is late depends on where watermarks stand: here on the records alone.
      const rows = await env(2, { "pipeline.auto-watermark-interval": "0 ms" })
        .from(events)
        .withTimestamps((it) => it.at, { outOfOrderness: 100 })
        .setParallelism(1)
        .keyBy((it) => it.key)
        .window(tumbling(1_000))
        .aggregate(count(), (n, { key, window }) => ({ key, start: window.start, n }))
        .map((row) => faults.pass(row))
        .collect();
      return rows.sort((a, b) => a.start - b.start || a.key - b.key);
    };
    const faults = new Faults(100, 300, 500);
    expect(await run(faults)).toEqual(await run(new Faults()));
    expect(faults.failed).toBe(3);
  });

  test.each([
    ["an iterable", (program: Environment) => program.from(function* () { for (let i = 0; i < COUNT; i++) yield i; })],
    ["an asynchronous iterable", (program: Environment) => program.from(async function* () { for (let i = 0; i < COUNT; i++) yield i; })],
    ["rows of the program", (program: Environment) => program.from(Array.from({ length: COUNT }, (_, i) => i))],
    ["an Observable of the program", (program: Environment) =>
      program.fromObservable(new Observable<number>((observer) => {
        for (let i = 0; i < COUNT; i++) observer.next(i);
        observer.complete();
      }))],
    ["lines of files", (program: Environment) => program.fromText(lines()).map(Number)],
    ["rows of files", (program: Environment) => program.fromCsv<{ i: number }>(lines("i\n")).map(({ i }) => i)],
  ])("%s go on where they were", async (_, source) => {
    const faults = new Faults(4_000, 12_000, 20_000);
    const rows = await source(env(1)).rebalance().map((i) => faults.pass(i)).collect();
    expect(faults.failed).toBeGreaterThan(1);
    expect(rows).toEqual(Array.from({ length: COUNT }, (_, i) => i));
  });

  test("files are written exactly once, and no hidden ones are left", async () => {
    const out = join(folder, "out");
    const faults = new Faults(3_000, 9_000, 15_000, 30_000);
    const program = env(3);
    program.generate((i) => i, { count: COUNT }).rebalance().map((i) => faults.pass(i)).sinkTo(jsonLines(out));
    await program.execute();
    expect(faults.failed).toBeGreaterThan(2);
    expect(readdirSync(out).filter((name) => name.startsWith("."))).toEqual([]);
    const rows = readdirSync(out).flatMap((name) => readFileSync(join(out, name), "utf8").trim().split("\n").map(Number));
    expect(rows.sort((a, b) => a - b)).toEqual(Array.from({ length: COUNT }, (_, i) => i));
  });

  test.each([false, true])("transactions of a user's sink are committed once each, asynchronous: %s", async (asynchronous) => {
    const faults = new Faults(3_000, 9_000, 15_000, 30_000);
    const visible = new Map<string, readonly number[]>();
    let transactions = 0;
    const open: number[][] = [];
    const sink = twoPhaseSink<number, { id: string; rows: number[] }>(
      {
        write(row) {
          (open[0] ??= []).push(row);
        },
        open() {
          open.length = 0;
        },
        prepareCommit() {
          const rows = open.shift();
          return rows === undefined ? [] : [{ id: `t${transactions++}`, rows }];
        },
        commit({ id, rows }) {
          if (!asynchronous) return void visible.set(id, rows);
          return new Promise((resolve) => setImmediate(() => resolve(void visible.set(id, rows))));
        },
      },
      { asynchronous },
    );
    const program = env(1);
    program.generate((i) => i, { count: COUNT }).rebalance().map((i) => faults.pass(i)).sinkTo(sink);
    await program.execute();
    expect(faults.failed).toBeGreaterThan(2);
    expect([...visible.values()].flat()).toEqual(Array.from({ length: COUNT }, (_, i) => i));
  });

  test("a function keeps a list of its own in checkpoints, and hears of them", async () => {
    const faults = new Faults(2_000, 5_000, 8_000);
    const heard: number[] = [];
    let kept!: OperatorList<number>;
    let pairs: number[] = [];
    const rows = await env(1)
      .generate((i) => i, { count: COUNT })
      .process({
        open(context: RuntimeContext) {
          kept = context.listState<number>("half a pair");
          pairs = [...kept.get()];
        },
        // Hands on pairs: an odd one is kept for the next record.
        processElement(i: number, _context: ProcessContext, out: Collector<readonly number[]>) {
          pairs.push(i);
          if (pairs.length === 2) out.collect(pairs.splice(0));
        },
        snapshotState: () => kept.update(pairs),
        notifyCheckpointComplete: (checkpoint: number) => void heard.push(checkpoint),
      })
      .rebalance()
      .map((pair) => faults.pass(pair))
      .collect();
    expect(faults.failed).toBeGreaterThan(2);
    expect(rows).toEqual(Array.from({ length: COUNT / 2 }, (_, i) => [2 * i, 2 * i + 1]));
    expect(heard).toEqual([...heard].sort((a, b) => a - b));
    expect(heard.length).toBeGreaterThan(0);
  });

  test("a job tells of its checkpoints, and takes one when it is asked to", async () => {
    const program = env(1, { "execution.checkpointing.interval": "1 h" });
    const job = await program.submit({ outputs: { rows: program.generate((i) => i, { rowsPerSecond: 10_000 }).keyBy((i) => i % 3).reduce((a, b) => a + b) } });
    const rows: number[] = [];
    job.outputs.rows.subscribe({ next: (row) => rows.push(row), error: () => undefined });
    expect(await job.checkpoint()).toBe(1);
    expect(await job.checkpoint()).toBe(2);
    const { completed, failed, latest } = await job.checkpoints();
    expect([completed, failed, latest.map(({ id, state }) => `${id} ${state}`)]).toEqual([2, 0, ["1 COMPLETED", "2 COMPLETED"]]);
    expect(latest[1]!.bytes).toBeGreaterThan(0);
    await expect(job.savepoint(folder)).rejects.toThrow("runs in one thread");
    await job.cancel();
    await expect(job.checkpoint()).rejects.toThrow(CheckpointError);
  });

  test("a job whose function always fails stops after the restarts that its strategy allows", async () => {
    let calls = 0;
    const program = env(1, { "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": 2, "restart-strategy.fixed-delay.delay": "0 ms" });
    const rows = program.of(1).map((i): number => {
      calls++;
      throw new Error(`never ${i}`);
    });
    await expect(rows.collect()).rejects.toThrow("never 1");
    expect(calls).toBe(3);
  });
});

function lines(head = ""): string {
  const path = join(folder, `lines-${head.trim()}.txt`);
  writeFileSync(path, `${head}${Array.from({ length: COUNT }, (_, i) => i).join("\n")}\n`);
  return path;
}
