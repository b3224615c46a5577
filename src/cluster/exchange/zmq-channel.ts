/**
 * Channels between TaskManagers over ZeroMQ: one `DataLinks` per TaskManager process, on its main thread (a worker thread that ends with
 * an open socket aborts the process).
 *
 *     smaller id: DEALER ── connects, says hello(epoch) ──▶ ROUTER :larger id
 *                        ◀── hello(epoch), channels flow ──
 *
 * Invariant: two TaskManagers share exactly one connection, however many channels run between them and whoever opens the first: the one
 * whose id is smaller connects, the other waits. A connection has one life: when it breaks, everything on it fails, because nobody
 * knows what was lost; what is opened afterwards runs on a new connection with a new epoch, and messages of the old one are dropped.
 *
 * Back pressure is the credits' alone: the sockets' high-water marks are off, so sending never waits, and what ZeroMQ holds is bounded by
 * the credits that were granted. One pump sends for all sockets, one message per link and turn.
 *
 * Trusts heartbeats of the control plane to notice a process that is silent but connected, TCP to notice a machine that is, and CURVE (or
 * the folder of an ipc:// address) to keep strangers away: whoever can say hello under a TaskManager's id is taken for it.
 */
import { Dealer, Router } from "zeromq";
import { ConfigurationError, ConnectionError, DeadlineError, InvariantError, ProtocolError, describe } from "../../core/types/errors.ts";
import type { DreyError } from "../../core/types/errors.ts";
import { BATCH_BYTES, DataLink } from "./data-link.ts";
import type { ChannelAddress, ChannelStatistics, OpenChannel } from "./data-link.ts";
import { createBell, ringBell, waitForBell } from "./doorbell.ts";
import type { BellDescriptor } from "./doorbell.ts";
import { EntryKind, LINK_VERSION, entryBytes, firstKind, messageEpoch, messageVersion } from "./link-message.ts";
import type { RingDescriptor } from "./ring-channel.ts";

/** Where another TaskManager's data connections arrive. */
export interface DataPeer {
  readonly taskManagerId: string;
  /** What its `DataLinks.start()` returned. */
  readonly address: string;
  /** Its CURVE public key; without it `curve.serverKey` is expected. */
  readonly publicKey?: string;
}

/** CURVE keys, each 40 characters of Z85. */
export interface DataCurve {
  readonly publicKey: string;
  readonly secretKey: string;
  /** The public key of peers that come without one: for clusters that share one pair. */
  readonly serverKey?: string;
  /** ZAP domain in which arriving connections are checked against the allow-list; without it every key may connect. */
  readonly zapDomain?: string;
}

/** Who a TaskManager is to its peers, and its bounds. */
export interface DataLinksOptions {
  /** This process's id, new with every start of the process; at most 255 bytes. */
  readonly taskManagerId: string;
  /** Where to listen: `ipc:///path` or `tcp://127.0.0.1:*`. */
  readonly address: string;
  readonly curve?: DataCurve;
  /** Called once when an established connection broke; all its channels have ended by then. Main thread. */
  onPeerLost(peerId: string, reason: string): void;
  /** How long a channel may wait for its peer; default 30,000 ms. */
  readonly openTimeoutMs?: number;
  /** A peer whose machine acknowledges nothing for so long is lost; default 5,000 ms. Systems without TCP_USER_TIMEOUT take longer. */
  readonly silenceTimeoutMs?: number;
  /** The largest segment that is sent or accepted, header included; default 1 MiB. */
  readonly maxSegmentBytes?: number;
}

/** Totals since the start, over all links, living and past. */
interface Traffic {
  bytesSent: number;
  bytesReceived: number;
  messagesSent: number;
  messagesReceived: number;
  segmentsSent: number;
  segmentsReceived: number;
}

/** What a process's data connections do; plain data, a copy. */
export interface DataLinksStatistics extends Readonly<Traffic> {
  /** Peers that this process is connected with now. */
  readonly connections: number;
  /** Connections that arrived here since the start, dead ones included. */
  readonly accepted: number;
  /** Messages of an earlier life of a connection, of an unknown sender or of an unknown version. */
  readonly messagesRejected: number;
  readonly channels: readonly (ChannelStatistics & { readonly peer: string })[];
}

interface Peer {
  readonly id: string;
  readonly link: DataLink;
  /** Where it was reached, for messages. */
  readonly address: string;
  /** Our socket towards it; undefined when it connects to us. */
  readonly dealer: Dealer | undefined;
  /** Socket to write to, and what to write before a message. */
  readonly socket: Dealer | Router;
  readonly prefix: Buffer | undefined;
  /** Taken from the link, refused by the socket for now. */
  unsent: Buffer | undefined;
  /** Set once the connection is known to be broken. */
  breaking: boolean;
  gone: boolean;
  /** The last failed attempt to connect, for the message of a missed deadline. */
  trouble: string;
}

