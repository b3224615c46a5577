import fc from "fast-check";
import { expect, test } from "vitest";
import { ClassRegistry } from "../../../src/core/data/classes.ts";
import type { AlignmentStep } from "../../../src/core/runtime/barrier-aligner.ts";
import type { CheckpointTrigger } from "../../../src/core/runtime/checkpoint.ts";
import { type ChannelLog, InputGate } from "../../../src/core/runtime/input-gate.ts";
import { MemoryChannel } from "../../../src/core/runtime/memory-channel.ts";
import type { FusedChain } from "../../../src/core/runtime/operator-chain.ts";
import { type Output, output } from "../../../src/core/runtime/output.ts";
import type { EdgeId } from "../../../src/core/types/ids.ts";

interface Row {
  readonly channel: number;
  readonly n: number;
  readonly text?: string;
}

const EDGE = "e1" as EdgeId;
const classes = new ClassRegistry([]);
const trigger = (checkpoint: number): CheckpointTrigger => ({
  checkpoint, timestampMs: 0, kind: "checkpoint", mode: "exactly-once", unaligned: true, alignedTimeoutMs: 0,
});

/** A gate whose rows are gathered. */
class Rig {
  readonly rows: Row[] = [];
  readonly steps: AlignmentStep[] = [];
  readonly channels: readonly MemoryChannel[];
  readonly outputs: readonly Output[];
  readonly gate: InputGate;
  watermark: number = Number.NEGATIVE_INFINITY;
  readonly #chain = {
    process: (values: readonly unknown[], _timestamps: Float64Array, count: number) => void this.rows.push(...(values.slice(0, count) as Row[])),
  } as unknown as FusedChain;

  constructor(channels: number, align: (rig: Rig, step: AlignmentStep) => void) {
    // Small segments: long texts are cut into pieces.
    this.channels = Array.from({ length: channels }, () => new MemoryChannel(512, 64));
    this.outputs = this.channels.map((channel) => output({ kind: "global" }, [channel], { classes, batchRows: 4, wrote: () => undefined }, 1, 0));
    this.gate = new InputGate(
      [{ edge: EDGE, input: 0, channels: this.channels }],
      classes,
      {
        read: () => undefined,
        watermark: (watermark) => {
          this.watermark = watermark;
        },
        idle: () => undefined,
        align: (step) => align(this, step),
        now: () => 0,
      },
      true,
    );
  }

  poll(): boolean {
    return this.gate.poll(this.#chain);
  }
}

const action = (channels: number): fc.Arbitrary<{ readonly what: "row" | "mixed" | "long" | "flush" | "watermark" | "barrier" | "poll"; readonly channel: number }> =>
  fc.record({
    what: fc.constantFrom("row", "row", "mixed", "long", "flush", "watermark", "barrier", "poll", "poll"),
    channel: fc.nat(channels - 1),
  });

test("what a barrier overtakes is stored, and taken before anything new after a restore", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }).chain((channels) => fc.tuple(fc.constant(channels), fc.array(action(channels), { maxLength: 60 }))),
      ([count, actions]) => {
        let before: Row[] = [];
        let begun = 0;
        let logs: readonly ChannelLog[] | undefined;
        const rig = new Rig(count, (it, step) => {
          it.steps.push(step);
          if (step.do === "begin") {
            expect(step.overtaking || count === 1 || barriers.every((id) => id > 0)).toBe(true);
            begun = step.trigger.checkpoint;
            before = [...it.rows];
            logs = step.overtaking ? undefined : [];
          } else if (step.do === "complete") logs = it.gate.takeLogs();
        });
        const sent = rig.channels.map((): Row[] => []);
        /** Rows in front of the barrier of the first checkpoint, once it is sent. */
        const cut: (number | undefined)[] = rig.channels.map(() => undefined);
        const barriers = rig.channels.map(() => 0);
        const emit = (channel: number, more: object): void => {
          const row = { channel, n: sent[channel]!.length, ...more };
          sent[channel]!.push(row);
          rig.outputs[channel]!.emit(row, row.n);
        };
        const barrier = (channel: number): void => {
          if (barriers[channel] !== 0) return;
          barriers[channel] = 1;
          cut[channel] = sent[channel]!.length;
          rig.outputs[channel]!.emitBarrier(trigger(1));
        };
        for (const { what, channel } of actions) {
          if (rig.channels[channel]!.queued > 50) while (rig.poll());
          if (what === "row") emit(channel, {});
          else if (what === "mixed") emit(channel, { text: "t", other: [channel] });
          else if (what === "long") emit(channel, { text: "x".repeat(1_200) });
          else if (what === "flush") rig.outputs[channel]!.flush();
          else if (what === "watermark") rig.outputs[channel]!.emitWatermark(sent[channel]!.length);
          else if (what === "barrier") barrier(channel);
          else rig.poll();
        }
        for (const channel of rig.channels.keys()) barrier(channel);
        while (rig.poll());
        expect(begun).toBe(1);
        expect(logs).toBeDefined();

        const restored = new Rig(count, () => undefined);
        for (const { edge, channel, bytes } of logs as readonly ChannelLog[]) expect(restored.gate.restoreChannel(edge, channel, bytes)).toBe(true);
        for (const output of restored.outputs) {
          output.emit({ channel: -1, n: 0 }, 0);
          output.end();
        }
        while (restored.poll());
        for (const channel of rig.channels.keys()) {
          const all = [...before, ...restored.rows.filter((row) => row.channel >= 0)].filter((row) => row.channel === channel);
          expect(all).toEqual(sent[channel]!.slice(0, cut[channel]));
        }
        expect(restored.rows.findLastIndex((row) => row.channel >= 0)).toBeLessThan(restored.rows.findIndex((row) => row.channel < 0));
        expect(restored.gate.ended).toBe(true);
      },
    ),
    { numRuns: 300 },
  );
});

test("watermarks of a former run hold from the first segment on", () => {
  const rig = new Rig(2, () => undefined);
  rig.outputs[0]!.emitWatermark(10);
  rig.outputs[1]!.emitWatermark(20);
  while (rig.poll());
  expect(rig.watermark).toBe(10);
  const restored = new Rig(2, () => undefined);
  expect(restored.gate.restoreWatermarks(rig.gate.watermarks)).toBe(10);
  restored.outputs[0]!.emitWatermark(15);
  while (restored.poll());
  expect(restored.watermark).toBe(15);
  const wider = new Rig(3, () => undefined);
  expect(wider.gate.restoreWatermarks(rig.gate.watermarks)).toBe(10);
});
