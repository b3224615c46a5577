import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigurationError, ConnectionError } from "../../../src/core/types/errors.ts";
import { LeaderAddresses, parseAddresses } from "../../../src/cluster/protocol/leader-addresses.ts";
import { Party, until } from "./parties.ts";

const SECONDS = 20_000;
const [A, B, C] = ["tcp://a:1", "tcp://b:1", "tcp://c:1"];
const addresses = (...texts: readonly string[]): LeaderAddresses =>
  new LeaderAddresses(texts.flatMap((text) => parseAddresses(text, "the list")));

describe("a list of addresses", () => {
  it("is read with and without spaces", () => {
    expect(parseAddresses("tcp://a:1, ipc:///tmp/x", "the list")).toEqual([
      { transport: "tcp", host: "a", port: 1 }, { transport: "ipc", path: "/tmp/x" },
    ]);
  });

  it.each([
    ["tcp://a:1,,tcp://b:1", 'the list is "tcp://a:1,,tcp://b:1", whose address 2 is empty; put one comma between two.'],
    ["tcp://a:1,b:2", /^address 2 of the list \("tcp:\/\/a:1,b:2"\) is "b:2"; give tcp:\/\/host:port or ipc:\/\/\/path\/to\/socket\.$/],
    ["tcp://a:99999,tcp://b:1", /^address 1 of the list .* port from 1 to 65535/],
    ["", /^the list is ""; give tcp/],
  ])("that can't be read is refused in one sentence: %j", (text, sentence) => {
    expect(() => parseAddresses(text, "the list")).toThrow(ConfigurationError);
    expect(() => parseAddresses(text, "the list")).toThrow(sentence);
  });

  it("is tried in turn, over and over", () => {
    const list = addresses(A, B);
    expect([list.next(), list.next(), list.next(), list.next()]).toEqual([A, B, A, B]);
  });

  it("begins with what the leader has published, and goes there when that is news", () => {
    const list = addresses(A, B);
    expect(list.publish(C)).toBe(C);
    expect([list.next(), list.next(), list.next()]).toEqual([A, B, C]);
    list.next();
    expect(list.publish(C)).toBe(undefined);
    expect(list.publish(B)).toBe(B);
    expect(list.publish(undefined)).toBe(undefined);
  });

  it("follows standbys, but not for ever", () => {
    const list = addresses(A);
    list.next();
    expect([B, A, B, A, B].map((leader) => list.follow(leader))).toEqual([B, A, B, A, undefined]);
    expect(list.next()).toBe(A);
    expect(list.follow(A)).toBe(undefined);
    expect(list.follow(B)).toBe(B);
  });
});

describe("a client of several servers", () => {
  let party: Party;
  beforeEach(() => {
    party = new Party();
  });
  afterEach(() => party.close());

  it("finds the one that is there", async () => {
    const { address } = await party.server();
    const { client } = party.client(`${party.folder.address("nobody")},${address}`, { connectDeadlineMs: SECONDS });
    await client.connect();
    expect(client.dialled).toBe(address);
    expect(await client.call("add", { left: 2, right: 3 })).toBe(5);
  });

  it("goes on to the next leader at another address, whose epoch it takes", async () => {
    const first = await party.server({ address: party.folder.address("first") });
    const { client, epochs } = party.client(`${first.address},${party.folder.address("second")}`, { connectDeadlineMs: SECONDS });
    await client.connect();
    await party.server({ address: party.folder.address("second"), epoch: 2 });
    await first.server.close();
    await until(() => epochs.length === 2, SECONDS);
    expect(epochs).toEqual([1, 2]);
    expect(await client.call("add", { left: 2, right: 3 })).toBe(5);
  });

  it("is sent on by a standby", async () => {
    const leader = await party.server({ address: party.folder.address("leader"), epoch: 7 });
    const standby = await party.server({ address: party.folder.address("standby"), epoch: 0, standby: () => leader.address });
    const { client } = party.client(standby.address, { connectDeadlineMs: SECONDS });
    await client.connect();
    expect([client.dialled, client.epoch]).toEqual([leader.address, 7]);
    expect(standby.log.connected).toEqual([]);
  });

  it("that has met a leader is sent on by a standby, too", async () => {
    const first = await party.server({ address: party.folder.address("first"), epoch: 5 });
    const third = await party.server({ address: party.folder.address("third"), epoch: 6 });
    const standby = await party.server({ address: party.folder.address("standby"), epoch: 0, standby: () => third.address });
    const { client, epochs } = party.client(`${first.address},${standby.address}`, { connectDeadlineMs: SECONDS });
    await client.connect();
    await first.server.close();
    await until(() => epochs.length === 2, SECONDS);
    expect([client.dialled, client.epoch]).toEqual([third.address, 6]);
  });

  it("finds the leader although two standbys send it to one another", async () => {
    const [one, two] = [party.folder.address("one"), party.folder.address("two")];
    await party.server({ address: one, epoch: 0, standby: () => two });
    await party.server({ address: two, epoch: 0, standby: () => one });
    const leader = await party.server({ address: party.folder.address("leader") });
    const { client } = party.client(`${one},${two},${leader.address}`, { connectDeadlineMs: SECONDS });
    await client.connect();
    expect(client.dialled).toBe(leader.address);
  });

  it("reads where the leader is, again and again while it looks for it", async () => {
    let published: string | undefined;
    const { client, epochs } = party.client("", { connectDeadlineMs: SECONDS, leader: async () => published });
    const connecting = client.connect();
    const first = await party.server({ address: party.folder.address("first") });
    published = first.address;
    await connecting;
    const second = await party.server({ address: party.folder.address("second"), epoch: 2 });
    await first.server.close();
    published = second.address;
    await until(() => epochs.length === 2, SECONDS);
    expect(client.dialled).toBe(second.address);
  });

  it("goes on with its list when what is published is stale, or can't be read", async () => {
    const { address } = await party.server();
    const stale = party.client(address, { connectDeadlineMs: SECONDS, leader: async () => party.folder.address("nobody") });
    await stale.client.connect();
    expect(stale.client.dialled).toBe(address);
    await stale.client.close();
    const unread = party.client(address, { connectDeadlineMs: SECONDS, leader: () => Promise.reject(new Error("no such disk")) });
    await unread.client.connect();
  });

  it("says in one sentence that none answers", async () => {
    const [one, two] = [party.folder.address("one"), party.folder.address("two")];
    const { client } = party.client(`${one},${two}`, { connectDeadlineMs: 100 });
    await expect(client.connect()).rejects.toThrow(ConnectionError);
    const other = party.client(`${one},${two}`, { connectDeadlineMs: 100 }).client;
    await expect(other.connect()).rejects.toThrow(`no JobManager answers at ${one}, ${two} after 100 ms; is it running?`);
    const standby = await party.server({ address: one, epoch: 0, standby: () => undefined });
    const asking = party.client(standby.address, { connectDeadlineMs: 1_500 }).client;
    await expect(asking.connect()).rejects.toThrow(/it stands by, and knows of no leader/);
    const unpublished = party.client("", { connectDeadlineMs: 100, leader: async () => undefined }).client;
    await expect(unpublished.connect()).rejects.toThrow(/no JobManager answers where the leader has published its address \(none has\) after 100 ms/);
  });
});
