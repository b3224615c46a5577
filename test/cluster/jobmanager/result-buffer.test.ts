import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LAST_PIECE, SegmentKind } from "../../../src/core/data/element.ts";
import { ConflictError, JobFailedError, ProtocolError } from "../../../src/core/types/errors.ts";
import { type OverflowPolicy, ResultBuffer, type ResultChange } from "../../../src/cluster/jobmanager/result-buffer.ts";
import { END, rows, segment } from "./graphs.ts";

const SEGMENT_BYTES = 1_000;

function bufferOf(policy: OverflowPolicy, { subtasks = 1, capacityBytes = 10_000 } = {}): ResultBuffer {
  return new ResultBuffer({ name: 'result "r" of job "j"', subtasks, capacityBytes, segmentBytes: SEGMENT_BYTES, policy });
}

/** A task that sends whatever it may. */
class Task {
  granted = 0;
  sent = 0;
  readonly buffer: ResultBuffer;
  readonly subtask: number;
  constructor(buffer: ResultBuffer, subtask = 0, begun?: ResultChange) {
    this.buffer = buffer;
    this.subtask = subtask;
    this.heed(begun ?? buffer.begin());
  }
  heed(change: ResultChange): ResultChange {
    for (const { subtask, granted } of change.grants) if (subtask === this.subtask) this.granted = granted;
    return change;
  }
  send(piece: Uint8Array): ResultChange {
    return this.heed(this.buffer.accept(this.subtask, this.sent++, [piece]));
  }
  get mayRun(): boolean {
    return this.sent < this.granted;
  }
}

const delivered = (change: ResultChange): readonly Uint8Array[] => change.deliveries.flatMap(({ segments }) => segments);

describe("a result that blocks", () => {
  test("a task may send no more than fits, and goes on when rows are read", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    while (task.mayRun) task.send(rows(10, SEGMENT_BYTES));
    const before = task.sent;
    expect(before).toBeGreaterThan(3);
    expect(buffer.bufferedBytes).toBeLessThanOrEqual(10_000);
    buffer.open("client");
    expect(delivered(task.heed(buffer.read("client", 0, before)))).toHaveLength(before);
    expect(task.mayRun).toBe(true);
  });

  test("what is kept and what may still come never exceed the capacity, whatever the sizes and the reader's pace", () => {
    const step = fc.oneof(
      fc.record({ send: fc.integer({ min: 32, max: SEGMENT_BYTES }) }),
      fc.record({ read: fc.integer({ min: 1, max: 5 }) }),
      fc.constant({ leave: true as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const buffer = bufferOf("block");
        const task = new Task(buffer);
        let readable = 0;
        let opened = false;
        let before = 0;
        const got: Uint8Array[] = [];
        const sent: Uint8Array[] = [];
        for (const action of steps) {
          if ("send" in action && task.mayRun) {
            const next = rows(1, action.send, sent.length % 256);
            sent.push(next);
            got.push(...delivered(task.send(next)));
          } else if ("read" in action) {
            if (!opened) got.push(...delivered(buffer.open("client")));
            opened = true;
            readable += action.read;
            got.push(...delivered(task.heed(buffer.read("client", 0, readable))));
          } else if ("leave" in action && opened) {
            buffer.close("client", [{ segments: got.length - before, rows: 0 }]);
            before = got.length;
            opened = false;
            readable = 0;
          }
          expect(buffer.bufferedBytes + (task.granted - task.sent) * SEGMENT_BYTES).toBeLessThanOrEqual(10_000);
        }
        expect(got).toEqual(sent.slice(0, got.length));
        // It never starves: with everything read the task may go on.
        if (!opened) buffer.open("client");
        task.heed(buffer.read("client", 0, 1_000_000));
        expect(task.mayRun).toBe(true);
      }),
    );
  });

  test("many small segments use the room that large ones would", () => {
    const buffer = bufferOf("block", { capacityBytes: 100_000 });
    const task = new Task(buffer);
    while (task.mayRun) task.send(rows(1, 40));
    expect(task.sent).toBeGreaterThan(300);
  });

  test("each subtask has a share of its own, so that one that nobody reads does not stop the others", () => {
    const buffer = bufferOf("block", { subtasks: 2, capacityBytes: 10_000 });
    const begun = buffer.begin();
    const [one, other] = [new Task(buffer, 0, begun), new Task(buffer, 1, begun)];
    while (one.mayRun) one.send(rows(1, SEGMENT_BYTES));
    expect(other.mayRun).toBe(true);
  });

  test("a subtask can always send one segment, however small the buffer", () => {
    expect(bufferOf("block", { subtasks: 2, capacityBytes: 0 }).begin().grants).toEqual([
      { subtask: 0, granted: 1 },
      { subtask: 1, granted: 1 },
    ]);
  });
});

