import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AlignmentStep, BarrierAligner } from "../../../src/core/runtime/barrier-aligner.ts";
import type { CheckpointTrigger } from "../../../src/core/runtime/checkpoint.ts";

const trigger = (checkpoint: number, more: Partial<CheckpointTrigger> = {}): CheckpointTrigger => ({
  checkpoint, timestampMs: 0, kind: "checkpoint", mode: "exactly-once", unaligned: false, alignedTimeoutMs: 0, ...more,
});
const said = (steps: readonly AlignmentStep[]): string[] =>
  steps.map((step) => `${step.do} ${step.do === "begin" ? step.trigger.checkpoint : step.checkpoint}`);

describe("aligned barriers", () => {
  test("a barrier waits for the slower channel, and its own channel is held back meanwhile", () => {
    const aligner = new BarrierAligner(2);
    expect(said(aligner.barrier(0, trigger(1), 10))).toEqual([]);
    expect([...aligner.blocked]).toEqual([1, 0]);
    expect(aligner.barrier(1, trigger(1), 25)).toEqual([{ do: "begin", trigger: trigger(1), sinceMs: 10, overtaking: false }]);
    expect([...aligner.blocked]).toEqual([0, 0]);
  });

  test("a channel that ends has delivered every barrier", () => {
    const aligner = new BarrierAligner(3);
    aligner.end(2, 0);
    aligner.barrier(0, trigger(1), 0);
    expect(said(aligner.end(1, 0))).toEqual(["begin 1"]);
    expect(said(aligner.barrier(0, trigger(2), 0))).toEqual(["begin 2"]);
  });

  test("a newer barrier ends the wait for an older one, whose late barriers hold nobody back", () => {
    const aligner = new BarrierAligner(2);
    aligner.barrier(0, trigger(1), 0);
    expect(said(aligner.barrier(1, trigger(2), 0))).toEqual(["abort 1"]);
    expect([...aligner.blocked]).toEqual([0, 1]);
    expect(said(aligner.barrier(0, trigger(2), 0))).toEqual(["begin 2"]);
    expect(said(aligner.barrier(1, trigger(1), 0))).toEqual([]);
    expect([...aligner.blocked]).toEqual([0, 0]);
  });

  test("an abort lets everyone go on, before the barrier comes as well as after", () => {
    const aligner = new BarrierAligner(2);
    aligner.barrier(0, trigger(1), 0);
    aligner.abort(1);
    expect([...aligner.blocked]).toEqual([0, 0]);
    aligner.abort(2);
    expect(said(aligner.barrier(0, trigger(2), 0))).toEqual([]);
    expect([...aligner.blocked]).toEqual([0, 0]);
    aligner.barrier(0, trigger(3), 0);
    expect(said(aligner.barrier(1, trigger(3), 0))).toEqual(["begin 3"]);
  });

  test("a checkpoint that only the coordinator announced begins when all channels have ended", () => {
    const aligner = new BarrierAligner(2);
    aligner.end(0, 0);
    expect(said(aligner.announced(trigger(1), 0))).toEqual([]);
    expect(said(aligner.end(1, 0))).toEqual(["begin 1"]);
  });
});

describe("at-least-once", () => {
  const loose = (checkpoint: number): CheckpointTrigger => trigger(checkpoint, { mode: "at-least-once" });

  test("no channel is held back, and several checkpoints may be on their way", () => {
    const aligner = new BarrierAligner(2);
    aligner.barrier(0, loose(1), 0);
    aligner.barrier(0, loose(2), 0);
    expect([...aligner.blocked]).toEqual([0, 0]);
    expect(said(aligner.barrier(1, loose(1), 0))).toEqual(["begin 1"]);
    expect(said(aligner.barrier(1, loose(2), 0))).toEqual(["begin 2"]);
  });

  test("a checkpoint that lost a barrier is given up when the next one has all", () => {
    const aligner = new BarrierAligner(2);
    aligner.barrier(0, loose(1), 0);
    aligner.barrier(0, loose(2), 0);
    expect(said(aligner.barrier(1, loose(2), 0))).toEqual(["abort 1", "begin 2"]);
  });
});

describe("unaligned barriers", () => {
  const eager = (checkpoint: number, alignedTimeoutMs = 0): CheckpointTrigger => trigger(checkpoint, { unaligned: true, alignedTimeoutMs });

  test("the first barrier begins at once, and the checkpoint is complete when the records in front of the others are stored", () => {
    const aligner = new BarrierAligner(3);
    expect(said(aligner.barrier(0, eager(1), 0))).toEqual(["begin 1"]);
    expect([...aligner.blocked]).toEqual([0, 0, 0]);
    expect([0, 1, 2].map((channel) => aligner.inFlight(channel))).toEqual([0, 1, 1]);
    expect(said(aligner.stored(1, 1))).toEqual([]);
    expect(said(aligner.barrier(2, eager(1), 0))).toEqual(["complete 1"]);
    expect(said(aligner.barrier(1, eager(1), 0))).toEqual([]);
  });

  test("with a timeout, barriers align until it has passed", () => {
    const aligner = new BarrierAligner(2);
    expect(said(aligner.barrier(0, eager(1, 100), 1_000))).toEqual([]);
    expect([...aligner.blocked]).toEqual([1, 0]);
    expect(aligner.deadlineMs).toBe(1_100);
    expect(said(aligner.overdue(1_099))).toEqual([]);
    expect(aligner.overdue(1_100)).toEqual([{ do: "begin", trigger: eager(1, 100), sinceMs: 1_000, overtaking: true }]);
    expect([...aligner.blocked]).toEqual([0, 0]);
    expect(said(aligner.end(1, 1_200))).toEqual(["complete 1"]);
  });

  test("a savepoint is always aligned", () => {
    const aligner = new BarrierAligner(2);
    aligner.barrier(0, { ...eager(1), kind: "savepoint" }, 0);
    expect(said(aligner.overdue(1e9))).toEqual([]);
    expect(aligner.deadlineMs).toBe(Number.POSITIVE_INFINITY);
  });
});

