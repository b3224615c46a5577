import { describe, expect, test } from "vitest";
import { ConfigurationError, ConnectionError, GraphError, NotFoundError, ProtocolError } from "../../../src/core/types/errors.ts";
import { type JobId, jobId, vertexId } from "../../../src/core/types/ids.ts";
import { JOB_STATES, type JobState } from "../../../src/core/graph/job-status.ts";
import { states, transitions } from "../../../src/cluster/jobmanager/states/index.ts";
import { ControlPlane, boom } from "./control-plane.ts";
import { CODE, CODE_DIGEST, END, edge, graphOf, pair, rows, vertex } from "./graphs.ts";

const state = (plane: ControlPlane, job: JobId): JobState => plane.details(job).state;
const free = (plane: ControlPlane): number => plane.dispatcher.overview().slotsFree;

describe("the life of a job", () => {
  test("a job runs when all its tasks do, and is finished when all of them are", () => {
    const plane = new ControlPlane();
    plane.join("tm", 2, { starts: false });
    const job = plane.submit(pair("job", 2));
    expect(state(plane, job)).toBe("WAITING");
    expect(plane.details(job).waitingFor).toBe("0 of 4 tasks run");
    plane.report(job, "source", 0, "RUNNING");
    plane.report(job, "source", 0, "FINISHED");
    plane.report(job, "source", 1, "INITIALIZING");
    expect(plane.details(job).waitingFor).toBe("1 of 4 tasks run");
    plane.report(job, "source", 1, "RUNNING");
    plane.report(job, "sink", 0, "RUNNING");
    plane.report(job, "sink", 1, "RUNNING");
    expect(state(plane, job)).toBe("RUNNING");
    plane.reportAll(job, "FINISHED");
    const { timestamps, endedAtMs, tasks } = plane.details(job);
    expect(Object.keys(timestamps)).toEqual(["CREATED", "WAITING", "RUNNING", "FINISHED"]);
    expect(endedAtMs).toBe(timestamps["FINISHED"]);
    expect(tasks).toEqual({ FINISHED: 4 });
  });

  test("slots come back only when the TaskManager has released the job", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 2, { releases: false });
    const job = plane.submit(pair("job", 2));
    plane.reportAll(job, "FINISHED");
    expect(state(plane, job)).toBe("FINISHED");
    expect(free(plane)).toBe(0);
    plane.act((dispatcher) => dispatcher.released(tm, job));
    expect(free(plane)).toBe(2);
  });

  test("a TaskManager that can't release a job in three attempts is told to end", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1, { releases: false });
    plane.reportAll(plane.submit(pair("job", 1)), "FINISHED");
    plane.pass(60_000);
    expect(plane.did("release")).toHaveLength(3);
    expect(plane.did("dismiss")).toMatchObject([{ taskManager: "tm" }]);
  });

  test("a job keeps running while the rest of a result is on its way, then finishes though nobody reads it", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const job = plane.submit(pair("job", 1, { results: ["out"] }));
    plane.reportAll(job, "FINISHED");
    expect(state(plane, job)).toBe("RUNNING");
    plane.act((dispatcher) => dispatcher.resultSegments(tm, { job, name: "out", subtask: 0, attempt: 0, sequence: 0 }, [rows(3), END]));
    expect(state(plane, job)).toBe("FINISHED");
    expect(plane.act((dispatcher) => dispatcher.openResult("reader", job, "out"))).toEqual({ subtasks: 1, skip: [0], from: [0] });
    plane.act((dispatcher) => dispatcher.grantResult("reader", { job, name: "out", subtask: 0, attempt: 0, granted: 10 }));
    expect(plane.told("reader", "resultSegments").flatMap(({ attachments }) => attachments)).toEqual([rows(3), END]);
  });

  test("a result whose end never comes fails the job", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1, { results: ["out"] }));
    plane.reportAll(job, "FINISHED");
    plane.pass(31_000);
    expect(plane.details(job)).toMatchObject({ state: "FAILED", failure: { name: "DeadlineError" } });
  });

  test("every state behaves under its own name, and every way leads to a final state", () => {
    for (const name of JOB_STATES) {
      expect(states[name].name).toBe(name);
      const reached = new Set<JobState>();
      const walk = (from: JobState): void => {
        for (const next of transitions[from]) if (!reached.has(next)) walk((reached.add(next), next));
      };
      walk(name);
      const isFinal = transitions[name].length === 0;
      expect(isFinal || ["FINISHED", "CANCELED", "FAILED"].some((end) => reached.has(end as JobState))).toBe(true);
    }
  });
});

