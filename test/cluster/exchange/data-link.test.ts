import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BATCH_BYTES, DataLink } from "../../../src/cluster/exchange/data-link.ts";
import type { OpenChannel } from "../../../src/cluster/exchange/data-link.ts";
import { createBell } from "../../../src/cluster/exchange/doorbell.ts";
import {
  EntryKind, MESSAGE_HEADER_BYTES, Side, entryBytes, writeEntryHeader, writeMessageHeader,
} from "../../../src/cluster/exchange/link-message.ts";
import { RingInput, RingOutput, createRing } from "../../../src/cluster/exchange/ring-channel.ts";
import type { RingDescriptor } from "../../../src/cluster/exchange/ring-channel.ts";
import { SegmentKind, writeSegmentHeader } from "../../../src/core/data/element.ts";

const bell = createBell();
const ringOf = (segments = 4, segmentBytes = 1024): RingDescriptor =>
  createRing({ segmentBytes, segments, producerBell: bell, consumerBell: bell });

/** Two links whose connection is a pair of arrays; messages are delivered when the test says so. */
class Pair {
  readonly left = new DataLink("right");
  readonly right = new DataLink("left");
  readonly toRight: Buffer[] = [];
  readonly toLeft: Buffer[] = [];

  constructor() {
    for (const link of [this.left, this.right]) {
      link.greet(7);
      link.takeMessage();
      link.ready = true;
    }
  }

  send(): boolean {
    const leaving = this.left.takeMessage();
    if (leaving !== undefined) this.toRight.push(leaving);
    const returning = this.right.takeMessage();
    if (returning !== undefined) this.toLeft.push(returning);
    return leaving !== undefined || returning !== undefined;
  }

  deliver(): boolean {
    const arriving = this.toRight.shift();
    if (arriving !== undefined) this.right.acceptMessage(arriving);
    const returned = this.toLeft.shift();
    if (returned !== undefined) this.left.acceptMessage(returned);
    return arriving !== undefined || returned !== undefined;
  }

  settle(): void {
    while (this.send() || this.deliver());
  }
}

/** A channel from left to right with a writer and a reader of numbered segments. */
class Flow {
  readonly channel: string;
  readonly output: RingOutput;
  readonly input: RingInput;
  readonly leaving: OpenChannel;
  readonly arriving: OpenChannel;
  written = 0;
  read = 0;

  constructor(pair: Pair, channel: string, segments = 4, segmentBytes = 1024) {
    this.channel = channel;
    const [near, far] = [ringOf(segments, segmentBytes), ringOf(segments, segmentBytes)];
    this.output = new RingOutput(near);
    this.input = new RingInput(far);
    this.leaving = pair.left.openOutput(channel, near);
    this.arriving = pair.right.openInput(channel, far);
  }

  write(payloadBytes = 8): boolean {
    const offset = this.output.tryAcquire();
    if (offset < 0) return false;
    writeSegmentHeader(this.output.memory, offset, SegmentKind.rows, this.written++, payloadBytes, 0);
    this.output.memory.bytes.fill(this.written, offset + 32, offset + 32 + payloadBytes);
    this.output.publish();
    return true;
  }

  end(): void {
    writeSegmentHeader(this.output.memory, this.output.tryAcquire(), SegmentKind.end, 0, 0, 0);
    this.output.publish();
  }

  take(): boolean {
    const offset = this.input.tryPeek();
    if (offset < 0) return false;
    const { i32, bytes } = this.input.memory;
    if (i32[offset >> 2] === SegmentKind.rows) {
      expect(i32[(offset >> 2) + 1]).toBe(this.read++);
      const payload = bytes.subarray(offset + 32, offset + 32 + (i32[(offset >> 2) + 2] as number));
      expect(payload.every((byte) => byte === (this.read & 255))).toBe(true);
    }
    this.input.release();
    return true;
  }
}

const endOf = async (open: OpenChannel): Promise<string> =>
  Promise.race([open.ended.then((error) => error?.message ?? "ended"), new Promise<string>((resolve) => setImmediate(resolve, "open"))]);

