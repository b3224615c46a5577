import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectTo, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Dealer, curveKeyPair } from "zeromq";
import {
  EntryKind, MESSAGE_HEADER_BYTES, Side, entryBytes, writeEntryHeader, writeMessageHeader,
} from "../../../src/cluster/exchange/link-message.ts";
import { RingInput, RingOutput, createRing } from "../../../src/cluster/exchange/ring-channel.ts";
import { createBell } from "../../../src/cluster/exchange/doorbell.ts";
import { DataLinks } from "../../../src/cluster/exchange/zmq-channel.ts";
import type { OpenChannel } from "../../../src/cluster/exchange/data-link.ts";
import type { DataCurve, DataLinksOptions, DataLinksStatistics } from "../../../src/cluster/exchange/zmq-channel.ts";
import { SegmentKind, segmentRows, writeSegmentHeader } from "../../../src/core/data/element.ts";

let folder: string;
const closing: (() => Promise<unknown>)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drey-links-"));
});
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
  rmSync(folder, { recursive: true, force: true });
});

/** Waits until `look` gives something else than undefined or false. */
async function until<T>(what: string, look: () => T | undefined | false, withinMs = 30_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = look();
    if (seen !== undefined && seen !== false) return seen as T;
    if (performance.now() > deadline) throw new Error(`waited ${withinMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A TaskManager's data connections in this process, with the tasks' ends of its rings. */
class TaskManager {
  readonly id: string;
  readonly links: DataLinks;
  readonly lost: string[] = [];
  address = "";

  constructor(id: string, options: Partial<DataLinksOptions> = {}) {
    this.id = id;
    this.links = new DataLinks({
      taskManagerId: id, address: `ipc://${folder}/${id}`, onPeerLost: (peer, reason) => this.lost.push(`${peer}: ${reason}`), ...options,
    });
    closing.push(() => this.links.close());
  }

  async start(): Promise<this> {
    this.address = await this.links.start();
    return this;
  }

  get peer(): { taskManagerId: string; address: string } {
    return { taskManagerId: this.id, address: this.address };
  }

  output(channel: string, to: TaskManager, segments = 4): { open: OpenChannel; ring: RingOutput } {
    const ring = createRing({ segmentBytes: 1024, segments, producerBell: createBell(), consumerBell: this.links.bell });
    return { open: this.links.openOutput(channel, to.peer, ring), ring: new RingOutput(ring) };
  }

  input(channel: string, from: TaskManager, segments = 4): { open: OpenChannel; ring: RingInput } {
    const ring = createRing({ segmentBytes: 1024, segments, producerBell: this.links.bell, consumerBell: createBell() });
    return { open: this.links.openInput(channel, from.peer, ring), ring: new RingInput(ring) };
  }
}

/** A piece of wire between two TaskManagers that a test can cut. */
class Wire {
  address = "";
  private readonly sockets = new Set<Socket>();

