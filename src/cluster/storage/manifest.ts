/**
 * The manifest of a checkpoint or savepoint: the file `_metadata` in its folder, written last. A checkpoint exists when its manifest is
 * durable, and only then. It names every file of the checkpoint, says which subtask of which operator each part belongs to, and so holds
 * all that is needed to deal the state out again at another parallelism without reading the state. Its form is `checked-file.ts`'s.
 *
 * Names of files are relative to the folder, so a folder that holds all of its files (a savepoint) can be moved or copied. A checkpoint
 * that builds upon an earlier one names that one's files `../chk-3/…`.
 */
import { CorruptCheckpointError, describe } from "../../core/types/errors.ts";
import { type FileKind, decodeChecked, encodeChecked } from "./checked-file.ts";
import type { CheckpointStorage } from "./checkpoint-storage.ts";

/** The name of the manifest in its folder, as in Flink. */
export const MANIFEST_NAME = "_metadata";
/** The version that this drey writes. It reads all up to this one. */
export const MANIFEST_VERSION = 1;

/** The kind of an operator whose state was written from data: it fits any operator that has its uid. */
export const ANY_KIND = "any";

/** An operator as it was when the checkpoint was taken. */
export interface ManifestOperator {
  /** What it is found again by: its uid, or else its operator id. */
  readonly operator: string;
  readonly name: string;
  readonly kind: string;
}

/** A vertex as it was when the checkpoint was taken, with the state of its subtasks in order. */
export interface ManifestVertex {
  readonly id: string;
  readonly name: string;
  readonly parallelism: number;
  readonly maxParallelism: number;
  readonly operators: readonly ManifestOperator[];
  readonly subtasks: readonly ManifestSubtask[];
}

/** What one subtask stored. */
export interface ManifestSubtask {
  /** By operator, as core/state/snapshot.ts describes it. */
  readonly operators: readonly ManifestState[];
  /** Rows on their way that an unaligned checkpoint stored. */
  readonly channels?: unknown;
  readonly bytes: number;
  /** The subtask had come to its end. */
  readonly finished?: boolean;
  /** Of a subtask that takes a feed: so many of its rows are covered. */
  readonly feedRows?: number;
}

/** State of one operator of one subtask. */
export interface ManifestState {
  readonly operator: string;
  readonly sections: readonly { readonly name: string; readonly kind: string; readonly file: string }[];
}

/** What a manifest says. */
export interface CheckpointManifest {
  readonly job: string;
  readonly jobName: string;
  readonly checkpoint: number;
  readonly kind: "checkpoint" | "savepoint";
  /** When it was triggered, milliseconds since the epoch. */
  readonly timestampMs: number;
  /** Of the JobManager that completed it. */
  readonly epoch: number;
  readonly vertices: readonly ManifestVertex[];
  /** Rows for clients that it covers and nobody had read, as the JobManager's result buffers keep them. */
  readonly results?: unknown;
}

const KIND: FileKind = { name: "checkpoint", version: MANIFEST_VERSION };

/** A manifest as bytes. */
export const encodeManifest = (manifest: CheckpointManifest): Uint8Array => encodeChecked(KIND, manifest);

/**
 * The manifest that `encodeManifest` wrote.
 * @param where the file, for messages.
 * @throws CorruptCheckpointError when it is cut off, damaged, something else, or of a newer version.
 */
export const decodeManifest = (bytes: Uint8Array, where: string): CheckpointManifest =>
  decodeChecked(KIND, bytes, where) as CheckpointManifest;

/**
 * Makes a checkpoint exist.
 * @returns false when a manifest is there already: somebody else has completed a checkpoint of this number.
 */
export function storeManifest(storage: CheckpointStorage, manifest: CheckpointManifest): Promise<boolean> {
  return storage.create(MANIFEST_NAME, encodeManifest(manifest));
}

/** The manifest in a folder. @throws CorruptCheckpointError when there is none, or none that can be read. */
export async function loadManifest(storage: CheckpointStorage): Promise<CheckpointManifest> {
  const bytes = await storage.get(MANIFEST_NAME);
  if (bytes === undefined) {
    throw new CorruptCheckpointError(
      `there is no checkpoint or savepoint in ${describe(storage.location)}: it has no file ${MANIFEST_NAME}. Check the path.`,
    );
  }
  return decodeManifest(bytes, `${storage.location}/${MANIFEST_NAME}`);
}