describe("a result that drops its oldest rows", () => {
  test("the task goes on, the newest rows stay, and the reader is told once how many are missing", () => {
    const buffer = bufferOf("drop-oldest");
    const task = new Task(buffer);
    for (let index = 0; index < 50; index++) {
      expect(task.mayRun).toBe(true);
      task.send(rows(10, 900, index));
    }
    const opened = buffer.open("client");
    expect(opened.warning).toMatch(/rows of result "r" of job "j" were dropped, (\d+) so far/);
    const left = delivered(buffer.read("client", 0, 100));
    expect(buffer.droppedRows).toBe(500 - 10 * left.length);
    expect(left.map((piece) => piece[32])).toEqual(Array.from({ length: left.length }, (_, index) => 50 - left.length + index));
    expect(buffer.bufferedBytes).toBe(0);
    expect(task.send(rows(1)).warning).toBeUndefined();
  });

  test("the end of the result is never dropped", () => {
    const buffer = bufferOf("drop-oldest", { capacityBytes: 0 });
    const task = new Task(buffer);
    for (let index = 0; index < 5; index++) task.send(rows(1, SEGMENT_BYTES));
    task.send(END);
    buffer.open("client");
    expect(delivered(buffer.read("client", 0, 100)).at(-1)).toEqual(END);
  });

  test("a row in several pieces is dropped whole", () => {
    const piece = (payload: number, last = false): Uint8Array =>
      segment(SegmentKind.piece, { bytes: 900, flags: last ? LAST_PIECE : 0, payload });
    const stream = fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 6 })), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(
        stream,
        fc.integer({ min: 0, max: 8_000 }),
        fc.array(fc.constantFrom(0, 0, 0, 1, 2), { maxLength: 60 }),
        (lengths, capacityBytes, paces) => {
          const buffer = bufferOf("drop-oldest", { capacityBytes });
          const task = new Task(buffer);
          buffer.open("client");
          const got: Uint8Array[] = [];
          let readable = 0;
          const read = (more: number): void => {
            readable += more;
            got.push(...delivered(task.heed(buffer.read("client", 0, readable))));
          };
          let at = 0;
          for (const [row, length] of lengths.entries()) {
            for (let part = 0; part < length; part++) {
              got.push(...delivered(length === 1 ? task.send(rows(1, 900, row)) : task.send(piece(row, part === length - 1))));
              read(paces[at++ % Math.max(1, paces.length)] ?? 0);
            }
          }
          got.push(...delivered(task.send(END)));
          read(1_000);
          const seen = new Map<number, number>();
          for (const part of got) if (part.byteLength > 32) seen.set(part[32]!, (seen.get(part[32]!) ?? 0) + 1);
          for (const [row, parts] of seen) expect(parts).toBe(lengths[row]);
          expect(buffer.droppedRows).toBe(lengths.length - seen.size);
          expect(got.at(-1)).toEqual(END);
        },
      ),
    );
  });
});

describe("a result that fails its job", () => {
  test("rows beyond the capacity fail the job, naming the options", () => {
    const buffer = bufferOf("fail");
    const task = new Task(buffer);
    let change: ResultChange = { grants: [], deliveries: [] };
    for (let index = 0; index < 50 && change.failure === undefined; index++) change = task.send(rows(1, SEGMENT_BYTES));
    expect(change.failure).toBeInstanceOf(JobFailedError);
    expect(change.failure?.message).toMatch(/execution\.results\.buffer-size.*execution\.results\.overflow/);
  });
});

