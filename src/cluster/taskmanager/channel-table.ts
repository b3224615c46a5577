/**
 * The channels of the tasks that run here. Each end of a channel gets a ring; what is behind the ring depends on where the other end is:
 *
 *     the same TaskManager      nothing: both threads share the ring, known by the channel's id
 *     another TaskManager       a DataLink
 *     the JobManager            ClientChannels (results and feeds)
 *
 * Invariant: a ring goes back to its slot's memory only when both sides have let go of it: threads that are gone, links that are closed.
 * A ring is charged to the slot of its consumer; where the consumer is elsewhere, to that of its producer.
 * Trusts the JobManager to name each channel of each attempt differently. Lives on the TaskManager's main thread.
 */
import type { EdgeId, JobId } from "../../core/types/ids.ts";
import { ConfigurationError, DeadlineError, InvariantError } from "../../core/types/errors.ts";
import { options } from "../../core/types/options.ts";
import { formatDuration } from "../../core/types/duration.ts";
import type { BufferPool } from "../exchange/buffer-pool.ts";
import type { BellDescriptor } from "../exchange/doorbell.ts";
import { ringBytes } from "../exchange/ring-channel.ts";
import type { RingDescriptor } from "../exchange/ring-channel.ts";
import type { OpenChannel } from "../exchange/data-link.ts";
import type { DataLinks } from "../exchange/zmq-channel.ts";
import type { ChannelDeployment, EdgeDeployment, TaskDeployment } from "../protocol/messages.ts";
import { clientChannel } from "./client-channels.ts";
import type { ClientChannelAddress, ClientChannels } from "./client-channels.ts";
import { executionKey } from "./state-reports.ts";
import { subtaskName } from "./thread-messages.ts";
import type { EdgeRings } from "./thread-messages.ts";

/** How long a task waits for the task at the other end of a local channel to be deployed. */
const PEER_TIMEOUT_MS = 30_000;

/** A task that needs channels. */
export interface ChannelUser {
  readonly deployment: TaskDeployment;
  /** Wakes its thread. */
  readonly bell: BellDescriptor;
  /** The network memory of its slot. */
  readonly pool: BufferPool;
  /** Segments of each of its channels. */
  readonly segments: number;
  /** A channel broke; called at most once per channel. */
  readonly onBroken: (error: Error) => void;
}

/** The rings of a task, in the shape in which its thread wants them. */
export interface TaskRings {
  readonly inputs: readonly EdgeRings[];
  readonly outputs: readonly EdgeRings[];
}

/** A ring and what must let go of it. */
interface Loan {
  readonly ring: RingDescriptor;
  readonly pool: BufferPool;
  holders: number;
}

interface LocalChannel {
  producer?: ChannelUser;
  consumer?: ChannelUser;
  loan?: Loan;
}

interface Entry {
  readonly user: ChannelUser;
  readonly rings: Map<string, RingDescriptor>;
  /** What this task's thread holds. */
  readonly loans: Loan[];
  readonly local: string[];
  readonly remote: { readonly channel: OpenChannel; readonly loan: Loan; readonly output: boolean }[];
  readonly client: { readonly address: ClientChannelAddress; readonly loan: Loan }[];
  resultsOpen: number;
  missing: number;
  onComplete: () => void;
  onDrained: () => void;
  removed: boolean;
}

export interface ChannelTableOptions {
  readonly links: Pick<DataLinks, "bell" | "openInput" | "openOutput">;
  readonly clients: ClientChannels;
  /** Size of every segment, bytes; the same on all TaskManagers. */
  readonly segmentBytes: number;
  readonly peerTimeoutMs?: number;
}

export class ChannelTable {
  readonly #options: ChannelTableOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #local = new Map<string, LocalChannel>();
  /** Channels of finished producers that still deliver. */
  readonly #lingering = new Map<JobId, Set<OpenChannel>>();

  constructor(options: ChannelTableOptions) {
    this.#options = options;
  }