describe("waiting for slots", () => {
  test("a job says what it waits for, and starts as soon as a TaskManager joins", () => {
    const plane = new ControlPlane();
    const job = plane.submit(pair("job", 4));
    expect(plane.details(job).waitingFor).toBe("needs 4 slots, 0 are free of 0 on 0 TaskManagers");
    plane.join("one", 2);
    expect(plane.details(job).waitingFor).toBe("needs 4 slots, 2 are free of 2 on 1 TaskManager");
    plane.join("two", 2);
    expect(state(plane, job)).toBe("RUNNING");
    expect(plane.did("deploy").map(({ taskManager, tasks }) => [taskManager, tasks.length])).toEqual([
      ["one", 4],
      ["two", 4],
    ]);
  });

  test("a job that gets no slots in time fails with what it waited for and what to do", () => {
    const plane = new ControlPlane({ "slot.request.timeout": "1 min" });
    plane.join("tm", 1);
    const job = plane.submit(pair("too large", 2));
    plane.pass(59_000);
    expect(state(plane, job)).toBe("WAITING");
    plane.pass(2_000);
    expect(plane.details(job)).toMatchObject({
      state: "FAILED",
      failure: {
        name: "DeadlineError",
        message: expect.stringMatching(
          /1 min \(slot\.request\.timeout\).*needs 2 slots, 1 is free of 1 on 1 TaskManager.*lower the job's parallelism/,
        ),
      },
    });
  });

  test("a job waits for the slots of another, and both end", () => {
    const plane = new ControlPlane();
    plane.join("tm", 2);
    const [first, second] = [plane.submit(pair("first", 2)), plane.submit(pair("second", 1))];
    expect([state(plane, first), state(plane, second)]).toEqual(["RUNNING", "WAITING"]);
    plane.reportAll(first, "FINISHED");
    expect(state(plane, second)).toBe("RUNNING");
    plane.reportAll(second, "FINISHED");
    expect(free(plane)).toBe(2);
  });

  test("two jobs run at once in different slots", () => {
    const plane = new ControlPlane();
    plane.join("tm", 2);
    const jobs = [plane.submit(pair("one", 1)), plane.submit(pair("other", 1))];
    expect(jobs.map((job) => state(plane, job))).toEqual(["RUNNING", "RUNNING"]);
    const { taskManagers } = plane.dispatcher.overview();
    expect(taskManagers[0]!.slots.map(({ slot, jobName, tasks }) => [slot, jobName, tasks.length])).toEqual([
      [0, "one", 2],
      [1, "other", 2],
    ]);
  });

  test("small jobs that keep coming don't starve a large one", () => {
    const plane = new ControlPlane({ "slot.request.timeout": "100 s" });
    plane.join("tm", 2);
    let small = plane.submit(pair("small", 1));
    const large = plane.submit(pair("large", 2));
    for (let round = 0; round < 20 && state(plane, large) === "WAITING"; round++) {
      plane.pass(4_000);
      const next = plane.submit(pair("small", 1));
      if (state(plane, small) === "RUNNING") plane.reportAll(small, "FINISHED");
      small = next;
    }
    expect(state(plane, large)).toBe("RUNNING");
  });
});

