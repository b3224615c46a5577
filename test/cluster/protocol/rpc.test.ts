import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigurationError, ConnectionError, DeadlineError, NotFoundError, ProtocolError } from "../../../src/core/types/errors.ts";
import { Party, until } from "./parties.ts";

let party: Party;
beforeEach(() => {
  party = new Party();
});
afterEach(() => party.close());

describe.each(["ipc", "tcp"])("calls over %s", (transport) => {
  const options = (): { address?: string } => (transport === "tcp" ? { address: "tcp://127.0.0.1:*" } : {});

  it("go both ways", async () => {
    const { address, log } = await party.server(options());
    const { client } = party.client(address);
    await client.connect();
    expect(await client.call("add", { left: 2, right: 3 })).toBe(5);
    await until(() => log.connected.length === 1);
    expect(await log.connected[0]!.call("double", 21)).toBe(42);
  });

  it("events arrive both ways, in order", async () => {
    const { address, log } = await party.server(options());
    const { client, whispers } = party.client(address);
    await client.connect();
    for (let i = 0; i < 100; i++) client.notify("noted", { text: `${i}` });
    for (let i = 0; i < 100; i++) log.connected[0]!.notify("whisper", `${i}`);
    await until(() => log.noted.length === 100 && whispers.length === 100);
    const expected = Array.from({ length: 100 }, (_, i) => `${i}`);
    expect(log.noted).toEqual(expected);
    expect(whispers).toEqual(expected);
  });

  it("carry attachments of 64 MiB both ways", async () => {
    const { address } = await party.server(options());
    const { client } = party.client(address);
    await client.connect();
    const size = 64 * 1024 * 1024;
    expect(await client.call("sizes", null, { attachments: [new Uint8Array(size), new Uint8Array(3)] })).toEqual([size, 3]);
    const { reply, attachments } = await client.callForAttachments("bytes", size);
    expect(reply).toBe("here");
    expect(attachments[0]!.byteLength).toBe(size);
    expect(attachments[0]![size - 1]).toBe(7);
  });
});

describe("a call that fails", () => {
  it("rejects with the handler's error, of the same class, with its details and cause", async () => {
    const { address } = await party.server();
    const { client } = party.client(address);
    await client.connect();
    const error = await client.call("find", "Waldo").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({ message: "there is no Waldo.", details: { name: "Waldo" }, cause: { name: "TypeError", message: "deep down" } });
  });

  it("rejects after its deadline, naming method, peer and deadline", async () => {
    const { address } = await party.server();
    const { client } = party.client(address);
    await client.connect();
    const error = await client.call("never", null).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(DeadlineError);
    expect((error as Error).message).toBe(`the JobManager at ${address} did not answer never within 60 ms.`);
    expect(await client.call("add", { left: 1, right: 1 })).toBe(2);
  });

  it("rejects when its signal is aborted", async () => {
    const { address } = await party.server();
    const { client } = party.client(address);
    await client.connect();
    const controller = new AbortController();
    const call = client.call("never", null, { signal: controller.signal, deadlineMs: 10_000 });
    controller.abort(new Error("changed my mind"));
    await expect(call).rejects.toThrow("changed my mind");
    await expect(client.call("never", null, { signal: controller.signal })).rejects.toThrow("changed my mind");
  });

  it("rejects when there is no such method, also for names that every object has", async () => {
    const { address } = await party.server();
    const { client } = party.client(address, { called: { ...party.client(address).client, toString: {} } as never });
    await client.connect();
    const error = await client.call("toString" as never, null as never).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ProtocolError);
    expect((error as Error).message).toBe("there is no method toString here.");
  });

  it("rejects when the request has another shape, saying where", async () => {
    const { address } = await party.server();
    const { client } = party.client(address);
    await client.connect();
    await expect(client.call("add", { left: 1, right: "2" as never })).rejects.toThrow(
      "the request of add has another shape than agreed: right: Invalid type: Expected number but received \"2\".",
    );
  });

  it("rejects when the reply has another shape", async () => {
    const { address } = await party.server();
    const { client } = party.client(address);
    await client.connect();
    await expect(client.call("wrong", null)).rejects.toBeInstanceOf(ProtocolError);
  });

  it("rejects before anything is sent when the message is larger than either side takes", async () => {
    const { address } = await party.server({ maxMessageBytes: 100_000 });
    const { client, losses } = party.client(address);
    await client.connect();
    await expect(client.call("sizes", null, { attachments: [new Uint8Array(100_000)] })).rejects.toThrow(/has 1000\d\d bytes, the limit is 100000 \(maxMessageBytes\)/);
    await expect(client.call("bytes", 100_000)).rejects.toThrow(/the limit is 100000/);
    expect(await client.call("add", { left: 1, right: 1 })).toBe(2);
    expect(losses).toEqual([]);
  });

  it("rejects before anything is sent when a value can't travel", async () => {
    const { address } = await party.server();
    const { client } = party.client(address);
    await client.connect();
    await expect(client.call("add", { left: 1, constructor: 2 } as never)).rejects.toThrow("can't travel: it has a key __proto__, prototype or constructor");
  });

  it("rejects when the connection is closed under it", async () => {
    const { address, server } = await party.server();
    const { client } = party.client(address);
    await client.connect();
    const call = client.call("never", null, { deadlineMs: 10_000 }).catch((caught: unknown) => caught);
    await until(() => server.peers.size === 1);
    await client.close();
    expect(await call).toBeInstanceOf(ConnectionError);
    await expect(client.call("add", { left: 1, right: 1 })).rejects.toThrow("is not connected (this process closed the connection)");
  });
});

