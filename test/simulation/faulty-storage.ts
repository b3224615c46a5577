/**
 * Storage as a process sees it: it takes its time, and in bad times fails: before anything was done, or after all was. A process that dies
 * meanwhile does not know either, and does not care.
 */
import { CheckpointError } from "../../src/core/types/errors.ts";
import type { ByteRange, CheckpointStorage, StorageWriter } from "../../src/cluster/storage/checkpoint-storage.ts";
import { MemoryStorage } from "../../src/cluster/storage/memory-storage.ts";
import type { SimulatedProcess } from "./process.ts";

/** How bad the times are. */
export interface StorageWeather {
  /** Probability that an operation fails. */
  failures: number;
  /** Longest time that an operation takes, milliseconds. */
  slowMs: number;
}

export class FaultyStorage implements CheckpointStorage {
  readonly location: string;
  readonly #inner: MemoryStorage;
  readonly #process: SimulatedProcess;
  readonly #weather: StorageWeather;

  constructor(location: string, process: SimulatedProcess, weather: StorageWeather) {
    this.location = location;
    this.#inner = new MemoryStorage(location);
    this.#process = process;
    this.#weather = weather;
  }

  put(name: string, bytes: Uint8Array): Promise<void> {
    return this.#struck(() => this.#inner.put(name, bytes));
  }

  create(name: string, bytes: Uint8Array): Promise<boolean> {
    return this.#struck(() => this.#inner.create(name, bytes));
  }

  write(name: string): StorageWriter {
    const writer = this.#inner.write(name);
    return {
      append: (bytes) => this.#struck(() => writer.append(bytes)),
      finish: () => this.#struck(() => writer.finish()),
      abort: () => writer.abort(),
    };
  }

  get(name: string, range?: ByteRange): Promise<Uint8Array | undefined> {
    return this.#struck(() => this.#inner.get(name, range));
  }

  list(folder?: string): Promise<readonly string[]> {
    return this.#struck(() => this.#inner.list(folder));
  }

  delete(name: string): Promise<void> {
    return this.#struck(() => this.#inner.delete(name));
  }

  /** An operation that fails may have been done all the same: nobody knows. */
  #struck<T>(operate: () => Promise<T>): Promise<T> {
    const { world } = this.#process;
    return new Promise((resolve, reject) => {
      if (!this.#process.step()) return;
      world.after(world.between(0, this.#weather.slowMs), async () => {
        const fails = world.chance(this.#weather.failures);
        const outcome = fails && world.chance(0.5) ? undefined : await operate().then((value) => ({ value }), (error: Error) => ({ error }));
        this.#process.run(() => {
          if (!this.#process.step()) return;
          if (outcome === undefined) reject(new CheckpointError("the storage refused (simulated)"));
          else if ("error" in outcome) reject(outcome.error);
          else if (fails) reject(new CheckpointError("the storage did not answer (simulated)"));
          else resolve(outcome.value);
        });
      });
    });
  }
}
