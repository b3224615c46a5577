/**
 * What rows weigh. An operator that keeps rows asks before each whether it is still within its memory (Flink: managed memory), and
 * writes to disk what is beyond. Weights are estimates: every few rows one is encoded, and the mean of those stands for all.
 */
import { encodeValue } from "../../data/codec.ts";
import type { ClassRegistry } from "../../data/classes.ts";

/** Rows between two that are weighed. */
const SAMPLE_EVERY = 64;
/** An object in the heap takes about so many times the bytes of its encoding (measured on records of 3 to 8 fields: 2.6 to 4.4). */
const HEAP_PER_BYTE = 4;

/** Counts the memory of rows against a limit. */
export class MemoryBudget {
  readonly #limitBytes: number;
  readonly #classes: ClassRegistry;
  #rows = 0;
  #sampled = 0;
  #sampledBytes = 0;

  /** @param limitBytes heap that the rows may take. */
  constructor(limitBytes: number, classes: ClassRegistry) {
    this.#limitBytes = limitBytes;
    this.#classes = classes;
  }

  /** Another row is kept. @returns whether all of them are still within the limit. */
  add(row: unknown): boolean {
    if (this.#rows++ % SAMPLE_EVERY === 0) {
      this.#sampled++;
      this.#sampledBytes += encodeValue(row, this.#classes).byteLength * HEAP_PER_BYTE;
    }
    return (this.#sampledBytes / this.#sampled) * this.#rows <= this.#limitBytes;
  }

  /** No row is kept any more; what was learned of their weight stays. */
  clear(): void {
    this.#rows = 0;
  }
}
