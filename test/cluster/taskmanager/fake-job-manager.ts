/**
 * A JobManager for the tests of this folder: real sockets, real TaskManager processes (of the built package), and no will of its own. It
 * deploys what a test says where the test says, acknowledges everything, and keeps all that it hears.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { type SocketFolder, makeSocketFolder } from "../../../src/cluster/protocol/addresses.ts";
import { ReplyWithAttachments, type RequestOf } from "../../../src/cluster/protocol/conversation.ts";
import {
  type ChannelGrant,
  type ExecutionAddress,
  type Registration,
  type RegistrationConversation,
  type TaskDeployment,
  type TaskManagerConversation,
  type TaskStateChange,
  registrationConversation,
  taskManagerConversation,
} from "../../../src/cluster/protocol/messages.ts";
import { type Peer, RpcServer } from "../../../src/cluster/protocol/rpc.ts";
import { bundleDigest, encodeBundle } from "../../../src/cluster/code/bundle.ts";
import { captureJob } from "../../../src/cluster/client/job-code.ts";
import { Environment, type EnvironmentOptions } from "../../../src/core/api/environment.ts";
import { ClassRegistry } from "../../../src/core/data/classes.ts";
import { SEGMENT_HEADER_BYTES, SegmentKind, segmentMemory, writeSegmentHeader } from "../../../src/core/data/element.ts";
import { type CompiledJob, targetsOf } from "../../../src/core/graph/job-graph.ts";
import type { LogLine, MetricsReport, TaskState } from "../../../src/core/graph/job-status.ts";
import { ResultDecoder } from "../../../src/core/runtime/client-channel.ts";
import { type JobId, type VertexId, newJobId } from "../../../src/core/types/ids.ts";

const entry = fileURLToPath(new URL("../../../dist/cluster/taskmanager/main.js", import.meta.url));
/** More than any test reads. */
const PLENTY = 1_000_000;

/** Waits for a condition; fails after `deadlineMs`. */
export async function until(condition: () => boolean, deadlineMs = 30_000, what: () => string = () => condition.toString()): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface Member {
  readonly process: ChildProcess;
  readonly id: string;
  readonly registration: Registration;
  readonly peer: Peer<TaskManagerConversation>;
  readonly output: () => string;
}

/** Where a subtask goes: position of the TaskManager, and its slot. */
export type Placement = (vertex: number, subtask: number) => { readonly taskManager: number; readonly slot: number };

/** One deployed job. */
export interface DeployedJob {
  readonly id: JobId;
  readonly job: CompiledJob;
  readonly executions: readonly (ExecutionAddress & { readonly member: Member })[];
}

const noReason = (): void => {};

export class FakeJobManager {
  readonly folder: SocketFolder;
  readonly states: TaskStateChange[] = [];
  readonly logs: LogLine[] = [];
  readonly metrics: MetricsReport[] = [];
  readonly grants: ChannelGrant[] = [];
  readonly members: Member[] = [];
  readonly lost: string[] = [];
  /** How often each code was fetched. */
  readonly fetched = new Map<string, number>();
  readonly segments = new Map<string, { readonly segments: Uint8Array[]; next: number }>();
  readonly #registrations = new Map<string, { registration: Registration; peer: Peer<TaskManagerConversation> }>();
  readonly #codes = new Map<string, Uint8Array>();
  readonly #processes: ChildProcess[] = [];
  #server: RpcServer<RegistrationConversation, TaskManagerConversation> | undefined;
  address = "";
  /** So many state reports are not answered. */
  refuseStates = 0;
  /** Answers with other code than was asked for. */
  spoilCode = false;
  readonly acknowledged: RequestOf<RegistrationConversation, "acknowledgeCheckpoint">[] = [];
  readonly declined: RequestOf<RegistrationConversation, "declineCheckpoint">[] = [];

  constructor(folder: SocketFolder = makeSocketFolder()) {
    this.folder = folder;
  }

