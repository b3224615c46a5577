/**
 * A folder as storage: of this machine, or one that is mounted on all machines of the cluster. A file is written under another name,
 * synced, and only then given its own by a rename or, where it must be the first, by a link, which fails when the name is taken; then the
 * folder is synced. So a crash leaves at most a file whose name begins with `.tmp-`, which nobody reads or lists.
 */
import { randomUUID } from "node:crypto";
import { type FileHandle, link, mkdir, open, readdir, rename, rm, rmdir, unlink } from "node:fs/promises";
import path from "node:path";
import { CheckpointError, CorruptCheckpointError } from "../../core/types/errors.ts";
import type { ByteRange, CheckpointStorage, StorageWriter } from "./checkpoint-storage.ts";

const UNFINISHED = ".tmp-";

/** Files under a folder, which is made when something is written. */
export class FileStorage implements CheckpointStorage {
  readonly location: string;

  /** @param folder an absolute path. */
  constructor(folder: string) {
    this.location = folder;
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    const file = this.#writer(name);
    await file.append(bytes);
    await file.finish();
  }

  async create(name: string, bytes: Uint8Array): Promise<boolean> {
    const file = this.#writer(name);
    await file.append(bytes);
    return file.finishFirst();
  }

  write(name: string): StorageWriter {
    return this.#writer(name);
  }

  #writer(name: string): FileWriter {
    return new FileWriter(this.#path(name));
  }

  async get(name: string, range?: ByteRange): Promise<Uint8Array | undefined> {
    const file = this.#path(name);
    let handle: FileHandle;
    try {
      handle = await open(file, "r");
    } catch (error) {
      if (isCode(error, "ENOENT", "ENOTDIR")) return undefined;
      throw failed("read", file, error);
    }
    try {
      if (range === undefined) return new Uint8Array(await handle.readFile());
      const bytes = new Uint8Array(range.end - range.start);
      for (let done = 0; done < bytes.length; ) {
        const { bytesRead } = await handle.read(bytes, done, bytes.length - done, range.start + done);
        if (bytesRead === 0) {
          throw new CorruptCheckpointError(
            `${file} ends after ${range.start + done} bytes, but bytes ${range.start} to ${range.end} of it were asked for; it was cut off.`,
          );
        }
        done += bytesRead;
      }
      return bytes;
    } catch (error) {
      throw error instanceof CorruptCheckpointError ? error : failed("read", file, error);
    } finally {
      await handle.close();
    }
  }

  async list(folder = ""): Promise<readonly string[]> {
    const from = this.#path(folder);
    try {
      const entries = await readdir(from, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile() && !entry.name.startsWith(UNFINISHED))
        .map((entry) => path.relative(this.location, path.join(entry.parentPath, entry.name)).split(path.sep).join("/"))
        .sort();
    } catch (error) {
      if (isCode(error, "ENOENT", "ENOTDIR")) return [];
      throw failed("list", from, error);
    }
  }

  async delete(name: string): Promise<void> {
    const target = this.#path(name);
    try {
      await rm(target, { recursive: true, force: true });
      // An empty folder says nothing; S3 has none either. It is not empty when others still use it.
      if (name !== "") await rmdir(path.dirname(target)).catch(() => undefined);
    } catch (error) {
      throw failed("remove", target, error);
    }
  }

  #path(name: string): string {
    return path.join(this.location, ...name.split("/"));
  }
}

class FileWriter implements StorageWriter {
  readonly #path: string;
  readonly #unfinished: string;
  #handle: Promise<FileHandle> | undefined;

  constructor(file: string) {
    this.#path = file;
    this.#unfinished = path.join(path.dirname(file), `${UNFINISHED}${randomUUID()}`);
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.#do("write", async () => {
      const handle = await this.#open();
      for (let done = 0; done < bytes.length; ) done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten;
    });
  }

  async finish(): Promise<void> {
    await this.#do("write", async () => {
      await this.#sync();
      await rename(this.#unfinished, this.#path);
      await syncFolder(path.dirname(this.#path));
    });
  }

  /** As `finish`, unless there is a file of this name. */
  async finishFirst(): Promise<boolean> {
    return this.#do("write", async () => {
      await this.#sync();
      try {
        await link(this.#unfinished, this.#path);
      } catch (error) {
        if (isCode(error, "EEXIST")) return false;
        throw error;
      } finally {
        await unlink(this.#unfinished).catch(() => undefined);
      }
      await syncFolder(path.dirname(this.#path));
      return true;
    });
  }

  async abort(): Promise<void> {
    const handle = await this.#handle?.catch(() => undefined);
    this.#handle = undefined;
    if (handle === undefined) return;
    await handle.close().catch(() => undefined);
    await unlink(this.#unfinished).catch(() => undefined);
  }

  #open(): Promise<FileHandle> {
    this.#handle ??= mkdir(path.dirname(this.#path), { recursive: true }).then(() => open(this.#unfinished, "wx"));
    return this.#handle;
  }

  async #sync(): Promise<void> {
    const handle = await this.#open();
    await handle.sync();
    await handle.close();
    this.#handle = undefined;
  }

  /** What fails leaves nothing behind. */
  async #do<T>(what: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      await this.abort();
      await unlink(this.#unfinished).catch(() => undefined);
      throw failed(what, this.#path, error);
    }
  }
}

async function syncFolder(folder: string): Promise<void> {
  // Windows has no way to open a folder; there the rename alone must do.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const isCode = (error: unknown, ...codes: readonly string[]): boolean => codes.includes((error as { code?: string }).code ?? "");

function failed(what: string, file: string, cause: unknown): CheckpointError {
  return new CheckpointError(`could not ${what} ${file}: ${(cause as Error).message}.`, { cause });
}
