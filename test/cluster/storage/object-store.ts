/** As much of an S3 server as a client of checkpoints needs, on a port of this machine: objects in a Map, conditional writes, multipart uploads. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

export class ObjectStore {
  readonly objects = new Map<string, Buffer>();
  /** Keys of objects that were asked for, in order. */
  readonly reads: string[] = [];
  readonly #uploads = new Map<string, Map<number, Buffer>>();
  /** Names at once in a listing, so that there are several pages. */
  readonly #page = 3;
  readonly #server = createServer((request, response) => void this.#serve(request, response));

  async start(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, "http://store");
    const [, , ...parts] = url.pathname.split("/");
    const key = decodeURIComponent(parts.join("/"));
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    const answer = (status: number, text: string | Buffer = "", headers: Record<string, string> = {}): void => {
      response.writeHead(status, { "content-length": Buffer.byteLength(text), ...headers });
      response.end(request.method === "HEAD" ? undefined : text);
    };
    const failed = (status: number, code: string): void => answer(status, `<Error><Code>${code}</Code></Error>`, { "content-type": "application/xml" });
    const tag = (bytes: Buffer): string => `"${createHash("md5").update(bytes).digest("hex")}"`;
    const upload = url.searchParams.get("uploadId");
    if (request.method === "POST" && url.searchParams.has("uploads")) {
      const id = String(this.#uploads.size + 1);
      this.#uploads.set(id, new Map());
      return answer(200, `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`);
    }
    if (upload !== null) {
      const uploaded = this.#uploads.get(upload);
      if (uploaded === undefined) return failed(404, "NoSuchUpload");
      if (request.method === "PUT") {
        uploaded.set(Number(url.searchParams.get("partNumber")), body);
        return answer(200, "", { etag: tag(body) });
      }
      this.#uploads.delete(upload);
      if (request.method === "DELETE") return answer(204);
      this.objects.set(key, Buffer.concat([...uploaded].sort(([a], [b]) => a - b).map(([, bytes]) => bytes)));
      return answer(200, "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>");
    }
    switch (request.method) {
      case "PUT":
        if (request.headers["if-none-match"] === "*" && this.objects.has(key)) return failed(412, "PreconditionFailed");
        this.objects.set(key, body);
        return answer(200, "", { etag: tag(body) });
      case "DELETE":
        this.objects.delete(key);
        return answer(204);
      case "GET": {
        if (key === "") return answer(200, this.#list(url.searchParams), { "content-type": "application/xml" });
        this.reads.push(key);
        const bytes = this.objects.get(key);
        if (bytes === undefined) return failed(404, "NoSuchKey");
        const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
        if (range === null) return answer(200, bytes);
        const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, bytes.length)];
        if (start >= bytes.length) return failed(416, "InvalidRange");
        return answer(206, bytes.subarray(start, end), { "content-range": `bytes ${start}-${end - 1}/${bytes.length}` });
      }
      default:
        return failed(405, "MethodNotAllowed");
    }
  }

  #list(parameters: URLSearchParams): string {
    const prefix = parameters.get("prefix") ?? "";
    const after = parameters.get("continuation-token") ?? "";
    const found = [...this.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
    const page = found.slice(0, this.#page);
    const next = found.length > page.length ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : "";
    return `<ListBucketResult><IsTruncated>${found.length > page.length}</IsTruncated>${next}${page.map((key) => `<Contents><Key>${key}</Key></Contents>`).join("")}</ListBucketResult>`;
  }
}
