import { describe, expect, it } from "vitest";
import { ResultStream } from "../../../src/cluster/client/result-reader.ts";
import { type TakenRows, RESULT_WINDOW_SEGMENTS as WINDOW_SEGMENTS } from "../../../src/cluster/protocol/messages.ts";
import { noClasses } from "../../../src/core/data/classes.ts";
import { jobId } from "../../../src/core/types/ids.ts";
import { SegmentWriter } from "./segments.ts";

/** A stream with everything it says recorded. */
function opened(subtasks = 1, skip: readonly number[] = []) {
  const grants: [subtask: number, granted: number][] = [];
  const ends: (readonly TakenRows[])[] = [];
  const stream = new ResultStream({
    name: 'result "r"',
    subtasks,
    skip,
    classes: noClasses,
    grant: (...grant) => grants.push(grant),
    onEnd: (taken) => ends.push(taken),
  });
  stream.start();
  const arrive = (subtask: number, sequence: number, ...segments: Uint8Array[]): void =>
    stream.accept({ job: jobId("j"), name: "r", subtask, attempt: 0, sequence }, segments);
  return { stream, grants, ends, arrive };
}

describe("a result", () => {
  it("gives the rows of each subtask in order and ends after the last subtask", async () => {
    const { stream, arrive, ends } = opened(2);
    const [a, b] = [new SegmentWriter(), new SegmentWriter()];
    arrive(1, 0, b.rows({ n: 10 }));
    arrive(0, 0, a.rows({ n: 1 }, { n: 2 }), a.end());
    arrive(1, 1, b.rows({ n: 11 }), b.end());
    expect(await stream.next()).toEqual([{ n: 10 }]);
    expect(await stream.next()).toEqual([{ n: 1 }, { n: 2 }]);
    expect(await stream.next()).toEqual([{ n: 11 }]);
    expect(ends).toEqual([]);
    expect(await stream.next()).toBeNull();
    expect(ends).toEqual([[{ segments: 2, rows: 0 }, { segments: 3, rows: 0 }]]);
    expect(await stream.next()).toBeNull();
  });

  it("answers a reader that waits as soon as rows arrive", async () => {
    const { stream, arrive } = opened();
    const next = stream.next();
    arrive(0, 0, new SegmentWriter().rows(7));
    expect(await next).toEqual([7]);
  });

  it("lets a subtask send only a window ahead of what was taken", async () => {
    const { stream, arrive, grants } = opened();
    expect(grants).toEqual([[0, WINDOW_SEGMENTS]]);
    const writer = new SegmentWriter();
    for (let i = 0; i < WINDOW_SEGMENTS; i++) arrive(0, i, writer.rows(i));
    expect(grants).toHaveLength(1);
    // Whoever asks for more has taken what he got.
    for (let i = 0; i < WINDOW_SEGMENTS; i++) await stream.next();
    void stream.next();
    expect(grants.at(-1)).toEqual([0, 2 * WINDOW_SEGMENTS]);
    // Cumulative and rising; few messages.
    expect(grants.map(([, granted]) => granted)).toEqual([WINDOW_SEGMENTS, 1.5 * WINDOW_SEGMENTS, 2 * WINDOW_SEGMENTS]);
  });

  it("puts a row together that came in pieces", async () => {
    const { stream, arrive } = opened();
    const row = { text: "long ".repeat(5_000) };
    const writer = new SegmentWriter();
    arrive(0, 0, ...writer.pieces(row, 1_000), writer.rows(1));
    expect(await stream.next()).toEqual([row]);
    expect(await stream.next()).toEqual([1]);
  });

  it("passes over segments that come again", async () => {
    const { stream, arrive } = opened();
    const writer = new SegmentWriter();
    const [one, two] = [writer.rows(1), writer.rows(2)];
    arrive(0, 0, one);
    arrive(0, 0, one, two);
    expect([await stream.next(), await stream.next()]).toEqual([[1], [2]]);
  });

  it("fails when a segment is missing, after the rows before it", async () => {
    const { stream, arrive, ends } = opened();
    const writer = new SegmentWriter();
    arrive(0, 0, writer.rows(1));
    arrive(0, 2, writer.rows(3));
    expect(await stream.next()).toEqual([1]);
    await expect(stream.next()).rejects.toThrow('rows of result "r" got lost on their way: segment 2 of subtask 0 came after 0.');
    expect(ends).toHaveLength(1);
  });

  it("gives what has arrived before it tells of a failure", async () => {
    const { stream, arrive, ends } = opened();
    arrive(0, 0, new SegmentWriter().rows(1));
    stream.fail(new Error("the job failed"));
    expect(await stream.next()).toEqual([1]);
    await expect(stream.next()).rejects.toThrow("the job failed");
    expect(ends).toHaveLength(1);
  });

  it("a reader that closes waits for nothing any more", async () => {
    const { stream, arrive, ends } = opened();
    const next = stream.next();
    stream.close();
    expect(await next).toBeNull();
    arrive(0, 0, new SegmentWriter().rows(1));
    expect(await stream.next()).toBeNull();
    expect(ends).toEqual([[{ segments: 0, rows: 0 }]]);
  });

  it("a reader that closes tells how far it came, to the row", async () => {
    const { stream, arrive, ends } = opened(2, [1, 2]);
    const writer = new SegmentWriter();
    arrive(0, 0, writer.rows("a", "b", "c", "d"), ...writer.pieces("long", 3).slice(0, 1));
    expect(await stream.next()).toEqual(["b", "c", "d"]);
    stream.close(2);
    // Of the second subtask, nothing came: what others took of it stays taken.
    expect(ends).toEqual([[{ segments: 0, rows: 2 }, { segments: 0, rows: 2 }]]);
  });

  it("of a job that was rescaled has the new subtasks' rows too, and ends after them", async () => {
    const { stream, arrive, grants } = opened();
    const [a, b] = [new SegmentWriter(), new SegmentWriter()];
    arrive(1, 0);
    arrive(0, 0, a.rows(1), a.end());
    arrive(1, 0, b.rows(2), b.end());
    expect([await stream.next(), await stream.next(), await stream.next()]).toEqual([[1], [2], null]);
    expect(grants.filter(([subtask]) => subtask === 1)).toEqual([]);
  });

  it("goes on at the next row on another connection, whatever had arrived on the one before", async () => {
    const { stream, arrive, grants } = opened();
    const writer = new SegmentWriter();
    const segments = [writer.rows(0), writer.rows(1), writer.rows(2), ...writer.pieces("long", 3), writer.end()];
    arrive(0, 0, ...segments.slice(0, 3));
    expect([await stream.next(), await stream.next()]).toEqual([[0], [1]]);
    const positions = stream.interrupt();
    expect(positions).toEqual([{ number: 2, rows: 0 }]);
    const next = stream.next();
    // The JobManager goes back further than that: what was read is passed over.
    stream.resume({ subtasks: 1, skip: [0], from: [1] }, positions);
    expect(grants.at(-1)).toEqual([0, WINDOW_SEGMENTS]);
    arrive(0, 0, ...segments.slice(1, 4));
    expect(await next).toEqual([2]);
    // In the middle of a row.
    const again = stream.interrupt();
    expect(again).toEqual([{ number: 3, rows: 0 }]);
    stream.resume({ subtasks: 1, skip: [0], from: [3] }, again);
    arrive(0, 0, ...segments.slice(3));
    expect([await stream.next(), await stream.next()]).toEqual([["long"], null]);
  });

  it("fails when what it is to go on with is gone", async () => {
    const { stream } = opened();
    stream.resume({ subtasks: 1, skip: [0], from: [5] }, stream.interrupt());
    await expect(stream.next()).rejects.toThrow("it is to go on at segment 0, and there are only those from 5 on");
  });

  it("is read by one call at a time", async () => {
    const { stream, arrive } = opened();
    const first = stream.next();
    await expect(stream.next()).rejects.toThrow("is being read already");
    arrive(0, 0, new SegmentWriter().rows(1));
    expect(await first).toEqual([1]);
  });

  it("without subtasks has ended at once", async () => {
    const { stream, ends } = opened(0);
    expect(await stream.next()).toBeNull();
    expect(ends).toEqual([[]]);
  });
});
