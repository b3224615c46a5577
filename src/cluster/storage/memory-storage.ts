/** Storage in the memory of this process, for tests and simulations: nothing of it outlives the process, and no other process sees it. */
import { CorruptCheckpointError } from "../../core/types/errors.ts";
import type { ByteRange, CheckpointStorage, StorageWriter } from "./checkpoint-storage.ts";

/** Everything that was put into storages at `memory://…`, by place and name. */
const files = new Map<string, Uint8Array>();

/** Files in a Map that all such storages of this process share. */
export class MemoryStorage implements CheckpointStorage {
  readonly location: string;
  readonly #root: string;

  /** @param location `memory://name/…`. */
  constructor(location: string) {
    this.location = location;
    this.#root = location.replace(/\/+$/, "");
  }

  put(name: string, bytes: Uint8Array): Promise<void> {
    files.set(this.#path(name), bytes.slice());
    return Promise.resolve();
  }

  create(name: string, bytes: Uint8Array): Promise<boolean> {
    if (files.has(this.#path(name))) return Promise.resolve(false);
    files.set(this.#path(name), bytes.slice());
    return Promise.resolve(true);
  }

  write(name: string): StorageWriter {
    let pieces: Uint8Array[] = [];
    return {
      append: (bytes) => {
        pieces.push(bytes.slice());
        return Promise.resolve();
      },
      finish: () => this.put(name, new Uint8Array(Buffer.concat(pieces))),
      abort: () => {
        pieces = [];
        return Promise.resolve();
      },
    };
  }

  get(name: string, range?: ByteRange): Promise<Uint8Array | undefined> {
    const bytes = files.get(this.#path(name));
    if (bytes === undefined || range === undefined) return Promise.resolve(bytes?.slice());
    if (bytes.length < range.end) {
      return Promise.reject(
        new CorruptCheckpointError(`${name} has ${bytes.length} bytes, but bytes ${range.start} to ${range.end} were asked for.`),
      );
    }
    return Promise.resolve(bytes.slice(range.start, range.end));
  }

  list(folder = ""): Promise<readonly string[]> {
    const names = [...files.keys()].filter((path) => path.startsWith(`${this.#path(folder)}/`));
    return Promise.resolve(names.map((path) => path.slice(this.#root.length + 1)).sort());
  }

  delete(name: string): Promise<void> {
    const target = this.#path(name);
    for (const path of [...files.keys()]) if (path === target || path.startsWith(`${target}/`)) files.delete(path);
    return Promise.resolve();
  }

  #path(name: string): string {
    if (name.startsWith("../")) return `${this.#root.slice(0, this.#root.lastIndexOf("/"))}/${name.slice(3)}`;
    return name === "" ? this.#root : `${this.#root}/${name}`;
  }
}
