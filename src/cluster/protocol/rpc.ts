/**
 * Remote calls between processes, in both directions over one connection: a server (ROUTER, the JobManager) and its clients (DEALER,
 * TaskManagers and programs).
 *
 *     client                              server
 *       │  hello (incarnation, session) ──▶│   onPeerConnected
 *       │◀── welcome (epoch) ──────────────│
 *       │  requests, events, heartbeats ◀─▶│
 *       │◀──────────── bye ───────────────▶│   onLost · onPeerLost
 *
 * In the theory this is the failure detector and the fencing below the control plane. Invariants:
 * - Both ends agree on sessions: whatever makes one end give a session up, the other learns of it, and no message of that session is
 *   delivered afterwards. A session is (client incarnation, number); each end compares both on every message, and the leader epoch too.
 * - Liveness is judged by heartbeats between programs; libzmq's own would say "alive" of a process stuck in a loop. Time in which the judge
 *   itself was away counts for nobody's silence (`awake-clock.ts`).
 * - A broken socket is a hint to look sooner, not a verdict: it starts probes, and a probe that has no way to go is the verdict.
 * - Within a session messages arrive once, in order and without gaps; what can't be delivered ends the session. Across sessions nothing is
 *   repeated: who called learns that the answer got lost, who told an event learns that the session ended.
 * - Nothing blocks and nothing grows: with a send timeout of 0 a send either enters libzmq's bounded queue for that peer or fails at once
 *   (so the "one pending send" of zeromq.js can't be violated), the calls that wait are bounded by the link, peers by `MAX_PEERS`.
 *
 * Everything here runs on a process's main thread: a worker that ends with an open
 * socket takes the whole process with it.
 */
import { randomUUID } from "node:crypto";
import { connect as connectSocket } from "node:net";
import { Dealer, Router } from "zeromq";
import { ConfigurationError, ConnectionError, ProtocolError, describe, type DreyError } from "../../core/types/errors.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { formatAddress, parseAddress, requireGuarded, type Address } from "./addresses.ts";
import { AwakeClock, type Clock } from "./awake-clock.ts";
import { IDENTITY, MAX_ATTACHMENTS, decode, encode, type Content, type Envelope, type Message } from "./codec.ts";
import { closeSocket } from "./close-socket.ts";
import type { Attachments, CallName, Conversation, EventName, Handlers, ReplyOf, ReplyWithAttachments, RequestOf } from "./conversation.ts";
import { admit, dismiss, requireKey, type ClientKeys, type ServerKeys } from "./keys.ts";
import { LeaderAddresses, parseAddresses } from "./leader-addresses.ts";
import { Drops, Link, type CallOptions, type Caller } from "./link.ts";

/** How often a process shows that it lives, and how long the other waits for a sign. Both sides should be given the same. */
export interface Heartbeats {
  /** In milliseconds; default 1000. */
  readonly intervalMs: number;
  /** Silence of more than this is death, in milliseconds; at least three intervals; default 10 000. */
  readonly timeoutMs: number;
}

/** The largest message by default, header and attachments together, in bytes: room for a code bundle of 64 MiB. */
export const DEFAULT_MAX_MESSAGE_BYTES: number = 128 * 1024 * 1024;
/** The most peers of one server. */
export const MAX_PEERS = 4096;

const DEFAULT_HEARTBEATS: Heartbeats = { intervalMs: 1_000, timeoutMs: 10_000 };
/** The most messages that libzmq queues for one peer, in each direction; a peer that leaves more waiting has lost its session. */
const QUEUED_MESSAGES = 10_000;
/** A connection that doesn't get through its handshake in this time is closed; so half-open ones don't pile up. */
const HANDSHAKE_MS = 2_000;
/** How long a closing end waits for the other's answer to its farewell; by then also what was sent before has arrived. */
const FAREWELL_MS = 1_000;
/** When to probe again after a disconnect: libzmq reports it some milliseconds before it takes the connection's queue away. */
const PROBE_DELAYS_MS: readonly number[] = [2, 5, 10, 20, 40];
/** How long an address is tried at which nobody accepts connections, when there may be another. */
const DIAL_MS = 500;
/** How long one is tried at the most at which somebody accepts and does not greet back. */
const MAX_PATIENCE_MS = 16_000;
/** How long reading the leader's address may take. */
const LOOKUP_MS = 2_000;
/** When to greet again: soon when there was no way yet, later when an answer may be under way. */
const GREETING_MS = { unsent: 10, sent: 200 } as const;

/** One client, as its server sees it, for the time of one session. */
export interface Peer<Called extends Conversation> extends Caller<Called> {
  /** The name the client gave itself: the id of a TaskManager or a client. */
  readonly id: string;
  readonly incarnation: string;
  /** When its last message arrived, on the server's `clock`. */
  readonly lastSeenMs: number;
  /** Aborted when the session ends; the reason is a ConnectionError. */
  readonly signal: AbortSignal;
  /** Whatever the server's owner keeps with it. */
  data: unknown;
}

export interface RpcServerOptions<Served extends Conversation, Called extends Conversation> {
  /** `ipc://…`, or `tcp://host:port` with `*` for any free port. */
  readonly address: string;
  /** The leader epoch of this JobManager: greater than those of all leaders before it. */
  readonly epoch: number;
  /** What clients may ask. */
  readonly served: Served;
  readonly handlers: Handlers<Served, Peer<Called>>;
  /** What this server asks of its clients. */
  readonly called: Called;
  /**
   * It stands by: it begins no sessions, and whoever greets is told so, and where the leader is as far as this function knows.
   * Default: it leads.
   */
  readonly standby?: () => string | undefined;
  /** A session has begun. The peer can be called at once. */
  readonly onPeerConnected?: (peer: Peer<Called>) => void;
  /** A session has ended, once for each that began, unless the server itself was closed. `reason` is for people. */
  readonly onPeerLost?: (peer: Peer<Called>, reason: string) => void;
  readonly heartbeat?: Heartbeats;
  /** Without keys the address must be out of strangers' reach (`requireGuarded`). */
  readonly keys?: ServerKeys;
  readonly maxMessageBytes?: number;
  /** Default `performance.now`. */
  readonly clock?: Clock;
  /** What clients are called in messages; default "peer", for example "TaskManager". */
  readonly peerName?: string;
  /** Takes errors that nobody waits for: of event handlers and of the callbacks above. Default: a process warning. */
  readonly onError?: (error: Error) => void;
}