  async start(): Promise<this> {
    this.#server = new RpcServer<RegistrationConversation, TaskManagerConversation>({
      address: this.folder.address("jm"),
      epoch: 1,
      served: registrationConversation,
      called: taskManagerConversation,
      peerName: "TaskManager",
      heartbeat: { intervalMs: 500, timeoutMs: 10_000 },
      onPeerLost: (peer, reason) => this.lost.push(`${peer.id}: ${reason}`),
      handlers: {
        register: (registration, peer) => {
          this.#registrations.set(registration.taskManager, { registration, peer });
          return { heartbeatIntervalMs: 500, heartbeatTimeoutMs: 10_000 };
        },
        taskState: (change) => {
          if (this.refuseStates > 0) {
            this.refuseStates -= 1;
            return new Promise<void>(noReason);
          }
          this.states.push(change);
        },
        metrics: (report) => void this.metrics.push(report),
        log: ({ lines }) => void this.logs.push(...lines),
        fetchCode: ({ code }) => {
          this.fetched.set(code, (this.fetched.get(code) ?? 0) + 1);
          return new ReplyWithAttachments(undefined, [this.spoilCode ? new Uint8Array(10) : (this.#codes.get(code) as Uint8Array)]);
        },
        resultSegments: ({ name, subtask, sequence }, _peer, attachments) => {
          const channel = this.channel(name, subtask);
          if (sequence !== channel.next) throw new Error(`segment ${sequence} came where ${channel.next} was expected`);
          channel.next += attachments.length;
          channel.segments.push(...attachments);
        },
        grantFeed: (grant) => void this.grants.push(grant),
        acknowledgeCheckpoint: (what) => void this.acknowledged.push(what),
        requestCheckpoint: () => undefined,
        declineCheckpoint: (what) => void this.declined.push(what),
      },
    });
    this.address = await this.#server.start();
    return this;
  }

  channel(name: string, subtask: number): { readonly segments: Uint8Array[]; next: number } {
    const key = `${name}/${subtask}`;
    const known = this.segments.get(key) ?? { segments: [], next: 0 };
    this.segments.set(key, known);
    return known;
  }

  /** Starts a TaskManager process without waiting for it. */
  spawn(
    options: Readonly<Record<string, string | number>> = {},
    flags: readonly string[] = [],
  ): { process: ChildProcess; output: () => string } {
    const all = { "jobmanager.rpc.address": this.address, "metrics.interval": 100, "heartbeat.timeout": "10 s", ...options };
    const child = fork(entry, ["--owned", ...flags, ...Object.entries(all).map(([key, value]) => `-D${key}=${value}`)], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      execArgv: [],
    });
    this.#processes.push(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    return { process: child, output: () => output };
  }

  /** Starts a TaskManager and waits until it is ready. */
  async taskManager(options: Readonly<Record<string, string | number>> = {}): Promise<Member> {
    const { process: child, output } = this.spawn(options);
    let id: string | undefined;
    child.on("message", (message: { ready: string }) => (id = message.ready));
    await until(
      () => id !== undefined || child.exitCode !== null,
      15_000,
      () => `a TaskManager gets ready; it says: ${output()}`,
    );
    if (id === undefined) throw new Error(`the TaskManager ended: ${output()}`);
    const member = { ...this.adopt(child, id), output };
    this.members.push(member);
    return member;
  }

  registered(id: string): boolean {
    return this.#registrations.has(id);
  }

  /** A TaskManager that registered by itself. */
  adopt(child: ChildProcess, id: string): Member {
    const { registration, peer } = this.#registrations.get(id) as { registration: Registration; peer: Peer<TaskManagerConversation> };
    return { process: child, id, registration, peer, output: () => "" };
  }