  /** Tasks that have channels here. */
  get users(): number {
    return this.#entries.size;
  }

  /**
   * The number of segments that each of the channels of these tasks, all of one slot, can have within the slot's free network memory.
   * @returns 2 … `wanted`.
   * @throws ConfigurationError when there is no room for two segments per channel.
   */
  segmentsFor(tasks: readonly TaskDeployment[], pool: BufferPool, wanted: number): number {
    const { segmentBytes } = this.#options;
    const rings = tasks.reduce((sum, task) => sum + chargedRings(task), 0);
    if (rings === 0) return wanted;
    const freeBytes = pool.capacityBytes - pool.usedBytes;
    const perRing = Math.floor(freeBytes / rings) - ringBytes(segmentBytes, 0);
    const segments = Math.min(wanted, Math.floor(perRing / segmentBytes));
    if (segments >= 2) return segments;
    const neededBytes = rings * ringBytes(segmentBytes, 2);
    throw new ConfigurationError(
      `${pool.owner} has ${freeBytes} bytes of network memory, and the ${rings} channels of the ${tasks.length} tasks deployed there ` +
        `need ${neededBytes}. ` +
        `Raise ${options.networkMemory.key}, or lower the parallelism or ${options.segmentBytes.key}.`,
      { details: { rings, freeBytes, neededBytes } },
    );
  }

  /**
   * Opens the channels of a task.
   * @throws ConfigurationError when the network memory is used up; nothing of the task is left open then.
   */
  add(user: ChannelUser): void {
    const { deployment } = user;
    const key = executionKey(deployment.execution);
    if (this.#entries.has(key)) throw new InvariantError(`The channels of ${key} were opened twice.`);
    const entry: Entry = {
      user,
      rings: new Map(),
      loans: [],
      local: [],
      remote: [],
      client: [],
      resultsOpen: 0,
      missing: 0,
      onComplete: () => {},
      onDrained: () => {},
      removed: false,
    };
    this.#entries.set(key, entry);
    try {
      for (const edge of deployment.inputs) for (const channel of edge.channels) this.#open(entry, channel, "consumer");
      for (const edge of deployment.outputs) for (const channel of edge.channels) this.#open(entry, channel, "producer");
      for (const feed of feedsOf(deployment)) this.#openFeed(entry, feed.name);
      for (const result of resultsOf(deployment)) this.#openResult(entry, result.name);
    } catch (error) {
      this.remove(deployment, false);
      throw error;
    }
  }

  /**
   * The rings of a task that was added: as soon as the tasks at the other ends of its local channels have been added too.
   * @throws DeadlineError when they are not in time, or the task is removed before.
   */
  async ringsOf(deployment: TaskDeployment): Promise<TaskRings> {
    const entry = this.#entries.get(executionKey(deployment.execution));
    if (entry === undefined) throw new InvariantError(`The channels of ${executionKey(deployment.execution)} are not open.`);
    if (entry.missing > 0) await this.#completed(entry);
    return ringsByEdge(entry);
  }

  /** Resolves when the results of a task have been sent to their end. The task goes on or has finished. */
  async drained(deployment: TaskDeployment): Promise<void> {
    const entry = this.#entries.get(executionKey(deployment.execution));
    if (entry === undefined || entry.resultsOpen === 0) return;
    await new Promise<void>((resolve) => (entry.onDrained = resolve));
  }

  /**
   * The thread of a task is gone (or never began).
   * @param finished it came to its end: what it wrote is still delivered. Else its channels are closed, and the tasks at their other
   * ends learn that they are broken.
   */
  remove(deployment: TaskDeployment, finished: boolean): void {
    const key = executionKey(deployment.execution);
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    entry.removed = true;
    this.#entries.delete(key);
    for (const id of entry.local) this.#leave(id, entry.user);
    for (const { channel, output } of entry.remote) {
      // A finished producer's last segments may still wait in the ring for credits.
      if (finished && output) this.#linger(deployment.execution.job, channel);
      else channel.close("its task ended");
    }
    for (const { address, loan } of entry.client) {
      this.#options.clients.close(address);
      release(loan);
    }
    for (const loan of entry.loans) release(loan);
    entry.onComplete();
    entry.onDrained();
  }

  /** The job is over, and its tasks have been removed: nobody wants what they left undelivered. */
  releaseJob(job: JobId): void {
    for (const channel of this.#lingering.get(job) ?? []) channel.close("the job is over");
    this.#lingering.delete(job);
  }

  #linger(job: JobId, channel: OpenChannel): void {
    const channels = this.#lingering.get(job) ?? new Set();
    this.#lingering.set(job, channels.add(channel));
    void channel.ended.then(() => channels.delete(channel));
  }

  #open(entry: Entry, channel: ChannelDeployment, side: "producer" | "consumer"): void {
    if (channel.peer === undefined) this.#openLocal(entry, channel, side);
    else this.#openRemote(entry, channel, channel.peer, side);
  }