type Hello = Message & { readonly kind: "hello" };

class Session<Served extends Conversation, Called extends Conversation> implements Peer<Called> {
  readonly id: string;
  readonly incarnation: string;
  readonly number: number;
  readonly routingId: Buffer;
  readonly link: Link<Served, Called, Peer<Called>>;
  readonly ended: AbortController = new AbortController();
  /** On the awake clock, for judging silence. */
  heardMs = 0;
  lastSeenMs = 0;
  data: unknown;

  constructor(routingId: Buffer, hello: Hello, makeLink: (of: Session<Served, Called>) => typeof this.link) {
    this.id = hello.identity;
    this.routingId = routingId;
    this.incarnation = hello.incarnation;
    this.number = hello.session;
    this.link = makeLink(this);
  }

  get signal(): AbortSignal {
    return this.ended.signal;
  }

  call<M extends CallName<Called>>(method: M, request: RequestOf<Called, M>, options?: CallOptions): Promise<ReplyOf<Called, M>> {
    return this.link.call(method, request, options);
  }

  callForAttachments<M extends CallName<Called>>(
    method: M,
    request: RequestOf<Called, M>,
    options?: CallOptions,
  ): Promise<ReplyWithAttachments<ReplyOf<Called, M>>> {
    return this.link.callForAttachments(method, request, options);
  }

  notify<M extends EventName<Called>>(method: M, event: RequestOf<Called, M>, attachments?: Attachments): void {
    this.link.notify(method, event, attachments);
  }
}

/** The end that listens. Its owner closes it. */
export class RpcServer<Served extends Conversation, Called extends Conversation> {
  /** Messages that were not delivered, counted by reason. */
  readonly drops: Drops = new Drops();
  readonly #options: RpcServerOptions<Served, Called>;
  readonly #address: Address;
  readonly #heartbeat: Heartbeats;
  readonly #maxMessageBytes: number;
  readonly #clock: Clock;
  readonly #awake: AwakeClock;
  /** The sessions by connection: the routing id that libzmq gives each, as text. */
  readonly #sessions = new Map<string, Session<Served, Called>>();
  /** The same sessions by the name of the client. */
  readonly #peers = new Map<string, Session<Served, Called>>();
  readonly #retired = new Retired();
  readonly #domain: string = `drey-${randomUUID()}`;
  #socket: Router | undefined;
  #receiving: Promise<void> = Promise.resolve();
  #judging: NodeJS.Timeout | undefined;
  #probing: NodeJS.Timeout | undefined;
  #boundAddress: string | undefined;
  /** While closing: the clients that have not answered the farewell yet. */
  readonly #farewells = new Farewells();
  #closing: Promise<void> | undefined;

  /** @throws ConfigurationError when the address, the keys or the heartbeat can't be. */
  constructor(options: RpcServerOptions<Served, Called>) {
    this.#options = options;
    this.#address = parseAddress(options.address);
    this.#heartbeat = requireHeartbeats(options.heartbeat);
    this.#maxMessageBytes = requireMaxMessageBytes(options.maxMessageBytes);
    this.#clock = options.clock ?? (() => performance.now());
    this.#awake = new AwakeClock(this.#clock, 2 * this.#heartbeat.intervalMs);
    if (!Number.isSafeInteger(options.epoch) || options.epoch < 0) {
      throw new ConfigurationError(`the leader epoch is ${describe(options.epoch)}; it must be an integer ≥ 0.`);
    }
    if (options.keys !== undefined) requireKey(options.keys.own.secretKey, "the server's secret key");
  }

  /** The clients that are connected now, by id. */
  get peers(): ReadonlyMap<string, Peer<Called>> {
    return this.#peers;
  }