describe("cancelling", () => {
  test("a job that waits is canceled at once", () => {
    const plane = new ControlPlane();
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.cancel(job));
    expect(plane.details(job)).toMatchObject({ state: "CANCELED", tasks: { CANCELED: 2 } });
  });

  test("a running job is canceled when its last task has ended, whatever that task's end was", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1, { obeys: false });
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.cancel(job));
    expect(plane.details(job)).toMatchObject({ state: "CANCELLING", tasks: { CANCELING: 2 } });
    plane.report(job, "source", 0, "FINISHED");
    plane.report(job, "sink", 0, "FAILED", boom);
    expect(plane.details(job).state).toBe("CANCELED");
    expect(plane.details(job).failure).toBeUndefined();
  });

  test("a job that is being deployed is canceled", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1, { starts: false });
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.cancel(job));
    expect(state(plane, job)).toBe("CANCELED");
    expect(free(plane)).toBe(1);
  });

  test("tasks are told again, and declared lost when they stay silent long after their TaskManager should have ended them", () => {
    const plane = new ControlPlane({ "task.cancellation.timeout": "3 s" });
    plane.join("tm", 1, { obeys: false });
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.cancel(job));
    plane.pass(12_000);
    expect(state(plane, job)).toBe("CANCELLING");
    expect(plane.did("cancel").length).toBeGreaterThan(3);
    plane.pass(4_000);
    expect(plane.details(job)).toMatchObject({ state: "CANCELED", tasks: { FAILED: 2 } });
    expect(plane.details(job).executions[0]!.error!.message).toMatch(/did not report its end within/);
  });

  test("cancelling what has ended does nothing; cancelling what never was is an error", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.reportAll(job, "FINISHED");
    plane.act((dispatcher) => dispatcher.cancel(job));
    expect(state(plane, job)).toBe("FINISHED");
    expect(() => plane.dispatcher.cancel(jobId("nobody"))).toThrow(NotFoundError);
  });
});

describe("failure", () => {
  test("a failed task cancels the others, and the job fails with its reason, place and class", () => {
    const plane = new ControlPlane();
    plane.join("one", 1, { obeys: false });
    plane.join("two", 1, { obeys: false });
    const job = plane.submit(pair("job", 2));
    plane.report(job, "sink", 1, "FAILED", boom);
    expect(state(plane, job)).toBe("FAILING");
    expect(
      plane
        .did("cancel")
        .flatMap(({ executions }) => executions.map(({ vertex: id, subtask }) => `${id}/${subtask}`))
        .sort(),
    ).toEqual(["sink/0", "source/0", "source/1"]);
    // What follows from the failure is not the failure.
    plane.report(job, "source", 0, "FAILED", { ...boom, message: "a channel broke" });
    plane.report(job, "source", 1, "CANCELED");
    plane.report(job, "sink", 0, "FINISHED");
    expect(plane.details(job)).toMatchObject({
      state: "FAILED",
      failure: {
        name: "TypeError",
        message: "Cannot read properties of undefined [sink, subtask 2 of 2, TaskManager two]",
        details: { job, vertex: "sink", subtask: 1, taskManager: "two" },
      },
    });
    expect(free(plane)).toBe(2);
  });

  test("a lost TaskManager fails its tasks and their jobs, and nobody else", () => {
    const plane = new ControlPlane();
    const one = plane.join("one", 1);
    plane.join("two", 1);
    const [first, second] = [plane.submit(pair("first", 1)), plane.submit(pair("second", 1))];
    plane.lose(one, "no heartbeat for 5 s");
    expect(plane.details(first)).toMatchObject({
      state: "FAILED",
      failure: { name: "TaskManagerLostError", message: "TaskManager one (host, pid 7) was lost: no heartbeat for 5 s." },
      tasks: { FAILED: 2 },
    });
    expect(state(plane, second)).toBe("RUNNING");
    expect(plane.dispatcher.overview()).toMatchObject({ slotsTotal: 1, slotsFree: 0 });
  });

  test("a job that loses one of its TaskManagers ends its tasks on the other", () => {
    const plane = new ControlPlane();
    const one = plane.join("one", 1);
    plane.join("two", 1);
    const job = plane.submit(pair("job", 2));
    plane.lose(one);
    expect(plane.details(job)).toMatchObject({ state: "FAILED", tasks: { FAILED: 2, CANCELED: 2 } });
    expect(free(plane)).toBe(1);
  });

  test("a job whose tasks are finished fails when a TaskManager is lost with the rest of its rows", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const job = plane.submit(pair("job", 1, { results: ["out"] }));
    plane.reportAll(job, "FINISHED");
    plane.lose(tm);
    expect(plane.details(job)).toMatchObject({ state: "FAILED", failure: { name: "TaskManagerLostError" } });
  });

  test("a refused deployment fails the job with the refusal", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1, { refuses: new ConfigurationError("no memory for the rings; raise taskmanager.memory.network.size") });
    const job = plane.submit(pair("job", 1));
    expect(plane.details(job)).toMatchObject({
      state: "FAILED",
      failure: { name: "ConfigurationError", message: expect.stringMatching(/network\.size/) },
    });
    expect(free(plane)).toBe(1);
  });

  test("a TaskManager that ends a task by itself fails the job", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.report(job, "source", 0, "CANCELED");
    expect(plane.details(job)).toMatchObject({ state: "FAILED", failure: { name: "TaskManagerLostError" } });
  });

  test("a TaskManager that comes back after a loss gives no slots before it has released what it ran", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.lose(tm);
    plane.join("tm", 1, { releases: false });
    expect(plane.did("release").at(-1)).toMatchObject({ taskManager: "tm", job });
    expect(free(plane)).toBe(0);
    plane.act((dispatcher) => dispatcher.released(tm, job));
    expect(free(plane)).toBe(1);
  });
});