  #openLocal(entry: Entry, { channel }: ChannelDeployment, side: "producer" | "consumer"): void {
    const { user } = entry;
    let local = this.#local.get(channel);
    if (local === undefined) {
      local = {};
      this.#local.set(channel, local);
    }
    if (local[side] !== undefined) throw new InvariantError(`Channel ${channel} has two ${side}s.`);
    local[side] = user;
    entry.local.push(channel);
    if (local.producer === undefined || local.consumer === undefined) {
      entry.missing += 1;
      return;
    }
    const { producer, consumer } = local;
    local.loan = this.#lend(consumer, producer.bell, consumer.bell);
    for (const end of [producer, consumer]) this.#give(end, channel, local.loan);
    const other = this.#entryOf(side === "producer" ? consumer : producer);
    if (other !== entry && other !== undefined && --other.missing === 0) other.onComplete();
    // Both ends in one task: the first of them was noted as missing.
    if (other === entry) entry.missing -= 1;
  }

  #openRemote(
    entry: Entry,
    { channel }: ChannelDeployment,
    peer: NonNullable<ChannelDeployment["peer"]>,
    side: "producer" | "consumer",
  ): void {
    const { links } = this.#options;
    const { user } = entry;
    const output = side === "producer";
    const to = { taskManagerId: peer.taskManager, address: peer.address };
    const loan = this.#lend(user, output ? user.bell : links.bell, output ? links.bell : user.bell);
    this.#give(user, channel, loan);
    loan.holders += 1;
    let open: OpenChannel;
    try {
      open = output ? links.openOutput(channel, to, loan.ring) : links.openInput(channel, to, loan.ring);
    } catch (error) {
      release(loan);
      throw error;
    }
    entry.remote.push({ channel: open, loan, output });
    void open.ended.then((error) => {
      release(loan);
      if (error !== undefined && !entry.removed) user.onBroken(error);
    });
  }

  #openResult(entry: Entry, name: string): void {
    const { clients } = this.#options;
    const { user } = entry;
    const address = clientChannel(user.deployment.execution, name);
    const loan = this.#lend(user, user.bell, clients.bell);
    this.#give(user, resultKey(name), loan);
    loan.holders += 1;
    entry.client.push({ address, loan });
    entry.resultsOpen += 1;
    clients.openResult(address, loan.ring, () => {
      entry.resultsOpen -= 1;
      if (entry.resultsOpen === 0) entry.onDrained();
    });
  }

  #openFeed(entry: Entry, name: string): void {
    const { clients } = this.#options;
    const { user } = entry;
    const address = clientChannel(user.deployment.execution, name);
    const loan = this.#lend(user, clients.bell, user.bell);
    this.#give(user, feedKey(name), loan);
    loan.holders += 1;
    entry.client.push({ address, loan });
    clients.openFeed(address, loan.ring, user.onBroken);
  }

  #lend(payer: ChannelUser, producerBell: BellDescriptor, consumerBell: BellDescriptor): Loan {
    const ring = payer.pool.lend({ segmentBytes: this.#options.segmentBytes, segments: payer.segments, producerBell, consumerBell });
    return { ring, pool: payer.pool, holders: 0 };
  }

  /** The thread of `user` holds the ring from now on. */
  #give(user: ChannelUser, channel: string, loan: Loan): void {
    const entry = this.#entryOf(user);
    if (entry === undefined) return;
    loan.holders += 1;
    entry.loans.push(loan);
    entry.rings.set(channel, loan.ring);
  }

  #leave(id: string, user: ChannelUser): void {
    const local = this.#local.get(id);
    if (local === undefined) return;
    if (local.producer === user) delete local.producer;
    if (local.consumer === user) delete local.consumer;
    if (local.producer === undefined && local.consumer === undefined) this.#local.delete(id);
  }

  #entryOf(user: ChannelUser): Entry | undefined {
    return this.#entries.get(executionKey(user.deployment.execution));
  }

  async #completed(entry: Entry): Promise<void> {
    const { peerTimeoutMs = PEER_TIMEOUT_MS } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = await new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(true), peerTimeoutMs);
      entry.onComplete = () => resolve(false);
    });
    clearTimeout(timer);
    const { vertex, execution } = entry.user.deployment;
    const who = subtaskName(vertex, execution.subtask);
    if (late) {
      throw new DeadlineError(
        `${who} waited ${formatDuration(peerTimeoutMs)} for the tasks at the other end of ${entry.missing} of its channels ` +
          "to be deployed here.",
      );
    }
    if (entry.removed) throw new DeadlineError(`${who} was given up before its channels were complete.`);
  }
}

