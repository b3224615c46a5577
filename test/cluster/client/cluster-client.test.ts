import { firstValueFrom, lastValueFrom, toArray } from "rxjs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { VERSION } from "../../../src/cluster/protocol/version.ts";
import { ClusterClient } from "../../../src/cluster/client/cluster-client.ts";
import { makeSocketFolder } from "../../../src/cluster/protocol/addresses.ts";
import { JobHandle } from "../../../src/core/api/job-handle.ts";
import type { JobDetails } from "../../../src/core/graph/job-status.ts";
import type { JobControl, SubmitOptions } from "../../../src/core/runtime/executor.ts";
import {
  CaptureError,
  ConfigurationError,
  ConnectionError,
  DeadlineError,
  JobCanceledError,
  JobFailedError,
  NotFoundError,
  ProtocolError,
  UserFunctionError,
  toWire,
} from "../../../src/core/types/errors.ts";
import { Configuration } from "../../../src/core/types/options.ts";
import { jobId } from "../../../src/core/types/ids.ts";
import { type Client, FakeJobManager, JOB, details, graph } from "./fake-job-manager.ts";
import { SegmentWriter } from "./segments.ts";

const deadline = { timeout: 30_000, interval: 10 };
const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function jobManager(...answers: Parameters<FakeJobManager["start"]>): Promise<FakeJobManager> {
  const started = await new FakeJobManager().start(...answers);
  open.push(started);
  return started;
}

async function connected(address: string, options: Parameters<typeof ClusterClient.connect>[1] = {}): Promise<ClusterClient> {
  const client = await ClusterClient.connect(address, options);
  open.push(client);
  return client;
}

const submitOptions = (more: Partial<SubmitOptions> = {}): SubmitOptions => ({ attached: true, feeds: new Map(), classes: [], ...more });
const job = { graph: graph(), tasks: [] };

describe("connecting", () => {
  it("fails with one sentence when nobody answers", async () => {
    const folder = makeSocketFolder();
    await expect(ClusterClient.connect(folder.address("jm"), { connectDeadlineMs: 150 })).rejects.toThrow(ConnectionError);
    await expect(ClusterClient.connect(folder.address("jm"), { connectDeadlineMs: 150 })).rejects.toThrow(
      /no JobManager answers at ipc:.*drey cluster start/,
    );
    folder.remove();
  });

  it("can be given up", async () => {
    const folder = makeSocketFolder();
    const connecting = ClusterClient.connect(folder.address("jm"), { connectDeadlineMs: 60_000, signal: AbortSignal.timeout(50) });
    await expect(connecting).rejects.toThrow(ConnectionError);
    folder.remove();
  });

  it("refuses a JobManager of another version", async () => {
    const { address } = await jobManager({ hello: () => ({ version: "9.9.9", pid: 1 }) });
    await expect(ClusterClient.connect(address)).rejects.toThrow(ProtocolError);
    await expect(ClusterClient.connect(address)).rejects.toThrow("is drey 9.9.9");
  });

  it("every call has a deadline", async () => {
    const { address } = await jobManager({ overview: () => new Promise(() => undefined) });
    const client = await connected(address, { configuration: Configuration.of({ "client.timeout": "50 ms" }) });
    await expect(client.overview()).rejects.toThrow(DeadlineError);
  });

  it("keeps the class of the JobManager's errors", async () => {
    const { address } = await jobManager();
    const client = await connected(address);
    await expect(client.job(jobId("nope"))).rejects.toThrow(NotFoundError);
  });
});