  static async to(address: string): Promise<Wire> {
    const wire = new Wire();
    const port = Number(address.split(":").at(-1));
    const server = createServer((near) => {
      const far = connectTo(port, "127.0.0.1");
      for (const [from, to] of [[near, far], [far, near]] as const) {
        wire.sockets.add(from);
        from.on("error", () => {});
        from.on("close", () => to.destroy());
        from.pipe(to);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    wire.address = `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
    closing.push(async () => {
      wire.cut();
      server.close();
    });
    return wire;
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
  }
}

function write(ring: RingOutput, number: number, kind: SegmentKind = SegmentKind.rows): boolean {
  const offset = ring.tryAcquire();
  if (offset < 0) return false;
  writeSegmentHeader(ring.memory, offset, kind, number, 0, 0);
  ring.publish();
  return true;
}

const read = async (ring: RingInput): Promise<number> => {
  const offset = await until("a segment", () => (ring.tryPeek() >= 0 ? { at: ring.tryPeek() } : undefined));
  const number = segmentRows(ring.memory, offset.at);
  ring.release();
  return number;
};

describe("channels between TaskManagers", () => {
  test("all channels of a pair share one connection, in both directions, whoever opens the first", async () => {
    const nodes = await Promise.all(["a", "b", "c"].map((id) => new TaskManager(id).start()));
    const flows = [];
    for (const from of nodes) {
      for (const to of nodes) {
        if (from === to) continue;
        for (let n = 0; n < 4; n += 1) {
          const channel = `${from.id}>${to.id}#${n}`;
          flows.push({ out: from.output(channel, to), in: to.input(channel, from) });
        }
      }
    }
    for (const flow of flows) for (let n = 0; n < 4; n += 1) expect(write(flow.out.ring, n)).toBe(true);
    for (const flow of flows) for (let n = 0; n < 4; n += 1) expect(await read(flow.in.ring)).toBe(n);
    expect(nodes.map(({ links }) => links.statistics.connections)).toEqual([2, 2, 2]);
    expect(nodes.map(({ links }) => links.statistics.accepted)).toEqual([0, 1, 2]);
    expect(nodes[0]?.links.statistics.channels.length).toBe(16);
  });

  test("the end of input ends both ends", async () => {
    const [a, b] = [await new TaskManager("a").start(), await new TaskManager("b").start()];
    const [out, into] = [b.output("x", a), a.input("x", b)];
    write(out.ring, 0);
    write(out.ring, 1, SegmentKind.end);
    expect([await out.open.ended, await into.open.ended]).toEqual([undefined, undefined]);
    expect([await read(into.ring), await read(into.ring)]).toEqual([0, 1]);
  });

  test("a stuck consumer stops its producer after two rings of segments", async () => {
    const [a, b] = [await new TaskManager("a").start(), await new TaskManager("b").start()];
    const [out, into] = [a.output("x", b, 8), b.input("x", a, 8)];
    const other = { out: a.output("y", b), in: b.input("y", a) };
    let accepted = 0;
    for (let n = 0; n < 300; n += 1) {
      while (write(out.ring, accepted)) accepted += 1;
      expect(write(other.out.ring, n)).toBe(true);
      expect(await read(other.in.ring)).toBe(n);
    }
    expect(accepted).toBe(16);
    for (let n = 0; n < 200; n += 1) {
      expect(await read(into.ring)).toBe(n);
      while (write(out.ring, accepted)) accepted += 1;
    }
    expect(accepted).toBeLessThanOrEqual(216);
  });

  test("an end whose peer never opens fails at its deadline, naming it", async () => {
    const a = await new TaskManager("a", { openTimeoutMs: 80 }).start();
    const b = await new TaskManager("b", { openTimeoutMs: 80 }).start();
    const alone = a.output("x", b);
    const ghost = new TaskManager("z");
    ghost.address = `ipc://${folder}/nobody`;
    const nowhere = a.output("y", ghost);
    const waiting = b.input("z", new TaskManager("Z"));
    expect((await alone.open.ended)?.message).toContain("x to TaskManager b is not open after 80 ms: its end of the channel was not opened");
    expect((await nowhere.open.ended)?.message).toMatch(/TaskManager z is not open after 80 ms: no connection with it at ipc:.*nobody/);
    expect((await waiting.open.ended)?.message).toContain("it connects to us, and has not yet");
  });

  test("a TaskManager that starts late is waited for", async () => {
    const a = await new TaskManager("a").start();
    const b = new TaskManager("b");
    b.address = `ipc://${folder}/b`;
    const out = a.output("x", b);
    write(out.ring, 5);
    await b.start();
    const into = b.input("x", a);
    expect(await read(into.ring)).toBe(5);
  });

  test("both sides notice a peer that closes, fail its channels and connect anew afterwards", async () => {
    for (const [closer, stayer] of [["a", "b"], ["b", "a"]] as const) {
      const [first, stays] = [await new TaskManager(closer).start(), await new TaskManager(stayer).start()];
      const [out, into] = [stays.output("x", first), first.input("x", stays)];
      const back = stays.input("y", first);
      write(out.ring, 1);
      expect(await read(into.ring)).toBe(1);
      await first.links.close();
      expect((await out.open.ended)?.message).toMatch(/data connection between TaskManagers . and . broke/);
      expect((await back.open.ended)?.message).toContain("broke");
      expect(stays.lost).toHaveLength(1);
      const again = await new TaskManager(closer).start();
      const [out2, into2] = [stays.output("x", again), again.input("x", stays)];
      write(out2.ring, 2);
      expect(await read(into2.ring)).toBe(2);
      expect(stays.links.statistics.segmentsSent).toBe(2);
      await again.links.close();
      await stays.links.close();
    }
  });

  test("a broken wire fails the channels of both sides, and the next ones run on a new connection", async () => {
    const [a, b] = [await new TaskManager("a").start(), await new TaskManager("b", { address: "tcp://127.0.0.1:*" }).start()];
    const wire = await Wire.to(b.address);
    const through = { taskManagerId: "b", address: wire.address };
    for (let life = 1; life <= 3; life += 1) {
      const ring = createRing({ segmentBytes: 1024, segments: 4, producerBell: createBell(), consumerBell: a.links.bell });
      const open = a.links.openOutput(`x${life}`, through, ring);
      const into = b.input(`x${life}`, a);
      write(new RingOutput(ring), life);
      expect(await read(into.ring)).toBe(life);
      wire.cut();
      expect((await open.ended)?.message).toContain("broke");
      expect((await into.open.ended)?.message).toContain("broke");
      expect([a.lost.length, b.lost.length, b.links.statistics.accepted]).toEqual([life, life, life]);
    }
  });

  test("messages of an earlier life of a connection, of strangers and without sense are dropped", async () => {
    const b = await new TaskManager("b").start();
    const message = (epoch: number, kind: EntryKind, channel = 0, value = 0, body = ""): Buffer => {
      const bytes = Buffer.alloc(MESSAGE_HEADER_BYTES + entryBytes(body.length));
      writeMessageHeader(bytes, epoch);
      bytes.write(body, writeEntryHeader(bytes, MESSAGE_HEADER_BYTES, kind, Side.none, channel, body.length, value));
      return bytes;
    };
    const connect = (routingId: string): Dealer => {
      const dealer = new Dealer({ routingId, linger: 0 });
      closing.push(async () => dealer.close());
      dealer.connect(b.address);
      return dealer;
    };
    const out = b.output("x", new TaskManager("a"));
    write(out.ring, 1);
    const a = connect("a");
    await a.send(message(5, EntryKind.hello));
    await a.send(message(4, EntryKind.open, 0, 4, "x"));
    const stranger = connect("0");
    await stranger.send(message(5, EntryKind.open, 0, 4, "x"));
    await stranger.send(Buffer.from("GET / HTTP/1.1"));
    await connect("z").send(message(5, EntryKind.hello));
    await until("four rejections", () => b.links.statistics.messagesRejected === 4);
    expect(b.links.statistics.segmentsSent).toBe(0);
    await a.send(message(5, EntryKind.open, 0, 4, "x"));
    await until("the segment", () => b.links.statistics.segmentsSent === 1);
    await a.send(message(6, EntryKind.hello));
    expect((await out.open.ended)?.message).toContain("broke: it connected anew");
    const next = b.output("y", new TaskManager("a"));
    await a.send(message(6, 77 as EntryKind));
    expect((await next.open.ended)?.message).toContain("broke: it sent nonsense: An entry has the unknown kind 77");
  });

  test("with CURVE, who has the cluster's key gets in and who hasn't does not", async () => {
    const keys = curveKeyPair();
    const curve: DataCurve = { ...keys, serverKey: keys.publicKey };
    const address = "tcp://127.0.0.1:*";
    const [a, b] = [await new TaskManager("a", { curve, address }).start(), await new TaskManager("b", { curve, address }).start()];
    const [out, into] = [a.output("x", b), b.input("x", a)];
    write(out.ring, 3);
    expect(await read(into.ring)).toBe(3);
    const other = curveKeyPair();
    const stranger = await new TaskManager("A", { curve: { ...other, serverKey: other.publicKey }, openTimeoutMs: 300 }).start();
    const plain = await new TaskManager("B", { openTimeoutMs: 300 }).start();
    expect((await stranger.output("x", b).open.ended)?.message).toContain("no connection");
    expect((await plain.output("x", b).open.ended)?.message).toContain("no connection");
    expect(b.links.statistics.accepted).toBe(1);
  });

  test("a channel of two ends in one TaskManager, and a ring of another bell, are refused", async () => {
    const a = await new TaskManager("a").start();
    expect(() => a.output("x", a)).toThrow("both ends");
    const ring = createRing({ segmentBytes: 64, segments: 2, producerBell: createBell(), consumerBell: createBell() });
    expect(() => a.links.openOutput("x", { taskManagerId: "b", address: "" }, ring)).toThrow("wakes another consumer");
  });
});

