/** Snapshots taken and restored in tests: the files of a checkpoint are kept in memory. */
import { type ClassRegistry, noClasses } from "../../../src/core/data/classes.ts";
import type { DiskOptions } from "../../../src/core/state/disk-tables.ts";
import { SubtaskStates } from "../../../src/core/state/operator-states.ts";
import { type OperatorSnapshot, redistribute, type SnapshotInProgress } from "../../../src/core/state/snapshot.ts";

/** What a checkpoint stored: one file per subtask. */
export interface Stored {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly snapshots: readonly (OperatorSnapshot | undefined)[];
}

/** Gathers what a snapshot writes. */
export class StoredFile {
  readonly #parts: Uint8Array[] = [];
  readonly write = (bytes: Uint8Array): boolean => {
    // As a thread does it: whoever wrote the bytes has them no longer.
    this.#parts.push(new Uint8Array(structuredClone(bytes.buffer as ArrayBuffer, { transfer: [bytes.buffer as ArrayBuffer] })));
    return true;
  };

  get bytes(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

/** Writes snapshots of all subtasks to their end; `begun` holds what of one is written already. */
export function stored(snapshots: readonly SnapshotInProgress[], begun: readonly StoredFile[] = []): Stored {
  const files = new Map<string, Uint8Array>();
  const done = snapshots.map((snapshot, subtask) => {
    const file = begun[subtask] ?? new StoredFile();
    while (!snapshot.work(10, file.write));
    // What other operators of the subtask wrote stands before.
    files.set(`file-${subtask}`, Buffer.concat([Buffer.alloc(7), file.bytes]));
    return snapshot.finish(`file-${subtask}`, 7);
  });
  return { files, snapshots: done };
}

export interface RestoreOptions {
  readonly classes?: ClassRegistry;
  readonly now?: () => number;
  readonly disk?: DiskOptions;
}

/** The states of one subtask, restored. Metadata crosses as the wire would have it. */
export function restored(
  { files, snapshots }: Stored, subtask: number, parallelism: number, maxParallelism: number,
  { classes = noClasses, now = () => 0, disk }: RestoreOptions = {},
): SubtaskStates {
  const from = redistribute(JSON.parse(JSON.stringify(snapshots)) as OperatorSnapshot[], subtask, parallelism, maxParallelism);
  return new SubtaskStates({
    stateId: "op", maxParallelism, classes, now, ...(disk === undefined ? {} : { disk }),
    ...(from === undefined ? {} : {
      restore: {
        from: JSON.parse(JSON.stringify(from)) as typeof from,
        read: ({ file, offset, bytes }) => (files.get(file) as Uint8Array).subarray(offset, offset + bytes),
      },
    }),
  });
}

/** The states of all subtasks. */
export const restoredAll = (
  from: Stored, parallelism: number, maxParallelism: number, options: RestoreOptions = {},
): SubtaskStates[] => Array.from({ length: parallelism }, (_, subtask) => restored(from, subtask, parallelism, maxParallelism, options));
