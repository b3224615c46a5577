/** Storage that takes its time, and in bad times fails: before anything was written, after all was, or in the middle of a file. */
import { CheckpointError } from "../../src/core/types/errors.ts";
import type { ByteRange, CheckpointStorage, StorageWriter } from "../../src/cluster/storage/checkpoint-storage.ts";
import { MemoryStorage } from "../../src/cluster/storage/memory-storage.ts";
import type { World } from "./world.ts";

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
  readonly #world: World;
  readonly #weather: StorageWeather;

  constructor(location: string, world: World, weather: StorageWeather) {
    this.location = location;
    this.#inner = new MemoryStorage(location);
    this.#world = world;
    this.#weather = weather;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#struck(() => this.#inner.put(name, bytes));
  }

  create(name: string, bytes: Uint8Array): Promise<boolean> {
    return this.#struck(() => this.#inner.create(name, bytes));
  }

  write(name: string): StorageWriter {
    const writer = this.#inner.write(name);
    return {
      append: async (bytes) => {
        await this.#struck(() => writer.append(bytes));
      },
      finish: async () => {
        await this.#struck(() => writer.finish());
      },
      abort: () => writer.abort(),
    };
  }

  get(name: string, range?: ByteRange): Promise<Uint8Array | undefined> {
    return this.#struck(() => this.#inner.get(name, range));
  }

  list(folder?: string): Promise<readonly string[]> {
    return this.#struck(() => this.#inner.list(folder));
  }

  async delete(name: string): Promise<void> {
    await this.#struck(() => this.#inner.delete(name));
  }

  /** An operation that fails may have been done all the same: nobody knows. */
  async #struck<T>(operate: () => Promise<T>): Promise<T> {
    await this.#world.sleep(this.#world.between(0, this.#weather.slowMs));
    const fails = this.#world.chance(this.#weather.failures);
    if (fails && this.#world.chance(0.5)) throw new CheckpointError("the storage refused (simulated)");
    const done = await operate();
    if (fails) throw new CheckpointError("the storage did not answer (simulated)");
    return done;
  }
}