describe("reading a result", () => {
  test("a reader gets segments only as far as it granted, numbered from 0", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    for (let index = 0; index < 4; index++) task.send(rows(1, 100, index));
    buffer.open("client");
    expect(buffer.read("client", 0, 3).deliveries).toMatchObject([{ reader: "client", subtask: 0, sequence: 0, segments: [{}, {}, {}] }]);
    expect(buffer.read("client", 0, 3).deliveries).toEqual([]);
    expect(buffer.read("client", 0, 5).deliveries).toMatchObject([{ sequence: 3 }]);
    expect(task.send(rows(1, 100, 4)).deliveries).toMatchObject([{ sequence: 4 }]);
  });

  test("a late grant takes nothing back", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    buffer.open("client");
    buffer.read("client", 0, 5);
    buffer.read("client", 0, 2);
    expect(delivered(task.send(rows(1)))).toHaveLength(1);
  });

  test("there is one reader at a time, and one that vanished makes room for another, who gets what it may not have taken", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    for (let index = 0; index < 4; index++) task.send(rows(1, 100, index));
    buffer.open("first");
    expect(() => buffer.open("second")).toThrow(ConflictError);
    buffer.read("first", 0, 1);
    buffer.close("first");
    buffer.open("second");
    const rest = buffer.read("second", 0, 10).deliveries;
    expect(rest).toMatchObject([{ reader: "second", sequence: 0 }]);
    expect(rest[0]!.segments.map((piece) => piece[32])).toEqual([0, 1, 2, 3]);
  });

  test("what a reader that closes has not taken is the next one's, to the row", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    for (let index = 0; index < 4; index++) task.send(rows(5, 100, index));
    task.send(END);
    buffer.open("first");
    expect(delivered(buffer.read("first", 0, 8))).toHaveLength(5);
    buffer.close("first", [{ segments: 1, rows: 3 }]);
    buffer.open("second");
    expect(buffer.skip).toEqual([3]);
    expect(delivered(buffer.read("second", 0, 8)).map((piece) => piece[32])).toEqual([1, 2, 3, undefined]);
    buffer.close("second", [{ segments: 4, rows: 0 }]);
    buffer.open("third");
    expect([buffer.skip, delivered(buffer.read("third", 0, 8))]).toEqual([[0], [END]]);
  });

  test("no more than a window is kept for a reader that is still there", () => {
    const buffer = bufferOf("block", { capacityBytes: 1_000_000 });
    const task = new Task(buffer);
    for (let index = 0; index < 100; index++) task.send(rows(1, 100, index));
    buffer.open("first");
    for (let granted = 8; granted <= 48; granted += 4) buffer.read("first", 0, granted);
    // It has taken 40 at least.
    buffer.close("first", [{ segments: 41, rows: 0 }]);
    buffer.open("second");
    expect(delivered(buffer.read("second", 0, 3)).map((piece) => piece[32])).toEqual([41, 42, 43]);
  });

  test("who comes after everything was read learns that it is the end", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    task.send(rows(1));
    task.send(END);
    expect(buffer.ended).toBe(true);
    buffer.open("first");
    expect(delivered(buffer.read("first", 0, 10))).toHaveLength(2);
    buffer.open("second");
    expect(delivered(buffer.read("second", 0, 10))).toEqual([END]);
  });

  test("a new reader never begins in the middle of a row", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    task.send(segment(SegmentKind.piece, { bytes: 500, payload: 1 }));
    buffer.open("first");
    expect(delivered(buffer.read("first", 0, 1))).toHaveLength(1);
    buffer.close("first");
    task.send(segment(SegmentKind.piece, { bytes: 500, flags: LAST_PIECE, payload: 1 }));
    task.send(rows(1, 100, 2));
    buffer.open("second");
    expect(delivered(buffer.read("second", 0, 10)).map((piece) => piece[32])).toEqual([1, 1, 2]);
  });
});

