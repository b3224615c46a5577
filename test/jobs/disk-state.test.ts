import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  type Collector, KeyedProcessFunction, type ProcessContext, type RuntimeContext, type ValueState, environment, valueState,
} from "drey";
import { lastValueFrom, toArray } from "rxjs";
import { afterAll, describe, expect, test, vi } from "vitest";

const folder = mkdtempSync(path.join(tmpdir(), "drey-disk-state-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const KEYS = 1_000;
const ROWS = 60_000;
const LAST = ROWS / KEYS;

interface Row {
  readonly k: number;
  readonly i: number;
}

interface Count {
  readonly k: number;
  n: number;
  sum: number;
}

describe("a job with state on disk", () => {
  test("goes on from its last incremental checkpoint after a failure, exactly, and leaves nothing on the disk", { timeout: 60_000 }, async () => {
    const local = path.join(folder, "local");
    const env = environment({
      parallelism: 2,
      configuration: {
        "state.backend.type": "lmdb", "state.backend.lmdb.localdir": local, "state.backend.lmdb.cache.entries": 50,
        "execution.checkpointing.interval": "100 ms", "execution.checkpointing.dir": path.join(folder, "checkpoints"),
        "restart-strategy.type": "fixed-delay", "restart-strategy.fixed-delay.attempts": 3, "restart-strategy.fixed-delay.delay": "50 ms",
      },
    });
    class Counts extends KeyedProcessFunction<number, Row, Count> {
      state!: ValueState<Count>;
      attempt = 0;
      override open(context: RuntimeContext): void {
        this.state = context.state(valueState<Count>("count"));
        this.attempt = context.attempt;
      }
      override processElement({ k, i }: Row, _context: ProcessContext<number>, out: Collector<Count>): void {
        if (this.attempt <= 1 && i >= 40_000) throw new Error("on purpose");
        const held = this.state.value() ?? { k, n: 0, sum: 0 };
        held.n++;
        held.sum += i;
        this.state.update(held);
        if (held.n === LAST) out.collect(held);
      }
    }
    try {
      const counted = env
        .generate((i) => ({ k: i % KEYS, i }), { count: ROWS, rowsPerSecond: 40_000 })
        .keyBy(({ k }) => k)
        .process(new Counts());
      const job = await env.submit({ name: "on disk", outputs: { counted } });
      const rows = await lastValueFrom(job.outputs.counted.pipe(toArray()));
      const { restored, latest } = await job.checkpoints();
      expect(restored).toBeGreaterThan(0);
      // Each holds all that was counted, but few write it all.
      expect(latest.some(({ bytes, writtenBytes }) => (writtenBytes ?? 0) < (bytes ?? 0) * 0.8)).toBe(true);
      expect(rows.toSorted((a, b) => a.k - b.k)).toEqual(
        Array.from({ length: KEYS }, (_, k) => ({ k, n: LAST, sum: k * LAST + (KEYS * LAST * (LAST - 1)) / 2 })));
      await vi.waitFor(() => expect(existsSync(local) && readdirSync(local)).toEqual([]), { timeout: 5_000 });
    } finally {
      await env.close();
    }
  });
});