describe("late, repeated and foreign messages", () => {
  test("nothing but progress of a present execution, from where it runs, changes a job", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const other = plane.join("other", 1);
    const job = plane.submit(pair("job", 1));
    const execution = { job, vertex: vertexId("source"), subtask: 0, attempt: 0 };
    const before = plane.details(job);
    const send = (from: typeof tm, change: object, to = "RUNNING"): void =>
      plane.act((dispatcher) => dispatcher.taskState(from, { execution: { ...execution, ...change }, state: to as "RUNNING", atMs: 1 }));
    send(tm, {});
    send(tm, {}, "INITIALIZING");
    send(tm, { attempt: 1 }, "FAILED");
    send(other, {}, "FAILED");
    send(tm, { subtask: 5 }, "FAILED");
    send(tm, { vertex: vertexId("nobody") }, "FAILED");
    send(tm, { job: jobId("nobody") }, "FAILED");
    expect(plane.details(job)).toEqual(before);
    expect(plane.dispatcher.stale).toBe(7);
  });

  test("a task that ended stays ended", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.report(job, "source", 0, "FINISHED");
    plane.report(job, "source", 0, "FAILED", boom);
    plane.report(job, "source", 0, "FINISHED");
    expect(plane.details(job)).toMatchObject({ state: "RUNNING", tasks: { FINISHED: 1, RUNNING: 1 } });
  });

  test("rows of a result from another attempt or another TaskManager are not taken", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const other = plane.join("other", 1);
    const job = plane.submit(pair("job", 1, { results: ["out"] }));
    const channel = { job, name: "out", subtask: 0, attempt: 0, sequence: 0 };
    plane.act((dispatcher) => dispatcher.resultSegments(other, channel, [rows(1)]));
    plane.act((dispatcher) => dispatcher.resultSegments(tm, { ...channel, attempt: 1 }, [rows(1)]));
    plane.act((dispatcher) => dispatcher.openResult("reader", job, "out"));
    plane.act((dispatcher) => dispatcher.grantResult("reader", { ...channel, granted: 5 }));
    expect(plane.told("reader", "resultSegments")).toEqual([]);
  });

  test("a TaskManager that runs tasks of an unknown job is told once to release it", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const subtask = { job: jobId("forgotten"), vertex: vertexId("v0"), subtask: 0, attempt: 0, slot: 0, values: {} };
    for (let round = 0; round < 3; round++) {
      plane.act((dispatcher) => dispatcher.metrics(tm, { taskManager: tm, atMs: 1, process: {}, subtasks: [subtask] }));
    }
    expect(plane.did("release")).toMatchObject([{ taskManager: "tm", job: "forgotten" }]);
  });
});