describe("what a task sends", () => {
  test("repeated segments are passed over", () => {
    const buffer = bufferOf("block");
    new Task(buffer);
    buffer.accept(0, 0, [rows(1, 100, 0), rows(1, 100, 1)]);
    expect(buffer.accept(0, 1, [rows(1, 100, 1), rows(1, 100, 2)]).failure).toBeUndefined();
    buffer.open("client");
    expect(delivered(buffer.read("client", 0, 9)).map((piece) => piece[32])).toEqual([0, 1, 2]);
  });

  test("a gap fails the job", () => {
    const buffer = bufferOf("block");
    new Task(buffer);
    expect(buffer.accept(0, 2, [rows(1)]).failure).toBeInstanceOf(ProtocolError);
  });

  test("more than was granted fails the job", () => {
    const buffer = bufferOf("block");
    const task = new Task(buffer);
    while (task.mayRun) task.send(rows(1, SEGMENT_BYTES));
    expect(task.send(rows(1)).failure).toBeInstanceOf(ProtocolError);
  });
});

const barrier = (checkpoint: number): Uint8Array => {
  const bytes = segment(SegmentKind.barrier);
  new DataView(bytes.buffer).setFloat64(24, checkpoint, true);
  return bytes;
};
const repeatedRows = (piece: Uint8Array): number | undefined => piece[13];
const payloads = (pieces: readonly Uint8Array[]): readonly (number | undefined)[] => pieces.map((piece) => piece[32]);