// After a break, what arrived before it may still stand in the socket's queue: the peer is lost when nothing came for so long.
const DRAIN_MS = 20;
const RETRY_MS = 5;
/** The pump looks after so long even when nobody rings. */
const LOOK_MS = 1_000;
const YIELD_BYTES = 1024 * 1024;
const YIELD_MESSAGES = 64;
/** After a connection to our ROUTER closed, ask which peer it was: the monitor doesn't say, and the pipe closes a little later. */
const PROBE_AFTER_MS: readonly number[] = [0, 20, 100, 500];

/** The longest that ZeroMQ's thread is given to close a socket; it takes a millisecond or two. */
const CLOSE_MS = 1_000;

const turnOfEventLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** All data connections of one TaskManager, one to each peer, and the channels on them. Main thread; `close()` ends them all. */
export class DataLinks {
  readonly taskManagerId: string;
  /** The main thread's bell: consumer's bell of every ring given to `openOutput`, producer's bell of every ring given to `openInput`. */
  readonly bell: BellDescriptor = createBell();
  private readonly options: DataLinksOptions;
  private readonly openTimeoutMs: number;
  private readonly silenceTimeoutMs: number;
  private readonly maxSegmentBytes: number;
  private readonly router: Router;
  private readonly peers = new Map<string, Peer>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly loops = new Set<Promise<void>>();
  private readonly past: Traffic = {
    bytesSent: 0, bytesReceived: 0, messagesSent: 0, messagesReceived: 0, segmentsSent: 0, segmentsReceived: 0,
  };
  private accepted = 0;
  private rejected = 0;
  private epochs = 1 + Math.floor(Math.random() * 0x7fff_0000);
  private state: "new" | "running" | "closed" = "new";
  private bellArmed = false;
  private kicked = false;
  private wakePump: () => void = () => {};

  /** @throws ConfigurationError when the id can't be one. */
  constructor(options: DataLinksOptions) {
    const idBytes = Buffer.byteLength(options.taskManagerId);
    if (idBytes === 0 || idBytes > 255 || options.taskManagerId.charCodeAt(0) === 0) {
      throw new ConfigurationError(`The TaskManager id ${describe(options.taskManagerId)} is impossible; give 1 to 255 bytes of text.`);
    }
    this.options = options;
    this.taskManagerId = options.taskManagerId;
    this.openTimeoutMs = options.openTimeoutMs ?? 30_000;
    this.silenceTimeoutMs = options.silenceTimeoutMs ?? 5_000;
    this.maxSegmentBytes = options.maxSegmentBytes ?? 1024 * 1024;
    const { curve } = options;
    this.router = new Router({
      ...this.socketOptions(),
      mandatory: true,
      handover: true,
      ...(curve === undefined ? {} : { curveServer: true, curveSecretKey: curve.secretKey }),
      ...(curve?.zapDomain === undefined ? {} : { zapDomain: curve.zapDomain, zapEnforceDomain: true }),
    });
  }

  /**
   * Listens, and starts to send and receive.
   * @returns the bound address, to tell peers.
   * @throws ConnectionError when the address can't be bound.
   */
  async start(): Promise<string> {
    if (this.state !== "new") throw new InvariantError(`DataLinks of ${this.taskManagerId} were started twice.`);
    this.state = "running";
    this.router.events.on("handshake", () => (this.accepted += 1));
    this.router.events.on("disconnect", () => {
      for (const delayMs of PROBE_AFTER_MS) this.later(delayMs, () => this.probe());
    });
    try {
      await this.router.bind(this.options.address);
    } catch (cause) {
      await this.close();
      const why = (cause as Error).message;
      throw new ConnectionError(`TaskManager ${this.taskManagerId} can't listen on ${this.options.address}: ${why}.`, { cause });
    }
    this.run(this.receive(this.router, (frames) => this.acceptArriving(frames)));
    this.run(this.pump());
    return this.router.lastEndpoint ?? this.options.address;
  }

  /**
   * Carries the segments of `ring`, which a task of this process writes, to the peer. `ring.consumerBell` is `bell`.
   * Ends with DeadlineError when the consumer's end isn't open in time, with ConnectionError when the connection breaks or the consumer
   * leaves, with undefined when the end of input was sent.
   */
  openOutput(channel: ChannelAddress, peer: DataPeer, ring: RingDescriptor): OpenChannel {
    if (ring.consumerBell !== this.bell) throw new InvariantError(`The ring of ${channel} wakes another consumer.`);
    return this.open(channel, peer, ring, (link) => link.openOutput(channel, ring));
  }