  /** Ships a job and deploys all its subtasks. */
  async deploy(job: CompiledJob, placement: Placement = (_vertex, subtask) => ({ taskManager: 0, slot: subtask })): Promise<DeployedJob> {
    const { bundle } = await captureJob(job, []);
    const bytes = encodeBundle(bundle);
    const code = bundleDigest(bytes);
    this.#codes.set(code, bytes);
    const id = newJobId();
    const { graph } = job;
    const indexOf = (vertex: VertexId): number => graph.vertices.findIndex((one) => one.id === vertex);
    const tasks = new Map<number, TaskDeployment[]>();
    const executions: (ExecutionAddress & { member: Member })[] = [];
    graph.vertices.forEach((vertex, vertexIndex) => {
      for (let subtask = 0; subtask < vertex.parallelism; subtask++) {
        const { taskManager, slot } = placement(vertexIndex, subtask);
        const execution = { job: id, vertex: vertex.id, subtask, attempt: 0 };
        const channel = (edge: string, from: number, to: number, other: number, otherVertex: number) => {
          const at = placement(otherVertex, other).taskManager;
          const member = this.members[at] as Member;
          return {
            channel: `${id}/${edge}/${from}/${to}#0`,
            subtask: other,
            ...(at === taskManager
              ? {}
              : { peer: { taskManager: member.registration.taskManager, address: member.registration.dataAddress } }),
          };
        };
        const inputs = graph.edges
          .filter((edge) => edge.target === vertex.id)
          .map((edge) => {
            const producers = graph.vertices[indexOf(edge.source)]?.parallelism as number;
            const from = Array.from({ length: producers }, (_, index) => index).filter((index) =>
              targetsOf(edge, index, producers, vertex.parallelism).includes(subtask),
            );
            return {
              edge: edge.id,
              input: edge.input,
              channels: from.map((index) => channel(edge.id, index, subtask, index, indexOf(edge.source))),
            };
          });
        const outputs = graph.edges
          .filter((edge) => edge.source === vertex.id)
          .map((edge) => {
            const consumers = graph.vertices[indexOf(edge.target)]?.parallelism as number;
            const to = targetsOf(edge, subtask, vertex.parallelism, consumers);
            return {
              edge: edge.id,
              input: edge.input,
              channels: to.map((index) => channel(edge.id, subtask, index, index, indexOf(edge.target))),
            };
          });
        const deployment: TaskDeployment = {
          execution,
          jobName: graph.name,
          vertex,
          vertexIndex,
          slot,
          code,
          inputs,
          outputs,
          results: graph.results.filter((one) => one.vertex === vertex.id),
          feeds: graph.feeds.filter((one) => one.vertex === vertex.id),
          options: graph.options,
        };
        tasks.set(taskManager, [...(tasks.get(taskManager) ?? []), deployment]);
        executions.push({ ...execution, member: this.members[taskManager] as Member });
      }
    });
    await Promise.all(
      [...tasks].map(([index, deployments]) => (this.members[index] as Member).peer.call("deploy", { tasks: deployments })),
    );
    return { id, job, executions };
  }

  async cancel({ executions }: DeployedJob): Promise<void> {
    for (const { member, ...execution } of executions) await member.peer.call("cancel", { executions: [execution] });
  }

  async release({ id }: DeployedJob): Promise<void> {
    await Promise.all(this.members.map(({ peer }) => peer.call("releaseJob", { job: id })));
  }

  /** Lets a result flow. */
  grant({ id, executions, job }: DeployedJob, name: string, granted = PLENTY): void {
    const vertex = job.graph.results.find((result) => result.name === name)?.vertex;
    for (const { member, subtask, attempt, vertex: of } of executions) {
      if (of === vertex) member.peer.notify("grantResult", { job: id, name, subtask, attempt, granted });
    }
  }

