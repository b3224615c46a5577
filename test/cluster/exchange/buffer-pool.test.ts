import { describe, expect, test } from "vitest";
import { BufferPool } from "../../../src/cluster/exchange/buffer-pool.ts";
import { createBell } from "../../../src/cluster/exchange/doorbell.ts";
import { RingInput, RingOutput, ringBytes } from "../../../src/cluster/exchange/ring-channel.ts";
import type { RingOptions } from "../../../src/cluster/exchange/ring-channel.ts";

const shape = (segmentBytes = 1024, segments = 4): RingOptions => ({
  segmentBytes, segments, producerBell: createBell(), consumerBell: createBell(),
});

describe("a slot's network memory", () => {
  test("lends rings up to its bound, and names the option to raise", () => {
    const pool = new BufferPool("slot tm-1/0", 2 * ringBytes(1024, 4));
    pool.lend(shape());
    pool.lend(shape());
    expect(pool.usedBytes).toBe(pool.capacityBytes);
    expect(() => pool.lend(shape())).toThrow(
      /slot tm-1\/0 is too small: 9 KiB of 9 KiB are used by 2 channels.*taskmanager\.memory\.network\.size/,
    );
  });

  test("memory that comes back is lent again, as an empty ring", () => {
    const pool = new BufferPool("slot", ringBytes(1024, 4));
    const first = pool.lend(shape());
    const output = new RingOutput(first);
    for (let n = 0; n < 3; n += 1) output.publish();
    pool.giveBack(first);
    expect(pool.usedBytes).toBe(0);
    const second = pool.lend(shape());
    expect(second.buffer).toBe(first.buffer);
    expect(new RingInput(second).tryPeek()).toBe(-1);
  });

  test("memory kept for reuse gives way to rings of another shape", () => {
    const pool = new BufferPool("slot", ringBytes(1024, 4));
    pool.giveBack(pool.lend(shape()));
    const other = pool.lend(shape(512, 2));
    expect(other.buffer.byteLength).toBe(ringBytes(512, 2));
    expect(pool.usedBytes).toBe(other.buffer.byteLength);
  });

  test("a ring comes back once", () => {
    const pool = new BufferPool("slot", 100_000);
    const ring = pool.lend(shape());
    pool.giveBack(ring);
    expect(() => pool.giveBack(ring)).toThrow("not on loan");
  });
});