interface Report {
  readonly address?: string;
  readonly ended?: { readonly channel: string; readonly bytes?: number; readonly error?: string };
  readonly lost?: { readonly peer: string; readonly reason: string };
  readonly statistics?: DataLinksStatistics;
}

/** A process of `programs/peer.mjs`. */
class Peer {
  readonly process: ChildProcess;
  readonly reports: Report[] = [];
  readonly id: string;
  address = "";

  constructor(id: string) {
    this.id = id;
    this.process = fork(new URL("./programs/peer.mjs", import.meta.url));
    this.process.on("message", (report) => this.reports.push(report as Report));
    closing.push(async () => this.process.kill("SIGKILL"));
  }

  async start(address: string, options: object = {}): Promise<this> {
    this.process.send({ start: { taskManagerId: this.id, address, ...options } });
    this.address = (await until("an address", () => this.reports.find((report) => report.address !== undefined))).address as string;
    return this;
  }

  open(direction: string, channel: string, peer: Peer, settings: object): void {
    const to = { taskManagerId: peer.id, address: peer.address };
    this.process.send({ open: [{ direction, channel, peer: to, segmentBytes: 128 * 1024, segments: 4, ...settings }] });
  }

  ended(channel: string, withinMs = 60_000): Promise<{ bytes?: number; error?: string }> {
    return until(`the end of ${channel}`, () => this.reports.find((report) => report.ended?.channel === channel)?.ended, withinMs);
  }