  /** The rows of a result so far, decoded, all subtasks' together. */
  rows(name: string): { readonly rows: unknown[]; readonly ended: number } {
    const rows: unknown[] = [];
    let ended = 0;
    for (const [key, { segments }] of this.segments) {
      if (!key.startsWith(`${name}/`)) continue;
      const decoder = new ResultDecoder(new ClassRegistry());
      for (const segment of segments) {
        const bytes = new ArrayBuffer(Math.ceil(segment.byteLength / 8) * 8);
        new Uint8Array(bytes).set(segment);
        const decoded = decoder.decode(segmentMemory(bytes), 0);
        if (decoded === null) ended += 1;
        else rows.push(...decoded);
      }
    }
    return { rows, ended };
  }

  /** The states of an execution, in the order in which they were told. */
  statesOf({ id, job }: DeployedJob, vertex: number, subtask = 0): TaskState[] {
    const of = job.graph.vertices[vertex]?.id;
    return this.states
      .filter(({ execution }) => execution.job === id && execution.vertex === of && execution.subtask === subtask)
      .map(({ state }) => state);
  }

  /** Waits until all subtasks of a job are in a final state; answers the last change of each. */
  async over(deployed: DeployedJob, deadlineMs = 40_000): Promise<TaskStateChange[]> {
    const last = (): (TaskStateChange | undefined)[] =>
      deployed.executions.map(({ vertex, subtask }) =>
        this.states.findLast(
          ({ execution }) => execution.job === deployed.id && execution.vertex === vertex && execution.subtask === subtask,
        ),
      );
    const isOver = (change: TaskStateChange | undefined): boolean =>
      change !== undefined && ["FINISHED", "CANCELED", "FAILED"].includes(change.state);
    await until(
      () => last().every(isOver),
      deadlineMs,
      () => `all tasks are over: ${JSON.stringify(last().map((change) => change?.error?.message ?? change?.state))}`,
    );
    return last() as TaskStateChange[];
  }

  async running(deployed: DeployedJob): Promise<void> {
    const states = (): string[] =>
      deployed.executions.map(({ vertex, subtask }) => {
        const last = this.states.findLast(
          ({ execution }) => execution.job === deployed.id && execution.vertex === vertex && execution.subtask === subtask,
        );
        return last?.error?.message ?? last?.state ?? "-";
      });
    await until(
      () => states().every((state) => state === "RUNNING"),
      20_000,
      () => `all tasks run: ${states().join(" | ")}`,
    );
  }

  /** Hangs up, as a JobManager that dies. */
  async vanish(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }

  async close(): Promise<void> {
    await this.#server?.close();
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    this.folder.remove();
  }
}

/** Writes a program and compiles it. */
export function program(write: (env: Environment) => void, options: EnvironmentOptions = {}): CompiledJob {
  const env = new Environment(
    { connect: () => Promise.reject(new Error("this program is only compiled")), close: () => Promise.resolve() },
    options,
  );
  write(env);
  return env.compile("test job");
}

/** A program whose `outputs` become results. */
export async function programWithResults(
  write: (env: Environment) => Readonly<Record<string, never>> | Readonly<Record<string, unknown>>,
  options: EnvironmentOptions = {},
): Promise<CompiledJob> {
  let compiled: CompiledJob | undefined;
  const executor = {
    submit: (job: CompiledJob) => {
      compiled = job;
      return Promise.reject(new Error("compiled"));
    },
    close: () => Promise.resolve(),
  };
  const env = new Environment({ connect: () => Promise.resolve(executor as never), close: () => Promise.resolve() }, options);
  const outputs = write(env);
  await env.submit({ outputs: outputs as never }).catch((error: Error) => {
    if (compiled === undefined) throw error;
  });
  return compiled as CompiledJob;
}

/** The last segment of a feed. */
export function endSegment(): Uint8Array {
  const memory = segmentMemory(new ArrayBuffer(SEGMENT_HEADER_BYTES));
  writeSegmentHeader(memory, 0, SegmentKind.end, 0, 0, Number.POSITIVE_INFINITY);
  return memory.bytes;
}
