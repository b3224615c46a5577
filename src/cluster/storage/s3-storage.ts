/**
 * An object store that speaks S3 as storage: objects appear whole, and are durable when the store has answered, which is all that is asked
 * of a file. `create` is a conditional write (`If-None-Match: *`); a store that ignores the condition, as old ones do, can't be used by
 * more than one JobManager.
 *
 * Region, credentials and, for stores other than AWS's, the endpoint come from the environment or from files, as the AWS SDK finds them
 * (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_S3`, …). The SDK is an optional package, loaded with the first request.
 */
import type * as Sdk from "@aws-sdk/client-s3";
import { CheckpointError, ConfigurationError, CorruptCheckpointError, describe } from "../../core/types/errors.ts";
import type { ByteRange, CheckpointStorage, StorageWriter } from "./checkpoint-storage.ts";

/** S3 takes parts of 5 MiB or more, but for the last. */
const PART_BYTES: number = 8 * 1024 * 1024;

interface Connected {
  readonly sdk: typeof Sdk;
  readonly client: Sdk.S3Client;
}

let connecting: Promise<Connected> | undefined;

/** The client that all such storages of this process share. @throws ConfigurationError when the SDK is not installed. */
function connect(): Promise<Connected> {
  connecting ??= import("@aws-sdk/client-s3").then(
    (sdk) => {
      const own = process.env["AWS_ENDPOINT_URL_S3"] ?? process.env["AWS_ENDPOINT_URL"];
      // Stores of one's own rarely have a host name per bucket.
      return { sdk, client: new sdk.S3Client({ forcePathStyle: own !== undefined }) };
    },
    (cause: unknown) => {
      connecting = undefined;
      throw new ConfigurationError("s3:// places need the package @aws-sdk/client-s3; install it beside drey.", { cause });
    },
  );
  return connecting;
}

/** Objects whose keys begin with a prefix, in one bucket. */
export class S3Storage implements CheckpointStorage {
  readonly location: string;
  readonly #bucket: string;
  readonly #prefix: string;

  /** @param location `s3://bucket/prefix`. @throws ConfigurationError without a bucket. */
  constructor(location: string) {
    const parts = /^s3:\/\/([^/]+)\/?(.*)$/i.exec(location);
    if (parts === null) throw new ConfigurationError(`${describe(location)} names no bucket; expected s3://bucket/path.`);
    this.location = location;
    this.#bucket = parts[1] as string;
    this.#prefix = (parts[2] as string).replace(/\/+$/, "");
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    const Key = this.#key(name);
    await this.#ask("write", name, ({ sdk, client }) => client.send(new sdk.PutObjectCommand({ Bucket: this.#bucket, Key, Body: bytes })));
  }

  create(name: string, bytes: Uint8Array): Promise<boolean> {
    const Key = this.#key(name);
    return this.#ask("write", name, async ({ sdk, client }) => {
      try {
        await client.send(new sdk.PutObjectCommand({ Bucket: this.#bucket, Key, Body: bytes, IfNoneMatch: "*" }));
        return true;
      } catch (error) {
        // 409: another conditional write of the same key is on its way, and it or a repetition wins.
        if (statusOf(error) === 412 || statusOf(error) === 409) return false;
        throw error;
      }
    });
  }

  write(name: string): StorageWriter {
    const Bucket = this.#bucket;
    const Key = this.#key(name);
    const parts: Sdk.CompletedPart[] = [];
    let upload: string | undefined;
    let waiting: Uint8Array[] = [];
    let waitingBytes = 0;
    const sendPart = ({ sdk, client }: Connected): Promise<void> => {
      const Body = Buffer.concat(waiting);
      waiting = [];
      waitingBytes = 0;
      const PartNumber = parts.length + 1;
      return (async () => {
        upload ??= (await client.send(new sdk.CreateMultipartUploadCommand({ Bucket, Key }))).UploadId as string;
        const { ETag } = await client.send(new sdk.UploadPartCommand({ Bucket, Key, UploadId: upload, PartNumber, Body }));
        parts.push({ ...(ETag === undefined ? {} : { ETag }), PartNumber });
      })();
    };
    return {
      append: async (bytes) => {
        waiting.push(bytes.slice());
        waitingBytes += bytes.byteLength;
        if (waitingBytes >= PART_BYTES) await this.#ask("write", name, sendPart);
      },
      finish: async () => {
        if (upload === undefined) return this.put(name, Buffer.concat(waiting));
        await this.#ask("write", name, async (connected) => {
          if (waitingBytes > 0) await sendPart(connected);
          const { sdk, client } = connected;
          const MultipartUpload = { Parts: parts };
          await client.send(new sdk.CompleteMultipartUploadCommand({ Bucket, Key, UploadId: upload, MultipartUpload }));
          upload = undefined;
        });
      },
      abort: async () => {
        waiting = [];
        const UploadId = upload;
        upload = undefined;
        if (UploadId === undefined) return;
        const { sdk, client } = await connect();
        // What remains of it the bucket's own rules remove.
        await client.send(new sdk.AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(() => undefined);
      },
    };
  }