describe("the connection", () => {
  it("ends when nobody waits for anything, and comes back with the next question", async () => {
    const manager = await jobManager();
    const client = await connected(manager.address);
    await vi.waitFor(() => expect(manager.clients.size).toBe(0), deadline);
    await client.jobs();
    expect(manager.connections).toBe(2);
    await vi.waitFor(() => expect(manager.clients.size).toBe(0), deadline);
  });

  it("is held while an attached job runs, and not after its end", async () => {
    const manager = await jobManager();
    const client = await connected(manager.address);
    await client.submit(job, submitOptions());
    await vi.waitFor(() => expect(manager.calls).toContain("watchJob"), deadline);
    // Longer than an idle connection lives.
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect([manager.clients.size, manager.connections]).toEqual([1, 1]);
    manager.tell(details("FINISHED"));
    await vi.waitFor(() => expect(manager.clients.size).toBe(0), deadline);
  });

  it("is not held by a detached job", async () => {
    const manager = await jobManager();
    const client = await connected(manager.address);
    await client.submit(job, submitOptions({ attached: false }));
    await vi.waitFor(() => expect(manager.clients.size).toBe(0), deadline);
    expect(manager.calls).not.toContain("watchJob");
  });

  it("its loss is told to whoever listens or reads", async () => {
    const manager = await new FakeJobManager().start();
    const client = await connected(manager.address);
    const control = await client.submit(job, submitOptions());
    const lost = vi.fn();
    control.watch({ lost });
    const clusterLost = vi.fn();
    client.watchCluster({ overview: () => undefined, lost: clusterLost });
    const reader = await control.openResult("r");
    const next = reader.next();
    next.catch(() => undefined);
    await manager.close();
    await expect(next).rejects.toThrow(ConnectionError);
    await vi.waitFor(() => expect([lost.mock.calls.length, clusterLost.mock.calls.length]).toEqual([1, 1]), deadline);
    expect(lost.mock.calls[0]?.[0]).toBeInstanceOf(ConnectionError);
    expect((lost.mock.calls[0]?.[0] as Error).message).toContain(`the connection to the JobManager at ${manager.address} is lost`);
  });

  it("closing cancels attached jobs and tells whoever waits", async () => {
    const manager = await jobManager();
    const client = await ClusterClient.connect(manager.address);
    const control = await client.submit(job, submitOptions());
    const lost = vi.fn();
    control.watch({ lost });
    await client.close();
    expect(manager.calls).toContain("cancel");
    expect(lost).toHaveBeenCalledTimes(1);
    await expect(client.jobs()).rejects.toThrow("was closed");
  });

  it("closing lets those who look on see the end of attached jobs, and then completes them", async () => {
    const manager: FakeJobManager = await jobManager({ cancel: () => void setImmediate(() => manager.tell(details("CANCELED"))) });
    const client = await ClusterClient.connect(manager.address);
    const states: string[] = [];
    const completed = new Promise<void>((resolve, reject) => {
      void client.submit(job, submitOptions()).then((control) => {
        new JobHandle(control).status$.subscribe({ next: ({ state }) => states.push(state), error: reject, complete: resolve });
        return client.close();
      });
    });
    await completed;
    expect(states.at(-1)).toBe("CANCELED");
  });

  it("closing completes those who look on also when the job does not end in time", async () => {
    const manager = await jobManager();
    const client = await ClusterClient.connect(manager.address);
    const handle = new JobHandle(await client.submit(job, submitOptions()));
    const result = expect(handle.result()).rejects.toThrow("was closed");
    const states = lastValueFrom(handle.status$.pipe(toArray()));
    await client.close();
    expect((await states).map(({ state }) => state)).toEqual(["RUNNING"]);
    await result;
  });
});

