import { fork, type ChildProcess } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConnectionError } from "../../../src/core/types/errors.ts";
import { Party, until } from "./parties.ts";

const HEARTBEAT = { intervalMs: 50, timeoutMs: 400 };

let party: Party;
beforeEach(() => {
  party = new Party();
});
afterEach(() => party.close());

/** Starts `peer-process.mjs`; resolves when it is connected or listening. */
async function start(role: "client" | "server", address: string, options: object = {}): Promise<ChildProcess> {
  const child = fork(new URL("./peer-process.mjs", import.meta.url), [role, address, JSON.stringify(options)]);
  party.onClose(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  });
  await new Promise<void>((resolve, reject) => {
    child.once("message", () => resolve());
    child.once("exit", (code) => reject(new Error(`the process ended with ${code}; is the package built?`)));
  });
  return child;
}

describe.each(["ipc", "tcp"])("over %s", (transport) => {
  const address = transport === "tcp" ? "tcp://127.0.0.1:*" : undefined;

  it("a killed client is noticed by its broken connection, not by its silence, and what waits for it rejects", async () => {
    const { address: at, log } = await party.server(address === undefined ? {} : { address });
    const child = await start("client", at);
    const call = log.connected[0]!.call("double", 1);
    expect(await call).toBe(2);
    child.kill("SIGKILL");
    await until(() => log.lost.length === 1);
    expect(log.lost[0]).toMatchObject({ id: "tm-1", reason: "connection lost" });
    expect(log.connected[0]!.signal.aborted).toBe(true);
    await expect(log.connected[0]!.call("double", 1)).rejects.toBeInstanceOf(ConnectionError);
  });
});

it("a killed server is noticed at once, and its successor is greeted", async () => {
  const at = party.folder.address("desk");
  const child = await start("server", at);
  const { client, losses, epochs } = party.client(at);
  await client.connect();
  child.kill("SIGKILL");
  await until(() => losses.length === 1);
  expect(losses).toEqual(["connection lost"]);
  await expect(client.call("add", { left: 1, right: 1 })).rejects.toThrow("is not connected (connection lost)");
  await party.server({ epoch: 2 });
  await until(() => epochs.length === 2);
  expect(epochs).toEqual([1, 2]);
  expect(await client.call("add", { left: 1, right: 1 })).toBe(2);
});

it("a stopped process is given up after the heartbeat's timeout; continued, it learns so and begins a new session", async () => {
  const { address, log } = await party.server({ heartbeat: HEARTBEAT });
  const child = await start("client", address, { heartbeat: HEARTBEAT });
  child.kill("SIGSTOP");
  const stoppedMs = performance.now();
  await until(() => log.lost.length === 1);
  expect(log.lost[0]!.reason).toMatch(/^no heartbeat for \d+ ms$/);
  expect(performance.now() - stoppedMs).toBeGreaterThan(HEARTBEAT.timeoutMs - HEARTBEAT.intervalMs);
  child.kill("SIGCONT");
  await until(() => log.connected.length === 2);
  expect(log.connected[1]!.incarnation).toBe(log.connected[0]!.incarnation);
  expect(await log.connected[1]!.call("double", 4)).toBe(8);
});

it("a process stuck in a loop is given up, though its socket lives", async () => {
  const { address, log } = await party.server({ heartbeat: HEARTBEAT });
  const child = await start("client", address, { heartbeat: HEARTBEAT });
  child.send("spin");
  await until(() => log.lost.length === 1);
  expect(log.lost[0]!.reason).toMatch(/^no heartbeat/);
});

