/**
 * A subtask's state on disk: one lmdb environment in a folder of its own, scratch space of the running subtask. What must survive is in
 * checkpoints; so nothing is synced, and the folder goes when the subtask ends, or is swept when the next one begins, if its process was
 * killed.
 *
 * Keys are (state, key group, token), so that a walk over a state goes key group by key group.
 *
 * lmdb is an optional package, loaded when the first store is opened. A thread must not be terminated inside a transaction (measured: it
 * never ends), so transactions are short: WRITTEN_AT_ONCE entries.
 */
import { mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import type { KeyToken } from "../data/keys.ts";
import { ConfigurationError, describe, RecordError, StorageError } from "../types/errors.ts";
import { makeOwnFolder } from "../types/own-folder.ts";

/** Entries of one transaction at the most. */
export const WRITTEN_AT_ONCE = 512;

/** What is used of an lmdb database. */
interface Database {
  getBinaryFast(key: Buffer): Buffer | undefined;
  putSync(key: Buffer, value: Buffer): void;
  removeSync(key: Buffer): boolean;
  transactionSync<T>(action: () => T): T;
  getRange(options: { start: Buffer; end: Buffer; exclusiveStart?: boolean; limit: number }): Iterable<{ key: Buffer; value: Buffer }>;
  close(): Promise<void>;
}

/** lmdb's bound for a key, less what stands before the token. */
const MAX_TOKEN_BYTES = 1_900;
const PREFIX_BYTES = 4;

/** Entries on disk, by keys that `diskKey` makes. Used by one thread; closed by whoever opened it. */
export class DiskStore {
  readonly #folder: string;
  readonly #database: Database;

  /**
   * @param folder under which the store makes its own; empty: the system's folder for temporary files.
   * @throws ConfigurationError when lmdb is not installed; StorageError when the folder can't be used.
   */
  constructor(folder: string) {
    const open = loadLmdb();
    const root = folder === "" ? tmpdir() : folder;
    try {
      mkdirSync(root, { recursive: true });
      this.#folder = makeOwnFolder("state", root);
      this.#database = open({
        path: path.join(this.#folder, "state.mdb"),
        encoding: "binary", keyEncoding: "binary", noSync: true, noMemInit: true, cache: false, overlappingSync: false,
      });
    } catch (error) {
      throw new StorageError(`State can't be kept in ${describe(root)}: ${String(error)}. Choose a folder with state.backend.lmdb.localdir.`, {
        cause: error,
      });
    }
  }

  /** Valid until the next call. */
  get(key: Buffer): Buffer | undefined {
    return this.#database.getBinaryFast(key);
  }

  /** Writes entries, and removes those without a value, in one transaction. @throws StorageError, e.g. when the disk is full. */
  write(entries: readonly { readonly key: Buffer; readonly value: Buffer | undefined }[]): void {
    if (entries.length === 0) return;
    try {
      this.#database.transactionSync(() => {
        for (const { key, value } of entries) {
          if (value === undefined) this.#database.removeSync(key);
          else this.#database.putSync(key, value);
        }
      });
    } catch (error) {
      throw new StorageError(`State can't be written to ${this.#folder}: ${String(error)}.`, { cause: error });
    }
  }

  /** The next entries of a state behind a key (of its first ones without), in order; fewer than `limit` at the end. */
  after(state: number, key: Buffer | undefined, limit: number): { key: Buffer; value: Buffer }[] {
    const start = key ?? prefix(state);
    return [...this.#database.getRange({ start, end: prefix(state + 1), exclusiveStart: key !== undefined, limit })].map((entry) => ({
      key: Buffer.from(entry.key), value: Buffer.from(entry.value),
    }));
  }

  /** Ends the store and removes its folder. */
  close(): void {
    // What closing leaves to do is of no interest any more; the thread may end before it is done, and the folder must not stay.
    this.#database.close().catch(() => undefined);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** The key of a token's entry. @throws RecordError for a token that is too long. */
export function diskKey(state: number, group: number, token: KeyToken): Buffer {
  const text = typeof token === "string" ? Buffer.from(token, "utf16le") : Buffer.from(String(token), "latin1");
  if (text.length > MAX_TOKEN_BYTES) {
    throw new RecordError(
      `the key ${describe(token)} is too long for state on disk: ${text.length} of at most ${MAX_TOKEN_BYTES} bytes. ` +
        "Use a shorter key, or keep state in the heap (state.backend.type).",
    );
  }
  const key = Buffer.allocUnsafe(PREFIX_BYTES + 1 + text.length);
  key.writeUInt16BE(state, 0);
  key.writeUInt16BE(group, 2);
  key[PREFIX_BYTES] = kinds.indexOf(typeof token);
  key.set(text, PREFIX_BYTES + 1);
  return key;
}

/** The token of a key, and its key group. */
export function ofDiskKey(key: Buffer): { readonly token: KeyToken; readonly group: number } {
  const group = key.readUInt16BE(2);
  const kind = kinds[key[PREFIX_BYTES] as number];
  const text = key.toString(kind === "string" ? "utf16le" : "latin1", PREFIX_BYTES + 1);
  const token = kind === "string" ? text : kind === "number" ? Number(text) : kind === "bigint" ? BigInt(text) : text === "true";
  return { token, group };
}

const kinds: readonly string[] = ["string", "number", "bigint", "boolean"];

function prefix(state: number): Buffer {
  const key = Buffer.alloc(2);
  key.writeUInt16BE(state);
  return key;
}

function loadLmdb(): (options: object) => Database {
  try {
    return (createRequire(import.meta.url)("lmdb") as { open(options: object): Database }).open;
  } catch (error) {
    throw new ConfigurationError(
      'state.backend.type is "lmdb", but the package lmdb is not installed here: `npm install lmdb`, or keep state in the heap.',
      { cause: error },
    );
  }
}