describe("submitting", () => {
  const submit = (plane: ControlPlane, graph: Parameters<ControlPlane["submit"]>[0]) => () => plane.submit(graph);

  test("graphs that can't run are refused with a reason", () => {
    const plane = new ControlPlane();
    const [a, b] = [vertex("a", 2), vertex("b", 3)];
    expect(submit(plane, graphOf("job", [], []))).toThrow(GraphError);
    expect(submit(plane, graphOf("job", [a, a], []))).toThrow(/two vertices are called a/);
    expect(submit(plane, graphOf("job", [b, a], [edge("a", "b")]))).toThrow(/backwards/);
    expect(submit(plane, graphOf("job", [a, b], [edge("a", "b", "forward")]))).toThrow(/forward, but links 2 with 3/);
    expect(submit(plane, graphOf("job", [a], [edge("a", "c")]))).toThrow(/not there/);
    expect(submit(plane, graphOf("job", [{ ...a, maxParallelism: 1 }], []))).toThrow(/maximal parallelism of 1/);
    expect(submit(plane, graphOf("job", [a], [], { feeds: ["in"] }))).toThrow(GraphError);
    expect(submit(plane, graphOf("job", [vertex("a", 9_000), vertex("b", 9_000)], []))).toThrow(
      /lower its parallelism|maximal parallelism/,
    );
    expect(submit(plane, graphOf("job", [a], [], { options: { "no.such.option": 1 } }))).toThrow(ConfigurationError);
    expect(plane.dispatcher.jobs()).toEqual([]);
  });

  test("code that was damaged on its way is refused", () => {
    const plane = new ControlPlane();
    expect(() => plane.dispatcher.submit("client", { graph: pair("job", 1), code: "0".repeat(64), attached: false }, CODE)).toThrow(
      ProtocolError,
    );
  });

  test("a job with a feed can't be detached, and the error names the cure", () => {
    const plane = new ControlPlane();
    expect(() => plane.submit(pair("job", 1, { feeds: ["clicks"] }))).toThrow(/source "clicks" lives in the client.*[Rr]un it attached/);
  });

  test("code of a running job is served, and there is a bound for all of it", () => {
    const plane = new ControlPlane({}, { codeBytes: CODE.byteLength });
    plane.submit(pair("job", 1));
    expect(plane.dispatcher.code(CODE_DIGEST)).toEqual(CODE);
    expect(() => plane.dispatcher.code("unknown")).toThrow(NotFoundError);
    const other = new TextEncoder().encode("more");
    const digest = "187897ce0afcf20b50ba2b37dca84a951b7046f29ed5ab94f010619f69d6e189";
    expect(() => plane.dispatcher.submit("client", { graph: pair("job", 1), code: digest, attached: false }, other)).toThrow(
      ConfigurationError,
    );
    plane.act((dispatcher) => dispatcher.cancel(jobId("job1")));
    plane.act((dispatcher) => dispatcher.submit("client", { graph: pair("job", 1), code: digest, attached: false }, other));
    expect(plane.dispatcher.code(digest)).toEqual(other);
  });

  test("the oldest ended jobs are forgotten, running ones never", () => {
    const plane = new ControlPlane({}, { jobs: 2 });
    plane.join("tm", 2);
    const running = plane.submit(pair("running", 1));
    const ended = Array.from({ length: 4 }, () => {
      const job = plane.submit(pair("short", 1));
      plane.reportAll(job, "FINISHED");
      return job;
    });
    expect(plane.dispatcher.jobs().map(({ job }) => job)).toEqual([running, ...ended.slice(-2)]);
    expect(() => plane.dispatcher.job(ended[0]!)).toThrow(NotFoundError);
  });
});

describe("attached jobs", () => {
  test("an attached job is cancelled a heartbeat's timeout after its client was lost, a detached one goes on", () => {
    const plane = new ControlPlane({ "heartbeat.timeout": "3 s" });
    plane.join("tm", 2);
    const [attached, detached] = [plane.submit(pair("attached", 1), { attached: true }), plane.submit(pair("detached", 1))];
    plane.act((dispatcher) => dispatcher.clientLost("client"));
    plane.pass(2_900);
    expect(state(plane, attached)).toBe("RUNNING");
    plane.pass(200);
    expect([state(plane, attached), state(plane, detached)]).toEqual(["CANCELED", "RUNNING"]);
  });

  test("a client that is back in time keeps its job", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1), { attached: true });
    plane.act((dispatcher) => dispatcher.clientLost("client"));
    plane.pass(1_000);
    plane.act((dispatcher) => dispatcher.clientConnected("client"));
    plane.pass(60_000);
    expect(state(plane, job)).toBe("RUNNING");
  });
});

