/**
 * A JobManager as a process, and around it TaskManagers and clients that are the test's own: real sockets, but nothing is run.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path, { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import type { CheckpointOverview, JobDetails, JobState } from "../../../src/core/graph/job-status.ts";
import { GraphError, NotFoundError, ProtocolError } from "../../../src/core/types/errors.ts";
import { type JobId, taskManagerId } from "../../../src/core/types/ids.ts";
import type { ClusterOverview } from "../../../src/cluster/protocol/cluster-overview.ts";
import type { Handlers } from "../../../src/cluster/protocol/conversation.ts";
import {
  type ChannelGrant,
  type ChannelSegments,
  type ClientConversation,
  type ClientEvents,
  type ExecutionAddress,
  type RegistrationConversation,
  type TaskDeployment,
  type TaskManagerConversation,
  clientConversation,
  clientEvents,
  registrationConversation,
  taskManagerConversation,
} from "../../../src/cluster/protocol/messages.ts";
import { FileStorage } from "../../../src/cluster/storage/file-storage.ts";
import { loadManifest } from "../../../src/cluster/storage/manifest.ts";
import { RpcClient } from "../../../src/cluster/protocol/rpc.ts";
import { CODE, CODE_DIGEST, END, pair, rows } from "./graphs.ts";

const entry = fileURLToPath(new URL("../../../dist/cluster/jobmanager/main.js", import.meta.url));
const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Waits until something holds. */
async function until(what: string, holds: () => boolean, deadlineMs = 30_000): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!holds()) {
    if (performance.now() > endMs) throw new Error(`did not happen within ${deadlineMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

interface RunningJobManager {
  readonly process: ChildProcess;
  readonly address: string;
  readonly exited: Promise<unknown>;
}

async function startJobManager(...flags: readonly string[]): Promise<RunningJobManager> {
  const process = fork(entry, ["--owned", "-Dheartbeat.interval=200 ms", "-Dheartbeat.timeout=4 s", ...flags], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: [],
  });
  const exited = once(process, "exit");
  let output = "";
  for (const stream of [process.stdout!, process.stderr!]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [message] = (await Promise.race([
    once(process, "message"),
    exited.then(() => Promise.reject(new Error(`it ended: ${output}`))),
  ])) as [{ ready: string }];
  expect(output).toContain(`JobManager ready at ${message.ready}\n`);
  cleanups.push(async () => {
    // Gently, so that it removes its folder.
    if (process.connected) process.disconnect();
    const killing = setTimeout(() => process.kill("SIGKILL"), 10_000);
    await exited;
    clearTimeout(killing);
  });
  return { process, address: message.ready, exited };
}

const heartbeat = { intervalMs: 200, timeoutMs: 4_000 };
const wire = { heartbeat, connectDeadlineMs: 10_000 };

/** A TaskManager that says that its tasks run, and ends them when they are cancelled. */
class FakeTaskManager {
  readonly deployed: TaskDeployment[] = [];
  readonly released: JobId[] = [];
  readonly grants: ChannelGrant[] = [];
  readonly completed: number[] = [];
  readonly folders: string[] = [];
  readonly fed: { readonly message: ChannelSegments; readonly segments: readonly Uint8Array[] }[] = [];
  shutdown: string | undefined;
  readonly client: RpcClient<RegistrationConversation, TaskManagerConversation>;
  readonly name: string;

  constructor(name: string, address: string) {
    this.name = name;
    const handlers: Handlers<TaskManagerConversation, unknown> = {
      deploy: ({ tasks }) => {
        this.deployed.push(...tasks);
        void this.reportAll(
          tasks.map(({ execution }) => execution),
          "RUNNING",
        );
      },
      cancel: ({ executions }) => void this.reportAll(executions, "CANCELED"),
      releaseJob: ({ job }) => void this.released.push(job),
      queryState: () => ({ declared: false, found: false }),
      profile: ({ execution }) => ({ ...execution, name: execution.vertex, durationMs: 1, samples: 0, frames: [] }),
      grantResult: (grant) => void this.grants.push(grant),
      feedSegments: (message, _, segments) => void this.fed.push({ message, segments }),
      triggerCheckpoint: ({ trigger: { checkpoint }, folder }) => void this.acknowledge(checkpoint, folder),
      checkpointCompleted: ({ checkpoint }) => void this.completed.push(checkpoint),
      checkpointAborted: () => undefined,
      limitWatermarks: () => undefined,
      shutdown: ({ reason }) => void (this.shutdown = reason),
    };
    this.client = new RpcClient({
      address,
      identity: name,
      incarnation: `${name}-${process.pid}`,
      served: taskManagerConversation,
      handlers,
      called: registrationConversation,
      ...wire,
    });
    cleanups.push(() => this.client.close());
  }

  async join(slots: number): Promise<void> {
    await this.client.connect();
    const answer = await this.client.call("register", {
      taskManager: taskManagerId(this.name),
      slots,
      dataAddress: `ipc:///${this.name}`,
      host: "here",
      pid: process.pid,
      slotHeapBytes: 1,
      version: "0",
    });
    expect(answer).toEqual({ heartbeatIntervalMs: 200, heartbeatTimeoutMs: 4_000 });
  }

  /** Acknowledges a checkpoint for all tasks that were deployed here, with nothing in it. */
  async acknowledge(checkpoint: number, folder: string): Promise<void> {
    this.folders.push(folder);
    const ack = {
      checkpoint, operators: [], bytes: 7, writtenBytes: 7, startDelayMs: 0, alignmentMs: 0, syncMs: 0, asyncMs: 0, channelBytes: 0,
    };
    for (const { execution } of this.deployed) await this.client.call("acknowledgeCheckpoint", { execution, ack });
  }

  async reportAll(executions: readonly ExecutionAddress[], state: "RUNNING" | "CANCELED" | "FINISHED"): Promise<void> {
    for (const execution of executions) await this.client.call("taskState", { execution, state, atMs: Date.now() });
  }
}

