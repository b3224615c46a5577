/** State on disk on a cluster of real processes: what survives when one of them is killed, and what stays behind. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  type Collector, KeyedProcessFunction, LocalCluster, type ProcessContext, type RuntimeContext, type ValueState, environment, valueState,
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

class Counts extends KeyedProcessFunction<number, Row, Count> {
  state!: ValueState<Count>;
  override open(context: RuntimeContext): void {
    this.state = context.state(valueState<Count>("count"));
  }
  override processElement({ k, i }: Row, _context: ProcessContext<number>, out: Collector<Count>): void {
    const held = this.state.value() ?? { k, n: 0, sum: 0 };
    held.n++;
    held.sum += i;
    this.state.update(held);
    if (held.n === LAST) out.collect(held);
  }
}

describe("a job with state on disk", () => {
  test("goes on from its last incremental checkpoint when a TaskManager is killed, and leaves nothing on the disk", { timeout: 180_000 }, async () => {
    const local = path.join(folder, "local");
    await using cluster = await LocalCluster.start({ taskManagers: 2, slots: 2, options: { "heartbeat.interval": "1 s", "heartbeat.timeout": "30 s" } });
    const env = environment({
      cluster, parallelism: 2, printLogs: false,
      configuration: {
        "state.backend.type": "lmdb", "state.backend.lmdb.localdir": local, "state.backend.lmdb.cache.entries": 50,
        "execution.checkpointing.interval": "200 ms", "execution.checkpointing.dir": path.join(folder, "checkpoints"),
      },
    });
    const counted = env
      // One key after the other, so that little changes from checkpoint to checkpoint.
      .generate((i) => ({ k: Math.floor(i / LAST), i }), { count: ROWS, rowsPerSecond: 12_000 })
      .keyBy(({ k }) => k)
      .process(new Counts());
    const job = await env.submit({ name: "on disk", outputs: { counted } });
    const rows = lastValueFrom(job.outputs.counted.pipe(toArray()));
    await vi.waitFor(async () => expect((await job.checkpoints()).completed).toBeGreaterThan(5), { timeout: 60_000, interval: 50 });
    // Each holds all that was counted, but few write it all.
    expect((await job.checkpoints()).latest.some(({ bytes, writtenBytes }) => (writtenBytes ?? 0) < (bytes ?? 0) * 0.8)).toBe(true);
    const { executions } = await job.details();
    await cluster.killTaskManager(cluster.processes.taskManagers.findIndex((_, index) => executions.some((it) => it.taskManager?.startsWith(`tm-${index}-`))));
    expect((await rows).toSorted((a, b) => a.k - b.k)).toEqual(
      Array.from({ length: KEYS }, (_, k) => ({ k, n: LAST, sum: k * LAST * LAST + (LAST * (LAST - 1)) / 2 })));
    expect((await job.checkpoints()).restored).toBeGreaterThan(0);
    await vi.waitFor(() => expect(existsSync(local) && readdirSync(local)).toEqual([]), { timeout: 30_000 });
    await env.close();
  });
});