  async statistics(): Promise<DataLinksStatistics> {
    const before = this.reports.length;
    this.process.send({ statistics: true });
    return until("statistics", () => this.reports.slice(before).find((report) => report.statistics !== undefined)?.statistics);
  }
}

describe("channels between processes", () => {
  test("200 MB arrive as they were sent, over one connection in both directions", async () => {
    const [a, b] = await Promise.all([new Peer("a").start("tcp://127.0.0.1:*"), new Peer("b").start("tcp://127.0.0.1:*")]);
    const settings = { count: 1_000, maximum: 128 * 1024 - 32, minimum: 70_000 };
    for (const [channel, from, to] of [["east", a, b], ["west", b, a]] as const) {
      from.open("output", channel, to, settings);
      to.open("input", channel, from, settings);
    }
    const [east, west] = [await b.ended("east"), await a.ended("west")];
    expect([east.error, west.error]).toEqual([undefined, undefined]);
    expect((east.bytes ?? 0) + (west.bytes ?? 0)).toBeGreaterThan(190_000_000);
    const statistics = [await a.statistics(), await b.statistics()];
    expect(statistics.map(({ accepted }) => accepted)).toEqual([0, 1]);
    expect(statistics.map(({ segmentsReceived }) => segmentsReceived)).toEqual([1_001, 1_001]);
  }, 90_000);

  test("a killed process is noticed within a second, from either side of the connection", async () => {
    for (const [victim, witness] of [["a", "b"], ["b", "a"]] as const) {
      const dies = await new Peer(victim).start(`ipc://${folder}/${victim}1`);
      const stays = await new Peer(witness).start(`ipc://${folder}/${witness}2`);
      const settings = { count: 1_000_000, maximum: 1_000 };
      for (const channel of ["x", "y"]) {
        const [from, to] = channel === "x" ? [dies, stays] : [stays, dies];
        from.open("output", channel, to, settings);
        to.open("input", channel, from, settings);
      }
      for (let seen = 0; seen < 1_000; ) seen = (await stays.statistics()).segmentsReceived;
      dies.process.kill("SIGKILL");
      expect((await stays.ended("x")).error).toContain("broke");
      expect((await stays.ended("y")).error).toContain("broke");
      expect(stays.reports.filter((report) => report.lost !== undefined)).toHaveLength(1);
    }
  }, 60_000);
});