// Names of results and feeds are the user's, ids of channels the JobManager's: they must not meet.
const resultKey = (name: string): string => `result ${name}`;
const feedKey = (name: string): string => `feed ${name}`;

/** Rings that are charged to the slot of this task: those it reads, and those it writes whose reader is not here. */
function chargedRings(task: TaskDeployment): number {
  const inputs = task.inputs.reduce((sum, edge) => sum + edge.channels.length, 0);
  const outputs = task.outputs.reduce((sum, edge) => sum + edge.channels.filter((channel) => channel.peer !== undefined).length, 0);
  return inputs + outputs + resultsOf(task).length + feedsOf(task).length;
}

const resultsOf = ({ results, execution }: TaskDeployment): TaskDeployment["results"] =>
  results.filter((result) => result.vertex === execution.vertex);
const feedsOf = ({ feeds, execution }: TaskDeployment): TaskDeployment["feeds"] => feeds.filter((feed) => feed.vertex === execution.vertex);

function ringsByEdge({ user: { deployment }, rings }: Entry): TaskRings {
  const ringOf = (channel: string): RingDescriptor => {
    const ring = rings.get(channel);
    if (ring === undefined) throw new InvariantError(`Channel ${channel} has no ring.`);
    return ring;
  };
  const edgeOf = ({ edge, input, channels }: EdgeDeployment): EdgeRings => ({
    edge,
    input,
    rings: channels.map(({ channel }) => ringOf(channel)),
  });
  const clientEdge = (edge: EdgeId, key: string): EdgeRings => ({ edge, input: 0, rings: [ringOf(key)] });
  return {
    inputs: [...deployment.inputs.map(edgeOf), ...feedsOf(deployment).map(({ edge, name }) => clientEdge(edge, feedKey(name)))],
    outputs: [...deployment.outputs.map(edgeOf), ...resultsOf(deployment).map(({ edge, name }) => clientEdge(edge, resultKey(name)))],
  };
}

function release(loan: Loan): void {
  loan.holders -= 1;
  if (loan.holders === 0) loan.pool.giveBack(loan.ring);
}
