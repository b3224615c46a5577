/** What a server makes of sockets that don't speak its language, or lie in it. Good peers must not notice. */
import { connect, type Socket } from "node:net";
import fc from "fast-check";
import { Packr } from "msgpackr";
import { Dealer } from "zeromq";
import { afterEach, beforeEach, expect, it } from "vitest";
import { decode, type Message } from "../../../src/cluster/protocol/codec.ts";
import { ProtocolError } from "../../../src/core/types/errors.ts";
import { Party, until } from "./parties.ts";

let party: Party;
beforeEach(() => {
  party = new Party();
});
afterEach(() => party.close());

const packr = new Packr({ useRecords: false });
const header = (over: object): Uint8Array => packr.pack({ v: 1, k: "hb", e: 0, i: "stranger", s: 1, ...over });

function stranger(address: string): Dealer {
  const socket = new Dealer({ linger: 0, immediate: true });
  socket.connect(address);
  party.onClose(async () => socket.close());
  return socket;
}

it("garbage, bombs and forged messages reach no handler, and good peers are answered meanwhile", async () => {
  const { address, server, log } = await party.server();
  const { client, losses } = party.client(address);
  await client.connect();
  const bad = stranger(address);
  const forged = [
    header({ k: "req", id: 1, m: "add", a: { left: 1, right: 1 } }),
    header({ k: "ev", m: "noted", a: { text: "forged" } }),
    header({ k: "res", id: 1, a: 5 }),
    header({ k: "hb", e: 99 }),
    header({ k: "bye", a: { reason: "liar", again: false } }),
    header({ v: 2 }),
    Buffer.from("81a95f5f70726f746f5f5f01", "hex"),
    Buffer.from("ddffffffff", "hex"),
    Buffer.from("91".repeat(50_000), "hex"),
    Buffer.alloc(0),
  ];
  for (const frame of forged) await bad.send([frame]);
  for (const frame of forged) await bad.send([frame, Buffer.from("more"), Buffer.alloc(0)]);
  await bad.send(Array.from({ length: 2_000 }, () => Buffer.from([1])));
  const frames = fc.sample(fc.array(fc.uint8Array({ maxLength: 60 }), { minLength: 1, maxLength: 3 }), 3_000);
  const answeredMs: number[] = [];
  for (const [index, parts] of frames.entries()) {
    await bad.send(parts.map((part) => Buffer.from(part)));
    if (index % 100 === 0) {
      const startMs = performance.now();
      expect(await client.call("add", { left: index, right: 1 })).toBe(index + 1);
      answeredMs.push(performance.now() - startMs);
    }
  }
  // On a busy machine some wait for the processor.
  expect(answeredMs.sort((a, b) => a - b)[answeredMs.length >> 1]).toBeLessThan(250);
  await until(() => [...server.drops.values()].reduce((sum, count) => sum + count, 0) >= frames.length + 2 * forged.length);
  expect(log.noted).toEqual([]);
  expect(log.connected).toHaveLength(1);
  expect(losses).toEqual([]);
  expect([...server.drops.keys()].sort()).toEqual(["foreign version", "garbage", "malformed", "newer epoch", "too large", "unknown peer"].filter((why) => server.drops.has(why)));
});

it("raw bytes and half-open connections do no harm", async () => {
  const { address } = await party.server({ address: "tcp://127.0.0.1:*" });
  const { client } = party.client(address);
  await client.connect();
  const port = Number(address.split(":")[2]);
  const greeting = Buffer.from("ff00000000000000017f0300" + "4e554c4c" + "00".repeat(48), "hex");
  const openings = [Buffer.from("GET / HTTP/1.1\r\n\r\n"), Buffer.alloc(64, 0xff), greeting, Buffer.concat([greeting, Buffer.from("02ffffffffffffffff", "hex")]), Buffer.alloc(0)];
  const sockets: Socket[] = [];
  for (let round = 0; round < 10; round++) {
    for (const opening of openings) {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write(opening);
      sockets.push(socket);
    }
    expect(await client.call("add", { left: round, right: 1 })).toBe(round + 1);
  }
  for (const socket of sockets) socket.destroy();
  expect(await client.call("add", { left: 1, right: 1 })).toBe(2);
});

it("a stranger can't speak in the session of a peer, though it knows its incarnation", async () => {
  const { address, server, log } = await party.server();
  const { client } = party.client(address, { incarnation: "run-1" });
  await client.connect();
  const bad = stranger(address);
  await bad.send([header({ k: "ev", e: 1, i: "run-1", m: "noted", a: { text: "forged" } })]);
  await bad.send([header({ k: "bye", e: 1, i: "run-1", a: { reason: "liar", again: true } })]);
  await until(() => server.drops.get("unknown peer") === 2);
  expect(log.noted).toEqual([]);
  expect(log.lost).toEqual([]);
});

it("requests of a session that is over are not served, and their sender is told to begin anew", async () => {
  const { address, server, log } = await party.server();
  const socket = stranger(address);
  const answers: Message[] = [];
  const reading = (async () => {
    for await (const [frame] of socket) {
      const decoded = decode(frame!);
      if (decoded.ok) answers.push(decoded.message);
    }
  })();
  await socket.send([header({ k: "hi", i: "run-1", s: 1, m: "tm-1", a: 1_000_000 })]);
  await until(() => answers.length === 1);
  await socket.send([header({ k: "hi", i: "run-1", s: 2, m: "tm-1", a: 1_000_000 })]);
  await until(() => answers.length === 2);
  await socket.send([header({ k: "req", i: "run-1", s: 1, e: 1, id: 1, m: "noted", a: { text: "late" } })]);
  await socket.send([header({ k: "ev", i: "run-1", s: 1, e: 1, m: "noted", a: { text: "late" } })]);
  await socket.send([header({ k: "ev", i: "run-0", s: 2, e: 1, m: "noted", a: { text: "late" } })]);
  await until(() => server.drops.get("stale session") === 2 && server.drops.get("stale incarnation") === 1);
  expect(answers.map(({ kind, session }) => `${kind} ${session}`)).toEqual(["welcome 1", "welcome 2", "bye 1"]);
  expect(log.noted).toEqual([]);
  expect(log.lost.map(({ reason }) => reason)).toEqual(["it began a new session"]);
  socket.close();
  await reading;
});

it("a client meets a server of another version with one clear sentence", async () => {
  const { Router } = await import("zeromq");
  const other = new Router({ linger: 0 });
  await other.bind("tcp://127.0.0.1:*");
  party.onClose(async () => other.close());
  void (async () => {
    for await (const [id] of other) await other.send([id!, packr.pack({ v: 2, k: "wel" })]);
  })().catch(() => undefined);
  const error = await party.client(other.lastEndpoint!).client.connect().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ProtocolError);
  expect((error as Error).message).toBe(
    `the JobManager at ${other.lastEndpoint} speaks another protocol: version 2; this process speaks 1. Install the same drey on both sides.`,
  );
});
