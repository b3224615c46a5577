/** A JobManager that says what a test wants, over a real socket. */
import { createHash } from "node:crypto";
import type { Handlers } from "../../../src/cluster/protocol/conversation.ts";
import { type SocketFolder, makeSocketFolder, removeSocketFile } from "../../../src/cluster/protocol/addresses.ts";
import { type ClientConversation, type ClientEvents, clientConversation, clientEvents } from "../../../src/cluster/protocol/messages.ts";
import { type Peer, RpcServer } from "../../../src/cluster/protocol/rpc.ts";
import { VERSION } from "../../../src/cluster/protocol/version.ts";
import type { JobGraph } from "../../../src/core/graph/job-graph.ts";
import type { JobDetails, JobState } from "../../../src/core/graph/job-status.ts";
import { NotFoundError } from "../../../src/core/types/errors.ts";
import { type JobId, jobId, vertexId, edgeId } from "../../../src/core/types/ids.ts";

export type Client = Peer<ClientEvents>;
export const JOB: JobId = jobId("0123456789abcdef0123456789abcdef");

export const graph = (feeds: readonly string[] = []): JobGraph => ({
  name: "test",
  vertices: [],
  edges: [],
  results: [],
  options: {},
  feeds: feeds.map((name) => ({ name, vertex: vertexId("v1"), edge: edgeId(name) })),
});

export const details = (state: JobState, more: Partial<JobDetails> = {}): JobDetails => ({
  job: JOB,
  name: "test",
  state,
  startedAtMs: 1,
  tasks: {},
  graph: graph(),
  executions: [],
  timestamps: {},
  ...more,
});

export class FakeJobManager {
  readonly folder: SocketFolder = makeSocketFolder();
  readonly address: string = this.folder.address("jm");
  readonly clients = new Set<Client>();
  readonly calls: string[] = [];
  /** How many connections there have been. */
  connections = 0;
  #server: RpcServer<ClientConversation, ClientEvents> | undefined;
  #epoch = 0;

  /** Listens once more, as the next leader, after `drop`. @param answers instead of the usual ones. */
  async start(answers: Partial<Handlers<ClientConversation, Client>> = {}): Promise<this> {
    const handlers: Handlers<ClientConversation, Client> = {
      hello: () => ({ version: VERSION, pid: process.pid }),
      submit: ({ code }, _, [bytes]) => {
        if (bytes === undefined || createHash("sha256").update(bytes).digest("hex") !== code)
          throw new NotFoundError("the code is not what its digest says");
        return { job: JOB };
      },
      jobs: () => ({ jobs: [] }),
      job: ({ job }) => {
        if (job !== JOB) throw new NotFoundError(`there is no job ${job}.`);
        return details("RUNNING");
      },
      cancel: () => undefined,
      watchJob: (_, peer) => this.tell(details("RUNNING"), peer),
      unwatchJob: () => undefined,
      metricsHistory: () => ({ reports: [] }),
      queryState: () => ({ declared: false, found: false }),
      profile: ({ job, vertex, subtask }) => ({ job, vertex, name: vertex, subtask, attempt: 0, durationMs: 1, samples: 0, frames: [] }),
      checkpoints: () => ({ job: JOB, completed: 0, failed: 0, inProgress: 0, restored: 0, latest: [] }),
      triggerCheckpoint: () => ({ checkpoint: 1 }),
      savepoint: () => ({ location: "/savepoint" }),
      stopWithSavepoint: () => ({ location: "/savepoint" }),
      disposeSavepoint: () => undefined,
      rescale: () => undefined,
      overview: () => ({ version: VERSION, pid: 1, address: "", startedAtMs: 0, slotsTotal: 0, slotsFree: 0, taskManagers: [], jobs: [] }),
      watchCluster: () => undefined,
      openResult: () => ({ subtasks: 1, skip: [0], from: [0] }),
      closeResult: () => undefined,
      grantResult: () => undefined,
      feedSegments: () => undefined,
      shutdownCluster: () => undefined,
      ...answers,
    };
    const recorded = Object.fromEntries(
      Object.entries(handlers).map(([method, handler]) => [
        method,
        (...args: unknown[]) => {
          this.calls.push(method);
          return (handler as (...args: unknown[]) => unknown)(...args);
        },
      ]),
    ) as unknown as Handlers<ClientConversation, Client>;
    this.#server = new RpcServer({
      address: this.address,
      epoch: ++this.#epoch,
      served: clientConversation,
      called: clientEvents,
      handlers: recorded,
      onPeerConnected: (peer) => {
        this.connections++;
        this.clients.add(peer);
      },
      onPeerLost: (peer) => this.clients.delete(peer),
    });
    await this.#server.start();
    return this;
  }

  /** Tells a client, or all, how the job is. */
  tell(status: JobDetails, client?: Client): void {
    for (const one of client === undefined ? this.clients : [client]) one.notify("jobStatus", status);
  }

  /** Its connections break, and nobody listens. */
  async drop(): Promise<void> {
    await this.#server?.close();
    this.clients.clear();
    removeSocketFile(this.address);
  }

  async close(): Promise<void> {
    await this.#server?.close();
    this.folder.remove();
  }
}