describe("a connection that breaks between question and answer", () => {
  const never = (): Promise<never> => new Promise(() => undefined);
  const highlyAvailable = { hello: () => ({ version: VERSION, pid: 1, resumesWithinMs: 30_000 }) };

  /** Asks a leader that says nothing, which another follows. */
  async function askedAcross<T>(
    ask: (client: ClusterClient) => Promise<T>, method: string, answers: Parameters<FakeJobManager["start"]>[0] = {},
  ): Promise<{ readonly answer: Promise<T>; readonly manager: FakeJobManager }> {
    const manager = await jobManager({ ...highlyAvailable, [method]: never });
    const client = await connected(manager.address);
    const answer = ask(client);
    answer.catch(() => undefined);
    await vi.waitFor(() => expect(manager.calls).toContain(method), 20_000);
    await manager.drop();
    await manager.start({ ...highlyAvailable, ...answers });
    return { answer, manager };
  }

  it.each<[string, string, (client: ClusterClient) => Promise<unknown>]>([
    ["jobs", "jobs", (client) => client.jobs()],
    ["overview", "overview", (client) => client.overview()],
    ["job", "job", (client) => client.job(JOB)],
  ])("is made up for where the question is harmless: %s", async (_title, method, ask) => {
    const { answer, manager } = await askedAcross(ask, method);
    await answer;
    expect(manager.calls.filter((it) => it === method)).toHaveLength(2);
  });

  it("is made up for again and again, as leaders come and go", async () => {
    const { answer, manager } = await askedAcross((client) => client.jobs(), "jobs", { jobs: never });
    await vi.waitFor(() => expect(manager.calls.filter((it) => it === "jobs")).toHaveLength(2), 20_000);
    await manager.drop();
    await manager.start(highlyAvailable);
    expect(await answer).toEqual([]);
  });

  it("lets a job be submitted under the same id once more", async () => {
    const ids: unknown[] = [];
    const accepting = (request: { readonly job?: unknown }): { job: typeof JOB } => {
      ids.push(request.job);
      return { job: JOB };
    };
    const manager = await jobManager({ ...highlyAvailable, submit: (request) => (accepting(request), never()) });
    const client = await connected(manager.address);
    const submitted = client.submit(job, submitOptions({ attached: false }));
    await vi.waitFor(() => expect(ids).toHaveLength(1), 20_000);
    await manager.drop();
    await manager.start({ ...highlyAvailable, submit: accepting });
    expect((await submitted).id).toBe(JOB);
    expect(ids).toEqual([expect.stringMatching(/^[0-9a-f]{32}$/), ids[0]]);
  });

  it("begins a result anew whose reading had not begun", async () => {
    const { answer, manager } = await askedAcross(
      async (client) => (await (await client.submit(job, submitOptions())).openResult("r")).next(), "openResult",
    );
    await vi.waitFor(() => expect(manager.calls).toContain("grantResult"), 20_000);
    const [client] = manager.clients;
    client?.notify("resultSegments", { job: JOB, name: "r", subtask: 0, attempt: 0, sequence: 0 }, [new SegmentWriter().rows({ x: 1 })]);
    expect(await answer).toEqual([{ x: 1 }]);
    expect(manager.calls.filter((it) => it === "openResult")).toHaveLength(2);
  });

  // The answer, so many other messages and the farewell arrive in one turn of the loop.
  it.each([0, 1, 2, 3, 4, 5, 6])("right behind the answer does not keep a result from being read (%d messages between)", async (between) => {
    let dropped: Promise<void> = Promise.resolve();
    const manager = await jobManager({
      ...highlyAvailable,
      openResult: () => {
        const answered = Promise.resolve().then(() => Promise.resolve());
        void answered.then(() => {
          for (let i = 0; i < between; i++) manager.tell(details("RUNNING"));
          dropped = manager.drop();
        });
        return { subtasks: 1, skip: [0], from: [0] };
      },
    });
    const client = await connected(manager.address);
    const reading = client.submit(job, submitOptions()).then(async (control) => (await control.openResult("r")).next());
    reading.catch(() => undefined);
    await vi.waitFor(() => expect(manager.calls).toContain("openResult"), 20_000);
    await dropped;
    const before = manager.calls.length;
    await manager.start(highlyAvailable);
    await vi.waitFor(() => expect(manager.calls.slice(before)).toContain("grantResult"), 20_000);
    const [reader] = manager.clients;
    reader?.notify("resultSegments", { job: JOB, name: "r", subtask: 0, attempt: 0, sequence: 0 }, [new SegmentWriter().rows({ x: 1 })]);
    expect(await reading).toEqual([{ x: 1 }]);
  });

  it.each<[string, (control: JobControl) => Promise<unknown> | undefined, RegExp]>([
    ["savepoint", (control) => control.snapshots?.savepoint(), /not known whether the savepoint was taken/],
    ["stopWithSavepoint", (control) => control.snapshots?.stop({ drain: false }), /not known whether the job ends/],
    ["rescale", (control) => control.snapshots?.rescale(2), /not known whether the job is rescaled/],
  ])("is told where the question must not be asked twice: %s", async (method, ask, unknown) => {
    const { answer, manager } = await askedAcross(async (client) => ask(await client.job(JOB)), method);
    await expect(answer).rejects.toThrow(ConnectionError);
    await expect(answer).rejects.toThrow(unknown);
    expect(manager.calls.filter((it) => it === method)).toHaveLength(1);
  });

  it("ends the question when jobs end with their JobManager", async () => {
    const manager = await jobManager({ jobs: never });
    const client = await connected(manager.address);
    const answer = client.jobs();
    answer.catch(() => undefined);
    await vi.waitFor(() => expect(manager.calls).toContain("jobs"), 20_000);
    await manager.drop();
    await expect(answer).rejects.toThrow(/lost before it answered jobs/);
  });
});