type Item = "record" | "end" | number;
/** Barriers per channel in rising order, some left out, records between them, and perhaps an early end. */
const channelItems = (checkpoints: number): fc.Arbitrary<Item[]> =>
  fc.record({
    records: fc.array(fc.nat(3), { minLength: checkpoints + 1, maxLength: checkpoints + 1 }),
    lost: fc.array(fc.boolean(), { minLength: checkpoints, maxLength: checkpoints }),
    loses: fc.boolean(),
    endsAfter: fc.nat(checkpoints * 2),
  }).map(({ records, lost, loses, endsAfter }) => {
    const items: Item[] = [];
    for (let id = 1; id <= checkpoints && id <= endsAfter; id++) {
      items.push(...new Array<Item>(records[id - 1] as number).fill("record"));
      if (!loses || lost[id - 1] !== true) items.push(id);
    }
    return [...items, ...new Array<Item>(records[checkpoints] as number).fill("record"), "end"];
  });

test.each([
  { name: "aligned", unaligned: false, mode: "exactly-once" as const },
  { name: "unaligned", unaligned: true, mode: "exactly-once" as const },
  { name: "at-least-once", unaligned: false, mode: "at-least-once" as const },
])("$name: whatever the interleaving, a cut holds the records in front of the barriers, and nobody waits for ever", ({ unaligned, mode }) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }).chain((checkpoints) => fc.array(channelItems(checkpoints), { minLength: 1, maxLength: 4 })),
      fc.infiniteStream(fc.nat()),
      fc.nat(3),
      (channels, choices, alignedTimeoutMs) => {
        const aligner = new BarrierAligner(channels.length);
        const at = channels.map(() => 0);
        const records = channels.map(() => 0);
        const inFlight = channels.map(() => 0);
        const begun: number[] = [];
        const finished = new Set<number>();
        const given = new Set<number>();
        /** Records in front of a barrier; all of a channel that has none. */
        const before = (channel: number, id: number): number => {
          const items = channels[channel] as Item[];
          const barrier = items.indexOf(id);
          return items.slice(0, barrier < 0 ? items.length : barrier).filter((item) => item === "record").length;
        };
        let now = 0;
        const obey = (steps: readonly AlignmentStep[]): void => {
          for (const step of steps) {
            const id = step.do === "begin" ? step.trigger.checkpoint : step.checkpoint;
            if (step.do === "abort") given.add(id);
            else if (step.do === "begin") {
              expect(id).toBeGreaterThan(begun.at(-1) ?? 0);
              begun.push(id);
              inFlight.fill(0);
              if (step.overtaking) continue;
              finished.add(id);
              for (const [channel, count] of records.entries()) {
                if (mode === "exactly-once") expect(count).toBe(before(channel, id));
                else expect(count).toBeGreaterThanOrEqual(before(channel, id));
              }
            } else {
              finished.add(id);
              for (const [channel, count] of inFlight.entries()) {
                expect(atBegin(id)[channel]! + count).toBe(before(channel, id));
              }
            }
          }
          if (steps.some((step) => step.do === "begin")) starts.set(begun.at(-1) as number, [...records]);
        };
        const starts = new Map<number, number[]>();
        const atBegin = (id: number): number[] => starts.get(id) ?? records;
        for (const choice of choices) {
          const open = [...channels.keys()].filter((channel) => at[channel]! < channels[channel]!.length);
          if (open.length === 0) break;
          const ready = open.filter((channel) => aligner.blocked[channel] === 0);
          expect(ready).not.toEqual([]);
          const channel = ready[choice % ready.length] as number;
          const item = channels[channel]![at[channel]!++] as Item;
          now++;
          if (item === "record") {
            if (aligner.inFlight(channel) !== 0) inFlight[channel]!++;
            records[channel]!++;
          } else if (item === "end") obey(aligner.end(channel, now));
          else obey(aligner.barrier(channel, trigger(item, { mode, unaligned, alignedTimeoutMs }), now));
          obey(aligner.overdue(now));
        }
        const newest = Math.max(0, ...channels.flat().filter((item): item is number => typeof item === "number"));
        expect(aligner.waiting).toBe(false);
        if (newest > 0) expect(finished.has(newest)).toBe(true);
        for (const id of finished) expect(given.has(id)).toBe(false);
      },
    ),
    { numRuns: 300 },
  );
});
