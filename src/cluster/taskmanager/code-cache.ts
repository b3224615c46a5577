/**
 * The code of the jobs that run here, by content. A bundle is fetched from the JobManager once however many subtasks run it, its digest
 * is checked, and it is kept in shared memory, so that threads read it where it stands. A job's last reference goes with `release`.
 *
 * Bound: only jobs that hold a slot use code, so there are at most as many bundles as slots, each within the size of one message.
 */
import { ProtocolError } from "../../core/types/errors.ts";
import type { JobId } from "../../core/types/ids.ts";
import { bundleDigest } from "../code/bundle.ts";

interface CachedCode {
  readonly bytes: Promise<SharedArrayBuffer>;
  readonly jobs: Set<JobId>;
}

/** Lives on the main thread of a TaskManager. */
export class CodeCache {
  readonly #fetch: (code: string) => Promise<Uint8Array>;
  readonly #cached = new Map<string, CachedCode>();

  /** @param fetch gets a bundle by its SHA-256 from wherever it is kept. */
  constructor(fetch: (code: string) => Promise<Uint8Array>) {
    this.#fetch = fetch;
  }

  /** Bundles that are kept now. */
  get size(): number {
    return this.#cached.size;
  }

  /**
   * The bundle with this SHA-256, for a job; fetched if it is not here. A failed fetch is forgotten, so that the next call tries again.
   * @throws ProtocolError when other bytes than asked for arrive, and whatever `fetch` throws.
   */
  get(code: string, job: JobId): Promise<SharedArrayBuffer> {
    let cached = this.#cached.get(code);
    if (cached === undefined) {
      cached = { bytes: this.#fetchChecked(code), jobs: new Set() };
      this.#cached.set(code, cached);
      const fresh = cached;
      fresh.bytes.catch(() => {
        if (this.#cached.get(code) === fresh) this.#cached.delete(code);
      });
    }
    cached.jobs.add(job);
    return cached.bytes;
  }

  /** The job is over; code that no other job uses goes. */
  release(job: JobId): void {
    for (const [code, cached] of this.#cached) {
      if (cached.jobs.delete(job) && cached.jobs.size === 0) this.#cached.delete(code);
    }
  }

  async #fetchChecked(code: string): Promise<SharedArrayBuffer> {
    const bytes = await this.#fetch(code);
    const digest = bundleDigest(bytes);
    if (digest !== code) {
      throw new ProtocolError(
        `The code ${code} was asked for, and ${bytes.byteLength} bytes with the digest ${digest} arrived. Submit the job again.`,
      );
    }
    const shared = new SharedArrayBuffer(bytes.byteLength);
    new Uint8Array(shared).set(bytes);
    return shared;
  }
}
