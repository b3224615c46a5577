/**
 * What is said about checkpoints, with the shapes that are checked on arrival: the trigger, what a task answers, where files lie, what a
 * restored task is to read, and what clients are told.
 *
 *     JobManager ── triggerCheckpoint ──▶ sources ──barriers──▶ … ──▶ each task
 *                ◀── acknowledgeCheckpoint / declineCheckpoint ────── each task
 *                ── checkpointCompleted / checkpointAborted ────────▶ each task
 *
 * Places are texts that cluster/storage understands. A checkpoint has one folder; the names of its files are relative to it, so that the
 * folder can be moved as a whole. A file of an earlier checkpoint that a later one builds upon is `../chk-3/…`; savepoints build upon none.
 * The JobManager reads none of the state; it only deals out who reads which bytes.
 */
import * as v from "valibot";
import {
  CHECKPOINT_STATES,
  type CheckpointInfo,
  type CheckpointOverview,
  type CheckpointSubtaskInfo,
} from "../../core/graph/job-status.ts";
import type { JobId, VertexId } from "../../core/types/ids.ts";

/** What a source's task needs to begin a checkpoint; all others learn it from the barrier. */
export interface CheckpointTrigger {
  readonly checkpoint: number;
  /** When it was triggered, milliseconds since the epoch. */
  readonly timestampMs: number;
  readonly kind: "checkpoint" | "savepoint";
  readonly mode: "exactly-once" | "at-least-once";
  readonly unaligned: boolean;
  /** With `unaligned`: so long it tries to be aligned; 0: not at all. */
  readonly alignedTimeoutMs: number;
  /** The job ends with it: `drain` lets all windows fire first, `suspend` leaves them to the next run. */
  readonly stop?: "drain" | "suspend";
}

/** The state of one operator of one subtask, as core/state/snapshot.ts writes it; only that reads what is inside. */
export interface StoredOperator {
  /** Its uid, or else its operator id. */
  readonly operator: string;
  readonly sections: readonly StoredSection[];
}

/** One section of it; its further fields are core/state's. */
export interface StoredSection {
  readonly name: string;
  readonly kind: string;
  readonly file: string;
}

/** A subtask has written its part of a checkpoint. Names of files are relative to the checkpoint's folder. */
export interface CheckpointAck {
  readonly checkpoint: number;
  readonly operators: readonly StoredOperator[];
  /** Rows on their way that an unaligned checkpoint stored; only the same subtask reads them. */
  readonly channels?: unknown;
  readonly bytes: number;
  readonly writtenBytes: number;
  readonly startDelayMs: number;
  readonly alignmentMs: number;
  readonly syncMs: number;
  readonly asyncMs: number;
  readonly channelBytes: number;
  /** The task has come to its end; what it acknowledges here counts for all later checkpoints too. */
  readonly finished?: boolean;
  /** Of a task that takes a feed: so many of its rows are covered. */
  readonly feedRows?: number;
}

/** What a task begins with instead of nothing. */
export interface RestoreDeployment {
  readonly checkpoint: number;
  /** Where the files lie that `operators` and `channels` name. */
  readonly folder: string;
  /** By operator: which bytes of which files, as core/state's `redistribute` dealt them out. */
  readonly operators: readonly unknown[];
  readonly channels?: unknown;
  /** The task had come to its end before the checkpoint; it only has to say so again. */
  readonly finished?: boolean;
}

/** What a task of a job with checkpoints knows about them. */
export interface CheckpointDeployment {
  /** Folder of the job; each checkpoint has a folder of its own in it, and `shared` is for files that several checkpoints use. */
  readonly folder: string;
  readonly mode: "exactly-once" | "at-least-once";
  readonly unaligned: boolean;
  readonly alignedTimeoutMs: number;
  /** Checkpoints are taken by themselves, again and again; else only when somebody asks for one. */
  readonly periodic: boolean;
}

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const amount = v.pipe(v.number(), v.minValue(0));
const text = (limit = 1_024): v.GenericSchema<string> => v.pipe(v.string(), v.maxLength(limit));
const mode = v.picklist(["exactly-once", "at-least-once"]);
const kind = v.picklist(["checkpoint", "savepoint"]);

/** Shape of a place in storage. */
export const location: v.GenericSchema<string> = text(4_096);

/** Shape of a CheckpointTrigger. */
export const checkpointTrigger: v.GenericSchema<unknown, CheckpointTrigger> = v.strictObject({
  checkpoint: count,
  timestampMs: v.number(),
  kind,
  mode,
  unaligned: v.boolean(),
  alignedTimeoutMs: amount,
  stop: v.exactOptional(v.picklist(["drain", "suspend"])),
});

/** Shape of a CheckpointAck. */
export const checkpointAck: v.GenericSchema<unknown, CheckpointAck> = v.strictObject({
  checkpoint: count,
  operators: v.array(
    v.strictObject({
      operator: text(),
      sections: v.array(
        v.strictObject({
          name: text(),
          kind: v.picklist(["keyed", "timers", "list", "union", "broadcast"]),
          type: text(64),
          format: count,
          file: text(),
          blocks: v.array(count),
        }),
      ),
    }),
  ),
  channels: v.exactOptional(v.unknown()),
  bytes: amount,
  writtenBytes: amount,
  startDelayMs: v.number(),
  alignmentMs: v.number(),
  syncMs: v.number(),
  asyncMs: v.number(),
  channelBytes: amount,
  finished: v.exactOptional(v.boolean()),
  feedRows: v.exactOptional(count),
});

/** Shape of a RestoreDeployment. */
export const restoreDeployment: v.GenericSchema<unknown, RestoreDeployment> = v.strictObject({
  checkpoint: count,
  folder: location,
  operators: v.array(v.unknown()),
  channels: v.exactOptional(v.unknown()),
  finished: v.exactOptional(v.boolean()),
});

/** Shape of a CheckpointDeployment. */
export const checkpointDeployment: v.GenericSchema<unknown, CheckpointDeployment> = v.strictObject({
  folder: location, mode, unaligned: v.boolean(), alignedTimeoutMs: amount, periodic: v.boolean(),
});

const checkpointSubtask: v.GenericSchema<unknown, CheckpointSubtaskInfo> = v.strictObject({
  vertex: text() as unknown as v.GenericSchema<unknown, VertexId>,
  subtask: count,
  durationMs: v.number(),
  bytes: amount,
  writtenBytes: amount,
  startDelayMs: v.number(),
  alignmentMs: v.number(),
  syncMs: v.number(),
  asyncMs: v.number(),
  channelBytes: amount,
});
const checkpointInfo: v.GenericSchema<unknown, CheckpointInfo> = v.strictObject({
  id: count,
  kind,
  state: v.picklist(CHECKPOINT_STATES),
  triggeredAtMs: v.number(),
  durationMs: v.exactOptional(v.number()),
  bytes: amount,
  writtenBytes: amount,
  acknowledged: count,
  expected: count,
  location: v.exactOptional(location),
  failure: v.exactOptional(text(65_536)),
  subtasks: v.array(checkpointSubtask),
});

/** Shape of a CheckpointOverview. */
export const checkpointOverview: v.GenericSchema<unknown, CheckpointOverview> = v.strictObject({
  job: text() as unknown as v.GenericSchema<unknown, JobId>,
  completed: count,
  failed: count,
  inProgress: count,
  restored: count,
  restoredFrom: v.exactOptional(count),
  latest: v.array(checkpointInfo),
});
