import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createBell } from "../../../src/cluster/exchange/doorbell.ts";
import { type RingDescriptor, RingInput, RingOutput, createRing } from "../../../src/cluster/exchange/ring-channel.ts";
import type { ChannelGrant, ChannelSegments } from "../../../src/cluster/protocol/messages.ts";
import { ClientChannels } from "../../../src/cluster/taskmanager/client-channels.ts";
import { SEGMENT_HEADER_BYTES, SegmentKind, segmentMemory, segmentRows, writeSegmentHeader } from "../../../src/core/data/element.ts";
import type { JobId } from "../../../src/core/types/ids.ts";
import { until } from "./fake-job-manager.ts";

const SEGMENTS = 4;
const address = { job: "j" as JobId, name: "rows", subtask: 0, attempt: 0 };

let sent: { segments: ChannelSegments; bytes: readonly Uint8Array[] }[];
let grants: ChannelGrant[];
let channels: ClientChannels;
beforeEach(() => {
  sent = [];
  grants = [];
  channels = new ClientChannels({
    sendResult: (segments, bytes) => sent.push({ segments, bytes }),
    sendGrant: (grant) => grants.push(grant),
  });
});
afterEach(() => channels.stop());

const ringTo = (side: "producer" | "consumer"): RingDescriptor =>
  createRing({
    segmentBytes: 1_024,
    segments: SEGMENTS,
    producerBell: side === "producer" ? channels.bell : createBell(),
    consumerBell: side === "consumer" ? channels.bell : createBell(),
  });

/** Writes a segment that carries a number. @returns false when the ring is full. */
function write(output: RingOutput, number: number, kind: SegmentKind = SegmentKind.rows): boolean {
  const offset = output.tryAcquire();
  if (offset < 0) return false;
  writeSegmentHeader(output.memory, offset, kind, number, 8, Number.NaN);
  output.publish();
  return true;
}
function segment(number: number, kind: SegmentKind = SegmentKind.rows): Uint8Array {
  const memory = segmentMemory(new ArrayBuffer(SEGMENT_HEADER_BYTES + 8));
  writeSegmentHeader(memory, 0, kind, number, 8, Number.NaN);
  return memory.bytes;
}
const numberOf = (bytes: Uint8Array): number => new Int32Array(bytes.buffer, bytes.byteOffset, 2)[1] as number;
const delivered = (): number[] => sent.flatMap(({ bytes }) => bytes.map(numberOf));

describe("a result", () => {
  test("leaves as far as it is granted, numbered from 0, and only the bytes in use", async () => {
    const ring = ringTo("consumer");
    const output = new RingOutput(ring);
    channels.openResult(address, ring, () => {});
    for (let number = 0; number < SEGMENTS; number++) expect(write(output, number)).toBe(true);
    expect(write(output, 9)).toBe(false);
    channels.grantResult({ ...address, granted: 3 });
    await until(() => delivered().length === 3);
    channels.grantResult({ ...address, granted: 2 });
    channels.grantResult({ ...address, granted: 4 });
    await until(() => delivered().length === 4);
    expect(delivered()).toEqual([0, 1, 2, 3]);
    expect(sent.map(({ segments }) => segments.sequence)).toEqual([0, 3]);
    expect(sent[0]?.bytes[0]?.byteLength).toBe(SEGMENT_HEADER_BYTES + 8);
  });

  test("goes on by the bell alone when the producer writes later, and ends once", async () => {
    const ring = ringTo("consumer");
    const output = new RingOutput(ring);
    let ended = 0;
    channels.openResult(address, ring, () => (ended += 1));
    channels.grantResult({ ...address, granted: 1_000 });
    for (let number = 0; number < 50; number++) await until(() => write(output, number));
    await until(() => write(output, 50, SegmentKind.end));
    await until(() => ended === 1);
    expect(delivered()).toEqual(Array.from({ length: 51 }, (_, index) => index));
    expect(channels.open).toBe(0);
  });

  test("tells when the rows before a barrier have left, which nobody waits for after the channel's end", async () => {
    const ring = ringTo("consumer");
    const output = new RingOutput(ring);
    channels.openResult(address, ring, () => {});
    const told: number[] = [];
    for (const checkpoint of [1, 2]) void channels.barrierSent(address, checkpoint).then(() => told.push(checkpoint));
    write(output, 0);
    const offset = output.tryAcquire();
    writeSegmentHeader(output.memory, offset, SegmentKind.barrier, 0, 16, Number.NaN, 0, 1);
    output.publish();
    channels.grantResult({ ...address, granted: 1 });
    await until(() => sent.length === 1);
    expect(told).toEqual([]);
    channels.grantResult({ ...address, granted: 10 });
    await until(() => told.length === 1);
    expect(told).toEqual([1]);
    write(output, 1, SegmentKind.end);
    await until(() => told.length === 2);
    await channels.barrierSent(address, 3);
  });

  test("that was closed is not touched any more", async () => {
    const ring = ringTo("consumer");
    const output = new RingOutput(ring);
    channels.openResult(address, ring, () => expect.unreachable());
    channels.close(address);
    channels.grantResult({ ...address, granted: 5 });
    write(output, 0, SegmentKind.end);
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent).toEqual([]);
    expect(channels.dropped).toBe(1);
  });
});

describe("a feed", () => {
  test("is granted its ring, and more when half of it was read", async () => {
    const ring = ringTo("producer");
    const input = new RingInput(ring);
    channels.openFeed(address, ring, (error) => expect.unreachable(error.message));
    await until(() => grants.length === 1);
    expect(grants[0]).toEqual({ ...address, granted: SEGMENTS });
    channels.feedSegments(
      { ...address, sequence: 0 },
      [0, 1, 2, 3].map((number) => segment(number)),
    );
    const read: number[] = [];
    const take = (): void => {
      read.push(segmentRows(input.memory, input.tryPeek()));
      input.release();
    };
    take();
    take();
    await until(() => grants.length === 2);
    expect(grants[1]?.granted).toBe(SEGMENTS + 2);
    channels.feedSegments({ ...address, sequence: 4 }, [segment(4), segment(5, SegmentKind.end)]);
    for (let rest = 0; rest < 4; rest++) take();
    expect(read).toEqual([0, 1, 2, 3, 4, 5]);
    // After its end nothing is granted any more.
    channels.repeatGrants();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(grants).toHaveLength(2);
  });

  test("says its grant again when asked to, in case it got lost", async () => {
    channels.openFeed(address, ringTo("producer"), (error) => expect.unreachable(error.message));
    await until(() => grants.length === 1);
    channels.repeatGrants();
    expect(grants[1]).toEqual(grants[0]);
  });

  test.each([
    ["a gap", { sequence: 1 }, [segment(0)], /Segment 1 arrived where segment 0 was expected/],
    ["more than was granted", { sequence: 0 }, [0, 1, 2, 3, 4].map((number) => segment(number)), /only 4 were granted/],
    ["a segment that is cut off", { sequence: 0 }, [segment(0).subarray(0, SEGMENT_HEADER_BYTES)], /says that its payload has 8/],
    ["a segment that is too large", { sequence: 0 }, [new Uint8Array(2_048)], /at most 1024/],
  ])("with %s fails its task once, and takes nothing more", async (_what, segments, bytes, message) => {
    const errors: string[] = [];
    channels.openFeed(address, ringTo("producer"), (error) => errors.push(error.message));
    await until(() => grants.length === 1);
    channels.feedSegments({ ...address, ...segments }, bytes);
    channels.feedSegments({ ...address, ...segments }, bytes);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(message);
  });
});