describe("watching", () => {
  test("who watches a job is told its state at once and after every change, changes in a burst together", () => {
    const plane = new ControlPlane();
    plane.join("tm", 2, { starts: false });
    const job = plane.submit(pair("job", 2));
    plane.act((dispatcher) => dispatcher.watchJob("me", job, ["status"]));
    expect(plane.told("me", "jobStatus")).toHaveLength(1);
    plane.pass(1_000);
    const before = plane.told("me", "jobStatus").length;
    plane.reportAll(job, "INITIALIZING");
    expect(plane.told("me", "jobStatus")).toHaveLength(before + 1);
    plane.pass(1_000);
    expect(plane.told("me", "jobStatus")).toHaveLength(before + 2);
    expect(plane.told("me", "jobStatus").at(-1)!.message.tasks).toEqual({ INITIALIZING: 4 });
  });

  test("the end of a job is told at once", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.watchJob("me", job, ["status"]));
    plane.reportAll(job, "FINISHED");
    expect(plane.told("me", "jobStatus").at(-1)!.message.state).toBe("FINISHED");
  });

  test("metrics and log lines reach their watchers only, and are kept up to a bound for who comes later", () => {
    const plane = new ControlPlane({ "metrics.history": 10 });
    const tm = plane.join("tm", 1);
    const job = plane.submit(pair("job", 1));
    plane.act((dispatcher) => dispatcher.watchJob("me", job, ["metrics"]));
    const subtask = { job, vertex: vertexId("source"), subtask: 0, attempt: 0, slot: 0, values: { numRecordsOut: 1 } };
    for (let atMs = 0; atMs < 100; atMs++) {
      plane.act((dispatcher) => dispatcher.metrics(tm, { taskManager: tm, atMs, process: { cpu: 1 }, subtasks: [subtask] }));
      plane.act((dispatcher) =>
        dispatcher.log(tm, [{ job, vertex: vertexId("source"), subtask: 0, level: "log", text: `line ${atMs}`, atMs }]),
      );
    }
    expect(plane.told("me", "jobMetrics")).toHaveLength(100);
    expect(plane.told("me", "jobLog")).toEqual([]);
    const kept = plane.dispatcher.metricsHistory(job);
    expect(kept.length).toBeGreaterThanOrEqual(10);
    expect(kept.length).toBeLessThanOrEqual(13);
    expect(kept.at(-1)!.atMs).toBe(99);
    plane.act((dispatcher) => dispatcher.watchJob("late", job, ["log"]));
    expect(plane.told("late", "jobLog").flatMap(({ message }) => message.lines)).toHaveLength(100);
    plane.act((dispatcher) => dispatcher.watchJob("late", job, ["log"]));
    expect(plane.told("late", "jobLog")).toHaveLength(1);
  });

  test("the cluster is told at most every 100 ms, and nobody who left is told anything", () => {
    const plane = new ControlPlane();
    plane.act((dispatcher) => dispatcher.watchCluster("me", true));
    plane.pass(1_000);
    const before = plane.told("me", "cluster").length;
    for (let index = 0; index < 10; index++) plane.join(`tm${index}`, 1);
    plane.pass(1_000);
    expect(plane.told("me", "cluster").length - before).toBe(2);
    expect(plane.told("me", "cluster").at(-1)!.message).toMatchObject({ slotsTotal: 10, slotsFree: 10 });
    plane.act((dispatcher) => dispatcher.clientLost("me"));
    plane.join("late", 1);
    plane.pass(1_000);
    expect(plane.told("me", "cluster").length - before).toBe(2);
  });
});

