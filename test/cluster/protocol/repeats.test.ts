/**
 * A network that keeps what it carried, and brings it again. Connections deliver in order and once; what breaks that is a new connection,
 * beside which messages of the former one turn up late, twice and out of order. Each carries its session, and nobody hears them.
 */
import { Dealer, Router } from "zeromq";
import { afterEach, beforeEach, expect, it } from "vitest";
import { closeSocket } from "../../../src/cluster/protocol/close-socket.ts";
import { Party, until } from "./parties.ts";

let party: Party;
beforeEach(() => {
  party = new Party();
});
afterEach(() => party.close());

type Frames = readonly Buffer[];

/** Passes whole messages on between clients and a server. */
class Proxy {
  /** What went each way on connections that are broken. */
  readonly held = { up: [] as Frames[], down: [] as Frames[] };
  readonly #place: string;
  readonly #server: string;
  #carried = { up: [] as Frames[], down: [] as Frames[] };
  #front = new Router({ linger: 0 });
  #backs = new Map<string, Dealer>();
  /** The client's present connection. */
  #client: Buffer | undefined;

  constructor(place: string, server: string) {
    this.#place = place;
    this.#server = server;
  }

  async listen(): Promise<void> {
    const front = (this.#front = new Router({ linger: 0 }));
    await front.bind(this.#place);
    void this.#carryUp(front);
  }

  /** The connections break; the next find a proxy that holds what they had carried. */
  async breakUp(): Promise<void> {
    await this.close();
    for (const way of ["up", "down"] as const) this.held[way].push(...this.#carried[way].splice(0));
    this.#carried = { up: [], down: [] };
    this.#backs = new Map();
    await this.listen();
  }

  /** Everything that was held comes again, each message twice and the last first, on the present connections. */
  async repeat(): Promise<void> {
    const [client, back] = [this.#client, [...this.#backs.values()].at(-1)];
    if (client === undefined || back === undefined) throw new Error("nobody is connected");
    for (let time = 0; time < 2; time++) {
      for (const frames of this.held.up.toReversed()) await back.send(frames as Buffer[]);
      for (const frames of this.held.down.toReversed()) await this.#front.send([client, ...frames]);
    }
  }

  async close(): Promise<void> {
    await closeSocket(this.#front);
    for (const back of this.#backs.values()) await closeSocket(back);
  }

  async #carryUp(front: Router): Promise<void> {
    const backs = this.#backs;
    for await (const [client, ...frames] of front) {
      this.#client = client as Buffer;
      const name = this.#client.toString("latin1");
      let back = backs.get(name);
      if (back === undefined) {
        backs.set(name, (back = new Dealer({ linger: 0 })));
        back.connect(this.#server);
        void this.#carryDown(back, front, this.#client);
      }
      this.#carried.up.push(frames);
      await back.send(frames);
    }
  }

  async #carryDown(back: Dealer, front: Router, client: Buffer): Promise<void> {
    for await (const frames of back) {
      this.#carried.down.push(frames);
      await front.send([client, ...frames]).catch(() => undefined);
    }
  }
}

it("messages that come again after a reconnection, doubled and out of order, reach no handler and settle no call", async () => {
  const added: string[] = [];
  const { address, server, log } = await party.server({
    handlers: {
      add: ({ left, right }) => {
        added.push(`${left}+${right}`);
        return left + right;
      },
      find: () => ({ found: "" }),
      never: () => null,
      sizes: () => [],
      bytes: () => "",
      wrong: () => 0,
      noted: ({ text }) => void noted.push(text),
    },
  });
  const noted: string[] = [];
  const place = party.folder.address("proxy");
  const proxy = new Proxy(place, address);
  party.onClose(() => proxy.close());
  await proxy.listen();
  const { client, whispers, epochs } = party.client(place);
  await client.connect();

  const session = async (number: number): Promise<void> => {
    await until(() => epochs.length === number && log.connected.length === number);
    for (let i = 0; i < 5; i++) client.notify("noted", { text: `${number}.${i}` });
    for (let i = 0; i < 5; i++) log.connected[number - 1]!.notify("whisper", `${number}.${i}`);
    // Calls are numbered anew in each session: an answer of the former one bears the number of a call of this one.
    expect(await client.call("add", { left: number, right: 10 })).toBe(number + 10);
    expect(await log.connected[number - 1]!.call("double", number)).toBe(2 * number);
    await until(() => noted.length === 5 * number && whispers.length === 5 * number);
  };
  await session(1);
  for (let number = 2; number <= 4; number++) {
    await proxy.breakUp();
    await until(() => log.lost.length === number - 1);
    await until(() => epochs.length === number);
    const answer = client.call("add", { left: number, right: 100 });
    await proxy.repeat();
    expect(await answer).toBe(number + 100);
    await session(number);
  }

  // All of them had come: greetings were refused as well.
  const messages = proxy.held.up.length;
  expect(messages).toBeGreaterThan(3 * 7);
  await until(() => (server.drops.get("stale session") ?? 0) >= 2 * 6 && (client.drops.get("stale session") ?? 0) >= 2 * 6);
  expect(added).toEqual(["1+10", "2+100", "2+10", "3+100", "3+10", "4+100", "4+10"]);
  expect(noted).toEqual([1, 2, 3, 4].flatMap((number) => [0, 1, 2, 3, 4].map((i) => `${number}.${i}`)));
  expect(whispers).toEqual(noted);
  expect(log.connected).toHaveLength(4);
}, 120_000);