describe("a submitted job", () => {
  it("brings its code under its digest", async () => {
    const submitted = vi.fn();
    const manager = await jobManager({
      submit: (request, _, attachments) => {
        submitted(request, attachments);
        return { job: JOB };
      },
    });
    const client = await connected(manager.address);
    const control = await client.submit(job, submitOptions({ attached: false }));
    expect([control.id, control.name]).toEqual([JOB, "test"]);
    expect(submitted.mock.calls[0]?.[0]).toMatchObject({
      graph: { name: "test" },
      attached: false,
      code: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(submitted.mock.calls[0]?.[1]).toHaveLength(1);
  });

  it("with a function that can't travel is not submitted, and the error names operator, function and path", async () => {
    const manager = await jobManager();
    const client = await connected(manager.address);
    const connection = { socket: new Proxy({}, {}) };
    const enrich = (x: number): number => x + Object.keys(connection.socket).length;
    const operators = [{ id: "n1", name: "lookup", spec: { kind: "map", map: enrich }, outputs: [] }];
    const failing = client.submit({ graph: graph(), tasks: [{ operators, edges: [] } as never] }, submitOptions());
    await expect(failing).rejects.toThrow(CaptureError);
    await expect(failing).rejects.toThrow(/^lookup\(enrich\) → connection → socket: captures 'socket' \(a Proxy/);
    await expect(failing).rejects.toMatchObject({ details: { path: ["lookup(enrich)", "connection", "socket"] } });
    expect(manager.calls).not.toContain("submit");
  });

  it("that takes rows from this program can't be detached", async () => {
    const client = await connected((await jobManager()).address);
    await expect(client.submit({ graph: graph(["rides"]), tasks: [] }, submitOptions({ attached: false }))).rejects.toThrow(
      ConfigurationError,
    );
    await expect(client.submit({ graph: graph(["rides"]), tasks: [] }, submitOptions({ attached: false }))).rejects.toThrow(
      "submit it attached",
    );
  });

  it("tells a listener its present state and each change, and nothing after the last", async () => {
    const manager = await jobManager();
    const client = await connected(manager.address);
    const control = await client.submit(job, submitOptions());
    const states: string[] = [];
    control.watch({ status: ({ state }) => states.push(state) });
    await vi.waitFor(() => expect(states).toEqual(["RUNNING"]), deadline);
    manager.tell(details("FINISHED"));
    manager.tell(details("RUNNING"));
    await vi.waitFor(() => expect(states).toEqual(["RUNNING", "FINISHED"]), deadline);
    const late: string[] = [];
    control.watch({ status: ({ state }) => late.push(state) });
    await vi.waitFor(() => expect(late).toEqual(["FINISHED"]), deadline);
    expect(states).toEqual(["RUNNING", "FINISHED"]);
  });

  it("asks for metrics and logs only when somebody wants them", async () => {
    const watched: string[][] = [];
    const manager = await jobManager({ watchJob: ({ topics }) => void watched.push([...topics].sort()) });
    const client = await connected(manager.address);
    const control = await client.submit(job, submitOptions());
    control.watch({ log: () => undefined });
    control.watch({ log: () => undefined });
    // In one call: the end must not be heard before the lines that were said before it.
    await vi.waitFor(() => expect(watched).toEqual([["log", "status"]]), deadline);
    const stop = control.watch({ metrics: () => undefined });
    await vi.waitFor(() => expect(watched.at(-1)).toEqual(["log", "metrics", "status"]), deadline);
    stop();
  });

  it("whose feed fails is cancelled, and fails with the feed's error for this program", async () => {
    const told: JobDetails[] = [];
    const manager: FakeJobManager = await jobManager({
      cancel: (_, peer: Client) => manager.tell(details("CANCELED"), peer),
      watchJob: (_, peer: Client) => {
        manager.tell(details("RUNNING"), peer);
        peer.notify("grantFeed", { job: JOB, name: "rides", subtask: 0, attempt: 0, granted: 4 });
      },
    });
    const client = await connected(manager.address);
    const feed = { next: async () => Promise.reject(new RangeError("the source broke")), close: vi.fn() };
    const control = await client.submit({ graph: graph(["rides"]), tasks: [] }, submitOptions({ feeds: new Map([["rides", feed]]) }));
    control.watch({ status: (status) => told.push(status) });
    await vi.waitFor(() =>
      expect(told.at(-1)).toMatchObject({ state: "FAILED", failure: { name: "RangeError", message: "the source broke" } }), deadline,
    );
    expect(feed.close).toHaveBeenCalledTimes(1);
  });
});

describe("the rows of a job", () => {
  /** A job whose result sends the given segments to whoever opens it. */
  async function resultOf(segments: (writer: SegmentWriter) => Uint8Array[]) {
    const manager = await jobManager({
      grantResult: ({ granted, subtask, attempt, name }, peer) => {
        if (granted === 8) peer.notify("resultSegments", { job: JOB, name, subtask, attempt, sequence: 0 }, segments(new SegmentWriter()));
      },
    });
    const client = await connected(manager.address);
    const control = await client.job(JOB);
    return { manager, control, reader: await control.openResult("r") };
  }

  it("arrive, and the connection ends after the last one", async () => {
    const { manager, reader } = await resultOf((writer) => [writer.rows({ a: 1 }), writer.rows({ a: 2 }), writer.end()]);
    expect([await reader.next(), await reader.next(), await reader.next()]).toEqual([[{ a: 1 }], [{ a: 2 }], null]);
    manager.tell(details("FINISHED"));
    await vi.waitFor(() => expect(manager.clients.size).toBe(0), deadline);
  });

  it("end with the job's failure, whose cause is the user's error", async () => {
    const { manager, reader } = await resultOf((writer) => [writer.rows({ a: 1 })]);
    expect(await reader.next()).toEqual([{ a: 1 }]);
    const cause = new UserFunctionError('"map" threw TypeError: boom at job.ts:3:1', { details: { line: 3 } });
    manager.tell(details("FAILED", { failure: toWire(cause) }));
    const failing = reader.next();
    await expect(failing).rejects.toThrow(JobFailedError);
    await expect(failing).rejects.toMatchObject({
      cause: { name: "UserFunctionError", details: { line: 3 } },
      message: expect.stringContaining("job.ts:3:1"),
    });
  });

  it("end with JobCanceledError when the job is cancelled", async () => {
    const { manager, reader } = await resultOf(() => []);
    const next = reader.next();
    next.catch(() => undefined);
    manager.tell(details("CANCELED"));
    await expect(next).rejects.toThrow(JobCanceledError);
  });

  it("can be left unread", async () => {
    const { manager, reader } = await resultOf((writer) => [writer.rows(1)]);
    await reader.next();
    reader.close();
    await vi.waitFor(() => expect(manager.calls).toContain("closeResult"), deadline);
    expect(await reader.next()).toBeNull();
  });
});

describe("checkpoints", () => {
  it("are asked for and told of by the job's handle", async () => {
    const asked: unknown[] = [];
    const overview = { job: JOB, completed: 3, failed: 0, inProgress: 1, restored: 0, latest: [] };
    const manager: FakeJobManager = await jobManager({
      checkpoints: () => overview,
      triggerCheckpoint: () => ({ checkpoint: 4 }),
      savepoint: (request) => (asked.push(request), { location: "/there/savepoint-1" }),
      stopWithSavepoint: (request) => (asked.push(request), { location: "/there/savepoint-2" }),
      rescale: (request) => void asked.push(request),
      watchJob: ({ topics }, peer) => {
        manager.tell(details("RUNNING"), peer);
        if (topics.includes("checkpoints")) peer.notify("jobCheckpoints", overview);
      },
    });
    const client = await connected(manager.address);
    const handle = await client.attach(JOB);
    expect(await handle.checkpoints()).toEqual(overview);
    expect(await handle.checkpoint()).toBe(4);
    expect(await handle.savepoint()).toBe("/there/savepoint-1");
    expect(await handle.savepoint("mine")).toBe("/there/savepoint-1");
    expect(await handle.stopWithSavepoint({ drain: true, folder: "/x" })).toBe("/there/savepoint-2");
    await handle.rescale(3);
    await expect(handle.rescale(0)).rejects.toThrow(/rescale\(\) got 0; give an integer ≥ 1/);
    expect(asked).toEqual([
      { job: JOB },
      { job: JOB, target: `${process.cwd()}/mine` },
      { job: JOB, drain: true, target: "/x" },
      { job: JOB, parallelism: 3 },
    ]);
    expect(await firstValueFrom(handle.checkpoints$)).toEqual(overview);
  });

  it("go with a submission as the place where the job begins", async () => {
    let from: unknown;
    const manager = await jobManager({ submit: (request) => ((from = request.from), { job: JOB }) });
    const client = await connected(manager.address);
    await client.submit(job, submitOptions({ from: { savepoint: "/there", allowNonRestoredState: true } }));
    expect(from).toEqual({ savepoint: "/there", allowNonRestoredState: true });
  });
});
