import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BufferPool } from "../../../src/cluster/exchange/buffer-pool.ts";
import { createBell } from "../../../src/cluster/exchange/doorbell.ts";
import type { RingDescriptor } from "../../../src/cluster/exchange/ring-channel.ts";
import type { OpenChannel } from "../../../src/cluster/exchange/data-link.ts";
import type { EdgeDeployment, TaskDeployment } from "../../../src/cluster/protocol/messages.ts";
import { ChannelTable, type ChannelUser } from "../../../src/cluster/taskmanager/channel-table.ts";
import { ClientChannels } from "../../../src/cluster/taskmanager/client-channels.ts";
import { ConnectionError, type DreyError } from "../../../src/core/types/errors.ts";
import type { EdgeId, JobId, TaskManagerId, VertexId } from "../../../src/core/types/ids.ts";

const SEGMENT_BYTES = 1_024;
const peer = { taskManager: "tm-2" as TaskManagerId, address: "ipc:///nowhere" };

/** Data links that only note what was opened and let a test end it. */
class NotedLinks {
  readonly bell = createBell();
  readonly opened: {
    readonly channel: string;
    readonly side: "input" | "output";
    readonly ring: RingDescriptor;
    readonly end: (error?: DreyError) => void;
    closed: string | undefined;
  }[] = [];

  openInput(channel: string, _peer: unknown, ring: RingDescriptor): OpenChannel {
    return this.#open(channel, "input", ring);
  }

  openOutput(channel: string, _peer: unknown, ring: RingDescriptor): OpenChannel {
    return this.#open(channel, "output", ring);
  }

  #open(channel: string, side: "input" | "output", ring: RingDescriptor): OpenChannel {
    let end: (error?: DreyError) => void = () => {};
    const ended = new Promise<DreyError | undefined>((resolve) => (end = resolve));
    const noted = { channel, side, ring, end, closed: undefined as string | undefined };
    this.opened.push(noted);
    return {
      channel,
      ended,
      close: (reason = "") => {
        noted.closed = reason;
        end();
      },
    };
  }
}

let links: NotedLinks;
let clients: ClientChannels;
let table: ChannelTable;
let pool: BufferPool;
let broken: string[];
beforeEach(() => {
  links = new NotedLinks();
  clients = new ClientChannels({ sendResult() {}, sendGrant() {} });
  table = new ChannelTable({ links: links as never, clients, segmentBytes: SEGMENT_BYTES, peerTimeoutMs: 50 });
  pool = new BufferPool("slot tm-1/0", 100 * SEGMENT_BYTES);
  broken = [];
});
afterEach(() => clients.stop());

