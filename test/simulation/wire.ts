/**
 * What lies between processes, and the sessions that protocol/rpc.ts keeps on it. A connection delivers in order and without gaps until it
 * breaks; what was on its way then is lost, comes late, or comes twice, beside what the next connection brings. Whoever is silent for too
 * long is given up. Every message carries epoch, incarnation, session and number, and who gets it compares them.
 *
 * In rough runs the wire does more than a connection could: events get lost, come twice and out of order within a session.
 */
import { ConnectionError, DeadlineError, ProtocolError } from "../../src/core/types/errors.ts";
import type {
  Attachments, CallName, Conversation, EventName, ReplyOf, ReplyWithAttachments, RequestOf,
} from "../../src/cluster/protocol/conversation.ts";
import type { Called } from "../../src/cluster/jobmanager/job-manager-endpoint.ts";
import type { CallOptions, Caller } from "../../src/cluster/protocol/link.ts";
import type { Peer } from "../../src/cluster/protocol/rpc.ts";
import type { SimulatedProcess } from "./process.ts";
import type { World } from "./world.ts";

const HEARTBEAT_MS = 200;
const TIMEOUT_MS = 1_000;
const DEADLINE_MS = 2_000;
/** What was on its way when a connection broke may come so much later. */
const LATE_MS = 1_500;

/** How bad the times are. */
export interface WireWeather {
  /** Probability that a message does not arrive; then its connection breaks. */
  losses: number;
  slowMs: number;
}

type Content =
  | { readonly kind: "hello" | "welcome" | "bye" | "heartbeat" | "alive" }
  | { readonly kind: "request"; readonly id: number; readonly method: string; readonly args: unknown; readonly attachments: Attachments }
  | { readonly kind: "event"; readonly method: string; readonly args: unknown; readonly attachments: Attachments }
  | { readonly kind: "reply"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly error: Error };

/** Messages that say something; the others are the transport's own. */
const SAID: ReadonlySet<Content["kind"]> = new Set(["request", "event"]);

interface Envelope {
  readonly epoch: number;
  readonly identity: string;
  readonly incarnation: string;
  readonly session: number;
}

interface Frame extends Envelope {
  readonly content: Content;
}

/** What answers; it need not answer everything. */
export type SimulatedHandlers<From> = Readonly<Record<string, (request: never, from: From, attachments: Attachments) => unknown>>;

/** One direction of one connection. */
class Lane {
  lastMs = 0;
  broken = false;
  /** What a cut holds up. It goes on when the cut is gone, as TCP does. */
  held: (() => void)[] = [];
}

export class Wire {
  readonly world: World;
  readonly weather: WireWeather;
  /** Directions that let nothing through, as `from>to`. */
  readonly cuts = new Set<string>();
  /** More happens than a connection could do. */
  readonly isRough: boolean;
  /** Whoever gets a message looks at whose it is. */
  readonly isFenced: boolean;
  /** Messages that said something in a session that was over, or to a leader that was not theirs. */
  refused = 0;

  constructor(world: World, weather: WireWeather, { isRough, isFenced }: { readonly isRough: boolean; readonly isFenced: boolean }) {
    this.world = world;
    this.weather = weather;
    this.isRough = isRough;
    this.isFenced = isFenced;
  }

  /** @param late called instead of `heard` with what a broken connection held. */
  send(from: SimulatedProcess, to: SimulatedProcess, lane: Lane, isEvent: boolean, heard: () => void, late: () => void): void {
    if (!from.step()) return;
    const { world, weather } = this;
    if (lane.broken) {
      if (world.chance(0.3)) world.after(world.between(0, LATE_MS), late);
      return;
    }
    const copies = this.isRough && isEvent ? 1 + Number(world.chance(0.15)) : 1;
    for (let copy = 0; copy < copies; copy++) {
      const isLost = world.chance(weather.losses);
      const atMs = world.nowMs + world.between(0.1, weather.slowMs);
      const arrivesMs = this.isRough && isEvent ? atMs : (lane.lastMs = Math.max(lane.lastMs, atMs));
      const arrive = (): void => {
        if (isLost && this.isRough && isEvent) return;
        if (isLost) lane.broken = true;
        if (!lane.broken && to.isAlive) return to.run(heard);
        // What was not acknowledged when the connection broke may be sent again on the next.
        for (let again = 0; again < 2; again++) if (world.chance(0.3)) world.after(world.between(0, LATE_MS), late);
      };
      world.after(arrivesMs - world.nowMs, () => {
        if (lane.held.length === 0 && !this.#isCut(from, to)) return arrive();
        if (lane.held.push(arrive) === 1) this.#holdUp(from, to, lane);
      });
    }
    from.step();
  }

  #isCut(from: SimulatedProcess, to: SimulatedProcess): boolean {
    return this.cuts.has(`${from.name}>${to.name}`);
  }

