/**
 * A checkpoint as one subtask sees it: what asks for one, what the subtask answers, what it gets back after a failure. Plain data, plus
 * the hooks of the thread that runs the task.
 *
 * In the theory (Chandy and Lamport, as Flink runs it): sources are triggered; a barrier travels with the records; a task whose inputs
 * have all delivered it has seen exactly the records before the cut. It freezes its state, sends the barrier on, and writes the frozen
 * state while it goes on working:
 *
 *     trigger ─▶ source ══barrier══▶ task ══barrier══▶ sink
 *                  │ acknowledge      │ acknowledge     │ acknowledge ─▶ completed ─▶ every task: checkpointCompleted
 *
 * A checkpoint that misses one acknowledgement is never used, so a task may drop one at any time as long as it says so (`decline`).
 */
import type { OperatorRestore, OperatorSnapshot } from "../state/snapshot.ts";
import type { EdgeId } from "../types/ids.ts";

/** What starts a checkpoint at the tasks without running producers; carried by every barrier. */
export interface CheckpointTrigger {
  /** Rises with every checkpoint of a job. */
  readonly checkpoint: number;
  /** Wall clock of the coordinator when it asked, milliseconds. */
  readonly timestampMs: number;
  readonly kind: "checkpoint" | "savepoint";
  /** at-least-once: channels are not held back while barriers are awaited. */
  readonly mode: "exactly-once" | "at-least-once";
  /** Barriers may overtake segments that wait in a channel; those become part of the checkpoint. Never with a savepoint. */
  readonly unaligned: boolean;
  /** Unaligned only after aligning took so long, milliseconds; 0: at once. */
  readonly alignedTimeoutMs: number;
  /** The job ends with this savepoint. drain: as if all input had ended (last watermark, `finish`); suspend: where it stands. */
  readonly stop?: "drain" | "suspend";
}

/** Segments of one channel that a barrier overtook. */
export interface ChannelState {
  readonly edge: EdgeId;
  /** Position of the channel in the input. */
  readonly channel: number;
  readonly file: string;
  /** Byte range in the file. */
  readonly start: number;
  readonly end: number;
}

/** A subtask's answer: everything that belongs to the checkpoint has been handed to `write`. Times in milliseconds. */
export interface CheckpointAck {
  readonly checkpoint: number;
  readonly operators: readonly OperatorSnapshot[];
  /** Absent: none. */
  readonly channels?: readonly ChannelState[];
  /** Bytes that belong to this checkpoint, those of earlier ones included (incremental state). */
  readonly bytes: number;
  /** Bytes written for this checkpoint, in-flight segments included. */
  readonly writtenBytes: number;
  /** From the coordinator's trigger to the first barrier. */
  readonly startDelayMs: number;
  /** From the first barrier to the last, or to where barriers began to overtake. */
  readonly alignmentMs: number;
  /** The task stood still for so long. */
  readonly syncMs: number;
  /** From then until the last byte was handed over. */
  readonly asyncMs: number;
  /** In-flight bytes that were stored. */
  readonly channelBytes: number;
  /** Of a task that takes a feed: rows taken from it so far, those of former attempts included. */
  readonly feedRows?: number;
  /** The task had taken all its input and finished its operators: after a restore it only commits and ends. */
  readonly finished?: boolean;
}

/** What the thread that runs a task does for its checkpoints. Called on the task's thread. */
export interface CheckpointHost {
  /** Name of the file that gets the bytes of this subtask's snapshot. */
  fileOf(checkpoint: number): string;
  /**
   * Takes the next bytes of a snapshot's file; they must not be changed afterwards.
   * @returns false: the queue is full and nothing was taken; the task asks again at its next step.
   */
  write(checkpoint: number, bytes: Uint8Array): boolean;
  /** After the last bytes. */
  acknowledge(ack: CheckpointAck): void;
  /** The task gives this checkpoint up and goes on without it. */
  decline(checkpoint: number, error: Error): void;
  /** All input has come, and operators wait for a checkpoint to commit what they wrote: take one soon. Absent: the next one will do. */
  requestFinal?(): void;
}

/** What a task begins with after a failure, or from a savepoint. */
export interface TaskRestore {
  readonly checkpoint: number;
  /** What each operator gets back, by its uid or id. */
  readonly operators: readonly OperatorRestore[];
  /** In-flight segments, taken before any new input. Only at the parallelism that they were stored at. */
  readonly channels?: readonly ChannelState[];
  /** See `CheckpointAck.finished`. */
  readonly finished?: boolean;
  /** Bytes of a range of one of the files named above; all are at hand as long as the task runs. */
  read(file: string, start: number, end: number): Uint8Array;
  /** The task is open: nothing more will be read. */
  forget?(): void;
}
