import { once } from "node:events";
import { readdirSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FeedSender } from "../../../src/cluster/client/feed-sender.ts";
import type { TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import { ClassRegistry } from "../../../src/core/data/classes.ts";
import type { WireError } from "../../../src/core/types/errors.ts";
import { FakeJobManager, program, programWithResults, until } from "./fake-job-manager.ts";

// Real processes on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 30_000 });

let jm: FakeJobManager;
beforeEach(async () => {
  jm = await new FakeJobManager().start();
});
afterEach(() => jm.close());

const keyedJob = (parallelism: number, rows: number) =>
  programWithResults(
    (env) => ({
      totals: env
        .generate((index) => ({ key: index % 100, value: index }), { count: rows })
        .keyBy((row) => row.key)
        .reduce((left, right) => ({ key: left.key, value: left.value + right.value })),
    }),
    { parallelism },
  );

/** The last total of each key, as the reduce should have it. */
function expectTotals(rows: readonly unknown[], count: number): void {
  expect(rows).toHaveLength(count);
  const last = new Map<number, number>();
  for (const { key, value } of rows as { key: number; value: number }[]) last.set(key, Math.max(value, last.get(key) ?? 0));
  const expected = new Map<number, number>();
  for (let index = 0; index < count; index++) expected.set(index % 100, (expected.get(index % 100) ?? 0) + index);
  expect(new Map([...last].sort((a, b) => a[0] - b[0]))).toEqual(expected);
}

const failureOf = (ends: readonly { readonly error?: WireError }[]): WireError =>
  ends.find(({ error }) => error !== undefined)?.error as WireError;

describe("a job on TaskManagers", () => {
  test("runs, and every state is reported in order", async () => {
    await jm.taskManager();
    const job = await jm.deploy(await keyedJob(2, 10_000));
    jm.grant(job, "totals");
    const ends = await jm.over(job);
    expect(ends.map(({ state }) => state)).toEqual(ends.map(() => "FINISHED"));
    expect(jm.statesOf(job, 0)).toEqual(["DEPLOYING", "INITIALIZING", "RUNNING", "FINISHED"]);
    const { rows, ended } = jm.rows("totals");
    expect(ended).toBe(2);
    expectTotals(rows, 10_000);
    // One fetch, however many subtasks.
    expect([...jm.fetched.values()]).toEqual([1]);
  });

  test("runs over two TaskManagers with one connection between them", async () => {
    await jm.taskManager();
    await jm.taskManager();
    const job = await jm.deploy(await keyedJob(2, 50_000), (_vertex, subtask) => ({ taskManager: subtask, slot: 0 }));
    jm.grant(job, "totals");
    const ends = await jm.over(job);
    expect(ends.map(({ state, error }) => error?.message ?? state)).toEqual(ends.map(() => "FINISHED"));
    expectTotals(jm.rows("totals").rows, 50_000);
    await until(() => jm.metrics.some(({ process }) => process["dataSegmentsSent"] !== 0));
    expect(Math.max(...jm.metrics.map(({ process }) => process["dataConnections"] as number))).toBe(1);
    await jm.release(job);
    const before = jm.metrics.length;
    await until(() => jm.metrics.length > before + 4);
    expect(jm.metrics.slice(-2).map(({ process }) => process["sharedBytes"])).toEqual([0, 0]);
  });

  test("fails where it was linked to a TaskManager that is killed, unless it is cancelled before", async () => {
    const first = await jm.taskManager();
    await jm.taskManager();
    const endless = await programWithResults((env) => ({
      rows: env
        .generate((index) => index)
        .keyBy((index) => index)
        .reduce((left) => left),
    }));
    const job = await jm.deploy(endless, (vertex) => ({ taskManager: vertex, slot: 0 }));
    jm.grant(job, "rows");
    await until(() => jm.rows("rows").rows.length > 0);
    first.process.kill("SIGKILL");
    await until(() => jm.statesOf(job, 1).at(-1) === "FAILED");
    const { error } = jm.states.at(-1) as { error?: WireError };
    expect(error).toMatchObject({ name: "ConnectionError" });
    expect(error?.message).toContain(first.id);
  });

  test("leaves its slots, and the next job finds them free", async () => {
    await jm.taskManager();
    for (let round = 0; round < 3; round++) {
      jm.segments.clear();
      const job = await jm.deploy(await keyedJob(2, 1_000));
      jm.grant(job, "totals");
      await jm.over(job);
      await jm.release(job);
      expectTotals(jm.rows("totals").rows, 1_000);
    }
    const next = jm.metrics.length;
    await until(() => jm.metrics.length > next + 1);
    expect(jm.metrics.at(-1)?.process).toMatchObject({ sharedBytes: 0, threads: 0 });
  });
});

describe("user code", () => {
  test("that throws fails its task, and the message ends with the user's line", async () => {
    await jm.taskManager();
    const job = await jm.deploy(
      program((env) => {
        env
          .generate((index) => ({ index }), { count: 1_000 })
          .map((row) => {
            if (row.index === 500) throw new TypeError("no five hundred here"); // the line in question
            return row;
          })
          .print();
      }),
    );
    const ends = await jm.over(job);
    const error = failureOf(ends);
    expect(error.message).toMatch(/^"map" \(subtask 1 of 1\) threw TypeError: no five hundred here at task-manager\.test\.ts:\d+:\d+$/);
    expect(error).toMatchObject({ name: "UserFunctionError", details: { operator: "map", vertex: job.executions[0]?.vertex, subtask: 0 } });
    expect(error.details?.["text"]).toContain("the line in question");
    expect(error.cause).toMatchObject({ name: "TypeError", message: "no five hundred here" });
    expect(error.cause?.stack).toContain("task-manager.test.ts");
  });

  test.each([
    ["process.exit", () => process.exit(7), /called process\.exit\(7\)/],
    [
      "an exception in a timer",
      () =>
        void setTimeout(() => {
          throw new Error("from a timer");
        }, 0),
      /uncaught exception.*from a timer/,
    ],
    ["a rejected promise", () => void Promise.reject(new Error("nobody listens")), /rejected promise.*nobody listens/],
  ])("that ends in %s fails its task with a sentence", async (_what, mishap, message) => {
    await jm.taskManager();
    const job = await jm.deploy(
      program((env) => {
        env
          .from(async function* () {
            for (let tick = 0; ; tick++) {
              await new Promise((resolve) => setTimeout(resolve, 2));
              if (tick === 3) mishap();
              yield tick;
            }
          })
          .print();
      }),
    );
    const [end] = await jm.over(job);
    expect(end?.state).toBe("FAILED");
    expect(end?.error?.name).toBe("UserFunctionError");
    expect(end?.error?.message).toMatch(message);
  });

  test("that loops for ever is ended by a cancel, and its slot is free afterwards", async () => {
    await jm.taskManager({ "task.cancellation.timeout": 200 });
    const job = await jm.deploy(
      program((env) => {
        env
          .generate((index) => {
            console.log("before the loop");
            for (;;) if (index < 0) break;
          })
          .print();
      }),
    );
    // The line is not lost, though the thread never yields again.
    await until(() => jm.logs.some(({ text }) => text === "before the loop"));
    await jm.running(job);
    await jm.cancel(job);
    expect((await jm.over(job)).map(({ state }) => state)).toEqual(["CANCELED"]);
    expect(jm.statesOf(job, 0)).toEqual(["DEPLOYING", "INITIALIZING", "RUNNING", "CANCELING", "CANCELED"]);
    await jm.release(job);
    const next = await jm.deploy(await keyedJob(2, 100));
    jm.grant(next, "totals");
    expect((await jm.over(next)).every(({ state }) => state === "FINISHED")).toBe(true);
  });

  test("that goes on is cancelled between two batches, and closed", async () => {
    await jm.taskManager({ "task.cancellation.timeout": "20 s" });
    const job = await jm.deploy(
      program(
        (env) => {
          env
            .generate((index) => index)
            .keyBy((index) => index % 7)
            .reduce((left, right) => left + right)
            .sinkTo({
              write() {},
              close() {
                console.log("closed");
              },
            });
        },
        { parallelism: 2 },
      ),
    );
    await jm.running(job);
    await jm.cancel(job);
    expect((await jm.over(job)).map(({ state }) => state)).toEqual(job.executions.map(() => "CANCELED"));
    await until(() => jm.logs.filter(({ text }) => text === "closed").length === 2);
  });

  test("that hangs is found by the watchdog", async () => {
    await jm.taskManager({ "task.watchdog.timeout": "2 s" });
    const job = await jm.deploy(
      program((env) => {
        env
          .generate((index) => {
            while (index === 100) if (index < 0) break;
            return index;
          })
          .print();
      }),
    );
    const idle = await jm.deploy(
      program((env) => {
        env
          .generate((index) => index, { rowsPerSecond: 0.01 })
          .keyBy((index) => index)
          .reduce((left) => left)
          .print();
      }),
      () => ({ taskManager: 0, slot: 1 }),
    );
    const [end] = await jm.over(job);
    expect(end?.error?.message).toMatch(/hangs: its thread made no turn for .* s\. Look for an endless loop/);
    // Waiting is not hanging.
    expect(jm.statesOf(idle, 1).at(-1)).toBe("RUNNING");
  });

  test("that fills its slot's heap fails alone: the neighbour goes on", async () => {
    await jm.taskManager({ "taskmanager.memory.task.heap.size": "64 mb" });
    const neighbour = await jm.deploy(
      await programWithResults((env) => ({ beat: env.generate((index) => index, { rowsPerSecond: 100 }) })),
      () => ({ taskManager: 0, slot: 1 }),
    );
    jm.grant(neighbour, "beat");
    await jm.running(neighbour);
    const job = await jm.deploy(
      program((env) => {
        const kept = new Map<number, number>();
        env
          .generate((index) => {
            kept.set(index, index);
            return kept.size;
          })
          .sinkTo({ write() {} });
      }),
    );
    const [end] = await jm.over(job);
    expect(end?.error).toMatchObject({ name: "OutOfMemoryError" });
    expect(end?.error?.message).toContain("taskmanager.memory.task.heap.size");
    const before = jm.rows("beat").rows.length;
    await until(() => jm.rows("beat").rows.length > before + 10);
    expect(jm.statesOf(neighbour, 0).at(-1)).toBe("RUNNING");
  });

  test("says its lines in order, as its own task, with their level", async () => {
    await jm.taskManager();
    const job = await jm.deploy(
      program((env) => {
        env
          .of(1, 2, 3)
          .map((value) => {
            console.log("value %d", value);
            console.warn({ value });
            console.error(`two\nlines`);
            return value;
          })
          .sinkTo({ write() {} });
      }),
    );
    await jm.over(job);
    const said = jm.logs.filter(({ job: of }) => of === job.id).map(({ level, text }) => `${level} ${text}`);
    expect(said).toEqual([1, 2, 3].flatMap((value) => [`log value ${value}`, `warn { value: ${value} }`, "error two", "error lines"]));
  });
});

describe("rows between a job and its client", () => {
  test("wait in the task while nothing is granted, and come whole afterwards", async () => {
    await jm.taskManager();
    const job = await jm.deploy(
      await programWithResults((env) => ({ rows: env.generate((index) => ({ index, text: "x".repeat(100) }), { count: 200_000 }) })),
    );
    await jm.running(job);
    const outputs = (): number[] =>
      jm.metrics.flatMap(({ subtasks }) =>
        subtasks.filter(({ job: of }) => of === job.id).map(({ values }) => values["numRecordsOut"] as number),
      );
    await until(() => outputs().length > 3 && outputs().at(-1) !== 0 && outputs().at(-1) === outputs().at(-3));
    expect(jm.rows("rows").rows).toHaveLength(0);
    // The ring holds 8 segments of 128 KiB.
    expect(outputs().at(-1)).toBeLessThan(20_000);
    jm.grant(job, "rows", 3);
    await until(() => jm.channel("rows", 0).segments.length === 3);
    jm.grant(job, "rows");
    expect((await jm.over(job))[0]?.state).toBe("FINISHED");
    const { rows, ended } = jm.rows("rows");
    expect(ended).toBe(1);
    expect((rows as { index: number }[]).map(({ index }) => index)).toEqual(Array.from({ length: 200_000 }, (_, index) => index));
  });

  test("a task is not FINISHED before its last rows have left", async () => {
    await jm.taskManager();
    const job = await jm.deploy(await programWithResults((env) => ({ rows: env.of(1, 2, 3) })));
    await jm.running(job);
    await until(() =>
      jm.metrics.some(({ subtasks }) => subtasks.some(({ job: of, values }) => of === job.id && values["numRecordsOut"] === 3)),
    );
    expect(jm.statesOf(job, 0).at(-1)).toBe("RUNNING");
    jm.grant(job, "rows");
    await jm.over(job);
    expect(jm.rows("rows").rows).toEqual([1, 2, 3]);
  });

  test("a client's rows go in as far as the task grants", async () => {
    await jm.taskManager();
    const given = Array.from({ length: 50_000 }, (_, index) => ({ index, text: `row ${index}` }));
    const job = await jm.deploy(await programWithResults((env) => ({ rows: env.from(new Set(given).values()).map((row) => row.index) })));
    const [feed] = job.job.graph.feeds;
    const { member, subtask } = job.executions.find(({ vertex }) => vertex === feed?.vertex) as (typeof job.executions)[number];
    let next = 0;
    const name = feed?.name as string;
    const sender = new FeedSender({
      feed: {
        next: (max) => Promise.resolve(next >= given.length ? null : given.slice(next, (next = Math.min(given.length, next + max)))),
        close() {},
      },
      classes: new ClassRegistry(),
      segmentBytes: 128 * 1024,
      send: (attempt, sequence, segment) =>
        member.peer.notify("feedSegments", { job: job.id, name, subtask, attempt, sequence }, [segment]),
      onFailure: (error) => expect.unreachable(error.message),
      onEnd() {},
    });
    sender.start();
    await until(() => jm.grants.length > 0);
    expect(jm.grants[0]).toEqual({ job: job.id, name, subtask: 0, attempt: 0, granted: 8 });
    jm.grant(job, "rows");
    let heard = 0;
    const relay = setInterval(() => {
      while (heard < jm.grants.length) sender.grant(jm.grants[heard++]!);
    }, 1);
    const ends = await jm.over(job).finally(() => clearInterval(relay));
    expect(ends.map(({ state, error }) => error?.message ?? state)).toEqual(ends.map(() => "FINISHED"));
    expect(jm.rows("rows").rows).toEqual(given.map(({ index }) => index));
  });
});

describe("a task with asynchronous operators", () => {
  test("waits without blocking its event loop, and can be cancelled", async () => {
    await jm.taskManager({ "task.cancellation.timeout": "20 s" });
    const job = await jm.deploy(
      await programWithResults((env) => ({
        rows: env.from(async function* () {
          for (let tick = 0; ; tick++) {
            await new Promise((resolve) => setTimeout(resolve, 5));
            yield tick;
          }
        }),
      })),
    );
    jm.grant(job, "rows");
    await until(() => jm.rows("rows").rows.length > 20);
    expect(jm.rows("rows").rows.slice(0, 5)).toEqual([0, 1, 2, 3, 4]);
    await jm.cancel(job);
    expect((await jm.over(job)).map(({ state }) => state)).toEqual(["CANCELED"]);
  });

  test("is cancelled while open() never comes back", async () => {
    await jm.taskManager({ "task.cancellation.timeout": "20 s" });
    const job = await jm.deploy(
      program((env) => {
        env.of(1).sinkTo({ open: () => new Promise<void>(() => {}), write() {} });
      }),
    );
    await until(() => jm.statesOf(job, 0).includes("INITIALIZING"));
    await jm.cancel(job);
    expect((await jm.over(job)).map(({ state }) => state)).toEqual(["CANCELED"]);
  });
});

describe("a deployment", () => {
  test("without enough network memory is refused with the option's name, and leaves nothing", async () => {
    await jm.taskManager({ "taskmanager.memory.network.size": "1 mb", "taskmanager.numberOfTaskSlots": 1 });
    await expect(jm.deploy(await keyedJob(4, 10), () => ({ taskManager: 0, slot: 0 }))).rejects.toThrow(
      /Raise taskmanager\.memory\.network\.size/,
    );
    const job = await jm.deploy(await keyedJob(1, 10));
    jm.grant(job, "totals");
    expect((await jm.over(job)).every(({ state }) => state === "FINISHED")).toBe(true);
  });

  test("with little network memory gets shorter channels", async () => {
    // 4 × 4 channels and 4 results of 2 segments.
    await jm.taskManager({ "taskmanager.memory.network.size": "6 mb", "taskmanager.numberOfTaskSlots": 1 });
    const job = await jm.deploy(await keyedJob(4, 10_000), () => ({ taskManager: 0, slot: 0 }));
    jm.grant(job, "totals");
    expect((await jm.over(job)).every(({ state }) => state === "FINISHED")).toBe(true);
    expectTotals(jm.rows("totals").rows, 10_000);
  });

  test("to another job's slot is refused", async () => {
    await jm.taskManager();
    const forever = program((env) => void env.generate((index) => index).sinkTo({ write() {} }));
    await jm.deploy(forever);
    await expect(jm.deploy(forever)).rejects.toThrow(/Slot 0 of TaskManager .* belongs to job/);
  });

  test("that is repeated changes nothing", async () => {
    const { peer } = await jm.taskManager();
    let sent: readonly TaskDeployment[] = [];
    const call = peer.call.bind(peer) as (method: never, request: never) => Promise<void>;
    peer.call = ((method: never, request: { tasks: readonly TaskDeployment[] }) => {
      if (request.tasks !== undefined) sent = request.tasks;
      return call(method, request as never);
    }) as never;
    const job = await jm.deploy(program((env) => void env.generate((index) => index).sinkTo({ write() {} })));
    await jm.running(job);
    await peer.call("deploy", { tasks: sent });
    await jm.cancel(job);
    await jm.over(job);
    expect(jm.statesOf(job, 0)).toEqual(["DEPLOYING", "INITIALIZING", "RUNNING", "CANCELING", "CANCELED"]);
  });

  test("of code that is not what was asked for fails its tasks", async () => {
    await jm.taskManager();
    jm.spoilCode = true;
    const job = await jm.deploy(await keyedJob(1, 10));
    expect(failureOf(await jm.over(job)).message).toMatch(/was asked for, and \d+ bytes with the digest/);
  });
});

describe("a TaskManager process", () => {
  test("tells a state again until the JobManager says that it knows", async () => {
    await jm.taskManager();
    jm.refuseStates = 1;
    const job = await jm.deploy(program((env) => void env.of(1).sinkTo({ write() {} })));
    await jm.over(job);
    expect(jm.statesOf(job, 0)).toEqual(["DEPLOYING", "INITIALIZING", "RUNNING", "FINISHED"]);
  });

  test("that loses its JobManager ends its tasks and registers with the next", async () => {
    const { process: child, id } = await jm.taskManager();
    const job = await jm.deploy(program((env) => void env.generate((index) => index).sinkTo({ write() {} })));
    await jm.running(job);
    const { address, folder } = jm;
    await jm.vanish();
    const next = new FakeJobManager(folder);
    try {
      await next.start();
      expect(next.address).toBe(address);
      await until(() => next.registered(id));
      const again = next.adopt(child, id);
      next.members.push(again);
      const second = await next.deploy(await keyedJob(2, 1_000));
      next.grant(second, "totals");
      expect((await next.over(second)).every(({ state }) => state === "FINISHED")).toBe(true);
    } finally {
      await next.vanish();
    }
  });

  test("that finds no JobManager says so and ends", async () => {
    await jm.vanish();
    const { process: child, output } = jm.spawn({ "taskmanager.registration.timeout": 300 });
    const [code] = (await once(child, "exit")) as [number];
    expect(code).toBe(1);
    expect(output().trim()).toMatch(/^TaskManager: no JobManager answers at ipc:.* after 300 ms; is it running\?.*$/);
  });

  test.each(["SIGTERM", "shutdown", "disconnect"])("ends on %s and leaves no file behind", async (how) => {
    const { process: child, peer, output } = await jm.taskManager();
    const job = await jm.deploy(
      program(
        (env) =>
          void env
            .generate((index) => {
              for (;;) if (index < 0) break;
            })
            .print(),
      ),
    );
    await jm.running(job);
    const exit = once(child, "exit");
    if (how === "SIGTERM") child.kill("SIGTERM");
    else if (how === "shutdown") peer.notify("shutdown", { reason: "the test is over" });
    else child.disconnect();
    expect(await exit).toEqual([0, null]);
    expect(output()).toMatch(/^TaskManager tm-\w+ ready for ipc:.*\n$/);
    expect(readdirSync(jm.folder.path)).toEqual(["jm"]);
  });

  test("with an option that can't be says which and ends", async () => {
    const { process: child, output } = jm.spawn({ "taskmanager.numberOfTaskSlots": "many" });
    const [code] = (await once(child, "exit")) as [number];
    expect(code).toBe(1);
    expect(output()).toContain("taskmanager.numberOfTaskSlots");
  });

  test("reports the metrics of its process and of its subtasks, with rates", async () => {
    await jm.taskManager();
    const job = await jm.deploy(program((env) => void env.generate((index) => index).sinkTo({ write() {} })));
    await jm.running(job);
    const values = (): Readonly<Record<string, number>> | undefined =>
      jm.metrics.at(-1)?.subtasks.find(({ job: of }) => of === job.id)?.values;
    await until(() => (values()?.["numRecordsInPerSecond"] ?? 0) > 0);
    const { busyTimeMsPerSecond, idleTimeMsPerSecond, backPressuredTimeMsPerSecond } = values() as Record<string, number>;
    expect((busyTimeMsPerSecond as number) + (idleTimeMsPerSecond as number) + (backPressuredTimeMsPerSecond as number)).toBeCloseTo(
      1_000,
      0,
    );
    expect(jm.metrics.at(-1)?.process).toMatchObject({ threads: 1, dataConnections: 0 });
    expect(jm.metrics.at(-1)?.process["residentBytes"]).toBeGreaterThan(1e7);
  });
});