/** A program. */
class FakeClient {
  readonly statuses: JobDetails[] = [];
  readonly overviews: ClusterOverview[] = [];
  checkpoints: CheckpointOverview | undefined;
  readonly segments: Uint8Array[] = [];
  readonly feedGrants: ChannelGrant[] = [];
  readonly rpc: RpcClient<ClientConversation, ClientEvents>;

  constructor(name: string, address: string) {
    const handlers: Handlers<ClientEvents, unknown> = {
      jobStatus: (details) => void this.statuses.push(details),
      jobMetrics: () => undefined,
      jobCheckpoints: (overview) => void (this.checkpoints = overview),
      jobLog: () => undefined,
      cluster: (overview) => void this.overviews.push(overview),
      resultSegments: (_message, _, segments) => void this.segments.push(...segments),
      grantFeed: (grant) => void this.feedGrants.push(grant),
    };
    this.rpc = new RpcClient({
      address,
      identity: name,
      incarnation: `${name}-${process.pid}`,
      served: clientEvents,
      handlers,
      called: clientConversation,
      ...wire,
    });
    cleanups.push(() => this.rpc.close());
  }

  async hello(): Promise<this> {
    await this.rpc.connect();
    await this.rpc.call("hello", { version: "0" });
    return this;
  }

  async submit(graph: ReturnType<typeof pair>, attached = false): Promise<JobId> {
    return (await this.rpc.call("submit", { graph, code: CODE_DIGEST, attached }, { attachments: [CODE] })).job;
  }

  async reaches(job: JobId, state: JobState): Promise<void> {
    await until(`job ${job} is ${state}`, () => this.statuses.some((details) => details.job === job && details.state === state));
  }
}