describe("results and feeds", () => {
  test("a task is granted room at once, and a reader's grants open more of it", () => {
    const plane = new ControlPlane({ "execution.results.buffer-size": "2 mb" });
    const tm = plane.join("tm", 1);
    const job = plane.submit(pair("job", 1, { results: ["out"] }));
    const [granted] = plane.did("grantResult");
    expect(granted).toMatchObject({ taskManager: tm, grant: { job, name: "out", subtask: 0, attempt: 0 } });
    expect(granted!.grant.granted).toBeGreaterThan(10);
    const segments = Array.from({ length: granted!.grant.granted }, () => rows(10, 128 * 1024));
    plane.act((dispatcher) => dispatcher.resultSegments(tm, { job, name: "out", subtask: 0, attempt: 0, sequence: 0 }, segments));
    const before = Math.max(...plane.did("grantResult").map(({ grant }) => grant.granted));
    expect(before).toBe(granted!.grant.granted);
    plane.act((dispatcher) => dispatcher.openResult("me", job, "out"));
    plane.act((dispatcher) => dispatcher.grantResult("me", { job, name: "out", subtask: 0, attempt: 0, granted: 8 }));
    expect(Math.max(...plane.did("grantResult").map(({ grant }) => grant.granted))).toBe(before + 8);
  });

  test("a reader that vanished makes room for another", () => {
    const plane = new ControlPlane();
    plane.join("tm", 1);
    const job = plane.submit(pair("job", 1, { results: ["out"] }));
    plane.act((dispatcher) => dispatcher.openResult("one", job, "out"));
    expect(() => plane.dispatcher.openResult("two", job, "out")).toThrow(/another client/);
    plane.act((dispatcher) => dispatcher.clientLost("one"));
    plane.act((dispatcher) => dispatcher.openResult("two", job, "out"));
    expect(() => plane.dispatcher.openResult("two", job, "in")).toThrow(/no result "in"; it has "out"/);
  });

  test("a full result fails the job when it is told to", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const job = plane.submit(
      pair("job", 1, { results: ["out"], options: { "execution.results.overflow": "fail", "execution.results.buffer-size": 1024 } }),
    );
    for (let sequence = 0; sequence < 3; sequence++) {
      plane.act((dispatcher) =>
        dispatcher.resultSegments(tm, { job, name: "out", subtask: 0, attempt: 0, sequence }, [rows(1, 128 * 1024)]),
      );
    }
    expect(plane.details(job)).toMatchObject({ state: "FAILED", failure: { message: expect.stringMatching(/result "out" of job "job"/) } });
  });

  test("who reads a result that dropped rows finds that in the job's log", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const job = plane.submit(
      pair("job", 1, { results: ["out"], options: { "execution.results.overflow": "drop-oldest", "execution.results.buffer-size": 1024 } }),
    );
    for (let sequence = 0; sequence < 3; sequence++) {
      plane.act((dispatcher) =>
        dispatcher.resultSegments(tm, { job, name: "out", subtask: 0, attempt: 0, sequence }, [rows(7, 100 * 1024)]),
      );
    }
    plane.act((dispatcher) => dispatcher.openResult("me", job, "out"));
    plane.act((dispatcher) => dispatcher.watchJob("me", job, ["log"]));
    expect(plane.told("me", "jobLog").flatMap(({ message }) => message.lines)).toMatchObject([
      { level: "warn", text: expect.stringMatching(/were dropped, 14 so far/) },
    ]);
    expect(state(plane, job)).toBe("RUNNING");
  });

  test("rows of a feed go from its client to its task, as far as the task granted", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 1);
    const job = plane.submit(pair("job", 1, { feeds: ["in"] }), { attached: true });
    const channel = { job, name: "in", subtask: 0, attempt: 0 };
    plane.act((dispatcher) => dispatcher.grantFeed(tm, { ...channel, granted: 2 }));
    expect(plane.told("client", "grantFeed")).toMatchObject([{ message: { granted: 2 } }]);
    plane.act((dispatcher) => dispatcher.feedSegments("client", { ...channel, sequence: 0 }, [rows(1), rows(2)]));
    plane.act((dispatcher) => dispatcher.feedSegments("stranger", { ...channel, sequence: 2 }, [rows(1)]));
    expect(plane.did("feed")).toMatchObject([{ taskManager: tm, message: { sequence: 0 }, segments: [{}, {}] }]);
    plane.act((dispatcher) => dispatcher.feedSegments("client", { ...channel, sequence: 2 }, [rows(3)]));
    expect(plane.details(job)).toMatchObject({ state: "FAILED", failure: { name: "ProtocolError" } });
  });
});

describe("the end of the JobManager", () => {
  test("it cancels all jobs, takes no more, and is idle when all slots are free", () => {
    const plane = new ControlPlane();
    const tm = plane.join("tm", 2, { obeys: false });
    const [running, waiting] = [plane.submit(pair("running", 2)), plane.submit(pair("waiting", 2))];
    plane.act((dispatcher) => dispatcher.close("test"));
    expect([state(plane, running), state(plane, waiting), plane.dispatcher.isIdle]).toEqual(["CANCELLING", "CANCELED", false]);
    expect(() => plane.submit(pair("late", 1))).toThrow(ConnectionError);
    plane.reportAll(running, "CANCELED");
    expect(plane.dispatcher.isIdle).toBe(true);
    plane.act((dispatcher) => dispatcher.dismissTaskManagers("test"));
    expect(plane.did("dismiss")).toMatchObject([{ taskManager: tm }]);
  });
});
