import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createBell } from "../../../src/cluster/exchange/doorbell.ts";
import { RingInput, RingOutput, createRing, ringQueued } from "../../../src/cluster/exchange/ring-channel.ts";
import type { RingDescriptor } from "../../../src/cluster/exchange/ring-channel.ts";

const ringOf = (segmentBytes: number, segments: number): RingDescriptor =>
  createRing({ segmentBytes, segments, producerBell: createBell(), consumerBell: createBell() });

interface Report {
  readonly role: string;
  readonly bytes: number;
  readonly parks: number;
  readonly timeouts: number;
}

const thread = (data: object): Promise<Report> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./programs/ring-thread.mjs", import.meta.url), { workerData: data });
    worker.once("message", resolve);
    worker.once("error", reject);
  });

async function stream(ring: RingDescriptor, settings: { count: number; maximum: number }, write = {}, read = {}): Promise<Report[]> {
  return Promise.all([
    thread({ role: "write", ring, bell: ring.producerBell, ...settings, ...write }),
    thread({ role: "read", ring, bell: ring.consumerBell, ...settings, ...read }),
  ]);
}

describe("a ring in one thread", () => {
  test("behaves as a bounded first-in-first-out queue, over any number of laps", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 7 }), fc.array(fc.boolean(), { maxLength: 300 }), (segments, moves) => {
        const ring = ringOf(64, segments);
        const output = new RingOutput(ring);
        const input = new RingInput(ring);
        const model: number[] = [];
        let next = 0;
        for (const write of moves) {
          if (write) {
            const offset = output.tryAcquire();
            expect(offset >= 0).toBe(model.length < segments);
            if (offset < 0) continue;
            output.memory.i32[offset >> 2] = next;
            output.publish();
            model.push(next++);
          } else {
            const offset = input.tryPeek();
            expect(offset < 0 ? undefined : input.memory.i32[offset >> 2]).toBe(model[0]);
            if (offset < 0) continue;
            input.release();
            model.shift();
          }
          expect([output.queued, input.queued, ringQueued(ring)]).toEqual([model.length, model.length, model.length]);
        }
      }),
    );
  });

  test("acquiring twice gives the same segment", () => {
    const output = new RingOutput(ringOf(64, 2));
    expect(output.tryAcquire()).toBe(output.tryAcquire());
  });

  test("an end opened late finds what was written before, on any lap", () => {
    const ring = ringOf(64, 3);
    for (let n = 0; n < 20; n += 1) {
      const output = new RingOutput(ring);
      const at = output.tryAcquire();
      output.memory.i32[at >> 2] = n;
      output.publish();
      const input = new RingInput(ring);
      expect(input.memory.i32[input.tryPeek() >> 2]).toBe(n);
      input.release();
    }
  });

  test("impossible shapes are refused with the value that was given", () => {
    expect(() => ringOf(100, 4)).toThrow("100 bytes");
    expect(() => ringOf(128, 1)).toThrow("1 segments");
    expect(() => ringOf(1 << 20, 4096)).toThrow("2 GiB");
  });
});

describe("a ring between two threads", () => {
  test("keeps order and content of segments of random sizes", async () => {
    const [written, read] = await stream(ringOf(32 * 1024, 4), { count: 5_000, maximum: 32 * 1024 - 32 });
    expect(read?.bytes).toBe(written?.bytes);
    expect(read?.bytes).toBeGreaterThan(50_000_000);
  }, 30_000);

  test("the writer waits for a slow reader", async () => {
    const [written, read] = await stream(ringOf(1024, 4), { count: 400, maximum: 900 }, {}, { pauseEvery: 1 });
    expect(written?.parks).toBeGreaterThan(50);
    expect(read?.bytes).toBe(written?.bytes);
  }, 30_000);

  test("the reader waits for a slow writer", async () => {
    const [written, read] = await stream(ringOf(1024, 4), { count: 400, maximum: 900 }, { pauseEvery: 1 }, {});
    expect(read?.parks).toBeGreaterThan(200);
    expect(read?.bytes).toBe(written?.bytes);
  }, 30_000);

  test("no wake-up is lost over 200,000 tiny segments through the smallest ring", async () => {
    const reports = await stream(ringOf(64, 2), { count: 200_000, maximum: 16 });
    expect(reports.map((report) => report.timeouts)).toEqual([0, 0]);
    expect(reports[0]?.parks).toBeGreaterThan(0);
  }, 60_000);
});
