/**
 * What a JobManager remembers of jobs beyond their run: their code, by its digest, and the jobs that have ended, up to a bound. In memory
 * only; what the next JobManager needs is in `job-archive.ts`.
 *
 * Invariant: the code of a job that has not ended is here. Code that no such job needs is kept while there is room, as the same program is
 * often submitted again.
 */
import { createHash } from "node:crypto";
import { ConfigurationError, NotFoundError, ProtocolError } from "../../core/types/errors.ts";
import type { JobId } from "../../core/types/ids.ts";

/** What is kept. */
export interface JobStoreBounds {
  /** Jobs that have ended; default 100. */
  readonly jobs: number;
  /** Rows of ended jobs that nobody has read, in bytes; default 256 MiB. */
  readonly resultBytes: number;
  /** Code of all jobs, in bytes; default 512 MiB. */
  readonly codeBytes: number;
}

const DEFAULT_BOUNDS: JobStoreBounds = { jobs: 100, resultBytes: 256 * 1024 * 1024, codeBytes: 512 * 1024 * 1024 };

/** SHA-256 of a code bundle, 64 hexadecimal digits: the name it is known by everywhere. */
export function digestOf(code: Uint8Array): string {
  return createHash("sha256").update(code).digest("hex");
}

/** The memory of one JobManager. */
export class JobStore {
  readonly #bounds: JobStoreBounds;
  /** In order of use, the latest last. */
  readonly #code = new Map<string, { readonly bytes: Uint8Array; users: number }>();
  #codeBytes = 0;
  /** Ended jobs in the order in which they ended. */
  readonly #ended = new Map<JobId, () => number>();

  constructor(bounds: Partial<JobStoreBounds> = {}) {
    this.#bounds = { ...DEFAULT_BOUNDS, ...bounds };
  }

  /**
   * A job needs this code from now on; `bytes` may be missing when it was kept before.
   * @throws ProtocolError when the digest is another one; NotFoundError when the code is not here; ConfigurationError when there is no
   * room.
   */
  useCode(digest: string, bytes: Uint8Array | undefined): void {
    const kept = this.#code.get(digest);
    if (kept !== undefined) {
      kept.users++;
      this.#code.delete(digest);
      this.#code.set(digest, kept);
      return;
    }
    if (bytes === undefined) throw new NotFoundError(`the code ${digest} is not here; send it with the job.`);
    const actual = digestOf(bytes);
    if (actual !== digest) {
      throw new ProtocolError(`the job's code was to have the digest ${digest}, but has ${actual}; it was damaged on its way.`);
    }
    for (const [unused, { bytes: old, users }] of this.#code) {
      if (this.#codeBytes + bytes.byteLength <= this.#bounds.codeBytes) break;
      if (users > 0) continue;
      this.#code.delete(unused);
      this.#codeBytes -= old.byteLength;
    }
    if (this.#codeBytes + bytes.byteLength > this.#bounds.codeBytes) {
      throw new ConfigurationError(
        `the job's code has ${bytes.byteLength} bytes, ` +
          `and the JobManager keeps ${this.#codeBytes} of at most ${this.#bounds.codeBytes} for running jobs; ` +
          "cancel one, or capture less.",
      );
    }
    this.#code.set(digest, { bytes, users: 1 });
    this.#codeBytes += bytes.byteLength;
  }

  /** A job that used this code has ended. */
  leaveCode(digest: string): void {
    const kept = this.#code.get(digest);
    if (kept !== undefined) kept.users--;
  }

  /** @throws NotFoundError when it is not here. */
  code(digest: string): Uint8Array {
    const kept = this.#code.get(digest);
    if (kept === undefined) throw new NotFoundError(`the code ${digest} is not here: no running job uses it.`);
    return kept.bytes;
  }

  /**
   * A job has ended.
   * @param unreadBytes asks how many bytes of its results nobody has read.
   * @returns the jobs to forget, the oldest first.
   */
  keep(job: JobId, unreadBytes: () => number): readonly JobId[] {
    this.#ended.set(job, unreadBytes);
    const forgotten: JobId[] = [];
    let bytes = [...this.#ended.values()].reduce((sum, unread) => sum + unread(), 0);
    for (const [oldest, unread] of this.#ended) {
      if (oldest === job || (this.#ended.size <= this.#bounds.jobs && bytes <= this.#bounds.resultBytes)) break;
      bytes -= unread();
      this.#ended.delete(oldest);
      forgotten.push(oldest);
    }
    return forgotten;
  }
}