const edge = (id: string, channels: EdgeDeployment["channels"]): EdgeDeployment => ({ edge: id as EdgeId, input: 0, channels });
const task = (vertex: string, what: Partial<TaskDeployment>): TaskDeployment => ({
  execution: { job: "j" as JobId, vertex: vertex as VertexId, subtask: 0, attempt: 0 },
  jobName: "job",
  vertexIndex: 0,
  slot: 0,
  code: "",
  vertex: {
    id: vertex as VertexId,
    name: vertex,
    operators: [],
    parallelism: 1,
    maxParallelism: 1,
    slotSharingGroup: "default",
    asynchronous: false,
  },
  inputs: [],
  outputs: [],
  results: [],
  feeds: [],
  options: {},
  ...what,
});
const user = (deployment: TaskDeployment, segments = 4): ChannelUser => ({
  deployment,
  bell: createBell(),
  pool,
  segments,
  onBroken: (error) => broken.push(error.message),
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const local = [{ channel: "c", subtask: 0 }];
const producer = task("v0", { outputs: [edge("v0->v1", local)] });
const consumer = task("v1", { inputs: [edge("v0->v1", local)] });
const sender = task("v0", { outputs: [edge("v0->v1", [{ channel: "c", subtask: 0, peer }])] });
const receiver = task("v1", { inputs: [edge("v0->v1", [{ channel: "c", subtask: 0, peer }])] });

describe("a channel within a TaskManager", () => {
  test.each([
    ["producer", producer, consumer],
    ["consumer", consumer, producer],
  ])("is one ring for both ends, when the %s comes first", async (_who, first, second) => {
    const users = [user(first), user(second)] as const;
    table.add(users[0]);
    const early = table.ringsOf(first);
    table.add(users[1]);
    const rings = await Promise.all([early, table.ringsOf(second)]);
    const [out, into] = first === producer ? rings : [rings[1], rings[0]];
    expect(out?.outputs[0]?.rings[0]?.buffer).toBe(into?.inputs[0]?.rings[0]?.buffer);
    const [written, read] = first === producer ? users : [users[1], users[0]];
    expect(out?.outputs[0]?.rings[0]).toMatchObject({ segments: 4, producerBell: written.bell, consumerBell: read.bell });
  });

  test("goes back to the memory when both threads are gone, not before", async () => {
    table.add(user(producer));
    table.add(user(consumer));
    expect(pool.rings).toBe(1);
    table.remove(producer, true);
    expect(pool.rings).toBe(1);
    table.remove(consumer, true);
    expect(pool.rings).toBe(0);
    expect(table.users).toBe(0);
  });

  test("without its other end is not waited for for ever", async () => {
    table.add(user(consumer));
    await expect(table.ringsOf(consumer)).rejects.toThrow(
      "v1 (subtask 1 of 1) waited 50 ms for the tasks at the other end of 1 of its channels",
    );
  });

  test("of a task that is removed meanwhile is not waited for", async () => {
    table.add(user(consumer));
    const rings = table.ringsOf(consumer);
    table.remove(consumer, false);
    await expect(rings).rejects.toThrow("given up");
  });
});

describe("a channel to another TaskManager", () => {
  test("is a ring whose other side is the main thread", async () => {
    table.add(user(sender));
    const { outputs } = await table.ringsOf(sender);
    expect(links.opened[0]).toMatchObject({ channel: "c", side: "output" });
    expect(outputs[0]?.rings[0]).toBe(links.opened[0]?.ring);
    expect(outputs[0]?.rings[0]?.consumerBell).toBe(links.bell);
  });

  test("delivers what a finished producer left, and holds the memory until then", async () => {
    table.add(user(sender));
    table.remove(sender, true);
    expect(links.opened[0]?.closed).toBeUndefined();
    expect(pool.rings).toBe(1);
    links.opened[0]?.end();
    await turn();
    expect(pool.rings).toBe(0);
  });

  test("of a finished producer is closed when the job is released", async () => {
    table.add(user(sender));
    table.remove(sender, true);
    table.releaseJob("j" as JobId);
    await turn();
    expect(links.opened[0]?.closed).toBe("the job is over");
    expect(pool.rings).toBe(0);
  });

  test.each([
    ["producer that failed", sender, false],
    ["consumer that failed", receiver, false],
    ["consumer that finished", receiver, true],
  ])("is closed at once for a %s", async (_what, deployment, finished) => {
    table.add(user(deployment));
    table.remove(deployment, finished);
    await turn();
    expect(links.opened[0]?.closed).toBe("its task ended");
    expect(pool.rings).toBe(0);
  });

  test("that breaks tells its task, while that is there", async () => {
    table.add(user(sender));
    links.opened[0]?.end(new ConnectionError("the cable"));
    await turn();
    expect(broken).toEqual(["the cable"]);
    table.remove(sender, false);
    expect(pool.rings).toBe(0);
  });
});

describe("channels to clients", () => {
  const withEnds = task("v0", {
    results: [
      { name: "same", vertex: "v0" as VertexId, edge: "out" as EdgeId },
      { name: "other", vertex: "v9" as VertexId, edge: "no" as EdgeId },
    ],
    feeds: [{ name: "same", vertex: "v0" as VertexId, edge: "in" as EdgeId }],
  });

  test("stand among the edges of their vertex, under their own edge ids", async () => {
    table.add(user(withEnds));
    const { inputs, outputs } = await table.ringsOf(withEnds);
    expect(inputs.map(({ edge: id, rings }) => [id, rings.length])).toEqual([["in", 1]]);
    expect(outputs.map(({ edge: id, rings }) => [id, rings.length])).toEqual([["out", 1]]);
    expect(inputs[0]?.rings[0]).not.toBe(outputs[0]?.rings[0]);
    expect(clients.open).toBe(2);
    table.remove(withEnds, true);
    expect(clients.open).toBe(0);
    expect(pool.rings).toBe(0);
  });
});

describe("network memory", () => {
  test("is spread over all channels of a deployment, and shrinks them down to two segments", () => {
    const wide = (channels: number) =>
      task("v1", {
        inputs: [
          edge(
            "e",
            Array.from({ length: channels }, (_, index) => ({ channel: `c${index}`, subtask: index })),
          ),
        ],
      });
    expect(table.segmentsFor([wide(1)], pool, 8)).toBe(8);
    expect(table.segmentsFor([wide(20)], pool, 8)).toBe(4);
    expect(table.segmentsFor([wide(20), wide(20)], pool, 8)).toBe(2);
    expect(() => table.segmentsFor([wide(50)], pool, 8)).toThrow(
      /the 50 channels of the 1 tasks .* Raise taskmanager\.memory\.network\.size/,
    );
    // Local outputs are their consumers' to pay.
    expect(table.segmentsFor([producer], pool, 8)).toBe(8);
  });

  test("that runs out while a task's channels are opened leaves nothing behind", async () => {
    const wide = task("v1", {
      inputs: [
        edge(
          "e",
          Array.from({ length: 30 }, (_, index) => ({ channel: `c${index}`, subtask: index, peer })),
        ),
      ],
    });
    expect(() => table.add(user(wide))).toThrow(/network memory of slot tm-1\/0 is too small/);
    await turn();
    expect(pool.rings).toBe(0);
    expect(table.users).toBe(0);
    expect(links.opened.every(({ closed }) => closed !== undefined)).toBe(true);
  });
});
