/**
 * The five sockets of a kernel. Each takes one message at a time, so what is sent waits in line; the line of outputs is bounded, and
 * whoever makes outputs is asked to wait while it is long.
 */
import { Reply, Router, XPublisher } from "zeromq";
import type { Channel, Connection } from "./connection-file.ts";
import type { Header, Json, JupyterMessage, Wire } from "./wire.ts";

/** A request that came in. */
export interface Request {
  readonly channel: "shell" | "control" | "stdin";
  readonly message: JupyterMessage;
}

/** Who hears requests, and of the line of outputs. */
export interface SocketsListener {
  request(request: Request): void;
  /** The line of outputs is long (true), or short again. */
  crowded(crowded: boolean): void;
}

/** Outputs in line from which on evaluators wait, and below which they go on. */
const CROWDED = 1_000;
const ROOMY = 200;
/** A front end that takes no output for so long loses it. */
const SEND_MS = 5_000;
/** First byte of what a publisher hears of a subscription that begins. */
const SUBSCRIBED = 1;

/** Parent of outputs that belong to no request. */
export const NO_PARENT: Record<string, never> = {};

/** The sockets, from `open` to `close`. Main thread of the front process. */
export class Sockets {
  readonly #wire: Wire;
  readonly #listener: SocketsListener;
  readonly #shell = new Router({ linger: 500, sendTimeout: SEND_MS });
  readonly #control = new Router({ linger: 500, sendTimeout: SEND_MS });
  readonly #stdin = new Router({ linger: 500, sendTimeout: SEND_MS });
  readonly #heartbeat = new Reply({ linger: 0, sendTimeout: SEND_MS });
  // Without noDrop a burst that is larger than the high-water mark would lose its end. The X hears who subscribes.
  readonly #iopub = new XPublisher({ linger: 500, sendTimeout: SEND_MS, noDrop: true, verbosity: "allSubs" });
  readonly #lines = new Map<object, Promise<void>>();
  #outputs = 0;
  #crowded = false;

  private constructor(wire: Wire, listener: SocketsListener) {
    this.#wire = wire;
    this.#listener = listener;
  }

  /** Binds all five. @throws Error of ZeroMQ when an address is taken. */
  static async open({ addresses }: Connection, wire: Wire, listener: SocketsListener): Promise<Sockets> {
    const sockets = new Sockets(wire, listener);
    const byChannel: Record<Channel, { bind(address: string): Promise<void> }> = {
      shell: sockets.#shell,
      control: sockets.#control,
      stdin: sockets.#stdin,
      hb: sockets.#heartbeat,
      iopub: sockets.#iopub,
    };
    for (const channel of Object.keys(byChannel) as Channel[]) await byChannel[channel].bind(addresses[channel]);
    void sockets.#beat();
    void sockets.#welcome();
    for (const channel of ["shell", "control", "stdin"] as const) void sockets.#receive(channel);
    return sockets;
  }

  /** Answers a request, on its own channel. */
  reply({ channel, message }: Request, type: string, content: Json): void {
    void this.#send(this.#router(channel), message.peers, type, content, message.header);
  }

  /** Asks whoever sent a request for input. */
  ask({ message }: Request, content: Json): void {
    void this.#send(this.#stdin, message.peers, "input_request", content, message.header);
  }

  /** Sends an output to everybody. */
  publish(type: string, content: Json, parent: Header | typeof NO_PARENT, metadata: Json = {}, buffers: readonly Uint8Array[] = []): void {
    this.#outputs++;
    if (this.#outputs > CROWDED && !this.#crowded) this.#listener.crowded((this.#crowded = true));
    const sent = this.#send(this.#iopub, [Buffer.from(type)], type, content, parent, metadata, buffers);
    void sent.then(() => {
      this.#outputs--;
      if (this.#outputs < ROOMY && this.#crowded) this.#listener.crowded((this.#crowded = false));
    });
  }

  /** Waits until what was sent is on its way, and closes. */
  async close(): Promise<void> {
    await Promise.all(this.#lines.values());
    for (const socket of [this.#shell, this.#control, this.#stdin, this.#heartbeat, this.#iopub]) socket.close();
  }

  #router(channel: Request["channel"]): Router {
    return channel === "shell" ? this.#shell : channel === "control" ? this.#control : this.#stdin;
  }

  #send(
    socket: Router | XPublisher,
    peers: readonly Buffer[],
    type: string,
    content: Json,
    parent: JupyterMessage["parent"],
    metadata: Json = {},
    buffers: readonly Uint8Array[] = [],
  ): Promise<void> {
    const frames = this.#wire.encode({ peers, header: this.#wire.header(type), parent, metadata, content, buffers });
    // A peer that has gone, or takes nothing for too long, misses a message; the kernel goes on.
    const sent = (this.#lines.get(socket) ?? Promise.resolve()).then(() => sendPatiently(socket, frames)).catch(() => undefined);
    this.#lines.set(socket, sent);
    return sent;
  }

  async #receive(channel: Request["channel"]): Promise<void> {
    for await (const frames of this.#router(channel)) {
      let message: JupyterMessage;
      try {
        message = this.#wire.decode(frames);
      } catch (error) {
        process.stderr.write(`drey kernel: ${(error as Error).message}\n`);
        continue;
      }
      this.#listener.request({ channel, message });
    }
  }

  /** Tells each new subscriber that from now on it misses nothing. */
  async #welcome(): Promise<void> {
    for await (const [frame] of this.#iopub) {
      if (frame?.[0] !== SUBSCRIBED) continue;
      const topic = frame.subarray(1);
      void this.#send(this.#iopub, [topic], "iopub_welcome", { subscription: topic.toString() }, NO_PARENT);
    }
  }

  async #beat(): Promise<void> {
    for await (const frames of this.#heartbeat) await this.#heartbeat.send(frames).catch(() => undefined);
  }
}

/** A full publisher calls itself writable and then refuses: it is asked again for as long as another socket would wait by itself. */
async function sendPatiently(socket: Router | XPublisher, frames: (Buffer | Uint8Array | string)[]): Promise<void> {
  for (const deadline = performance.now() + SEND_MS; ;) {
    try {
      return await socket.send(frames);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EAGAIN" || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}