  get(name: string, range?: ByteRange): Promise<Uint8Array | undefined> {
    const Key = this.#key(name);
    return this.#ask("read", name, async ({ sdk, client }) => {
      if (range !== undefined && range.end <= range.start) return new Uint8Array();
      const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` };
      try {
        const { Body } = await client.send(new sdk.GetObjectCommand({ Bucket: this.#bucket, Key, ...Range }));
        const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array();
        if (range !== undefined && bytes.length < range.end - range.start) throw this.#tooShort(name, range);
        return bytes;
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw statusOf(error) === 416 && range !== undefined ? this.#tooShort(name, range) : error;
      }
    });
  }

  list(folder = ""): Promise<readonly string[]> {
    const Prefix = this.#key(folder === "" ? "" : `${folder}/`);
    return this.#ask("list", folder, async ({ sdk, client }) => {
      const names: string[] = [];
      let ContinuationToken: string | undefined;
      do {
        const more = ContinuationToken === undefined ? {} : { ContinuationToken };
        const page = await client.send(new sdk.ListObjectsV2Command({ Bucket: this.#bucket, Prefix, ...more }));
        for (const { Key } of page.Contents ?? []) if (Key !== undefined) names.push(Key.slice(this.#key("").length));
        ContinuationToken = page.NextContinuationToken;
      } while (ContinuationToken !== undefined);
      return names.sort();
    });
  }

  async delete(name: string): Promise<void> {
    const inside = await this.list(name);
    await this.#ask("remove", name, async ({ sdk, client }) => {
      for (const each of name === "" ? inside : [name, ...inside]) {
        await client.send(new sdk.DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#key(each) }));
      }
    });
  }

  #key(name: string): string {
    const parts: string[] = [];
    // A checkpoint names files of others relative to its own folder; keys know no way up.
    for (const part of [...this.#prefix.split("/"), ...name.split("/")]) {
      if (part === "..") parts.pop();
      else if (part !== "") parts.push(part);
    }
    return parts.join("/") + (name.endsWith("/") || (name === "" && parts.length > 0) ? "/" : "");
  }

  async #ask<T>(what: string, name: string, ask: (connected: Connected) => Promise<T>): Promise<T> {
    const connected = await connect();
    try {
      return await ask(connected);
    } catch (cause) {
      if (cause instanceof CorruptCheckpointError) throw cause;
      throw new CheckpointError(`could not ${what} ${this.location}/${name}: ${(cause as Error).message}.`, { cause });
    }
  }

  #tooShort(name: string, { start, end }: ByteRange): CorruptCheckpointError {
    return new CorruptCheckpointError(`${this.location}/${name} ends before byte ${end}, but bytes ${start} to ${end} were asked for.`);
  }
}

const statusOf = (error: unknown): number | undefined =>
  (error as { $metadata?: { httpStatusCode?: number } } | undefined)?.$metadata?.httpStatusCode;
