/**
 * A checkpoint barrier as a segment. It carries the whole trigger, so that a task needs to hear of a checkpoint from its producers only.
 *
 *     header: checkpoint id, flags · payload: f64 time of the trigger, f64 alignment timeout
 */
import {
  MIN_WATERMARK,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
  type SegmentMemory,
  segmentCheckpoint,
  segmentFlags,
  writeSegmentHeader,
} from "../data/element.ts";
import type { CheckpointTrigger } from "./checkpoint.ts";

const SAVEPOINT = 1;
const AT_LEAST_ONCE = 2;
const UNALIGNED = 4;
const DRAIN = 8;
const SUSPEND = 16;

const PAYLOAD_BYTES = 16;

/** Bytes of a barrier's segment, header included. */
export const BARRIER_BYTES: number = SEGMENT_HEADER_BYTES + PAYLOAD_BYTES;

/** Writes a barrier at `offset`, a multiple of 8, where BARRIER_BYTES are free. */
export function writeBarrier(memory: SegmentMemory, offset: number, trigger: CheckpointTrigger): void {
  const flags =
    (trigger.kind === "savepoint" ? SAVEPOINT : 0) |
    (trigger.mode === "at-least-once" ? AT_LEAST_ONCE : 0) |
    (trigger.unaligned ? UNALIGNED : 0) |
    (trigger.stop === "drain" ? DRAIN : 0) |
    (trigger.stop === "suspend" ? SUSPEND : 0);
  writeSegmentHeader(memory, offset, SegmentKind.barrier, 0, PAYLOAD_BYTES, MIN_WATERMARK, flags, trigger.checkpoint);
  memory.f64[(offset + SEGMENT_HEADER_BYTES) >> 3] = trigger.timestampMs;
  memory.f64[((offset + SEGMENT_HEADER_BYTES) >> 3) + 1] = trigger.alignedTimeoutMs;
}

/** The trigger that the barrier at `offset` carries. */
export function readBarrier(memory: SegmentMemory, offset: number): CheckpointTrigger {
  const flags = segmentFlags(memory, offset);
  const stop = (flags & DRAIN) !== 0 ? "drain" : (flags & SUSPEND) !== 0 ? "suspend" : undefined;
  return {
    checkpoint: segmentCheckpoint(memory, offset),
    timestampMs: memory.f64[(offset + SEGMENT_HEADER_BYTES) >> 3] as number,
    kind: (flags & SAVEPOINT) !== 0 ? "savepoint" : "checkpoint",
    mode: (flags & AT_LEAST_ONCE) !== 0 ? "at-least-once" : "exactly-once",
    unaligned: (flags & UNALIGNED) !== 0,
    alignedTimeoutMs: memory.f64[((offset + SEGMENT_HEADER_BYTES) >> 3) + 1] as number,
    ...(stop === undefined ? {} : { stop }),
  };
}