  /** The address with the port that was chosen. @throws ConnectionError before `start`. */
  get address(): string {
    if (this.#boundAddress === undefined) throw new ConnectionError(`the server at ${this.#options.address} has not been started.`);
    return this.#boundAddress;
  }

  /**
   * Listens. Resolves with the address that clients can connect to.
   * @throws ConfigurationError when strangers could reach the address, or when it can't be had (in use, not of this machine).
   */
  async start(): Promise<string> {
    const { keys } = this.#options;
    requireGuarded(this.#address, keys !== undefined);
    if (this.#socket !== undefined) throw new ConfigurationError(`the server at ${this.#options.address} was started twice.`);
    const socket = new Router({
      // The default, no handover, stays: nobody can take over another's connection by claiming its routing id.
      mandatory: true,
      linger: 0,
      sendTimeout: 0,
      sendHighWaterMark: QUEUED_MESSAGES,
      receiveHighWaterMark: QUEUED_MESSAGES,
      maxMessageSize: this.#maxMessageBytes,
      handshakeInterval: HANDSHAKE_MS,
      ipv6: isIpv6(this.#address),
      ...(keys === undefined
        ? {}
        : { curveServer: true, curveSecretKey: keys.own.secretKey, zapDomain: this.#domain, zapEnforceDomain: true }),
    });
    this.#socket = socket;
    try {
      if (keys !== undefined) await admit(this.#domain, keys.allowed);
      await requireUnused(this.#address);
      if (this.#closing !== undefined) {
        throw new ConfigurationError(`the server at ${this.#options.address} was closed before it listened.`);
      }
      socket.bindSync(formatAddress(this.#address));
    } catch (error) {
      await closeSocket(socket);
      await dismiss(this.#domain);
      if (error instanceof ConfigurationError) throw error;
      throw new ConfigurationError(`can't listen at ${this.#options.address}: ${(error as Error).message}.`, { cause: error });
    }
    this.#boundAddress = socket.lastEndpoint ?? this.#options.address;
    socket.events.on("disconnect", () => this.#probe());
    socket.events.on("handshake:error:auth", () => this.drops.count("refused handshake"));
    socket.events.on("handshake:error:protocol", () => this.drops.count("refused handshake"));
    this.#receiving = this.#receive(socket);
    this.#judging = setInterval(() => this.#judge(), this.#heartbeat.intervalMs);
    return this.#boundAddress;
  }

  /**
   * Says farewell to every client and frees the address. Calls that wait reject with ConnectionError; `onPeerLost` is not called.
   * Afterwards nothing of the server keeps the process alive. Closing twice is harmless.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    clearInterval(this.#judging);
    clearTimeout(this.#probing);
    for (const session of this.#sessions.values()) {
      this.#sayTo(session, { kind: "bye", reason: "the JobManager was closed", again: true });
      this.#end(session, "this server was closed");
      this.#farewells.expect(connectionOf(session.routingId), session.number);
    }
    await this.#farewells.wait(FAREWELL_MS);
    if (this.#socket !== undefined) await closeSocket(this.#socket);
    await this.#receiving;
    await dismiss(this.#domain);
  }

  async #receive(socket: Router): Promise<void> {
    try {
      for await (const frames of socket) {
        try {
          this.#take(frames);
        } catch (error) {
          this.#report(error);
        }
      }
    } catch (error) {
      if (this.#closing !== undefined) return;
      this.#report(error);
      for (const session of this.#sessions.values()) this.#lose(session, "the server can't receive any more");
    }
  }

  #take([routingId, header, ...attachments]: Buffer[]): void {
    if (routingId === undefined || header === undefined) return this.drops.count("garbage");
    if (tooLarge(header, attachments, this.#maxMessageBytes)) return this.drops.count("too large");
    const decoded = decode(header);
    if (!decoded.ok) {
      this.drops.count(decoded.why);
      // It can't read the words, but it sees the version.
      if (decoded.why === "foreign version") this.#say(routingId, NOBODY, { kind: "bye", reason: decoded.detail, again: false });
      return;
    }
    const { message } = decoded;
    if (this.#options.standby !== undefined) return this.#sendOn(routingId, message, this.#options.standby());
    if (message.epoch > this.#options.epoch) return this.drops.count("newer epoch");
    const connection = connectionOf(routingId);
    if (this.#closing !== undefined) {
      // The answer to a farewell is a farewell, or the greeting for another session.
      if (message.kind === "bye" || message.kind === "hello") this.#farewells.heard(connection, message);
      return;
    }
    if (message.kind === "hello") return this.#greet(routingId, message);
    const session = this.#sessions.get(connection);
    if (session === undefined) return this.#refuse(routingId, message, "unknown peer");
    if (session.incarnation !== message.incarnation) return this.#refuse(routingId, message, "stale incarnation");
    if (session.number !== message.session) return this.#refuse(routingId, message, "stale session");
    this.#hear(session);
    switch (message.kind) {
      case "heartbeat":
        return this.#sayTo(session, { kind: "alive" });
      case "alive":
        return;
      case "bye":
        this.#sayTo(session, { kind: "bye", reason: "farewell", again: true });
        return this.#lose(session, message.reason);
      case "welcome":
        return this.drops.count("malformed");
      default:
        session.link.accept(message, attachments, session);
    }
  }

  #greet(routingId: Buffer, message: Hello): void {
    const { identity, incarnation } = message;
    if (this.#retired.has(identity, incarnation)) return this.#refuse(routingId, message, "stale incarnation");
    const former = this.#peers.get(identity);
    if (former?.incarnation === incarnation) {
      if (message.session < former.number) return this.#refuse(routingId, message, "stale session");
      if (message.session === former.number && connectionOf(routingId) === connectionOf(former.routingId)) {
        // It asks again because it has not seen the first welcome yet.
        this.#hear(former);
        return this.#sayTo(former, { kind: "welcome", acceptsBytes: this.#maxMessageBytes });
      }
      this.#lose(former, "it began a new session");
    } else if (former !== undefined) {
      this.#retired.add(identity, former.incarnation);
      this.#sayTo(former, takenOver(identity));
      this.#lose(former, "a new incarnation took its place");
    }
    // A connection has one session; whoever greets anew on it under another name has given up the former.
    const sharing = this.#sessions.get(connectionOf(routingId));
    if (sharing !== undefined) this.#lose(sharing, "it began a new session");
    if (this.#sessions.size >= MAX_PEERS) {
      this.drops.count("too many peers");
      return this.#say(routingId, message, { kind: "bye", reason: `the JobManager has ${MAX_PEERS} peers already`, again: true });
    }
    // `onPeerLost` may have closed this server.
    if (this.#closing !== undefined) return;
    const session = new Session<Served, Called>(routingId, message, (of) => this.#makeLink(of, message));
    this.#sessions.set(connectionOf(routingId), session);
    this.#peers.set(identity, session);
    this.#hear(session);
    this.#sayTo(session, { kind: "welcome", acceptsBytes: this.#maxMessageBytes });
    this.#tell(() => this.#options.onPeerConnected?.(session));
  }

  /** Somebody looks for the leader here. In its own epoch, since this server has none. */
  #sendOn(routingId: Buffer, message: Message, leader: string | undefined): void {
    if (message.kind !== "hello") return this.drops.count("unknown peer");
    const reason = leader === undefined ? "it stands by, and knows of no leader" : `it stands by; the leader is at ${leader}`;
    this.#say(routingId, message, { kind: "bye", reason, again: true, ...(leader === undefined ? {} : { leader }) }, message.epoch);
  }

  #makeLink(session: Session<Served, Called>, message: Hello): Link<Served, Called, Peer<Called>> {
    const { served, handlers, called, peerName = "peer" } = this.#options;
    return new Link({
      name: `${peerName} ${session.id}`,
      served,
      handlers,
      called,
      maxMessageBytes: Math.min(this.#maxMessageBytes, message.acceptsBytes),
      envelope: { epoch: this.#options.epoch, incarnation: message.incarnation, session: message.session },
      transmit: (frames) => this.#transmit(session, frames),
      drops: this.drops,
      report: (error) => this.#report(error),
    });
  }

  /** A message of a session that isn't: it is dropped, and a sender that waits for something is told. */
  #refuse(routingId: Buffer, message: Message, why: string): void {
    this.drops.count(why);
    if (message.kind === "hello" && why === "stale incarnation") return this.#say(routingId, message, takenOver(message.identity));
    if (message.kind === "request" || message.kind === "heartbeat" || message.kind === "hello") {
      this.#say(routingId, message, { kind: "bye", reason: "the JobManager does not know this session (any more)", again: true });
    }
  }

  #hear(session: Session<Served, Called>): void {
    session.heardMs = this.#awake.read();
    session.lastSeenMs = this.#clock();
  }

  #judge(): void {
    const nowMs = this.#awake.read();
    for (const session of this.#sessions.values()) {
      const silentMs = nowMs - session.heardMs;
      if (silentMs <= this.#heartbeat.timeoutMs) continue;
      const reason = `no heartbeat for ${formatDuration(silentMs)}`;
      // Should it only have been slow, it learns from this that it was given up.
      this.#sayTo(session, { kind: "bye", reason, again: true });
      this.#lose(session, reason);
    }
  }

  /** Some connection broke, libzmq doesn't say whose: a heartbeat to everybody fails at once where there is no way any more. */
  #probe(step = 0): void {
    clearTimeout(this.#probing);
    if (this.#closing !== undefined) return;
    for (const session of this.#sessions.values()) this.#sayTo(session, { kind: "heartbeat" });
    const delayMs = PROBE_DELAYS_MS[step];
    if (delayMs !== undefined) this.#probing = setTimeout(() => this.#probe(step + 1), delayMs);
  }

  #lose(session: Session<Served, Called>, reason: string): void {
    if (session.signal.aborted) return;
    this.#end(session, reason);
    this.#tell(() => this.#options.onPeerLost?.(session, reason));
  }

  #end(session: Session<Served, Called>, reason: string): void {
    this.#sessions.delete(connectionOf(session.routingId));
    this.#peers.delete(session.id);
    session.link.lose(reason);
    session.ended.abort(new ConnectionError(`${this.#options.peerName ?? "peer"} ${session.id} is gone (${reason}).`));
  }

  /** A message of the transport itself, within a session. */
  #sayTo(session: Session<Served, Called>, content: Content): void {
    this.#transmit(session, [encode({ epoch: this.#options.epoch, ...sessionOf(session), ...content })]).catch(() => undefined);
  }

  /** A message of the transport itself to somebody without a session. */
  #say(routingId: Buffer, to: Pick<Envelope, "incarnation" | "session">, content: Content, epoch: number = this.#options.epoch): void {
    const { incarnation, session } = to;
    const header = encode({ epoch, incarnation, session, ...content });
    send(this.#socket!, [routingId, header]).catch(() => this.drops.count("unsent answer"));
  }

  async #transmit(session: Session<Served, Called>, frames: readonly Uint8Array[]): Promise<void> {
    try {
      await send(this.#socket!, [session.routingId, ...frames]);
    } catch (error) {
      const reason = (error as { code?: string }).code === "EAGAIN" ? `${QUEUED_MESSAGES} messages wait for it` : "connection lost";
      this.#lose(session, reason);
      this.#farewells.gone(connectionOf(session.routingId));
      throw new ConnectionError(`${this.#options.peerName ?? "peer"} ${session.id} is gone (${reason}).`, { cause: error });
    }
  }

  #tell(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    report(this.#options.onError, error);
  }
}

export interface RpcClientOptions<Called extends Conversation, Served extends Conversation> {
  /** Where the server is: one address, or several separated by commas, which are tried in turn. May be empty with `leader`. */
  readonly address: string;
  /** Reads where the leader says it is, from shared storage; asked at first, and again while there is no session. */
  readonly leader?: () => Promise<string | undefined>;
  /** The name of this process among the server's clients: letters, digits and `_ . : @ -`, at most 128. */
  readonly identity: string;
  /** Names this run of the process; a restarted process has another, and takes the place of the former. At most 64 characters. */
  readonly incarnation: string;
  /** What the server may ask of this process. */
  readonly served: Served;
  readonly handlers: Handlers<Served, RpcClient<Called, Served>>;
  /** What this process asks of the server. */
  readonly called: Called;
  /** A session has begun: at first, and again after each loss. What the server knew of the former session, it has forgotten. */
  readonly onConnected?: (epoch: number) => void;
  /** A session has ended, other than by `close`. `final`: no other will follow, because the server wants none. */
  readonly onLost?: (reason: string, final: boolean) => void;
  readonly heartbeat?: Heartbeats;
  readonly keys?: ClientKeys;
  /** How long `connect` tries, in milliseconds; default 5000. */
  readonly connectDeadlineMs?: number;
  readonly maxMessageBytes?: number;
  /** Default `performance.now`. */
  readonly clock?: Clock;
  /** Takes errors that nobody waits for: of event handlers and of the callbacks above. Default: a process warning. */
  readonly onError?: (error: Error) => void;
}

/** The end that dials. After a loss it goes on trying until its owner closes it, or the server forbids it. */
export class RpcClient<Called extends Conversation, Served extends Conversation> implements Caller<Called> {
  /** Messages that were not delivered, counted by reason. */
  readonly drops: Drops = new Drops();
  readonly #options: RpcClientOptions<Called, Served>;
  readonly #given: readonly Address[];
  readonly #addresses: LeaderAddresses;
  #heartbeat: Heartbeats;
  readonly #maxMessageBytes: number;
  #awake: AwakeClock;
  #socket: Dealer | undefined;
  #receiving: Promise<void> = Promise.resolve();
  #beating: NodeJS.Timeout | undefined;
  #probing: NodeJS.Timeout | undefined;
  #connecting: { readonly resolve: () => void; readonly reject: (error: DreyError) => void } | undefined;
  #link: Link<Served, Called, RpcClient<Called, Served>> | undefined;
  #session = 1;
  #epoch = 0;
  #heardMs = 0;
  /** What is known of a connection that doesn't come about. */
  #obstacle: string | undefined;
  /** Dials another address when the present one has had its time. */
  #turning: NodeJS.Timeout | undefined;
  /** Since the present address was dialled: somebody accepts connections there. */
  #accepted = false;
  #dialledMs = 0;
  /** What the socket is connected to. */
  #endpoint: string | undefined;
  /** Addresses that accepted and did not greet back, since the last session. */
  #unanswered = 0;
  #goneBecause = "it has not been connected yet";
  readonly #farewells = new Farewells();
  #closing: Promise<void> | undefined;

  /** @throws ConfigurationError when the address, the identity, the keys or the heartbeat can't be. */
  constructor(options: RpcClientOptions<Called, Served>) {
    this.#options = options;
    this.#given = options.address === "" && options.leader !== undefined ? [] : parseAddresses(options.address, "the JobManager's address");
    this.#addresses = new LeaderAddresses(this.#given);
    this.#heartbeat = requireHeartbeats(options.heartbeat);
    this.#maxMessageBytes = requireMaxMessageBytes(options.maxMessageBytes);
    this.#awake = new AwakeClock(options.clock ?? (() => performance.now()), 2 * this.#heartbeat.intervalMs);
    if (!IDENTITY.test(options.identity)) {
      throw new ConfigurationError(`the name ${describe(options.identity)} can't be: use letters, digits and _ . : @ -, at most 128.`);
    }
    if (options.incarnation === "" || options.incarnation.length > 64) {
      throw new ConfigurationError(`the incarnation ${describe(options.incarnation)} can't be: it has 1 to 64 characters.`);
    }
    if (options.keys !== undefined) {
      requireKey(options.keys.own.publicKey, "the public key of this process");
      requireKey(options.keys.own.secretKey, "the secret key of this process");
      requireKey(options.keys.server, "the public key of the JobManager");
    }
  }

  /**
   * From now on these hold, as the server has them: both sides should have the same.
   * @throws ConfigurationError when they can't be.
   */
  useHeartbeats(heartbeat: Heartbeats): void {
    const { intervalMs, timeoutMs } = this.#heartbeat;
    if (heartbeat.intervalMs === intervalMs && heartbeat.timeoutMs === timeoutMs) return;
    this.#heartbeat = requireHeartbeats(heartbeat);
    this.#awake = new AwakeClock(this.#options.clock ?? (() => performance.now()), 2 * heartbeat.intervalMs);
    this.#heardMs = this.#awake.read();
    if (this.#link !== undefined) this.#beat();
  }

  /** Whether there is a session now. */
  get connected(): boolean {
    return this.#link !== undefined;
  }

  /** The address of the server, or where it is looked for now; undefined before `connect`. */
  get dialled(): string | undefined {
    return this.#addresses.current;
  }

  /** The highest leader epoch this process has met; 0 before the first session. */
  get epoch(): number {
    return this.#epoch;
  }

  /**
   * Dials, and resolves when the first session has begun. On failure everything is closed.
   * @throws ConnectionError when nobody answers in time or the key is refused; ProtocolError when the other side speaks another version;
   * ConfigurationError when the address is out of this machine and there are no keys.
   */
  async connect(): Promise<void> {
    const { keys, connectDeadlineMs = 5_000 } = this.#options;
    for (const address of this.#given) this.#requireGuarded(address);
    if (this.#socket !== undefined || this.#closing !== undefined) {
      throw new ConnectionError(`the connection to ${this.#where} can't be dialled twice.`);
    }
    const socket = new Dealer({
      immediate: true,
      linger: 0,
      sendTimeout: 0,
      sendHighWaterMark: QUEUED_MESSAGES,
      receiveHighWaterMark: QUEUED_MESSAGES,
      maxMessageSize: this.#maxMessageBytes,
      handshakeInterval: HANDSHAKE_MS,
      reconnectInterval: 50,
      reconnectMaxInterval: 1_000,
      ...(keys === undefined
        ? {}
        : { curvePublicKey: keys.own.publicKey, curveSecretKey: keys.own.secretKey, curveServerKey: keys.server }),
    });
    this.#socket = socket;
    this.#watch(socket);
    const connecting = new Promise<void>((resolve, reject) => {
      this.#connecting = { resolve, reject };
    });
    const deadline = setTimeout(() => this.#connecting?.reject(this.#nobodyAnswers(connectDeadlineMs)), connectDeadlineMs);
    try {
      this.#receiving = this.#receive(socket);
      // Nothing may be waited for while a rejection of it has nobody who hears it.
      void this.#turn();
      await connecting;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearTimeout(deadline);
      this.#connecting = undefined;
    }
  }

  async call<M extends CallName<Called>>(method: M, request: RequestOf<Called, M>, options?: CallOptions): Promise<ReplyOf<Called, M>> {
    return (await this.callForAttachments(method, request, options)).reply;
  }

  async callForAttachments<M extends CallName<Called>>(
    method: M,
    request: RequestOf<Called, M>,
    options?: CallOptions,
  ): Promise<ReplyWithAttachments<ReplyOf<Called, M>>> {
    if (this.#link !== undefined) return this.#link.callForAttachments(method, request, options);
    throw new ConnectionError(`can't call ${method}: ${this.#where} is not connected (${this.#goneBecause}).`);
  }

  notify<M extends EventName<Called>>(method: M, event: RequestOf<Called, M>, attachments?: Attachments): void {
    if (this.#link === undefined) this.drops.count("unsent event");
    else this.#link.notify(method, event, attachments);
  }

  /**
   * Says farewell and hangs up. Calls that wait reject with ConnectionError; `onLost` is not called. Afterwards nothing of the client keeps
   * the process alive. Closing twice is harmless.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close("this process closed the connection");
    return this.#closing;
  }

  async #close(reason: string): Promise<void> {
    clearTimeout(this.#beating);
    clearTimeout(this.#probing);
    clearTimeout(this.#turning);
    this.#goneBecause = reason;
    if (this.#link !== undefined) {
      this.#say({ kind: "bye", reason: "it closed the connection", again: true });
      this.#farewells.expect("server", this.#session);
      this.#link.lose(reason);
      this.#link = undefined;
    }
    this.#connecting?.reject(new ConnectionError(`the connection to ${this.#where} was closed before it came about.`));
    await this.#farewells.wait(FAREWELL_MS);
    if (this.#socket !== undefined) await closeSocket(this.#socket);
    await this.#receiving;
  }

  get #where(): string {
    return `the JobManager at ${this.#addresses.current ?? this.#options.address}`;
  }

  #nobodyAnswers(afterMs: number): ConnectionError {
    const { address, leader } = this.#options;
    const places = [
      ...(address === "" ? [] : [`at ${this.#given.map(formatAddress).join(", ")}`]),
      ...(leader === undefined ? [] : [`where the leader has published its address (${this.#addresses.published ?? "none has"})`]),
    ];
    const nobody = `no JobManager answers ${places.join(" or ")} after ${formatDuration(afterMs)}`;
    return new ConnectionError(
      this.#obstacle === undefined ? `${nobody}; is it running? Start one with \`drey cluster start\`.` : `${nobody}: ${this.#obstacle}.`,
    );
  }

  #watch(socket: Dealer): void {
    socket.events.on("connect", () => {
      this.#accepted = true;
      this.#obstacle ??=
        "somebody listens there, but the handshake does not end; is it a JobManager, and are keys given on both sides or on none";
    });
    socket.events.on("handshake", () => {
      this.#obstacle = "somebody listens there, but does not greet back";
      this.#greet();
    });
    socket.events.on("disconnect", () => (this.#closing === undefined ? this.#probe() : this.#farewells.gone("server")));
    socket.events.on("handshake:error:auth", () => {
      this.#obstacle = "it refuses the key of this process, which is not on its allow list";
      this.#connecting?.reject(new ConnectionError(`${this.#where} refuses the key of this process, which is not on its allow list.`));
    });
    const failed = (): void => {
      this.#obstacle = "the security handshake fails; are keys given on both sides or on none, and is the server's key the right one";
    };
    socket.events.on("handshake:error:protocol", failed);
    socket.events.on("handshake:error:other", failed);
  }

  async #receive(socket: Dealer): Promise<void> {
    try {
      for await (const frames of socket) {
        try {
          this.#take(frames);
        } catch (error) {
          this.#report(error);
        }
      }
    } catch (error) {
      if (this.#closing !== undefined) return;
      this.#report(error);
      this.#lose("this process can't receive any more", false);
    }
  }

  #take([header, ...attachments]: Buffer[]): void {
    if (header === undefined) return this.drops.count("garbage");
    if (tooLarge(header, attachments, this.#maxMessageBytes)) return this.drops.count("too large");
    const decoded = decode(header);
    if (!decoded.ok) {
      this.drops.count(decoded.why);
      if (decoded.why === "foreign version") {
        const cure = "Install the same drey on both sides.";
        this.#connecting?.reject(new ProtocolError(`${this.#where} speaks another protocol: ${decoded.detail}. ${cure}`));
      }
      return;
    }
    const { message } = decoded;
    if (message.incarnation !== this.#options.incarnation) return this.drops.count("stale incarnation");
    if (message.session !== this.#session) return this.drops.count("stale session");
    if (message.epoch < this.#epoch) return this.drops.count("old epoch");
    if (this.#closing !== undefined) return message.kind === "bye" ? this.#farewells.heard("server", message) : undefined;
    if (message.kind === "welcome") return this.#welcome(message);
    if (message.kind === "bye") return this.#farewell(message);
    if (this.#link === undefined) return this.drops.count("unknown session");
    if (message.epoch !== this.#epoch) return this.drops.count("newer epoch");
    this.#heardMs = this.#awake.read();
    switch (message.kind) {
      case "heartbeat":
        return this.#say({ kind: "alive" });
      case "alive":
        return;
      case "hello":
        return this.drops.count("malformed");
      default:
        this.#link.accept(message, attachments, this);
    }
  }

  #welcome(message: Message & { kind: "welcome" }): void {
    this.#heardMs = this.#awake.read();
    if (this.#link !== undefined) return;
    const { served, handlers, called, incarnation } = this.#options;
    this.#epoch = message.epoch;
    this.#link = new Link({
      name: this.#where,
      served,
      handlers,
      called,
      maxMessageBytes: Math.min(this.#maxMessageBytes, message.acceptsBytes),
      envelope: { epoch: message.epoch, incarnation, session: message.session },
      transmit: (frames) => this.#transmit(frames),
      drops: this.drops,
      report: (error) => this.#report(error),
    });
    this.#addresses.arrived();
    clearTimeout(this.#turning);
    this.#unanswered = 0;
    this.#connecting?.resolve();
    this.#tell(() => this.#options.onConnected?.(message.epoch));
  }

  #farewell({ reason, again, leader }: Message & { kind: "bye" }): void {
    if (again && this.#link === undefined) return this.#refused(reason, leader);
    if (again) return this.#lose(reason, false);
    const wasConnecting = this.#connecting;
    wasConnecting?.reject(new ConnectionError(`${this.#where} refuses this process: ${reason}.`));
    this.#lose(reason, true);
    this.#closing ??= this.#close(reason);
  }

  /** No session begins here, for now. */
  #refused(reason: string, leader: string | undefined): void {
    this.#obstacle = `${this.#where} answers that ${reason}`;
    const next = leader === undefined ? undefined : this.#addresses.follow(leader);
    if (next !== undefined) this.#dial(next);
  }

  /** Ends the session, if there is one, and greets for the next. */
  #lose(reason: string, final: boolean): void {
    if (this.#link === undefined) return;
    this.#goneBecause = reason;
    this.#link.lose(reason);
    this.#link = undefined;
    this.#session++;
    clearTimeout(this.#probing);
    this.#tell(() => this.#options.onLost?.(reason, final));
    if (final) return;
    // It may be there again in a moment; else it is looked for elsewhere.
    this.#accepted = false;
    this.#dialledMs = this.#awake.read();
    this.#turnLater();
    this.#greet();
  }

  /** An address of a list that can't be had for now is no reason not to try the others. */
  #requireGuarded(address: Address): void {
    try {
      requireGuarded(address, this.#options.keys !== undefined);
    } catch (error) {
      const isOne = this.#given.length === 1 && this.#options.leader === undefined;
      if (isOne || !(error instanceof ConnectionError)) throw error;
    }
  }

  /** Looks up where the leader is, and dials the address that is to be tried now. */
  async #turn(): Promise<void> {
    const { leader } = this.#options;
    let published: string | undefined;
    if (leader !== undefined) {
      try {
        published = this.#addresses.publish(await within(LOOKUP_MS, leader()));
      } catch (error) {
        this.#obstacle ??= `where the leader is can't be read: ${(error as Error).message}`;
      }
    }
    if (this.#link !== undefined || this.#closing !== undefined) return;
    if (published !== undefined) return this.#dial(published);
    if (this.#hasTime()) return this.#turnLater();
    const next = this.#addresses.next();
    if (next === undefined) this.#turnLater();
    else this.#dial(next);
  }

  /** Whether the present address has time left: more when somebody accepts connections there, and more again when all of those are slow. */
  #hasTime(): boolean {
    if (this.#endpoint === undefined || !this.#accepted) return false;
    const rounds = Math.floor(this.#unanswered / Math.max(1, this.#given.length));
    if (this.#awake.read() - this.#dialledMs < Math.min(MAX_PATIENCE_MS, HANDSHAKE_MS * 2 ** rounds)) return true;
    this.#unanswered++;
    return false;
  }

  #turnLater(): void {
    clearTimeout(this.#turning);
    if (this.#closing !== undefined || (this.#options.leader === undefined && !this.#addresses.hasOthers)) return;
    this.#turning = setTimeout(() => void this.#turn(), DIAL_MS);
  }

  /** Lets go of what was dialled before. */
  #dial(text: string): void {
    const socket = this.#socket as Dealer;
    this.#dialledMs = this.#awake.read();
    try {
      const address = parseAddress(text, "the leader's address");
      const endpoint = formatAddress(address);
      requireGuarded(address, this.#options.keys !== undefined);
      if (this.#endpoint !== endpoint) {
        if (this.#endpoint !== undefined) {
          socket.disconnect(this.#endpoint);
          this.#endpoint = undefined;
          // What the former still says belongs to no session of the next.
          this.#session++;
        }
        this.#accepted = false;
        socket.ipv6 = isIpv6(address);
        socket.connect(endpoint);
        this.#endpoint = endpoint;
      }
    } catch (error) {
      this.#obstacle = (error as Error).message.replace(/\.$/, "");
    }
    this.#turnLater();
    this.#greet();
  }

  /** Asks for a session; greets again until there is one. */
  #greet(): void {
    if (this.#link !== undefined || this.#closing !== undefined) return;
    const { intervalMs } = this.#heartbeat;
    const again = (delayMs: number): void => {
      clearTimeout(this.#beating);
      if (this.#closing === undefined) this.#beating = setTimeout(() => this.#beat(), Math.min(delayMs, intervalMs));
    };
    this.#transmit([this.#header({ kind: "hello", identity: this.#options.identity, acceptsBytes: this.#maxMessageBytes })]).then(
      () => again(this.#link === undefined ? GREETING_MS.sent : intervalMs),
      () => again(GREETING_MS.unsent),
    );
  }

  /** Greets while there is no session; else shows that this process lives, and judges whether the server does. */
  #beat(): void {
    clearTimeout(this.#beating);
    if (this.#closing !== undefined) return;
    const { intervalMs, timeoutMs } = this.#heartbeat;
    const nowMs = this.#awake.read();
    const silentMs = nowMs - this.#heardMs;
    if (silentMs > timeoutMs) {
      // The connection may be half open: what was said on it can be lost without anybody noticing. A new one tells.
      this.#heardMs = nowMs;
      const reason = `no heartbeat for ${formatDuration(silentMs)}`;
      if (this.#link !== undefined) this.#say({ kind: "bye", reason, again: true });
      this.#redial();
      if (this.#link !== undefined) return this.#lose(reason, false);
    }
    if (this.#link === undefined) return this.#greet();
    this.#say({ kind: "heartbeat" });
    this.#beating = setTimeout(() => this.#beat(), intervalMs);
  }

  #redial(): void {
    if (this.#endpoint === undefined) return;
    this.#socket!.disconnect(this.#endpoint);
    this.#socket!.connect(this.#endpoint);
  }

  /** The connection broke: a heartbeat fails at once when there is no way to the server any more. */
  #probe(step = 0): void {
    clearTimeout(this.#probing);
    if (this.#link === undefined || this.#closing !== undefined) return;
    this.#say({ kind: "heartbeat" });
    const delayMs = PROBE_DELAYS_MS[step];
    if (delayMs !== undefined) this.#probing = setTimeout(() => this.#probe(step + 1), delayMs);
  }

  /** A message of the transport itself. */
  #say(content: Content): void {
    this.#transmit([this.#header(content)]).catch(() => undefined);
  }

  #header(content: Content): Uint8Array {
    return encode({ epoch: this.#epoch, incarnation: this.#options.incarnation, session: this.#session, ...content });
  }

  async #transmit(frames: readonly Uint8Array[]): Promise<void> {
    const session = this.#session;
    try {
      await send(this.#socket!, frames);
    } catch (error) {
      // A dealer without a connection, or with a full queue, says "try again".
      if (session === this.#session && this.#closing === undefined) this.#lose("connection lost", false);
      throw new ConnectionError(`${this.#where} is gone (connection lost).`, { cause: error });
    }
  }

  #tell(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    report(this.#options.onError, error);
  }
}

const connectionOf = (routingId: Buffer): string => routingId.toString("latin1");

const takenOver = (identity: string): Content => ({
  kind: "bye",
  reason: `another process took over the name ${describe(identity)}`,
  again: false,
});

/** Addressee of a message to somebody whose words we can't read. */
const NOBODY: Pick<Envelope, "incarnation" | "session"> = { incarnation: "?", session: 1 };

const sessionOf = ({ incarnation, number }: { incarnation: string; number: number }): Pick<Envelope, "incarnation" | "session"> => ({
  incarnation,
  session: number,
});

const isIpv6 = (address: Address): boolean => address.transport === "tcp" && address.host.includes(":");

/** Sends without blocking (the sockets' send timeout is 0); also what zeromq.js throws at once comes as a rejection. */
async function send(socket: Router | Dealer, frames: readonly Uint8Array[]): Promise<void> {
  await socket.send(frames as Uint8Array[]);
}

/** @throws ConnectionError when it is not settled in time. */
async function within<T>(deadlineMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new ConnectionError(`no answer within ${formatDuration(deadlineMs)}`)), deadlineMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function tooLarge(header: Uint8Array, attachments: Attachments, maxMessageBytes: number): boolean {
  let bytes = header.byteLength;
  for (const attachment of attachments) bytes += attachment.byteLength;
  return bytes > maxMessageBytes || attachments.length > MAX_ATTACHMENTS;
}

function report(onError: ((error: Error) => void) | undefined, thrown: unknown): void {
  const error = thrown instanceof Error ? thrown : new Error(`a value that is not an Error was thrown: ${describe(thrown)}`);
  if (onError !== undefined) onError(error);
  else process.emitWarning(error);
}

function requireHeartbeats(heartbeat: Heartbeats = DEFAULT_HEARTBEATS): Heartbeats {
  const { intervalMs, timeoutMs } = heartbeat;
  if (intervalMs > 0 && timeoutMs >= 3 * intervalMs && timeoutMs < 2 ** 31) return heartbeat;
  throw new ConfigurationError(
    `the heartbeat has an interval of ${intervalMs} ms and a timeout of ${timeoutMs} ms; the timeout must be three intervals at least.`,
  );
}

function requireMaxMessageBytes(bytes: number = DEFAULT_MAX_MESSAGE_BYTES): number {
  if (Number.isSafeInteger(bytes) && bytes >= 65_536) return bytes;
  throw new ConfigurationError(`maxMessageBytes is ${describe(bytes)}; it must be an integer of 65536 at least.`);
}

/** libzmq would quietly take a socket file away from a server that still listens at it. */
async function requireUnused(address: Address): Promise<void> {
  if (address.transport !== "ipc") return;
  const attempt = connectSocket(address.path);
  const listening = await new Promise<boolean>((resolve) => {
    // A server greets whoever connects; a socket whose process is just ending accepts, too, but says nothing.
    attempt.once("data", () => resolve(true));
    attempt.once("close", () => resolve(false));
    attempt.once("error", () => resolve(false));
    // Whoever is silent for a second is busy or stopped, not absent.
    attempt.setTimeout(1_000, () => resolve(true));
  });
  attempt.destroy();
  if (listening) throw new ConfigurationError(`can't listen at ${formatAddress(address)}: another process listens there.`);
}

/** The incarnations that were replaced by newer ones, the latest thousand. */
class Retired {
  readonly #keys = new Set<string>();

  add(id: string, incarnation: string): void {
    this.#keys.add(`${id}\n${incarnation}`);
    if (this.#keys.size > 1_000) this.#keys.delete(this.#keys.values().next().value as string);
  }

  has(id: string, incarnation: string): boolean {
    return this.#keys.has(`${id}\n${incarnation}`);
  }
}

/** Who has not answered a farewell yet. libzmq discards what is under way in either direction when a socket is closed; so both wait. */
class Farewells {
  readonly #expected = new Map<string, number>();
  #settle: (() => void) | undefined;

  /** An answer is due for the end of session `number` of that connection. */
  expect(connection: string, number: number): void {
    this.#expected.set(connection, number);
  }

  heard(connection: string, message: Message): void {
    const number = this.#expected.get(connection);
    // A greeting of the session itself was under way when it ended: it answers nothing.
    if (number !== undefined && (message.kind === "bye" || message.session > number)) this.gone(connection);
  }

  gone(connection: string): void {
    if (this.#expected.delete(connection) && this.#expected.size === 0) this.#settle?.();
  }

  /** Resolves when all have answered, or after `deadlineMs`. */
  async wait(deadlineMs: number): Promise<void> {
    if (this.#expected.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#settle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
