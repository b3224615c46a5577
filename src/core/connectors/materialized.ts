/**
 * Results that wait on disk for the next job: what a loop's step made for the step after it, or a data set that is computed once and read
 * several times. Each subtask writes a file of its own; the reading job's subtasks share the files out. (Flink: blocking, persistent
 * result partitions.)
 *
 * The folder belongs to the program that runs the jobs. TaskManagers on several machines need one that all of them reach: `io.tmp.dirs`.
 */
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { decodeValue, encodeValue } from "../data/codec.ts";
import type { OperatorSpec } from "../graph/stream-graph.ts";
import type { OperatorKind } from "../operators/operator.ts";
import { StorageError } from "../types/errors.ts";

/** Where rows are put. */
export interface MaterializeSpec extends OperatorSpec {
  readonly kind: "materialize";
  readonly folder: string;
}

/** Where rows are found. */
export interface MaterializedSpec extends OperatorSpec {
  readonly kind: "materialized";
  readonly folder: string;
}

const CHUNK_ROWS = 512;
const LENGTH_BYTES = 4;

/** Writes rows as chunks, each with its length before it. */
export const materializeSink: OperatorKind<MaterializeSpec> = {
  kind: "materialize",
  inputs: 1,
  create(spec, context) {
    mkdirSync(spec.folder, { recursive: true, mode: 0o700 });
    const file = openSync(join(spec.folder, `part-${context.subtask}-${context.attempt}.tmp`), "w", 0o600);
    let rows: unknown[] = [];
    const flush = (): void => {
      if (rows.length === 0) return;
      const encoded = encodeValue(rows, context.classes);
      const framed = new Uint8Array(LENGTH_BYTES + encoded.byteLength);
      new DataView(framed.buffer).setUint32(0, encoded.byteLength);
      framed.set(encoded, LENGTH_BYTES);
      rows = [];
      try {
        for (let at = 0; at < framed.byteLength; ) at += writeSync(file, framed, at);
      } catch (error) {
        throw new StorageError(`A result can't be kept in ${spec.folder}: ${(error as Error).message}. Make room, or set io.tmp.dirs.`, {
          cause: error,
        });
      }
    };
    return {
      process(value) {
        rows.push(value);
        if (rows.length === CHUNK_ROWS) flush();
      },
      finish() {
        flush();
        // The name without `tmp` says that the file is whole; a subtask that fails leaves none, one that runs again replaces it.
        renameSync(join(spec.folder, `part-${context.subtask}-${context.attempt}.tmp`), join(spec.folder, `part-${context.subtask}`));
      },
      close: () => closeSync(file),
    };
  },
};

/** Reads them: subtask k of p the files k, k + p, … */
export const materializedSource: OperatorKind<MaterializedSpec> = {
  kind: "materialized",
  inputs: 0,
  create(spec, context) {
    const own = readdirSync(spec.folder)
      .filter((name) => /^part-\d+$/.test(name))
      .sort()
      .filter((_, index) => index % context.parallelism === context.subtask);
    let bytes: Uint8Array = new Uint8Array(0);
    let at = 0;
    let chunk: readonly unknown[] = [];
    let next = 0;
    return {
      read(rows, _timestamps, max) {
        while (next === chunk.length) {
          while (at === bytes.byteLength) {
            const name = own.shift();
            if (name === undefined) return -1;
            bytes = readFileSync(join(spec.folder, name));
            at = 0;
          }
          const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
          chunk = decodeValue(bytes.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + length), context.classes) as readonly unknown[];
          at += LENGTH_BYTES + length;
          next = 0;
        }
        const count = Math.min(max, chunk.length - next);
        for (let i = 0; i < count; i++) rows[i] = chunk[next++];
        return count;
      },
    };
  },
};
