/** Every kind of storage, by what a place begins with. */
import path from "node:path";
import { ConfigurationError, describe } from "../../core/types/errors.ts";
import type { CheckpointStorage } from "./checkpoint-storage.ts";
import { FileStorage } from "./file-storage.ts";
import { MemoryStorage } from "./memory-storage.ts";
import { S3Storage } from "./s3-storage.ts";

const SCHEME = /^([a-z][a-z0-9+.-]+):\/\//i;

/**
 * The storage at a place: an absolute path, `file:///path`, `s3://bucket/path`; for tests in
 * one process, `memory://name`. Nothing is opened or looked for yet.
 * @throws ConfigurationError for other places.
 */
export function storageAt(location: string): CheckpointStorage {
  const scheme = SCHEME.exec(location)?.[1]?.toLowerCase();
  if (scheme === "s3") return new S3Storage(location);
  if (scheme === "memory") return new MemoryStorage(location);
  if (scheme === "file") return new FileStorage(path.normalize(decodeURIComponent(new URL(location).pathname)));
  if (scheme === undefined && path.isAbsolute(location)) return new FileStorage(path.normalize(location));
  throw new ConfigurationError(`${describe(location)} is no place for checkpoints; expected an absolute path, file:///path or s3://bucket/path.`);
}