  /**
   * Writes arriving segments into `ring`, which is empty and read by a task of this process. `ring.producerBell` is `bell`.
   * Ends as `openOutput` does: with undefined when the end of input stands in the ring.
   */
  openInput(channel: ChannelAddress, peer: DataPeer, ring: RingDescriptor): OpenChannel {
    if (ring.producerBell !== this.bell) throw new InvariantError(`The ring of ${channel} wakes another producer.`);
    return this.open(channel, peer, ring, (link) => link.openInput(channel, ring));
  }

  /** Gives up the connection to a peer that is known to be dead, or no longer needed; its channels end. `onPeerLost` is not called. */
  disconnect(peerId: string, reason: string): void {
    const peer = this.peers.get(peerId);
    if (peer !== undefined) this.drop(peer, new ConnectionError(`The data connection to TaskManager ${peerId} was given up: ${reason}.`));
  }

  get statistics(): DataLinksStatistics {
    const sum = { ...this.past };
    let connections = 0;
    const channels: (ChannelStatistics & { peer: string })[] = [];
    for (const { id, link } of this.peers.values()) {
      addTraffic(sum, link);
      if (link.ready) connections += 1;
      for (const channel of link.statistics) channels.push({ ...channel, peer: id });
    }
    return {
      ...sum,
      connections,
      accepted: this.accepted,
      messagesRejected: this.rejected,
      channels,
    };
  }

  /** Closes all connections; channels still open end with undefined. Resolves when all sockets are closed. Idempotent. */
  async close(): Promise<void> {
    if (this.state !== "closed") {
      this.state = "closed";
      for (const timer of this.timers) clearTimeout(timer);
      this.timers.clear();
      for (const peer of this.peers.values()) this.drop(peer, undefined);
      this.run(closed(this.router));
      ringBell(this.bell);
      this.kick();
    }
    await Promise.all(this.loops);
  }

  private socketOptions(): object {
    return {
      linger: 0,
      sendTimeout: 0,
      immediate: true,
      sendHighWaterMark: 0,
      receiveHighWaterMark: 0,
      handshakeInterval: 5_000,
      maxMessageSize: BATCH_BYTES + entryBytes(this.maxSegmentBytes),
      // Who waits for an answer learns by the first of these that the way is broken, who only listens by the others. The machine
      // answers, not the process: one that is stopped, or busy, is for the control plane to judge.
      tcpMaxRetransmitTimeout: this.silenceTimeoutMs,
      tcpKeepalive: 1,
      tcpKeepaliveIdle: Math.min(15, Math.max(1, Math.round(this.silenceTimeoutMs / 1_000))),
      tcpKeepaliveInterval: 1,
    };
  }

  private open(channel: ChannelAddress, to: DataPeer, ring: RingDescriptor, openOn: (link: DataLink) => OpenChannel): OpenChannel {
    if (this.state !== "running") throw new InvariantError(`The channel ${channel} was opened while its DataLinks are ${this.state}.`);
    if (to.taskManagerId === this.taskManagerId) {
      throw new InvariantError(`The channel ${channel} has both ends on TaskManager ${this.taskManagerId}; a ring alone carries it.`);
    }
    if (ring.segmentBytes > this.maxSegmentBytes) {
      throw new ConfigurationError(
        `Segments of ${ring.segmentBytes} bytes can't travel between TaskManagers; make them ${this.maxSegmentBytes} bytes or smaller.`,
      );
    }
    const peer = this.peers.get(to.taskManagerId) ?? this.addPeer(to);
    const open = openOn(peer.link);
    const deadline = this.later(this.openTimeoutMs, () => {
      if (!peer.link.isUnopened(open)) return;
      const trouble = peer.trouble === "" ? "" : ` (${peer.trouble})`;
      const why = peer.link.ready ? "its end of the channel was not opened" : `no connection with it at ${peer.address}${trouble}`;
      const what = `Channel ${channel} to TaskManager ${peer.id} is not open after ${this.openTimeoutMs} ms: ${why}. Is it running?`;
      peer.link.failChannel(open, new DeadlineError(what));
      this.kick();
    });
    void open.ended.then(() => {
      this.timers.delete(deadline);
      clearTimeout(deadline);
      if (!peer.gone && !peer.link.ready && peer.link.channels === 0) this.drop(peer, undefined);
      this.kick();
    });
    this.kick();
    return open;
  }

