/**
 * The manifest of a checkpoint or savepoint: the file `_metadata` in its folder, written last. A checkpoint exists when its manifest is
 * durable, and only then. It names every file of the checkpoint, says which subtask of which operator each part belongs to, and so holds
 * all that is needed to deal the state out again at another parallelism without reading the state.
 *
 *     "drey checkpoint" · version (u32) · length of the text (u32) · CRC-32 of the text (u32) · the text: JSON, UTF-8
 *
 * Names of files are relative to the folder, so a folder that holds all of its files (a savepoint) can be moved or copied. A checkpoint
 * that builds upon an earlier one names that one's files `../chk-3/…`.
 */
import { crc32 } from "node:zlib";
import { CorruptCheckpointError, describe } from "../../core/types/errors.ts";
import type { CheckpointStorage } from "./checkpoint-storage.ts";

/** The name of the manifest in its folder, as in Flink. */
export const MANIFEST_NAME = "_metadata";
/** The version that this drey writes. It reads all up to this one. */
export const MANIFEST_VERSION = 1;

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

const MAGIC: Uint8Array = new TextEncoder().encode("drey checkpoint\n");
const HEADER_BYTES: number = MAGIC.length + 12;

/** A manifest as bytes. */
export function encodeManifest(manifest: CheckpointManifest): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(manifest, writeBytes));
  const bytes = new Uint8Array(HEADER_BYTES + text.length);
  bytes.set(MAGIC);
  const header = new DataView(bytes.buffer, MAGIC.length);
  header.setUint32(0, MANIFEST_VERSION);
  header.setUint32(4, text.length);
  header.setUint32(8, crc32(text));
  bytes.set(text, HEADER_BYTES);
  return bytes;
}

/**
 * The manifest that `encodeManifest` wrote.
 * @param where the file, for messages.
 * @throws CorruptCheckpointError when it is cut off, damaged, something else, or of a newer version.
 */
export function decodeManifest(bytes: Uint8Array, where: string): CheckpointManifest {
  const bad = (what: string): CorruptCheckpointError => new CorruptCheckpointError(`${where} ${what}.`);
  if (bytes.length < HEADER_BYTES || MAGIC.some((byte, index) => bytes[index] !== byte)) {
    throw bad("is not the manifest of a checkpoint of drey");
  }
  const header = new DataView(bytes.buffer, bytes.byteOffset + MAGIC.length);
  const version = header.getUint32(0);
  if (version > MANIFEST_VERSION || version === 0) {
    throw bad(`has version ${version}, and this drey reads versions up to ${MANIFEST_VERSION}; read it with the drey that wrote it, or a newer one`);
  }
  const text = bytes.subarray(HEADER_BYTES);
  if (text.length !== header.getUint32(4)) throw bad(`should have ${header.getUint32(4)} bytes of text, but has ${text.length}; it was cut off`);
  if (crc32(text) !== header.getUint32(8)) throw bad("is damaged: its checksum is wrong");
  return JSON.parse(new TextDecoder().decode(text), readBytes) as CheckpointManifest;
}

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

/** Bytes in a manifest (what result buffers keep) are written as base64. */
function writeBytes(this: unknown, key: string, value: unknown): unknown {
  // A Buffer has made something else of itself before it comes here.
  const bytes = (this as Readonly<Record<string, unknown>>)[key];
  return bytes instanceof Uint8Array ? { $bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64") } : value;
}

function readBytes(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("$bytes" in value)) return value;
  return new Uint8Array(Buffer.from((value as { $bytes: string }).$bytes, "base64"));
}