describe("channels over one connection", () => {
  test("carry every segment once and in order, however turns of sending, delivery, writing and reading fall", () => {
    const turn = fc.record({ what: fc.integer({ min: 0, max: 3 }), flow: fc.nat(2), bytes: fc.integer({ min: 0, max: 992 }) });
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 5 }), fc.array(turn, { maxLength: 300 }), (segments, turns) => {
        const pair = new Pair();
        const flows = ["a", "b", "c"].map((name) => new Flow(pair, name, segments));
        for (const { what, flow, bytes } of turns) {
          const one = flows[flow] as Flow;
          if (what === 0) one.write(bytes);
          else if (what === 1) one.take();
          else if (what === 2) pair.send();
          else pair.deliver();
          for (const each of flows) expect(each.written - each.read).toBeLessThanOrEqual(2 * segments);
        }
        for (let quiet = false; !quiet; ) {
          pair.settle();
          quiet = !flows.map((flow) => flow.take()).includes(true);
        }
        for (const flow of flows) expect(flow.read).toBe(flow.written);
        expect([pair.left.hasWork(), pair.right.hasWork()]).toEqual([false, false]);
      }),
    );
  });

  test("with a stuck consumer take in two rings of segments and no more, and its neighbours go on", () => {
    const pair = new Pair();
    const stuck = new Flow(pair, "stuck");
    const lively = new Flow(pair, "lively");
    for (let n = 0; n < 100; n += 1) {
      stuck.write();
      lively.write();
      pair.settle();
      lively.take();
    }
    expect(stuck.written).toBe(8);
    expect(lively.read).toBe(100);
  });

  test("take turns: a channel with much to send does not delay another by more than a message", () => {
    const pair = new Pair();
    const bulky = new Flow(pair, "bulky", 64, 32 * 1024);
    const thin = new Flow(pair, "thin");
    pair.settle();
    while (bulky.write(30_000));
    thin.write();
    pair.send();
    pair.deliver();
    expect(thin.take()).toBe(true);
  });

  test("gather small segments of several channels in one message, and send only the bytes that are used", () => {
    const pair = new Pair();
    const flows = ["a", "b", "c"].map((name) => new Flow(pair, name, 16, 128 * 1024));
    pair.settle();
    const before = pair.left.messagesSent;
    for (let n = 0; n < 10; n += 1) for (const flow of flows) flow.write(8);
    pair.settle();
    expect(pair.left.messagesSent - before).toBe(1);
    expect(pair.left.segmentsSent).toBe(30);
    expect(pair.left.bytesSent).toBe(MESSAGE_HEADER_BYTES + 30 * entryBytes(40));
  });

  test("send a segment larger than a batch by itself", () => {
    const pair = new Pair();
    const flow = new Flow(pair, "large", 4, 4 * BATCH_BYTES);
    pair.settle();
    for (const bytes of [8, 3 * BATCH_BYTES, 8, 4 * BATCH_BYTES - 32]) flow.write(bytes);
    pair.settle();
    while (flow.take());
    expect(flow.read).toBe(4);
  });

  test("wake the main thread when a full ring becomes half empty", () => {
    const pair = new Pair();
    const flow = new Flow(pair, "a");
    for (let n = 0; n < 8; n += 1) {
      flow.write();
      pair.settle();
    }
    expect(pair.right.hasWork()).toBe(false);
    Atomics.store(bell.words, 32, 1);
    flow.take();
    expect(Atomics.load(bell.words, 32)).toBe(1);
    flow.take();
    expect(Atomics.load(bell.words, 32)).toBe(0);
    expect(pair.right.hasWork()).toBe(true);
  });
});

describe("the life of a channel", () => {
  test("nothing is sent before the consumer's end is open, whichever opens first", () => {
    const pair = new Pair();
    const near = ringOf();
    new RingOutput(near).publish();
    pair.left.openOutput("late", near);
    pair.settle();
    expect(pair.left.segmentsSent).toBe(0);
    pair.right.openInput("late", ringOf());
    pair.right.openInput("early", ringOf());
    pair.settle();
    expect(pair.left.segmentsSent).toBe(1);
    const early = ringOf();
    new RingOutput(early).publish();
    pair.left.openOutput("early", early);
    pair.settle();
    expect(pair.right.segmentsReceived).toBe(2);
  });

  test("both ends are over when the end of input has passed, and closing them then is silent", async () => {
    const pair = new Pair();
    const flow = new Flow(pair, "a");
    flow.write();
    flow.end();
    pair.settle();
    expect([await endOf(flow.leaving), await endOf(flow.arriving)]).toEqual(["ended", "ended"]);
    expect([pair.left.channels, pair.right.channels]).toEqual([0, 0]);
    flow.leaving.close();
    flow.arriving.close();
    expect(pair.send()).toBe(false);
    expect([flow.take(), flow.take(), flow.take()]).toEqual([true, true, false]);
  });

  test("a producer that leaves early fails its consumer, and the other way round", async () => {
    const pair = new Pair();
    const [first, second] = [new Flow(pair, "a"), new Flow(pair, "b")];
    pair.settle();
    first.leaving.close("the job was cancelled");
    second.arriving.close();
    pair.settle();
    expect(await endOf(first.leaving)).toBe("ended");
    expect(await endOf(first.arriving)).toContain("producer of channel a, on TaskManager left, closed it: the job was cancelled");
    expect(await endOf(second.leaving)).toContain("consumer of channel b, on TaskManager right, closed it: its task ended");
  });

  test("a new attempt never sees segments of the one before", () => {
    const pair = new Pair();
    const old = new Flow(pair, "edge#1");
    pair.settle();
    old.write();
    pair.send();
    old.write();
    old.arriving.close();
    old.leaving.close();
    const young = new Flow(pair, "edge#2");
    young.write();
    pair.settle();
    expect([young.take(), young.take(), young.read]).toEqual([true, false, 1]);
    expect(old.take()).toBe(false);
    expect(pair.right.segmentsDropped).toBe(1);
  });

  test("lost and doubled messages fail the channel at both ends", async () => {
    for (const disturb of [(queue: Buffer[]) => queue.shift(), (queue: Buffer[]) => queue.push(queue[0] as Buffer)]) {
      const pair = new Pair();
      const flow = new Flow(pair, "a");
      pair.settle();
      flow.write();
      pair.send();
      disturb(pair.toRight);
      flow.write();
      pair.settle();
      expect(await endOf(flow.arriving)).toMatch(/Channel a from TaskManager left broke. Segment \d arrived where segment \d was expected/);
      expect(await endOf(flow.leaving)).toMatch(/closed it: Channel a/);
    }
  });

  test("a lost connection fails all its channels, and those opened afterwards", async () => {
    const pair = new Pair();
    const flow = new Flow(pair, "a");
    pair.left.fail(new Error("gone") as never);
    expect(await endOf(flow.leaving)).toBe("gone");
    expect(await endOf(pair.left.openInput("b", ringOf()))).toBe("gone");
  });

  test("a segment for a channel that was never opened breaks the connection", () => {
    const pair = new Pair();
    const message = Buffer.alloc(MESSAGE_HEADER_BYTES + entryBytes(0));
    writeMessageHeader(message, 7);
    writeEntryHeader(message, MESSAGE_HEADER_BYTES, EntryKind.data, Side.producer, 3, 0, 0);
    expect(() => pair.right.acceptMessage(message)).toThrow("never opened");
  });
});
