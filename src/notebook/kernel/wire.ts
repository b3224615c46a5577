/**
 * Messages of Jupyter's protocol (5.4) as frames of ZeroMQ: who it is for, a delimiter, a signature, four JSON texts (header, parent's
 * header, metadata, content) and raw buffers. A kernel runs code for whoever talks to it, so a message whose signature does not fit the
 * key of the connection file is no message.
 */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { ProtocolError } from "../../core/types/errors.ts";

/** Version of the protocol that the kernel speaks. */
export const PROTOCOL_VERSION = "5.4";

/** What a message says of itself. */
export interface Header {
  readonly msg_id: string;
  readonly session: string;
  readonly username: string;
  readonly date: string;
  readonly msg_type: string;
  readonly version: string;
  readonly subshell_id?: string | null;
}

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

/** One message, read or to be written. */
export interface JupyterMessage {
  /** Routing ids of the peer; the topic on the output channel. */
  readonly peers: readonly Buffer[];
  readonly header: Header;
  /** The header of the request that this answers or belongs to; empty for none. */
  readonly parent: Header | Record<string, never>;
  readonly metadata: Json;
  readonly content: Json;
  readonly buffers: readonly Uint8Array[];
}

const DELIMITER = Buffer.from("<IDS|MSG>");

/** Reads and writes messages that are signed with one key. An empty key signs nothing, as the protocol has it. */
export class Wire {
  /** The kernel's own session id, in each of its headers. */
  readonly session: string = randomUUID();
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  /** A header for a message that the kernel sends. */
  header(type: string): Header {
    return {
      msg_id: randomUUID(),
      session: this.session,
      username: "kernel",
      date: new Date().toISOString(),
      msg_type: type,
      version: PROTOCOL_VERSION,
    };
  }

  /** The frames of a message. */
  encode({ peers, header, parent, metadata, content, buffers }: JupyterMessage): (Buffer | Uint8Array | string)[] {
    const parts = [header, parent, metadata, content].map((part) => JSON.stringify(part));
    return [...peers, DELIMITER, this.#sign(parts), ...parts, ...buffers];
  }

  /** @throws ProtocolError when the frames are no message or its signature is not ours; whoever sent it gets no answer. */
  decode(frames: readonly Buffer[]): JupyterMessage {
    const at = frames.findIndex((frame) => frame.equals(DELIMITER));
    const parts = frames.slice(at + 2, at + 6);
    if (at < 0 || parts.length < 4) throw new ProtocolError("a message of Jupyter's protocol came without its parts.");
    const given = frames[at + 1] as Buffer;
    const expected = Buffer.from(this.#sign(parts));
    if (given.length !== expected.length || !timingSafeEqual(given, expected))
      throw new ProtocolError("a message of Jupyter's protocol is signed with another key; it is dropped.");
    const [header, parent, metadata, content] = parts.map((part) => JSON.parse(part.toString()) as Json);
    if (typeof header?.["msg_type"] !== "string") throw new ProtocolError("a message of Jupyter's protocol has no type.");
    return {
      peers: frames.slice(0, at),
      header: header as unknown as Header,
      parent: (parent ?? {}) as JupyterMessage["parent"],
      metadata: metadata ?? {},
      content: content ?? {},
      buffers: frames.slice(at + 6),
    };
  }

  #sign(parts: readonly (string | Buffer)[]): string {
    if (this.#key === "") return "";
    const hmac = createHmac("sha256", this.#key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("hex");
  }
}