describe("a JobManager over sockets", () => {
  test("a job is submitted, waits, is deployed with its code, runs, gives its rows and ends", async () => {
    const { address } = await startJobManager();
    const client = await new FakeClient("client", address).hello();
    const job = await client.submit(pair("rides", 2, { results: ["out"] }));
    await client.rpc.call("watchJob", { job, topics: ["status"] });
    await until("it waits", () =>
      client.statuses.some(({ waitingFor }) => waitingFor === "needs 2 slots, 0 are free of 0 on 0 TaskManagers"),
    );
    const [one, two] = [new FakeTaskManager("one", address), new FakeTaskManager("two", address)];
    await one.join(1);
    await two.join(1);
    await client.reaches(job, "RUNNING");
    expect([one, two].map(({ deployed }) => deployed.map(({ vertex: { name }, execution }) => `${name} ${execution.subtask}`))).toEqual([
      ["source 0", "sink 0"],
      ["source 1", "sink 1"],
    ]);
    expect(one.deployed[0]!.outputs[0]!.channels[1]!.peer).toEqual({ taskManager: "two", address: "ipc:///two" });
    const { attachments } = await one.client.callForAttachments("fetchCode", { code: CODE_DIGEST });
    expect(Buffer.from(attachments[0]!)).toEqual(Buffer.from(CODE));

    expect(await client.rpc.call("openResult", { job, name: "out" })).toEqual({ subtasks: 2, skip: [0, 0], from: [0, 0] });
    for (const subtask of [0, 1]) client.rpc.notify("grantResult", { job, name: "out", subtask, attempt: 0, granted: 8 });
    for (const [subtask, taskManager] of [one, two].entries()) {
      await until("the task may send", () => taskManager.grants.length > 0);
      taskManager.client.notify("resultSegments", { job, name: "out", subtask, attempt: 0, sequence: 0 }, [rows(5, 1_000, subtask), END]);
      await taskManager.reportAll(
        taskManager.deployed.map(({ execution }) => execution),
        "FINISHED",
      );
    }
    await client.reaches(job, "FINISHED");
    expect(client.segments.map((segment) => segment.byteLength).sort()).toEqual([1_000, 1_000, 32, 32]);
    await until("the job is released", () => one.released.includes(job) && two.released.includes(job));
    await client.rpc.call("watchCluster", { on: true });
    await until("the slots are free", () => client.overviews.at(-1)?.slotsFree === 2);
    expect(client.overviews.at(-1)).toMatchObject({ address, slotsTotal: 2, jobs: [{ job, state: "FINISHED" }] });
  });

  test("a TaskManager that vanishes fails its job without waiting for the heartbeat timeout", async () => {
    const { address } = await startJobManager("-Dheartbeat.timeout=10 min");
    const client = await new FakeClient("client", address).hello();
    await client.rpc.call("watchCluster", { on: true });
    const child = fork(fileURLToPath(new URL("task-manager-process.mjs", import.meta.url)), [address], { execArgv: [] });
    cleanups.push(async () => child.kill("SIGKILL"));
    await until("it has joined", () => client.overviews.at(-1)?.slotsTotal === 1);
    const job = await client.submit(pair("rides", 1));
    await client.rpc.call("watchJob", { job, topics: ["status"] });
    await client.reaches(job, "RUNNING");
    child.kill("SIGKILL");
    await client.reaches(job, "FAILED");
    expect(client.statuses.at(-1)!.failure).toMatchObject({
      name: "TaskManagerLostError",
      message: expect.stringMatching(/^TaskManager victim \(.*\) was lost: connection lost\.$/),
    });
  });

  test("a checkpoint exists in its folder when its tasks are told, and a savepoint can be begun with and disposed of", async () => {
    const root = mkdtempSync(path.join(tmpdir(), "drey-jobmanager-"));
    cleanups.push(() => rm(root, { recursive: true, force: true }));
    const { address } = await startJobManager();
    const client = await new FakeClient("client", address).hello();
    const taskManager = new FakeTaskManager("tm", address);
    await taskManager.join(2);
    const job = await client.submit(pair("rides", 1, { options: { "execution.checkpointing.dir": root } }));
    await client.rpc.call("watchJob", { job, topics: ["status", "checkpoints"] });
    await client.reaches(job, "RUNNING");
    expect(await client.rpc.call("triggerCheckpoint", { job })).toEqual({ checkpoint: 1 });
    await until("the task is told", () => taskManager.completed.includes(1));
    expect(taskManager.folders).toEqual([`${root}/${job}/chk-1`]);
    expect(await loadManifest(new FileStorage(`${root}/${job}/chk-1`))).toMatchObject({ job, checkpoint: 1, vertices: [{}, {}] });
    await until("the client is told", () => client.checkpoints?.completed === 1);
    expect(client.checkpoints?.latest).toMatchObject([{ id: 1, state: "COMPLETED", bytes: 14, acknowledged: 2, expected: 2 }]);

    await expect(client.rpc.call("savepoint", { job, target: "nowhere" })).rejects.toThrow(/"nowhere" is no place/);
    const { location } = await client.rpc.call("savepoint", { job, target: `${root}/savepoints` });
    const from = { savepoint: location, allowNonRestoredState: false };
    const request = { graph: pair("rides again", 1), code: CODE_DIGEST, attached: false };
    const next = (await client.rpc.call("submit", { ...request, from })).job;
    await until("it is deployed", () => taskManager.deployed.some(({ execution }) => execution.job === next));
    expect(taskManager.deployed.at(-1)!.restore).toEqual({ checkpoint: 2, folder: location, operators: [] });
    await client.rpc.call("cancel", { job });
    await client.reaches(job, "CANCELED");
    await until("its checkpoints are gone", () => !existsSync(`${root}/${job}`));
    await expect(client.rpc.call("disposeSavepoint", { location })).rejects.toThrow(/can't be removed: job "rides again" .* would go back to it/);
    await client.rpc.call("watchJob", { job: next, topics: ["status"] });
    await client.rpc.call("cancel", { job: next });
    await client.reaches(next, "CANCELED");
    await client.rpc.call("disposeSavepoint", { location });
    await expect(client.rpc.call("submit", { ...request, from })).rejects.toThrow(/no checkpoint or savepoint in/);
  });

  test("an attached job ends with its client, a detached one goes on", async () => {
    const { address } = await startJobManager();
    const taskManager = new FakeTaskManager("tm", address);
    await taskManager.join(2);
    const leaving = await new FakeClient("leaving", address).hello();
    const staying = await new FakeClient("staying", address).hello();
    const [attached, detached] = [await leaving.submit(pair("attached", 1), true), await leaving.submit(pair("detached", 1))];
    await staying.rpc.call("watchJob", { job: attached, topics: ["status"] });
    await staying.reaches(attached, "RUNNING");
    await leaving.rpc.close();
    await staying.reaches(attached, "CANCELED");
    expect((await staying.rpc.call("job", { job: detached })).state).toBe("RUNNING");
  });

  test("rows of a feed travel from the client to the task under its grants", async () => {
    const { address } = await startJobManager();
    const taskManager = new FakeTaskManager("tm", address);
    await taskManager.join(1);
    const client = await new FakeClient("client", address).hello();
    await expect(client.submit(pair("clicks", 1, { feeds: ["in"] }))).rejects.toThrow(GraphError);
    const job = await client.submit(pair("clicks", 1, { feeds: ["in"] }), true);
    const channel = { job, name: "in", subtask: 0, attempt: 0 };
    await until("it is deployed", () => taskManager.deployed.length === 2);
    taskManager.client.notify("grantFeed", { ...channel, granted: 2 });
    await until("the client may send", () => client.feedGrants.at(-1)?.granted === 2);
    client.rpc.notify("feedSegments", { ...channel, sequence: 0 }, [rows(7, 200), END]);
    await until("the task has the rows", () => taskManager.fed.length === 1);
    expect(taskManager.fed[0]!.segments.map((segment) => segment.byteLength)).toEqual([200, 32]);
  });

  test("who has not said who it is gets no answer but that", async () => {
    const { address } = await startJobManager();
    const client = new FakeClient("client", address);
    await client.rpc.connect();
    await expect(client.rpc.call("jobs", {})).rejects.toThrow(ProtocolError);
    await client.rpc.call("hello", { version: "0" });
    await expect(client.rpc.call("job", { job: "nobody" as JobId })).rejects.toThrow(NotFoundError);
    const stranger = new FakeTaskManager("tm", address);
    await stranger.client.connect();
    await expect(stranger.client.call("fetchCode", { code: "x" })).rejects.toThrow(/register first/);
  });
});

describe("high availability", () => {
  test("another JobManager takes up the jobs of one that was killed, from their latest checkpoints", async () => {
    const root = mkdtempSync(path.join(tmpdir(), "drey-ha-"));
    cleanups.push(() => rm(root, { recursive: true, force: true }));
    const address = `ipc://${root}/jobmanager`;
    const flags = [
      `-Djobmanager.rpc.address=${address}`, "-Dhigh-availability.type=filesystem", `-Dhigh-availability.storageDir=${root}/ha`,
      "-Dhigh-availability.lease-timeout=500 ms",
    ];
    const first = await startJobManager(...flags);
    const client = await new FakeClient("client", address).hello();
    const taskManager = new FakeTaskManager("tm", address);
    await taskManager.join(1);
    const job = await client.submit(pair("rides", 1));
    await client.rpc.call("watchJob", { job, topics: ["status"] });
    await client.reaches(job, "RUNNING");
    await client.rpc.call("triggerCheckpoint", { job });
    first.process.kill("SIGKILL");
    await first.exited;

    await startJobManager(...flags);
    const next = await new FakeClient("next", address).hello();
    expect((await next.rpc.call("jobs", {})).jobs).toMatchObject([{ job, name: "rides", state: "WAITING" }]);
    const successor = new FakeTaskManager("successor", address);
    await successor.join(1);
    await next.rpc.call("watchJob", { job, topics: ["status"] });
    await next.reaches(job, "RUNNING");
    expect(successor.deployed[0]).toMatchObject({ restore: { checkpoint: 1, folder: `${root}/ha/default/checkpoints/${job}/chk-1` } });
    const { attachments } = await successor.client.callForAttachments("fetchCode", { code: CODE_DIGEST });
    expect(Buffer.from(attachments[0]!)).toEqual(Buffer.from(CODE));
  });

  test("a leader that is told to end leaves its jobs to a standby, which takes them up at once", async () => {
    const root = mkdtempSync(path.join(tmpdir(), "drey-ha-"));
    cleanups.push(() => rm(root, { recursive: true, force: true }));
    const flags = ["-Dhigh-availability.type=filesystem", `-Dhigh-availability.storageDir=${root}`, "-Dhigh-availability.lease-timeout=1 min"];
    const leader = fork(entry, [...flags, `-Djobmanager.rpc.address=ipc://${root}/one`], { execArgv: [], stdio: "ignore" });
    cleanups.push(async () => leader.kill("SIGKILL"));
    await until("it leads", () => existsSync(`${root}/one`));
    const standby = startJobManager(...flags, `-Djobmanager.rpc.address=ipc://${root}/two`);
    const client = await new FakeClient("client", `ipc://${root}/one`).hello();
    const job = await client.submit(pair("rides", 1));
    // Who asks the standby is sent on to the leader.
    await until("the standby listens", () => existsSync(`${root}/two`));
    const sent = await new FakeClient("sent", `ipc://${root}/two`).hello();
    expect((await sent.rpc.call("jobs", {})).jobs).toMatchObject([{ job }]);
    expect(sent.rpc.dialled).toBe(`ipc://${root}/one`);
    leader.kill("SIGTERM");
    const { address } = await standby;
    const next = await new FakeClient("next", address).hello();
    expect((await next.rpc.call("jobs", {})).jobs).toMatchObject([{ job, state: "WAITING" }]);
  });

  test("a leader that was stopped and overtaken ends when it goes on, and does no harm", async () => {
    const root = mkdtempSync(path.join(tmpdir(), "drey-ha-"));
    cleanups.push(() => rm(root, { recursive: true, force: true }));
    const flags = [
      "-Dhigh-availability.type=filesystem", `-Dhigh-availability.storageDir=${root}`, "-Dhigh-availability.lease-timeout=500 ms",
      "-Dtask.cancellation.timeout=100 ms",
    ];
    const zombie = await startJobManager(...flags, `-Djobmanager.rpc.address=ipc://${root}/one`);
    const client = await new FakeClient("client", zombie.address).hello();
    const taskManager = new FakeTaskManager("tm", zombie.address);
    await taskManager.join(1);
    const job = await client.submit(pair("rides", 1), true);
    await client.rpc.call("watchJob", { job, topics: ["status"] });
    await client.reaches(job, "RUNNING");
    await client.rpc.call("triggerCheckpoint", { job });
    zombie.process.kill("SIGSTOP");
    const successor = await startJobManager(...flags, `-Djobmanager.rpc.address=ipc://${root}/two`);
    // Its client and its TaskManager are gone for it when it goes on: it would cancel the job, and remove its checkpoints.
    await client.rpc.close();
    await taskManager.client.close();
    zombie.process.kill("SIGCONT");
    expect(await zombie.exited).toEqual([1, null]);
    const next = await new FakeClient("client", successor.address).hello();
    expect((await next.rpc.call("jobs", {})).jobs).toMatchObject([{ job }]);
    expect(await loadManifest(new FileStorage(`${root}/default/checkpoints/${job}/chk-1`))).toMatchObject({ job, checkpoint: 1, epoch: 1 });
  });
});

describe("the end of a JobManager", () => {
  test("a signal cancels its jobs, tells its TaskManagers to end, and leaves no file", async () => {
    const { process: jobManager, address, exited } = await startJobManager();
    const folder = dirname(address.slice("ipc://".length));
    expect(existsSync(folder)).toBe(true);
    const taskManager = new FakeTaskManager("tm", address);
    await taskManager.join(1);
    const client = await new FakeClient("client", address).hello();
    const job = await client.submit(pair("job", 1));
    await client.rpc.call("watchJob", { job, topics: ["status"] });
    await client.reaches(job, "RUNNING");
    jobManager.kill("SIGTERM");
    await client.reaches(job, "CANCELED");
    expect(await exited).toEqual([0, null]);
    await until("the TaskManager was told", () => taskManager.shutdown !== undefined);
    expect(taskManager.released).toEqual([job]);
    expect(existsSync(folder)).toBe(false);
  });

  test("a client can end it, and gets its answer", async () => {
    const { address, exited } = await startJobManager();
    const client = await new FakeClient("client", address).hello();
    await client.rpc.call("shutdownCluster", {});
    expect(await exited).toEqual([0, null]);
  });

  test("it ends with the program that owns it", async () => {
    const { process: jobManager, exited } = await startJobManager();
    jobManager.disconnect();
    expect(await exited).toEqual([0, null]);
  });

  test("it refuses an address that strangers could reach, in a sentence", async () => {
    await expect(startJobManager("-Djobmanager.rpc.address=tcp://0.0.0.0:*")).rejects.toThrow(
      /it ended: tcp:\/\/0\.0\.0\.0:\* is reachable from other machines/,
    );
  });
});
