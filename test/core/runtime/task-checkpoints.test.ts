import { expect, test } from "vitest";
import { type Collector, type Environment, type ProcessContext, count, localEnvironment, tumbling, valueState } from "../../../src/core/index.ts";
import type { CheckpointAck, CheckpointHost, CheckpointTrigger } from "../../../src/core/runtime/checkpoint.ts";
import { LocalCheckpoints, type LocalSnapshot, restoreOf } from "../../../src/core/runtime/local-checkpoints.ts";
import { type LocalTask, localTasks } from "../../../src/core/runtime/local-tasks.ts";
import { Configuration } from "../../../src/core/types/options.ts";

/** A job whose tasks are stepped by hand; its rows are gathered by a sink. */
class Steps {
  readonly checkpoints = new LocalCheckpoints();
  tasks: readonly LocalTask[] = [];
  readonly declined: Error[] = [];
  readonly acks: CheckpointAck[] = [];
  #finished = new Set<LocalTask>();
  #nextId = 1;
  readonly #env: Environment;
  /** Checkpoints of a host that does what the test says. */
  full = false;

  constructor(build: (env: Environment) => void) {
    this.#env = localEnvironment({ chaining: false });
    build(this.#env);
  }

  async start(from?: LocalSnapshot): Promise<this> {
    const { graph, tasks } = this.#env.compile();
    const configuration = Configuration.of({ "execution.checkpointing.interval": 60_000 }, "the test");
    const { tasks: made } = await localTasks(
      graph,
      async () => ({ tasks, classes: [] }),
      () => undefined,
      (vertex, subtask) => ({
        configuration,
        doorbell: { park: () => undefined },
        checkpoints: this.#watched(this.checkpoints.hostOf(vertex, subtask)),
        ...(from === undefined ? {} : { restored: restoreOf(from, vertex, subtask) }),
        poll: () => false, wait: async () => undefined, wake: () => undefined, now: () => 0,
        heapLimitBytes: 0, heapUsed: () => 0, cooperative: true,
      }),
    );
    this.tasks = made;
    for (const { task } of made) await task.open();
    return this;
  }

  get running(): LocalTask[] {
    return this.tasks.filter((it) => !this.#finished.has(it));
  }

  /** Each running task makes a step, so many times. */
  rounds(times: number): void {
    for (let round = 0; round < times; round++) {
      for (const it of this.running) if (it.task.step() === "finished") this.#finished.add(it);
    }
  }

  begin(more: Partial<CheckpointTrigger> = {}): number {
    const checkpoint = this.#nextId++;
    this.checkpoints.begin(
      { checkpoint, timestampMs: 0, kind: "checkpoint", mode: "exactly-once", unaligned: false, alignedTimeoutMs: 0, ...more },
      this.tasks,
      new Set(this.running),
      ({ vertex }) => vertex !== this.tasks[0]?.vertex && this.running.some((it) => it.vertex === this.tasks[0]?.vertex),
    );
    return checkpoint;
  }

  /** A whole checkpoint, of which the tasks are told. */
  take(more: Partial<CheckpointTrigger> = {}): LocalSnapshot {
    const id = this.begin(more);
    for (let round = 0; this.checkpoints.outcome === undefined && round < 1_000; round++) this.rounds(1);
    const { outcome } = this.checkpoints;
    if (outcome === undefined || outcome instanceof Error) throw outcome ?? new Error("no checkpoint");
    for (const { task } of this.tasks) task.checkpointCompleted(id);
    return outcome;
  }

  #watched(host: CheckpointHost): CheckpointHost {
    return {
      ...host,
      write: (checkpoint, bytes) => !this.full && host.write(checkpoint, bytes),
      acknowledge: (ack) => {
        this.acks.push(ack);
        host.acknowledge(ack);
      },
      decline: (checkpoint, error) => {
        this.declined.push(error);
        host.decline(checkpoint, error);
      },
    };
  }
}

const windows = (env: Environment, rows: unknown[]): void => {
  env
    .generate((i) => i, { count: 100_000 })
    .withTimestamps((i) => i)
    .keyBy((i) => i % 2)
    .window(tumbling(1_000_000))
    .aggregate(count())
    .sinkTo((row) => rows.push(row));
};

test("a job that is stopped without draining ends, and says nothing that it would not have said yet", async () => {
  const rows: unknown[] = [];
  const job = await new Steps((env) => windows(env, rows)).start();
  job.rounds(5);
  const savepoint = job.take({ kind: "savepoint", stop: "suspend" });
  job.rounds(10);
  expect(job.running).toEqual([]);
  expect(rows).toEqual([]);

  const again = await new Steps((env) => windows(env, rows)).start(savepoint);
  again.rounds(2_000);
  expect(again.running).toEqual([]);
  expect(rows).toEqual([50_000, 50_000]);
});

test("a job that is drained fires all of its windows first", async () => {
  const rows: number[] = [];
  const job = await new Steps((env) => windows(env, rows)).start();
  job.rounds(5);
  job.take({ kind: "savepoint", stop: "drain" });
  job.rounds(10);
  expect(job.running).toEqual([]);
  expect(rows.length).toBe(2);
  expect(rows[0]! + rows[1]!).toBeGreaterThan(0);
  expect(rows[0]! + rows[1]!).toBeLessThan(100_000);
});

test("a savepoint that was to stop the job and came to nothing lets it go on", async () => {
  const rows: unknown[] = [];
  const job = await new Steps((env) => windows(env, rows)).start();
  job.rounds(5);
  job.full = true;
  const id = job.begin({ kind: "savepoint", stop: "suspend" });
  job.rounds(20);
  expect(job.running.length).toBe(job.tasks.length);
  job.checkpoints.abort();
  for (const { task } of job.tasks) task.checkpointAborted(id);
  job.rounds(2_000);
  expect(job.running).toEqual([]);
  expect(rows).toEqual([50_000, 50_000]);
});

test("tasks that have finished take part in a checkpoint, and don't begin anew after it", async () => {
  const rows: number[] = [];
  const build = (env: Environment): void => {
    const few = env.generate((i) => i, { count: 10 });
    const many = env.generate((i) => 1_000 + i, { count: 20_000 });
    few.union(many).sinkTo((row) => rows.push(row));
  };
  const job = await new Steps(build).start();
  job.rounds(6);
  expect(job.running.length).toBe(job.tasks.length - 1);
  const checkpoint = job.take();
  const last = Math.max(...rows);
  expect(rows.filter((row) => row < 1_000).length).toBe(10);

  rows.length = 0;
  const again = await new Steps(build).start(checkpoint);
  again.rounds(2_000);
  expect(again.running).toEqual([]);
  expect(rows.filter((row) => row < 1_000)).toEqual([]);
  // It goes on where the barrier was, at the latest where the first run was seen.
  expect(rows).toEqual(Array.from({ length: rows.length }, (_, i) => 21_000 - rows.length + i));
  expect(rows[0]).toBeGreaterThan(1_000);
  expect(rows[0]).toBeLessThanOrEqual(last + 1);
});

test("a value that can't be written declines the checkpoint, and the task goes on", async () => {
  let rows = 0;
  const job = await new Steps((env) => {
    env
      .generate((i) => i, { count: 10_000 })
      .keyBy((i) => i % 2)
      .process({
        processElement(value: number, context: ProcessContext<number>, out: Collector<number>) {
          context.state(valueState<unknown>("odd")).update(() => value);
          out.collect(value);
        },
      })
      .sinkTo(() => void rows++);
  }).start();
  job.rounds(5);
  job.begin();
  job.rounds(2_000);
  expect(job.declined.map(({ message }) => message)).toEqual([expect.stringMatching(/a function cannot travel/)]);
  expect(job.running).toEqual([]);
  expect(rows).toBe(10_000);
});

test("while the host takes no more bytes the task goes on with its work", async () => {
  const rows: unknown[] = [];
  const job = await new Steps((env) => windows(env, rows)).start();
  job.rounds(5);
  job.full = true;
  job.begin();
  job.rounds(2_000);
  expect(rows).toEqual([50_000, 50_000]);
  expect(job.running.length).toBeGreaterThan(0);
  job.full = false;
  job.rounds(50);
  expect(job.acks.length).toBe(job.tasks.length);
  expect(job.running).toEqual([]);
});

test("an acknowledgement tells what the checkpoint took", async () => {
  const job = await new Steps((env) => windows(env, [])).start();
  job.rounds(5);
  job.take();
  const sizes = job.acks.map(({ bytes, writtenBytes }) => [bytes, writtenBytes]);
  for (const [bytes, written] of sizes) expect(bytes).toBe(written);
  expect(Math.max(...sizes.map(([bytes]) => bytes as number))).toBeGreaterThan(20);
  for (const ack of job.acks) expect(ack.syncMs).toBeGreaterThanOrEqual(0);
});
