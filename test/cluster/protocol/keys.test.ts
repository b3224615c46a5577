import { Dealer } from "zeromq";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigurationError, ConnectionError } from "../../../src/core/types/errors.ts";
import { newKeyPair, requireKey } from "../../../src/cluster/protocol/keys.ts";
import { Party, until } from "./parties.ts";

let party: Party;
beforeEach(() => {
  party = new Party();
});
afterEach(() => party.close());

const TCP = "tcp://127.0.0.1:*";

describe("with keys", () => {
  it("a client on the allow list is served, beyond loopback too", async () => {
    const own = newKeyPair();
    const client = newKeyPair();
    const { address } = await party.server({ address: "tcp://0.0.0.0:*", keys: { own, allowed: new Set([client.publicKey]) } });
    const dialled = party.client(address.replace("0.0.0.0", "127.0.0.1"), { keys: { own: client, server: own.publicKey } });
    await dialled.client.connect();
    expect(await dialled.client.call("add", { left: 1, right: 2 })).toBe(3);
  });

  it("a client with an unknown key is refused at once, and reaches nobody", async () => {
    const own = newKeyPair();
    const { address, server, log } = await party.server({ address: TCP, keys: { own, allowed: new Set([newKeyPair().publicKey]) } });
    const { client } = party.client(address, { keys: { own: newKeyPair(), server: own.publicKey } });
    const error = await client.connect().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ConnectionError);
    expect((error as Error).message).toMatch(/refuses the key of this process, which is not on its allow list/);
    expect(log.connected).toEqual([]);
    expect(server.drops.get("refused handshake")).toBe(1);
  });

  it("a key that is put on the list later is admitted", async () => {
    const own = newKeyPair();
    const late = newKeyPair();
    const allowed = new Set<string>();
    const { address } = await party.server({ address: TCP, keys: { own, allowed } });
    const keys = { own: late, server: own.publicKey };
    await expect(party.client(address, { keys }).client.connect()).rejects.toThrow("refuses the key");
    allowed.add(late.publicKey);
    await party.client(address, { keys }).client.connect();
  });

  it("each server has its own list, though one doorkeeper asks for all", async () => {
    const [own, mine, theirs] = [newKeyPair(), newKeyPair(), newKeyPair()];
    const first = await party.server({ address: TCP, keys: { own, allowed: new Set([mine.publicKey]) } });
    const second = await party.server({ address: TCP, keys: { own, allowed: new Set([theirs.publicKey]) } });
    const keys = { own: mine, server: own.publicKey };
    await expect(party.client(second.address, { keys }).client.connect()).rejects.toThrow("refuses the key");
    await second.server.close();
    await party.client(first.address, { keys }).client.connect();
  });

  it("a client without keys reaches nobody, and is told what may be wrong", async () => {
    const own = newKeyPair();
    const { address, log, server } = await party.server({ address: TCP, keys: { own, allowed: new Set([newKeyPair().publicKey]) } });
    await expect(party.client(address, { connectDeadlineMs: 300 }).client.connect()).rejects.toThrow(/are keys given on both sides or on none/);
    expect(log.connected).toEqual([]);
    expect(server.drops.get("unknown peer")).toBeUndefined();
  });

  it("a client that expects another server reaches nobody", async () => {
    const client = newKeyPair();
    const { address, log } = await party.server({ address: TCP, keys: { own: newKeyPair(), allowed: new Set([client.publicKey]) } });
    const dialled = party.client(address, { connectDeadlineMs: 300, keys: { own: client, server: newKeyPair().publicKey } });
    await expect(dialled.client.connect()).rejects.toThrow(/is the server's key the right one/);
    expect(log.connected).toEqual([]);
  });

  it("a server can be started, closed and started again in one process", async () => {
    const own = newKeyPair();
    const client = newKeyPair();
    for (let round = 0; round < 3; round++) {
      const { address, server } = await party.server({ address: TCP, keys: { own, allowed: new Set([client.publicKey]) } });
      const dialled = party.client(address, { keys: { own: client, server: own.publicKey } });
      await dialled.client.connect();
      await server.close();
    }
  });

  it("plain frames of a socket without keys are never looked at", async () => {
    const { address, server } = await party.server({ address: TCP, keys: { own: newKeyPair(), allowed: new Set() } });
    const stranger = new Dealer({ linger: 0, sendTimeout: 0 });
    stranger.connect(address);
    await stranger.send(["garbage"]);
    await until(() => (server.drops.get("refused handshake") ?? 0) > 0);
    expect(server.drops.get("garbage")).toBeUndefined();
    stranger.close();
  });
});

describe("a key", () => {
  it.each(["", "short", `${"a".repeat(39)}~`, "#".repeat(40)])("%j is refused, and its value is not repeated", (text) => {
    const error = (() => {
      try {
        requireKey(text, "the server's key");
      } catch (caught) {
        return caught as Error;
      }
    })();
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error?.message).toBe("the server's key is not a CURVE key: a key has 40 characters of Z85.");
  });

  it("that was made is one", () => {
    const pair = newKeyPair();
    expect(requireKey(pair.publicKey, "it")).toBe(pair.publicKey);
    expect(requireKey(pair.secretKey, "it")).toBe(pair.secretKey);
  });
});