describe("a result of a job with checkpoints", () => {
  const checkpointed = (more: Partial<ConstructorParameters<typeof ResultBuffer>[0]> = {}): ResultBuffer =>
    new ResultBuffer({
      name: 'result "r" of job "j"', subtasks: 1, capacityBytes: 100_000, segmentBytes: SEGMENT_BYTES, policy: "block", release: "with-checkpoint", ...more,
    });

  test("rows are read when the checkpoint that covers them is complete", () => {
    const buffer = checkpointed();
    const task = new Task(buffer);
    buffer.open("client");
    buffer.read("client", 0, 100);
    expect(delivered(task.send(rows(1, 100, 1)))).toEqual([]);
    task.send(barrier(1));
    task.send(rows(1, 100, 2));
    task.send(barrier(2));
    task.send(rows(1, 100, 3));
    expect(payloads(delivered(buffer.checkpointCompleted(1)))).toEqual([1]);
    expect(payloads(delivered(buffer.checkpointCompleted(2)))).toEqual([2]);
    expect(delivered(buffer.checkpointCompleted(2))).toEqual([]);
    expect(payloads(delivered(buffer.finished()))).toEqual([3]);
    expect(buffer.bufferedBytes).toBe(0);
  });

  test("a completed checkpoint stands for those before it that failed", () => {
    const buffer = checkpointed();
    const task = new Task(buffer);
    for (const id of [1, 2, 3]) {
      task.send(rows(1, 100, id));
      task.send(barrier(id));
    }
    buffer.open("client");
    buffer.read("client", 0, 100);
    expect(payloads(delivered(buffer.checkpointCompleted(3)))).toEqual([1, 2, 3]);
  });

  test("what a failed task sent after the last checkpoint is dropped, and its next attempt sends it again", () => {
    const buffer = checkpointed();
    const task = new Task(buffer);
    buffer.open("client");
    buffer.read("client", 0, 100);
    task.send(rows(1, 100, 1));
    task.send(barrier(1));
    task.send(rows(1, 100, 2));
    buffer.checkpointCompleted(1);
    task.send(END);
    buffer.restart([0]);
    const again = new Task(buffer);
    again.send(rows(1, 100, 2));
    again.send(barrier(2));
    expect(payloads(delivered(buffer.checkpointCompleted(2)))).toEqual([2]);
    expect(again.send(END).failure).toBeUndefined();
    expect(delivered(buffer.finished())).toEqual([END]);
  });

  test("a task that had ended before a checkpoint is covered by it whole, and may say its end again", () => {
    const buffer = checkpointed({ subtasks: 2 });
    const [done, other] = [new Task(buffer, 0), new Task(buffer, 1)];
    buffer.open("client");
    buffer.read("client", 0, 100);
    buffer.read("client", 1, 100);
    done.send(rows(1, 100, 1));
    done.send(END);
    other.heed(buffer.begin());
    buffer.accept(1, 0, [rows(1, 100, 2), barrier(7)]);
    // Its end is told with that of the other.
    expect(payloads(delivered(buffer.checkpointCompleted(7)))).toEqual([1, 2]);
    buffer.restart([0, 1]);
    const again = new Task(buffer, 0);
    expect(again.send(END).deliveries).toEqual([]);
    expect(buffer.unfinished).toEqual([1]);
  });

  test("much that is held asks for a checkpoint; more than fits between two fails the job and says what to do", () => {
    const buffer = checkpointed({ capacityBytes: 10_000 });
    const task = new Task(buffer);
    let wanted = false;
    let failure: ResultChange["failure"];
    for (let index = 0; index < 100 && failure === undefined; index++) {
      expect(task.mayRun).toBe(true);
      const change = task.send(rows(1, SEGMENT_BYTES, index));
      wanted ||= change.wantsCheckpoint === true;
      failure = change.failure;
    }
    expect(wanted).toBe(true);
    expect(failure?.message).toMatch(/execution\.checkpointing\.interval.*execution\.results\.release/);
    expect(buffer.bufferedBytes).toBeLessThanOrEqual(40_000);
  });

  test("a reader that reads slowly holds the job back, but not its checkpoints' barriers", () => {
    const buffer = checkpointed({ capacityBytes: 10_000 });
    const task = new Task(buffer);
    let checkpoint = 0;
    for (let index = 0; index < 1_000 && task.mayRun; index++) {
      expect(task.send(index % 5 === 4 ? barrier(++checkpoint) : rows(1, SEGMENT_BYTES, index)).failure).toBeUndefined();
      if (index % 5 === 4) task.heed(buffer.checkpointCompleted(checkpoint));
    }
    expect(task.mayRun).toBe(false);
    expect(buffer.bufferedBytes).toBeLessThanOrEqual(40_000);
    buffer.open("client");
    task.heed(buffer.read("client", 0, 1_000));
    expect(task.mayRun).toBe(true);
  });

  test("rows that may be read at once are warned of when they may come again", () => {
    const buffer = checkpointed({ release: "at-once" });
    const task = new Task(buffer);
    buffer.open("client");
    buffer.read("client", 0, 100);
    expect(payloads(delivered(task.send(rows(1, 100, 1))))).toEqual([1]);
    task.send(barrier(1));
    expect(buffer.restart([0]).warning).toMatch(/may come again/);
    expect(payloads(delivered(new Task(buffer).send(rows(1, 100, 1))))).toEqual([1]);
  });

  test("rows that may be read at once are marked when they come again, and no others", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 1, max: 5 }) },
      { weight: 2, arbitrary: fc.constant("barrier" as const) },
      { weight: 1, arbitrary: fc.constant("complete" as const) },
      { weight: 1, arbitrary: fc.constant("fail" as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const buffer = checkpointed({ release: "at-once", capacityBytes: 10_000_000 });
        let task = new Task(buffer);
        buffer.open("client");
        buffer.read("client", 0, 1_000);
        const positions = new Map([[0, 0]]);
        let [row, furthest, checkpoint, completed] = [0, 0, 0, 0];
        for (const action of steps) {
          if (typeof action === "number") {
            const [piece] = delivered(task.send(rows(action, 100, row % 250)));
            expect([piece?.[32], repeatedRows(piece!)]).toEqual([row % 250, Math.min(action, furthest - row)]);
            row += action;
            furthest = Math.max(furthest, row);
          } else if (action === "barrier") {
            positions.set(++checkpoint, row);
            task.send(barrier(checkpoint));
          } else if (action === "complete" && checkpoint > completed && positions.has(checkpoint)) {
            completed = checkpoint;
            buffer.checkpointCompleted(completed);
          } else if (action === "fail") {
            buffer.restart([0]);
            task = new Task(buffer);
            row = positions.get(completed)!;
            // Those on their way are never completed.
            for (const id of positions.keys()) if (id > completed) positions.delete(id);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("after rescaling, and with another JobManager, rows that come at once are marked until a checkpoint completes", () => {
    const buffer = checkpointed({ release: "at-once" });
    new Task(buffer).send(rows(1, 100, 1));
    buffer.restart([0], 2);
    const recovered = checkpointed({ release: "at-once", recovered: true });
    for (const it of [buffer, recovered]) {
      it.open("client");
      it.read("client", 0, 100);
      const task = new Task(it);
      expect(delivered(task.send(rows(1, 100, 2))).map(repeatedRows)).toEqual([1]);
      task.send(barrier(1));
      it.checkpointCompleted(1);
      expect(delivered(task.send(rows(1, 100, 3))).map(repeatedRows)).toEqual([0]);
    }
  });

  test("at a higher parallelism new subtasks join in, at a lower one the surplus has rows no more, until it is higher again", () => {
    const buffer = checkpointed();
    new Task(buffer);
    buffer.open("client");
    buffer.read("client", 0, 100);
    buffer.restart([0], 2);
    const second = new Task(buffer, 1);
    second.send(rows(1, 100, 5));
    second.send(barrier(1));
    expect(buffer.checkpointCompleted(1).deliveries).toMatchObject([{ subtask: 1, sequence: 0 }]);
    expect(buffer.restart([0, 1], 1).deliveries).toEqual([]);
    expect(buffer.begin().grants.map(({ subtask }) => subtask)).toEqual([0]);
    expect(buffer.unfinished).toEqual([0]);
    buffer.restart([0, 1], 2);
    const third = new Task(buffer, 1);
    third.send(rows(1, 100, 6));
    third.send(barrier(2));
    expect(buffer.checkpointCompleted(2).deliveries).toMatchObject([{ subtask: 1, sequence: 1 }]);
    // The last of them, at parallelism 1: its end is the end of all.
    buffer.restart([0, 1], 1);
    new Task(buffer, 0).send(END);
    expect(buffer.finished().deliveries.map(({ subtask, segments }) => [subtask, segments])).toEqual([[0, [END]], [1, [END]]]);
  });

  test("rows from before a change of parallelism leave before those from after, whichever subtask they are of", () => {
    const buffer = checkpointed({ subtasks: 2 });
    const [first, second] = [new Task(buffer, 0), new Task(buffer, 1)];
    buffer.open("client");
    buffer.read("client", 0, 8);
    buffer.read("client", 1, 1);
    for (const task of [first, second]) for (const payload of [1, 2]) task.send(rows(1, 100, payload));
    for (const task of [first, second]) task.send(barrier(1));
    expect(payloads(delivered(buffer.checkpointCompleted(1)))).toEqual([1, 2, 1]);
    buffer.restart([0, 1], 3);
    const third = new Task(buffer, 2);
    third.send(rows(1, 100, 3));
    third.send(barrier(2));
    // Row 2 of the second subtask waits for the reader's credit, and the third subtask for row 2.
    expect(delivered(buffer.checkpointCompleted(2))).toEqual([]);
    expect(delivered(buffer.read("client", 2, 9))).toEqual([]);
    expect(buffer.read("client", 1, 2).deliveries.map(({ subtask, segments }) => [subtask, payloads(segments)])).toEqual([[1, [2]], [2, [3]]]);
    // Who reads after one that vanished has them in this order, too, and so has the reader of another JobManager.
    const kept = buffer.keptBy(2)!;
    for (const [its, again] of [["this", buffer], ["the next", checkpointed({ subtasks: 3, kept })]] as const) {
      again.close("client");
      again.open("other");
      expect([its, ...payloads(delivered(again.read("other", 2, 9)))]).toEqual([its]);
      expect([its, ...payloads(delivered(again.read("other", 0, 9)))]).toEqual([its, 1, 2]);
      expect([its, ...payloads(delivered(again.read("other", 1, 9)))]).toEqual([its, 1, 2, 3]);
    }
  });

  test.each(["with-checkpoint", "at-once"] as const)("a reader of rows that come %s sees those of one parallelism before those of the next, and each subtask's in order", (release) => {
    const step = fc.oneof(
      { weight: 8, arbitrary: fc.record({ row: fc.nat(3) }) },
      { weight: 4, arbitrary: fc.record({ read: fc.nat(3) }) },
      { weight: 2, arbitrary: fc.constant({ complete: true as const }) },
      { weight: 2, arbitrary: fc.record({ rescale: fc.integer({ min: 1, max: 4 }) }) },
      { weight: 1, arbitrary: fc.constant({ vanish: true as const }) },
      { weight: 1, arbitrary: fc.constant({ jobmanager: true as const }) },
    );
    const policies = fc.constantFrom<OverflowPolicy>("block", "drop-oldest");
    // What is held needs its room.
    const capacityBytes = release === "at-once" ? 4_000 : 20_000;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), policies, (steps, policy) => {
        let parallelism = 2;
        let buffer = checkpointed({ subtasks: parallelism, release, policy, capacityBytes });
        let [generation, checkpoint, row] = [0, 0, 0];
        let tasks: Task[] = [];
        /** What the present reader saw: generation, subtask and number of rows. */
        let seen: (readonly [number, number, number])[] = [];
        let sent: number[] = [];
        const hear = (change: ResultChange): void => {
          expect(change.failure).toBeUndefined();
          for (const task of tasks) task.heed(change);
          for (const { subtask, segments } of change.deliveries) {
            sent[subtask] = (sent[subtask] ?? 0) + segments.length;
            for (const piece of segments) seen.push([piece[32]!, subtask, new DataView(piece.buffer, piece.byteOffset).getInt32(36, true)]);
          }
        };
        const read = (subtask: number): void => {
          if (subtask < buffer.subtasks) hear(buffer.read("client", subtask, (sent[subtask] ?? 0) + 3));
        };
        const inOrder = (): void => {
          expect(seen.map(([of]) => of)).toEqual(seen.map(([of]) => of).toSorted((a, b) => a - b));
          for (let subtask = 0; subtask < 4; subtask++) {
            const own = seen.filter(([, from]) => from === subtask).map(([, , at]) => at);
            expect(own).toEqual(own.toSorted((a, b) => a - b));
          }
          [seen, sent] = [[], []];
        };
        const complete = (): void => {
          checkpoint++;
          for (const task of tasks) if (task.mayRun) hear(task.send(barrier(checkpoint)));
          hear(buffer.checkpointCompleted(checkpoint));
        };
        const begin = (): void => {
          generation++;
          tasks = Array.from({ length: parallelism }, (_, subtask) => new Task(buffer, subtask, { grants: [], deliveries: [] }));
          hear(buffer.begin());
        };
        begin();
        hear(buffer.open("client"));
        for (const action of steps) {
          if ("row" in action && tasks[action.row]?.mayRun === true) {
            const piece = rows(1, 500, generation);
            new DataView(piece.buffer, piece.byteOffset).setInt32(36, row++, true);
            hear(tasks[action.row]!.send(piece));
          }
          if ("read" in action) read(action.read);
          if ("complete" in action) complete();
          if ("rescale" in action && action.rescale !== parallelism) {
            complete();
            parallelism = action.rescale;
            hear(buffer.restart(Array.from({ length: buffer.subtasks }, (_, subtask) => subtask), parallelism));
            begin();
          }
          if ("vanish" in action) {
            inOrder();
            buffer.close("client");
            hear(buffer.open("client"));
          }
          if ("jobmanager" in action) {
            complete();
            inOrder();
            const kept = buffer.keptBy(checkpoint);
            parallelism = (parallelism % 4) + 1;
            buffer = checkpointed({ subtasks: 2, release, policy, capacityBytes, ...(kept === undefined ? {} : { kept }) });
            hear(buffer.restart([], parallelism));
            hear(buffer.open("client"));
            begin();
          }
        }
        hear(buffer.finished());
        for (let rounds = 0; rounds < 400; rounds++) read(rounds % 4);
        expect(buffer.bufferedBytes).toBe(0);
        inOrder();
      }),
      { numRuns: 300 },
    );
  });

  test("a reader that lost its connection goes on at its row; whoever else comes begins with what was not surely taken", () => {
    const buffer = checkpointed({ release: "at-once" });
    const task = new Task(buffer);
    for (let index = 0; index < 6; index++) task.send(rows(2, 100, index));
    buffer.open("client");
    buffer.read("client", 0, 8);
    buffer.open("client", [{ number: 3, rows: 1 }]);
    expect([buffer.from, buffer.skip]).toEqual([[3], [1]]);
    expect(payloads(delivered(buffer.read("client", 0, 2)))).toEqual([3, 4]);
    buffer.close("client");
    buffer.open("other");
    expect(buffer.from).toEqual([3]);
  });

  test("whatever fails when, a reader sees every row of the tasks once and in order", () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant("row" as const) },
      { weight: 2, arbitrary: fc.constant("barrier" as const) },
      { weight: 2, arbitrary: fc.constant("complete" as const) },
      { weight: 1, arbitrary: fc.constant("fail" as const) },
      { weight: 3, arbitrary: fc.constant("read" as const) },
      { weight: 1, arbitrary: fc.constant("disconnect" as const) },
      { weight: 1, arbitrary: fc.constant("jobmanager" as const) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const tag = (row: number): Uint8Array => {
          const piece = rows(1, 100, 0);
          new DataView(piece.buffer, piece.byteOffset).setInt32(36, row, true);
          return piece;
        };
        const rowOf = (piece: Uint8Array): number => new DataView(piece.buffer, piece.byteOffset).getInt32(36, true);
        let buffer = checkpointed();
        let task = new Task(buffer);
        // The task's own position, and what checkpoints remember of it.
        let row = 0;
        const positions = new Map<number, number>([[0, 0]]);
        let [checkpoint, completed] = [0, 0];
        let kept: ReturnType<ResultBuffer["keptBy"]>;
        // The reader: what it saw, and where it is.
        const seen: number[] = [];
        const arrived: Uint8Array[] = [];
        let [base, readable] = [0, 0];
        const hear = (change: ResultChange): void => {
          expect(change.failure).toBeUndefined();
          arrived.push(...delivered(task.heed(change)));
        };
        const take = (): void => {
          for (const piece of arrived.splice(0, 3)) seen.push(rowOf(piece));
          readable = seen.length - base + 8;
          hear(buffer.read("client", 0, readable));
        };
        const reconnect = (): void => {
          arrived.length = 0;
          hear(buffer.open("client", [{ number: seen.length, rows: 0 }]));
          base = buffer.from[0]!;
          expect(base).toBe(seen.length);
          take();
        };
        const restart = (): void => {
          task = new Task(buffer, 0, buffer.begin());
          row = positions.get(completed)!;
        };
        hear(buffer.open("client"));
        for (const action of steps) {
          if (action === "row" && task.mayRun) hear(task.send(tag(row++)));
          if (action === "barrier" && task.mayRun) {
            positions.set(++checkpoint, row);
            hear(task.send(barrier(checkpoint)));
          }
          if (action === "complete" && checkpoint > completed) {
            kept = buffer.keptBy(checkpoint);
            completed = checkpoint;
            hear(buffer.checkpointCompleted(completed));
          }
          if (action === "fail") {
            hear(buffer.restart([0]));
            checkpoint = completed;
            restart();
          }
          if (action === "read") take();
          if (action === "disconnect") {
            buffer.close("client");
            reconnect();
          }
          if (action === "jobmanager") {
            buffer = checkpointed(kept === undefined ? {} : { kept });
            checkpoint = completed;
            restart();
            reconnect();
          }
        }
        hear(buffer.finished());
        while (arrived.length > 0) take();
        take();
        while (arrived.length > 0) take();
        expect(seen).toEqual(Array.from({ length: row }, (_, index) => index));
      }),
      { numRuns: 300 },
    );
  });
});