it("a process that leaves too many messages waiting has lost its session, and nothing blocks", async () => {
  const { address, log } = await party.server();
  const child = await start("client", address);
  child.kill("SIGSTOP");
  const peer = log.connected[0]!;
  let sent = 0;
  while (log.lost.length === 0 && sent < 500_000) {
    for (let i = 0; i < 1_000; i++, sent++) peer.notify("whisper", "are you there?");
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(log.lost).toMatchObject([{ id: "tm-1", reason: "10000 messages wait for it" }]);
});

it("nobody is declared dead for time in which the judge slept", async () => {
  let sleptMs = 0;
  const clock = (): number => performance.now() + sleptMs;
  const { address, log } = await party.server({ heartbeat: HEARTBEAT, clock });
  const { client, losses } = party.client(address, { heartbeat: HEARTBEAT, clock });
  await client.connect();
  for (let night = 1; night <= 3; night++) {
    sleptMs += 8 * 3_600_000;
    const seenMs = log.connected[0]!.lastSeenMs;
    await until(() => log.connected[0]!.lastSeenMs > seenMs + 3_600_000);
  }
  expect(log.lost).toEqual([]);
  expect(losses).toEqual([]);
});

it("silence that the judge was awake for counts", async () => {
  const { address, log } = await party.server({ heartbeat: HEARTBEAT });
  // It shows life too rarely for this server.
  const { client } = party.client(address, { heartbeat: { intervalMs: 60_000, timeoutMs: 180_000 } });
  await client.connect();
  await until(() => log.lost.length === 1);
  expect(log.lost[0]!.reason).toMatch(/^no heartbeat/);
});

describe("a new incarnation under the same name", () => {
  it("takes the place of the former, which is told and stays away", async () => {
    const { address, server, log } = await party.server();
    const finals: boolean[] = [];
    const former = party.client(address, { incarnation: "run-1", onLost: (_, final) => finals.push(final) });
    await former.client.connect();
    const latter = party.client(address, { incarnation: "run-2" });
    await latter.client.connect();
    expect(log.lost).toMatchObject([{ id: "tm-1", reason: "a new incarnation took its place" }]);
    await until(() => finals.length === 1);
    expect(finals).toEqual([true]);
    await expect(former.client.call("add", { left: 1, right: 2 })).rejects.toThrow('another process took over the name "tm-1"');
    expect(await latter.client.call("add", { left: 1, right: 2 })).toBe(3);
    // Who comes back with the former incarnation is refused, and the latter keeps its session.
    const again = party.client(address, { incarnation: "run-1" });
    await expect(again.client.connect()).rejects.toThrow('refuses this process: another process took over the name "tm-1"');
    expect(server.peers.get("tm-1")).toBe(log.connected[1]);
    expect(log.connected[1]!.signal.aborted).toBe(false);
    expect(latter.losses).toEqual([]);
  });

  it("gets none of the answers that the former waited for", async () => {
    let answer: (value: number) => void = () => undefined;
    const party2 = await party.server();
    const former = party.client(party2.address, { incarnation: "run-1" });
    await former.client.connect();
    const first = party2.log.connected[0]!;
    const call = first.call("double", 1).catch((caught: unknown) => caught);
    const latter = party.client(party2.address, {
      incarnation: "run-2",
      handlers: { double: () => new Promise((resolve) => (answer = resolve)), whisper: () => undefined },
    });
    await latter.client.connect();
    const second = party2.log.connected[1]!;
    const other = second.call("double", 5);
    await until(() => answer.length === 1);
    answer(10);
    expect(await other).toBe(10);
    expect([2, ConnectionError]).toContain(await call.then((outcome) => (outcome instanceof ConnectionError ? ConnectionError : outcome)));
    await expect(first.call("double", 1)).rejects.toThrow("a new incarnation took its place");
  });
});

describe("a server with an older epoch", () => {
  it("is not listened to by a client that has met a newer leader", async () => {
    const first = await party.server({ epoch: 7 });
    const { client, losses } = party.client(first.address);
    await client.connect();
    await first.server.close();
    await until(() => losses.length === 1);
    const zombie = await party.server({ epoch: 6 });
    await until(() => (zombie.server.drops.get("newer epoch") ?? 0) > 0);
    expect(client.connected).toBe(false);
    await zombie.server.close();
    await party.server({ epoch: 8 });
    await until(() => client.connected);
    expect(client.epoch).toBe(8);
  });
});

describe("closing", () => {
  it("of a client is a farewell: the server knows at once", async () => {
    const { address, log } = await party.server();
    const { client, losses } = party.client(address);
    await client.connect();
    await client.close();
    await until(() => log.lost.length === 1);
    expect(log.lost[0]!.reason).toBe("it closed the connection");
    expect(losses).toEqual([]);
  });

  it("of a server is a farewell: its clients know at once", async () => {
    const { address, server, log } = await party.server();
    const { client, losses } = party.client(address);
    await client.connect();
    await server.close();
    await until(() => losses.length === 1);
    expect(losses).toEqual(["the JobManager was closed"]);
    expect(log.lost).toEqual([]);
    expect(client.connected).toBe(false);
  });

  it("loses nothing that was told before, in either direction", async () => {
    const large = "x".repeat(5_000);
    const first = await party.server();
    const told = party.client(first.address);
    await told.client.connect();
    for (let i = 0; i < 500; i++) first.log.connected[0]!.notify("whisper", large);
    await first.server.close();
    await until(() => told.losses.length === 1);
    expect(told.whispers).toHaveLength(500);
    await told.client.close();

    const second = await party.server();
    const teller = party.client(second.address);
    await teller.client.connect();
    for (let i = 0; i < 500; i++) teller.client.notify("noted", { text: large });
    await teller.client.close();
    await until(() => second.log.lost.length === 1);
    expect(second.log.noted).toHaveLength(500);
  });

  it("waits for nobody who is stopped", async () => {
    const { address, server } = await party.server();
    const child = await start("client", address);
    child.kill("SIGSTOP");
    await server.close();
  });

  it.each(["client", "server"] as const)("of a %s lets its process end by itself", async (role) => {
    const { address } = role === "client" ? await party.server() : { address: party.folder.address("other") };
    const child = await start(role, address);
    const ended = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
    child.send("close");
    expect(await ended).toBe(0);
  });
});
