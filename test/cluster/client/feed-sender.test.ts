import { describe, expect, it, vi } from "vitest";
import { FeedSender } from "../../../src/cluster/client/feed-sender.ts";
import { ResultStream } from "../../../src/cluster/client/result-reader.ts";
import { noClasses } from "../../../src/core/data/classes.ts";
import { SegmentKind } from "../../../src/core/data/element.ts";
import type { RowFeed } from "../../../src/core/runtime/executor.ts";
import { jobId } from "../../../src/core/types/ids.ts";

const job = jobId("j");
const deadline = { timeout: 30_000, interval: 5 };

/** A sender whose segments are read back by a reader, as a task would. */
function started(feed: RowFeed, segmentBytes = 16 * 1024) {
  const sent: number[] = [];
  const failures: Error[] = [];
  const onEnd = vi.fn();
  const reader = new ResultStream({ name: "feed", subtasks: 1, classes: noClasses, grant: () => undefined, onEnd: () => undefined });
  const sender = new FeedSender({
    feed,
    classes: noClasses,
    segmentBytes,
    send: (attempt, sequence, segment) => {
      sent.push(sequence);
      reader.accept({ job, name: "f", subtask: 0, attempt, sequence }, [segment]);
    },
    onFailure: (error) => failures.push(error),
    onEnd,
  });
  sender.start();
  const grant = (granted: number): void => sender.grant({ job, name: "f", subtask: 0, attempt: 0, granted });
  const all = async (): Promise<unknown[]> => {
    const rows: unknown[] = [];
    for (let next = await reader.next(); next !== null; next = await reader.next()) rows.push(...next);
    return rows;
  };
  return { sender, sent, failures, onEnd, grant, reader, all };
}

/** A feed of given batches. */
function feedOf(...batches: unknown[][]) {
  const waiting = [...batches];
  return { next: vi.fn(async () => waiting.shift() ?? null), close: vi.fn() };
}

describe("a feed", () => {
  it("asks the program for rows only when the job has room", async () => {
    const feed = feedOf([1, 2], [3]);
    const { sent, grant, reader, all } = started(feed);
    await new Promise((resolve) => setImmediate(resolve));
    expect(feed.next).not.toHaveBeenCalled();
    grant(1);
    expect(await reader.next()).toEqual([1, 2]);
    expect(sent).toEqual([0]);
    expect(feed.next).toHaveBeenCalledTimes(1);
    grant(10);
    expect(await all()).toEqual([3]);
  });

  it("ends with an end segment, and says so to the program", async () => {
    const feed = feedOf([{ a: 1 }]);
    const { grant, all, onEnd, failures } = started(feed);
    grant(100);
    expect(await all()).toEqual([{ a: 1 }]);
    await vi.waitFor(() => expect(onEnd).toHaveBeenCalledTimes(1), deadline);
    expect(feed.close).toHaveBeenCalledTimes(1);
    expect(failures).toEqual([]);
  });

  it("splits what is too large for a segment and keeps the order", async () => {
    const rows = Array.from({ length: 2_000 }, (_, n) => ({ n, text: n % 500 === 0 ? "x".repeat(50_000) : `row ${n}` }));
    const { grant, all } = started(feedOf(rows), 4096);
    grant(1_000);
    expect(await all()).toEqual(rows);
  });

  it("an error of the program's source is reported with nothing sent after it", async () => {
    const feed = { next: vi.fn().mockResolvedValueOnce([1]).mockRejectedValueOnce(new RangeError("the source broke")), close: vi.fn() };
    const { grant, failures, onEnd, sent } = started(feed);
    grant(100);
    await vi.waitFor(() => expect(onEnd).toHaveBeenCalledTimes(1), deadline);
    expect(failures.map((error) => error.message)).toEqual(["the source broke"]);
    expect(sent).toEqual([0]);
  });

  it("a row that can't travel is reported as the program's error", async () => {
    const { grant, failures, onEnd } = started(feedOf([{ callback: () => 1 }]));
    grant(100);
    await vi.waitFor(() => expect(onEnd).toHaveBeenCalledTimes(1), deadline);
    expect(failures[0]?.message).toMatch(/callback/);
  });

  it("stops when the job wants no more rows, even while it waits for room", async () => {
    const feed = feedOf([1], [2]);
    const { sender, grant, sent, onEnd } = started(feed);
    grant(1);
    await vi.waitFor(() => expect(sent).toEqual([0]), deadline);
    sender.stop();
    sender.stop();
    grant(10);
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent).toEqual([0]);
    expect(onEnd).toHaveBeenCalledTimes(1);
    expect(feed.close).toHaveBeenCalledTimes(1);
  });

  it("sends the rows that no checkpoint covers again when its task begins again, and then goes on", async () => {
    const feed = feedOf([1, 2], [3, 4], [5]);
    const segments: { attempt: number; sequence: number; segment: Uint8Array }[] = [];
    const sender = new FeedSender({
      feed, classes: noClasses, segmentBytes: 16 * 1024, onFailure: (error) => expect(error).toBeUndefined(), onEnd: () => undefined,
      send: (attempt, sequence, segment) => segments.push({ attempt, sequence, segment }),
    });
    const rowsOf = async (attempt: number): Promise<unknown[]> => {
      const reader = new ResultStream({ name: "feed", subtasks: 1, classes: noClasses, grant: () => undefined, onEnd: () => undefined });
      for (const it of segments.filter((one) => one.attempt === attempt)) {
        reader.accept({ job, name: "f", subtask: 0, attempt: 0, sequence: it.sequence }, [it.segment]);
      }
      reader.fail(new Error("no more"));
      const rows: unknown[] = [];
      try {
        for (let next = await reader.next(); next !== null; next = await reader.next()) rows.push(...next);
      } catch {
        // It came no further.
      }
      const last = segments.findLast((one) => one.attempt === attempt)?.segment;
      return last?.[0] === SegmentKind.end ? [...rows, "end"] : rows;
    };
    const grant = (attempt: number, granted: number, from: number, covered: number): void =>
      sender.grant({ job, name: "f", subtask: 0, attempt, granted, from, covered });
    sender.start();
    grant(0, 2, 0, 0);
    await vi.waitFor(async () => expect(await rowsOf(0)).toEqual([1, 2, 3, 4]), deadline);
    grant(0, 2, 0, 3);
    grant(1, 100, 3, 3);
    await vi.waitFor(async () => expect(await rowsOf(1)).toEqual([4, 5, "end"]), deadline);
    // Also after its end.
    grant(2, 100, 3, 3);
    await vi.waitFor(async () => expect(await rowsOf(2)).toEqual([4, 5, "end"]), deadline);
    grant(1, 200, 3, 3);
    sender.stop();
    expect(segments.at(-1)?.attempt).toBe(2);
  });

  it("of a job without checkpoints can't be sent again, and says so", async () => {
    const { sender, failures, grant } = started(feedOf([1, 2], [3]));
    grant(1);
    await vi.waitFor(() => expect(sender).toBeDefined(), deadline);
    await new Promise((resolve) => setImmediate(resolve));
    sender.grant({ job, name: "f", subtask: 0, attempt: 1, granted: 5, from: 0 });
    expect(failures[0]?.message).toMatch(/began again at row 0, and this program keeps those from 2 on only\. Enable checkpoints/);
  });
});