  #holdUp(from: SimulatedProcess, to: SimulatedProcess, lane: Lane): void {
    this.world.after(this.world.between(5, 50), () => {
      if (this.#isCut(from, to)) return this.#holdUp(from, to, lane);
      for (const arrive of lane.held.splice(0)) arrive();
    });
  }
}

/** One end of a session. */
class SimulatedLink {
  readonly #process: SimulatedProcess;
  readonly #transmit: (content: Content) => void;
  readonly #waiting = new Map<number, { readonly resolve: (value: never) => void; readonly reject: (error: Error) => void }>();
  readonly #served = new Set<number>();
  #lastId = 0;
  #lost: string | undefined;

  constructor(process: SimulatedProcess, transmit: (content: Content) => void) {
    this.#process = process;
    this.#transmit = transmit;
  }

  call<T>(method: string, args: unknown, { attachments = [], deadlineMs = DEADLINE_MS, signal }: CallOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#lost !== undefined) throw new ConnectionError(`can't call ${method}: ${this.#lost}`);
      signal?.throwIfAborted();
      const id = ++this.#lastId;
      const settled = (): void => {
        this.#waiting.delete(id);
        callOff();
        signal?.removeEventListener("abort", onAbort);
      };
      const fail = (error: Error): void => {
        settled();
        reject(error);
      };
      const onAbort = (): void => fail(signal?.reason as Error);
      const callOff = this.#process.after(deadlineMs, () => fail(new DeadlineError(`no answer to ${method} (simulated)`)));
      signal?.addEventListener("abort", onAbort);
      this.#waiting.set(id, {
        resolve: (value: never) => {
          settled();
          resolve(value);
        },
        reject: fail,
      });
      this.#transmit({ kind: "request", id, method, args, attachments });
    });
  }

  notify(method: string, args: unknown, attachments: Attachments = []): void {
    if (this.#lost === undefined) this.#transmit({ kind: "event", method, args, attachments });
  }

  accept<From>(content: Content, handlers: SimulatedHandlers<From>, from: From): void {
    switch (content.kind) {
      case "request": {
        const { id, method, args, attachments } = content;
        if (this.#served.has(id)) return;
        this.#served.add(id);
        const answered = (reply: Content): void => {
          if (this.#lost === undefined) this.#transmit(reply);
        };
        try {
          const handler = handlers[method];
          if (handler === undefined) throw new ProtocolError(`there is no method ${method} here`);
          Promise.resolve(handler(args as never, from, attachments)).then(
            (value) => answered({ kind: "reply", id, value }),
            (error: Error) => answered({ kind: "failure", id, error }),
          );
        } catch (error) {
          answered({ kind: "failure", id, error: error as Error });
        }
        return;
      }
      case "event":
        try {
          handlers[content.method]?.(content.args as never, from, content.attachments);
        } catch (error) {
          this.#process.note(`could not hear ${content.method}: ${(error as Error).message}`);
        }
        return;
      case "reply":
        return this.#waiting.get(content.id)?.resolve(content.value as never);
      case "failure":
        return this.#waiting.get(content.id)?.reject(content.error);
      default:
        return;
    }
  }

  lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    for (const { reject } of this.#waiting.values()) reject(new ConnectionError(`the other side got lost: ${reason}`));
  }
}

/** A connection, as both ends hold it. */
interface Connection {
  readonly client: SimulatedClient;
  readonly server: SimulatedServer;
  readonly up: Lane;
  readonly down: Lane;
}

/** A session, as the server holds it. */
class SimulatedPeer implements Peer<Called> {
  readonly id: string;
  readonly incarnation: string;
  readonly number: number;
  readonly connection: Connection;
  readonly link: SimulatedLink;
  readonly ended = new AbortController();
  lastSeenMs: number;
  data: unknown;

  constructor(server: SimulatedServer, connection: Connection, { identity, incarnation, session }: Envelope) {
    this.id = identity;
    this.incarnation = incarnation;
    this.number = session;
    this.connection = connection;
    this.lastSeenMs = server.process.world.nowMs;
    this.link = new SimulatedLink(server.process, (content) => server.transmit(connection, { identity, incarnation, session }, content));
  }

  get signal(): AbortSignal {
    return this.ended.signal;
  }

  call<M extends CallName<Called>>(method: M, request: RequestOf<Called, M>, options?: CallOptions): Promise<ReplyOf<Called, M>> {
    return this.link.call(method, request, options);
  }

  callForAttachments<M extends CallName<Called>>(): Promise<ReplyWithAttachments<ReplyOf<Called, M>>> {
    throw new ProtocolError("not simulated");
  }

  notify<M extends EventName<Called>>(method: M, event: RequestOf<Called, M>, attachments?: Attachments): void {
    this.link.notify(method, event, attachments);
  }
}

interface SimulatedServerOptions {
  readonly process: SimulatedProcess;
  readonly wire: Wire;
  readonly epoch: number;
  readonly handlers: SimulatedHandlers<Peer<Called>>;
  readonly onPeerLost: (peer: Peer<Called>, reason: string) => void;
}

/** The end that listens. */
export class SimulatedServer {
  readonly process: SimulatedProcess;
  readonly #options: SimulatedServerOptions;
  readonly #sessions = new Map<Connection, SimulatedPeer>();
  readonly #peers = new Map<string, SimulatedPeer>();

  constructor(options: SimulatedServerOptions) {
    this.#options = options;
    this.process = options.process;
    const judge = (): void => {
      for (const peer of [...this.#peers.values()]) {
        if (this.process.world.nowMs - peer.lastSeenMs <= TIMEOUT_MS) continue;
        this.transmit(peer.connection, sessionOf(peer), { kind: "bye" });
        this.#lose(peer, "no heartbeat");
      }
      this.process.after(HEARTBEAT_MS, judge);
    };
    judge();
  }

  transmit(connection: Connection, to: Omit<Envelope, "epoch">, content: Content): void {
    const frame: Frame = { epoch: this.#options.epoch, ...to, content };
    const { client, down } = connection;
    const heard = (): void => client.take(frame);
    this.#options.wire.send(this.process, client.process, down, content.kind === "event", heard, () => client.process.run(heard));
  }

  take(frame: Frame, connection: Connection): void {
    const { content, epoch, identity, incarnation, session } = frame;
    const isFenced = this.#options.wire.isFenced || !SAID.has(content.kind);
    if (epoch > this.#options.epoch && isFenced) return this.#refuse(content);
    if (content.kind === "hello") return this.#greet(frame, connection);
    const known = isFenced ? this.#sessions.get(connection) : this.#peers.get(identity);
    const peer = known ?? (isFenced ? undefined : new SimulatedPeer(this, connection, frame));
    const isOfSession = peer !== undefined && peer.incarnation === incarnation && peer.number === session;
    if (peer === undefined || (isFenced && !isOfSession)) {
      if (content.kind === "request" || content.kind === "heartbeat") this.transmit(connection, frame, { kind: "bye" });
      return this.#refuse(content);
    }
    peer.lastSeenMs = this.process.world.nowMs;
    if (content.kind === "heartbeat") return this.transmit(peer.connection, sessionOf(peer), { kind: "alive" });
    if (content.kind === "bye") return this.#lose(peer, "it said farewell");
    peer.link.accept(content, this.#options.handlers, peer);
  }

  #greet(frame: Frame, connection: Connection): void {
    const former = this.#peers.get(frame.identity);
    if (former !== undefined && frame.session < former.number) return;
    if (former?.number === frame.session && former.connection === connection) {
      former.lastSeenMs = this.process.world.nowMs;
      return this.transmit(connection, sessionOf(former), { kind: "welcome" });
    }
    if (former !== undefined) this.#lose(former, "it began a new session");
    const peer = new SimulatedPeer(this, connection, frame);
    this.#peers.set(peer.id, peer);
    this.#sessions.set(connection, peer);
    this.transmit(connection, sessionOf(peer), { kind: "welcome" });
  }

  #refuse({ kind }: Content): void {
    if (SAID.has(kind)) this.#options.wire.refused++;
  }

  #lose(peer: SimulatedPeer, reason: string): void {
    if (peer.signal.aborted) return;
    this.#peers.delete(peer.id);
    this.#sessions.delete(peer.connection);
    peer.link.lose(reason);
    peer.ended.abort(new ConnectionError(`${peer.id} is gone: ${reason}`));
    this.#options.onPeerLost(peer, reason);
  }
}

const sessionOf = ({ id, incarnation, number }: SimulatedPeer): Omit<Envelope, "epoch"> => ({
  identity: id, incarnation, session: number,
});

interface SimulatedClientOptions {
  readonly process: SimulatedProcess;
  readonly wire: Wire;
  /** Who listens at the address now. */
  readonly dial: () => SimulatedServer | undefined;
  readonly handlers: SimulatedHandlers<undefined>;
  readonly onConnected: () => void;
  readonly onLost: (reason: string) => void;
}

/** The end that dials, again and again. */
export class SimulatedClient implements Pick<Caller<Conversation>, "call" | "notify"> {
  readonly process: SimulatedProcess;
  readonly #options: SimulatedClientOptions;
  #connection: Connection | undefined;
  #link: SimulatedLink | undefined;
  #session = 1;
  #epoch = 0;
  #heardMs = 0;

  constructor(options: SimulatedClientOptions) {
    this.#options = options;
    this.process = options.process;
    this.#beat();
  }

  call<T>(method: string, request: unknown, options?: CallOptions): Promise<T> {
    return this.#link?.call<T>(method, request, options) ?? Promise.reject(new ConnectionError(`can't call ${method}: not connected (simulated)`));
  }

  notify(method: string, event: unknown, attachments?: Attachments): void {
    this.#link?.notify(method, event, attachments);
  }

  take(frame: Frame): void {
    const { content, epoch, session } = frame;
    const isFenced = this.#options.wire.isFenced || !SAID.has(content.kind);
    if (isFenced && (session !== this.#session || epoch < this.#epoch)) {
      if (SAID.has(content.kind)) this.#options.wire.refused++;
      return;
    }
    if (content.kind === "welcome") {
      this.#heardMs = this.process.world.nowMs;
      if (this.#link !== undefined || session !== this.#session) return;
      this.#epoch = epoch;
      this.#link = new SimulatedLink(this.process, (said) => this.#transmit(said, session));
      return this.#options.onConnected();
    }
    if (this.#link === undefined || (isFenced && epoch !== this.#epoch)) return;
    if (content.kind === "bye") return this.#lose("the server said farewell");
    this.#heardMs = this.process.world.nowMs;
    this.#link.accept(content, this.#options.handlers, undefined);
  }

  #beat(): void {
    const { world } = this.process;
    this.process.after(HEARTBEAT_MS, () => this.#beat());
    if (this.#link !== undefined && world.nowMs - this.#heardMs > TIMEOUT_MS) {
      this.#transmit({ kind: "bye" });
      return this.#lose("no heartbeat");
    }
    // The other end is gone, and the operating system says so, mostly.
    if (this.#link !== undefined && this.#connection?.server.process.isAlive === false && world.chance(0.7)) return this.#lose("connection lost");
    if (this.#link !== undefined) return this.#transmit({ kind: "heartbeat" });
    this.#redial();
    this.#transmit({ kind: "hello" });
  }

  #redial(): void {
    const server = this.#options.dial();
    const isUsable = this.#connection?.server === server && !this.#connection?.up.broken && !this.#connection?.down.broken;
    if (server === undefined || isUsable) return;
    this.#connection = { client: this, server, up: new Lane(), down: new Lane() };
  }

  #lose(reason: string): void {
    this.#link?.lose(reason);
    this.#link = undefined;
    this.#session++;
    this.#options.onLost(reason);
  }

  #transmit(content: Content, session: number = this.#session): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const { name } = this.process;
    const frame: Frame = { epoch: this.#epoch, identity: name, incarnation: name, session, content };
    const heard = (): void => connection.server.take(frame, connection);
    // Its socket gives it to whoever listens at the address by then.
    const late = (): void => {
      const server = this.#options.dial();
      server?.process.run(() => server.take(frame, connection));
    };
    this.#options.wire.send(this.process, connection.server.process, connection.up, content.kind === "event", heard, late);
  }
}