describe("an error in an event's handler", () => {
  it("is reported and leaves the connection alone", async () => {
    const errors: Error[] = [];
    const { address, server, log } = await party.server({ onError: (error) => errors.push(error) });
    const { client } = party.client(address, {
      onError: (error) => errors.push(error),
      handlers: {
        double: (value) => value,
        whisper: () => {
          throw new RangeError("too loud");
        },
      },
    });
    await client.connect();
    log.connected[0]!.notify("whisper", "psst");
    await until(() => errors.length === 1);
    expect(errors[0]).toMatchObject({ message: expect.stringContaining("whisper"), cause: { message: "too loud" } });
    log.connected[0]!.notify("whisper", 5 as never);
    await until(() => client.drops.get("malformed event") === 1);
    expect(server.peers.size).toBe(1);
  });
});

describe("connecting", () => {
  it("fails with one clear sentence when nobody listens", async () => {
    const { client } = party.client("tcp://127.0.0.1:1", { connectDeadlineMs: 150 });
    const error = await client.connect().catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ConnectionError);
    expect((error as Error).message).toBe(
      "no JobManager answers at tcp://127.0.0.1:1 after 150 ms; is it running? Start one with `drey cluster start`.",
    );
  });

  it("succeeds when the server comes up a little later", async () => {
    const { client } = party.client(party.folder.address("desk"));
    const connected = client.connect();
    await party.server();
    await connected;
    expect(await client.call("add", { left: 2, right: 2 })).toBe(4);
  });

  it("at a taken address is refused to a second server, and the first goes on", async () => {
    const { address } = await party.server();
    await expect(party.server()).rejects.toThrow(ConfigurationError);
    const { client } = party.client(address);
    await client.connect();
    expect(await client.call("add", { left: 2, right: 2 })).toBe(4);
  });

  it("and closing, over and over in one process, frees the address each time", async () => {
    for (let round = 0; round < 100; round++) {
      const { address, server } = await party.server();
      const { client } = party.client(address);
      await client.connect();
      expect(await client.call("add", { left: round, right: 1 })).toBe(round + 1);
      await client.close();
      await server.close();
    }
  });

  it("to a server that is closed while it starts fails, and leaves nothing behind", async () => {
    const { server } = await party.server({ address: party.folder.address("other") });
    await server.close();
    await expect(server.start()).rejects.toThrow(/started twice/);
    const { server: next } = await party.server({ address: party.folder.address("other") });
    expect(next.address).toBe(party.folder.address("other"));
  });

  it("beyond this machine is refused without keys", async () => {
    await expect(party.server({ address: "tcp://0.0.0.0:*" })).rejects.toThrow(/Give both sides CURVE keys/);
    await expect(party.client("tcp://10.0.0.1:7000").client.connect()).rejects.toThrow(/Give both sides CURVE keys/);
  });
});