  private addPeer(to: DataPeer): Peer {
    return this.taskManagerId < to.taskManagerId ? this.connectTo(to) : this.expect(to.taskManagerId, to.address);
  }

  /** A peer that connects to us, or will. */
  private expect(id: string, address: string): Peer {
    const peer: Peer = {
      id, address, link: new DataLink(id), dealer: undefined, socket: this.router, prefix: Buffer.from(id),
      unsent: undefined, breaking: false, gone: false, trouble: "it connects to us, and has not yet",
    };
    this.peers.set(id, peer);
    return peer;
  }

  private connectTo(to: DataPeer): Peer {
    const { curve } = this.options;
    const serverKey = to.publicKey ?? curve?.serverKey;
    if (curve !== undefined && serverKey === undefined) {
      throw new ConfigurationError(`TaskManager ${to.taskManagerId} has no CURVE public key; tell it, or set one for all peers.`);
    }
    const dealer = new Dealer({
      ...this.socketOptions(),
      routingId: this.taskManagerId,
      reconnectInterval: 100,
      reconnectMaxInterval: 1_000,
      ...(curve === undefined
        ? {}
        : { curvePublicKey: curve.publicKey, curveSecretKey: curve.secretKey, curveServerKey: serverKey as string }),
    });
    const peer: Peer = {
      id: to.taskManagerId, address: to.address, link: new DataLink(to.taskManagerId), dealer, socket: dealer, prefix: undefined,
      unsent: undefined, breaking: false, gone: false, trouble: "",
    };
    this.peers.set(peer.id, peer);
    dealer.events.on("handshake", () => {
      // A second handshake means that the first connection broke unnoticed: what it carried may be lost.
      if (peer.link.ready) return this.lose(peer, "its connection was replaced");
      this.epochs = (this.epochs + 1) >>> 0;
      peer.link.greet(this.epochs);
      this.kick();
    });
    dealer.events.on("disconnect", () => {
      if (peer.link.ready) this.break(peer, "its connection closed");
    });
    const refused = (event: { readonly error?: Error }): void => {
      peer.trouble = event.error?.message ?? "the handshake failed";
    };
    dealer.events.on("handshake:error:auth", refused);
    dealer.events.on("handshake:error:protocol", refused);
    dealer.events.on("handshake:error:other", refused);
    try {
      dealer.connect(to.address);
    } catch (cause) {
      this.drop(peer, undefined);
      throw new ConnectionError(`${describe(to.address)} is no address of TaskManager ${peer.id}: ${(cause as Error).message}.`, { cause });
    }
    this.run(this.receive(dealer, (frames) => this.acceptFrom(peer, frames[0] as Buffer)));
    return peer;
  }

  private run(loop: Promise<void>): void {
    this.loops.add(loop);
    void loop.then(() => this.loops.delete(loop));
  }

  private async receive(socket: Dealer | Router, accept: (frames: Buffer[]) => void): Promise<void> {
    let bytes = 0;
    let messages = 0;
    while (!socket.closed) {
      let frames: Buffer[];
      try {
        frames = await socket.receive();
      } catch (error) {
        if (socket.closed) return;
        throw error;
      }
      accept(frames);
      this.kick();
      // ZeroMQ resolves at once while messages are there; without a pause heartbeats and timers of this thread would starve.
      bytes += frames[frames.length - 1]?.length ?? 0;
      if (bytes >= YIELD_BYTES || ++messages >= YIELD_MESSAGES) {
        bytes = messages = 0;
        await turnOfEventLoop();
      }
    }
  }

  /** A message from one of those who connect to us. */
  private acceptArriving(frames: Buffer[]): void {
    const id = frames[0]?.toString() ?? "";
    const message = frames[1];
    if (message === undefined || frames.length !== 2 || messageVersion(message) !== LINK_VERSION || !(id < this.taskManagerId)) {
      this.rejected += 1;
      return;
    }
    if (firstKind(message) !== EntryKind.hello) {
      const peer = this.peers.get(id);
      if (peer === undefined) this.rejected += 1;
      else this.acceptFrom(peer, message);
      return;
    }
    const known = this.peers.get(id);
    if (known?.link.ready === true) this.lose(known, "it connected anew");
    const peer = this.peers.get(id) ?? this.expect(id, "");
    peer.link.greet(messageEpoch(message));
    peer.link.ready = true;
  }

