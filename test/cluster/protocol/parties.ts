/** A small conversation and the two ends of it, for the tests of this folder. */
import { randomUUID } from "node:crypto";
import * as v from "valibot";
import { makeSocketFolder } from "../../../src/cluster/protocol/addresses.ts";
import { ReplyWithAttachments, type Conversation } from "../../../src/cluster/protocol/conversation.ts";
import { RpcClient, RpcServer, type Peer, type RpcClientOptions, type RpcServerOptions } from "../../../src/cluster/protocol/rpc.ts";
import { NotFoundError } from "../../../src/core/types/errors.ts";

/** What the server of these tests serves. */
export const desk = {
  add: { request: v.object({ left: v.number(), right: v.number() }), reply: v.number() },
  find: { request: v.string(), reply: v.object({ found: v.string() }) },
  never: { request: v.null(), reply: v.null(), deadlineMs: 60 },
  sizes: { request: v.null(), reply: v.array(v.number()) },
  bytes: { request: v.number(), reply: v.string() },
  wrong: { request: v.null(), reply: v.number() },
  noted: { request: v.object({ text: v.string() }), event: true },
} satisfies Conversation;

/** What it asks of its clients. */
export const bench = {
  double: { request: v.number(), reply: v.number() },
  whisper: { request: v.string(), event: true },
} satisfies Conversation;

export type Desk = typeof desk;
export type Bench = typeof bench;

export interface Log {
  readonly connected: Peer<Bench>[];
  readonly lost: { readonly id: string; readonly reason: string; readonly atMs: number }[];
  readonly noted: string[];
}

/** Waits for a condition; fails after `deadlineMs`. */
export async function until(condition: () => boolean, deadlineMs = 30_000): Promise<void> {
  const end = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${deadlineMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Servers, clients and folders of one test; `close` ends them all. */
export class Party {
  readonly folder = makeSocketFolder();
  readonly #closers: (() => Promise<unknown>)[] = [];

  onClose(closer: () => Promise<unknown>): void {
    this.#closers.push(closer);
  }

  async server(options: Partial<RpcServerOptions<Desk, Bench>> = {}): Promise<{ server: RpcServer<Desk, Bench>; address: string; log: Log }> {
    const log: Log = { connected: [], lost: [], noted: [] };
    const server = new RpcServer<Desk, Bench>({
      address: this.folder.address("desk"),
      epoch: 1,
      served: desk,
      called: bench,
      peerName: "TaskManager",
      handlers: {
        add: ({ left, right }) => left + right,
        find: async (name) => {
          throw new NotFoundError(`there is no ${name}.`, { details: { name }, cause: new TypeError("deep down") });
        },
        never: () => new Promise(() => undefined),
        sizes: (_, __, attachments) => attachments.map((bytes) => bytes.byteLength),
        bytes: (count) => new ReplyWithAttachments("here", [new Uint8Array(count).fill(7)]),
        wrong: () => "not a number" as unknown as number,
        noted: ({ text }) => void log.noted.push(text),
      },
      onPeerConnected: (peer) => log.connected.push(peer),
      onPeerLost: ({ id }, reason) => log.lost.push({ id, reason, atMs: performance.now() }),
      ...options,
    });
    this.onClose(() => server.close());
    const address = await server.start();
    return { server, address, log };
  }

  client(address: string, options: Partial<RpcClientOptions<Desk, Bench>> = {}): { client: RpcClient<Desk, Bench>; whispers: string[]; losses: string[]; epochs: number[] } {
    const whispers: string[] = [];
    const losses: string[] = [];
    const epochs: number[] = [];
    const client = new RpcClient<Desk, Bench>({
      address,
      identity: "tm-1",
      incarnation: randomUUID(),
      served: bench,
      called: desk,
      handlers: { double: (value) => value * 2, whisper: (text) => void whispers.push(text) },
      onConnected: (epoch) => epochs.push(epoch),
      onLost: (reason) => losses.push(reason),
      ...options,
    });
    this.onClose(() => client.close());
    return { client, whispers, losses, epochs };
  }

  async close(): Promise<void> {
    for (const closer of this.#closers.reverse()) await closer();
    this.folder.remove();
  }
}
