/**
 * The bytes that a task begins with after a failure or from a savepoint: read by the TaskManager's main thread from the files of a
 * checkpoint, handed to the task's thread before its chain is built.
 *
 * Invariant: a task that is built finds every byte that its restore names; a file that is missing or cut off fails it before, with a
 * CorruptCheckpointError, upon which the JobManager goes back to the checkpoint before.
 *
 * Stretches of a file that lie close to each other are read at once: the key groups of a subtask are neighbours in a file mostly.
 * Bound: the state of one subtask, once. Worker threads load this file; it opens nothing.
 */
import type { ChannelState, TaskRestore } from "../../core/runtime/checkpoint.ts";
import { CorruptCheckpointError, InvariantError } from "../../core/types/errors.ts";
import type { OperatorRestore } from "../../core/state/snapshot.ts";
import type { RestoreDeployment } from "../protocol/checkpoint-messages.ts";
import type { FileSource } from "./local-snapshots.ts";

/** Reads closer to each other than this are one read. */
const GAP_BYTES = 64 * 1024;
/** Reads at once. */
const MAX_READS = 4;

/** A stretch of a file of a checkpoint. */
export interface RestoredRange {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

/** What a task begins with, as plain data. */
export interface RestoredState {
  readonly checkpoint: number;
  readonly operators: readonly OperatorRestore[];
  readonly channels?: readonly ChannelState[];
  readonly finished?: boolean;
  readonly ranges: readonly RestoredRange[];
}

/**
 * Reads everything that a restore names.
 * @throws CorruptCheckpointError when a file is not there or ends too early; CheckpointError when the storage fails; the signal's reason.
 */
export async function readRestore(restore: RestoreDeployment, storage: FileSource, signal: AbortSignal): Promise<RestoredState> {
  const operators = restore.operators as readonly OperatorRestore[];
  const channels = restore.channels as readonly ChannelState[] | undefined;
  const wanted = [
    ...operators.flatMap(({ sections }) =>
      sections.flatMap(({ blocks }) => blocks.map(({ file, offset, bytes }) => ({ file, start: offset, end: offset + bytes }))),
    ),
    ...(channels ?? []),
  ];
  const stretches = merged(wanted);
  const ranges = new Array<RestoredRange>(stretches.length);
  let next = 0;
  const read = async (): Promise<void> => {
    for (let index = next++; index < stretches.length; index = next++) {
      signal.throwIfAborted();
      const { file, start, end } = stretches[index] as Stretch;
      const bytes = await storage.get(file, { start, end });
      if (bytes === undefined) {
        throw new CorruptCheckpointError(`${storage.location} has no file ${file}, which checkpoint ${restore.checkpoint} needs.`);
      }
      // A range is given to the thread with its buffer, which must hold nothing else.
      ranges[index] = { file, start, end, bytes: bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes) };
    }
  };
  await Promise.all(Array.from({ length: Math.min(MAX_READS, stretches.length) }, read));
  return {
    checkpoint: restore.checkpoint,
    operators,
    ...(channels === undefined ? {} : { channels }),
    ...(restore.finished === undefined ? {} : { finished: restore.finished }),
    ranges,
  };
}

/** What the task asks. */
export function taskRestore({ checkpoint, operators, channels, finished, ranges }: RestoredState): TaskRestore {
  return {
    checkpoint,
    operators,
    ...(channels === undefined ? {} : { channels }),
    ...(finished === undefined ? {} : { finished }),
    read(file, start, end) {
      if (end === start) return new Uint8Array(0);
      const range = ranges.find((it) => it.file === file && it.start <= start && end <= it.end);
      if (range === undefined) throw new InvariantError(`Bytes ${start} to ${end} of ${file} are needed, but were not read.`);
      return range.bytes.subarray(start - range.start, end - range.start);
    },
    // The assignment, which lives as long as the thread, has the same array.
    forget: () => void (ranges as RestoredRange[]).splice(0),
  };
}

interface Stretch {
  readonly file: string;
  readonly start: number;
  end: number;
}

function merged(wanted: readonly Readonly<Stretch>[]): readonly Stretch[] {
  const sorted = wanted
    .filter(({ start, end }) => end > start)
    .toSorted((a, b) => (a.file < b.file ? -1 : a.file > b.file ? 1 : a.start - b.start));
  const stretches: Stretch[] = [];
  for (const { file, start, end } of sorted) {
    const last = stretches.at(-1);
    if (last !== undefined && last.file === file && start - last.end <= GAP_BYTES) last.end = Math.max(last.end, end);
    else stretches.push({ file, start, end });
  }
  return stretches;
}