  private acceptFrom(peer: Peer, message: Buffer): void {
    if (peer.gone) return;
    const { link } = peer;
    if (messageVersion(message) !== LINK_VERSION || messageEpoch(message) !== link.epoch) {
      this.rejected += 1;
      if (peer.dealer !== undefined) peer.trouble = `it answered with version ${messageVersion(message)}, we speak ${LINK_VERSION}`;
      return;
    }
    if (peer.dealer !== undefined && firstKind(message) === EntryKind.hello) link.ready = true;
    if (!link.ready) {
      this.rejected += 1;
      return;
    }
    try {
      link.acceptMessage(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.lose(peer, `it sent nonsense: ${error.message}`);
    }
  }

  private async pump(): Promise<void> {
    while (this.state === "running") {
      let sentBytes = 0;
      let refused = false;
      let idle = false;
      while (!idle && sentBytes < YIELD_BYTES) {
        idle = true;
        for (const peer of this.peers.values()) {
          const bytes = await this.sendNext(peer);
          if (bytes > 0) idle = false;
          if (bytes < 0) refused = true;
          else sentBytes += bytes;
        }
      }
      if (refused) this.later(RETRY_MS, () => this.kick());
      // A turn of the event loop also frees what ZeroMQ has sent; often new segments are there after it.
      if (sentBytes > 0) await turnOfEventLoop();
      else await this.sleep();
    }
  }

  /** Sends one message to a peer. Returns its bytes; 0 when there is none; -1 when the socket can't take it now. */
  private async sendNext(peer: Peer): Promise<number> {
    if (peer.gone || peer.breaking) return 0;
    const message = peer.unsent ?? peer.link.takeMessage();
    if (message === undefined) return 0;
    peer.unsent = undefined;
    try {
      await (peer.prefix === undefined ? peer.socket.send(message) : peer.socket.send([peer.prefix, message]));
      return message.length;
    } catch (error) {
      if (peer.gone || peer.socket.closed) return 0;
      const code = (error as { readonly code?: string }).code;
      if (code === "EAGAIN") {
        peer.unsent = message;
        return -1;
      }
      this.break(peer, code === "EHOSTUNREACH" ? "its connection closed" : `sending failed: ${(error as Error).message}`);
      return 0;
    }
  }

  /** Until a worker rings, or something happens in this thread. */
  private async sleep(): Promise<void> {
    if (!this.bellArmed) {
      this.bellArmed = true;
      void waitForBell(this.bell, LOOK_MS, undefined, () => this.hasWork()).then(() => {
        this.bellArmed = false;
        this.kick();
      });
    } else if (this.hasWork()) {
      return;
    }
    if (!this.kicked) await new Promise<void>((resolve) => (this.wakePump = resolve));
    this.kicked = false;
  }

  private hasWork(): boolean {
    for (const peer of this.peers.values()) {
      if (!peer.breaking && peer.unsent === undefined && peer.link.hasWork()) return true;
    }
    return false;
  }

  private kick(): void {
    this.kicked = true;
    this.wakePump();
  }

  private later(delayMs: number, action: () => void): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      action();
    }, delayMs);
    this.timers.add(timer);
    return timer;
  }

  private probe(): void {
    for (const peer of this.peers.values()) if (peer.dealer === undefined) peer.link.probe();
    this.kick();
  }

  /** The connection broke: take in what came before, then lose the peer. */
  private break(peer: Peer, reason: string): void {
    if (peer.breaking || peer.gone) return;
    peer.breaking = true;
    let seen = peer.link.messagesReceived;
    const look = (): void => {
      if (peer.gone) return;
      if (peer.link.messagesReceived === seen) return this.lose(peer, reason);
      seen = peer.link.messagesReceived;
      this.later(DRAIN_MS, look);
    };
    this.later(DRAIN_MS, look);
  }

  private lose(peer: Peer, reason: string): void {
    if (peer.gone) return;
    this.drop(peer, new ConnectionError(`The data connection between TaskManagers ${this.taskManagerId} and ${peer.id} broke: ${reason}.`));
    this.options.onPeerLost(peer.id, reason);
  }

  private drop(peer: Peer, error: DreyError | undefined): void {
    peer.gone = true;
    if (this.peers.get(peer.id) === peer) this.peers.delete(peer.id);
    addTraffic(this.past, peer.link);
    if (peer.dealer !== undefined) this.run(closed(peer.dealer));
    peer.link.fail(error);
  }
}

/** Closes a socket; resolves when ZeroMQ's own thread has let go of its address too, so that a successor can have it. */
function closed(socket: Dealer | Router): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, CLOSE_MS);
    // The monitor ends last.
    socket.events.on("end", () => {
      clearTimeout(timer);
      resolve();
    });
    socket.close();
  });
}

function addTraffic(sum: Traffic, link: DataLink): void {
  for (const name of Object.keys(sum) as (keyof Traffic)[]) sum[name] += link[name];
}
