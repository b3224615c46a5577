/**
 * Messages of the control plane as frames: one header in MessagePack, then opaque attachments that nobody here looks into.
 *
 * Invariant: what `decode` accepts is a message of this version with every field of its kind present, of the right type and within its
 * limits; whatever bytes arrive, it neither throws nor allocates more than a small multiple of their length. It promises nothing about the
 * shape of requests and replies (`link.ts` checks those against the conversation) nor about who sent it (`rpc.ts` compares epoch,
 * incarnation and session). `encode` accepts exactly what `decode` will accept, so a mistake shows at the sender, with its reason.
 */
import { Packr } from "msgpackr";
import { ProtocolError, type WireError } from "../../core/types/errors.ts";

/** The version of the wire format. Processes of different versions refuse each other. */
export const PROTOCOL_VERSION = 1;
/** The largest header, in bytes. What is larger belongs into attachments. */
export const MAX_HEADER_BYTES: number = 8 * 1024 * 1024;
/** The most attachments of one message. */
export const MAX_ATTACHMENTS = 1024;
/** How deep values in a header may nest. */
export const MAX_DEPTH = 128;

/** Whose conversation a message belongs to; a message of another one is dropped. */
export interface Envelope {
  /** The leader epoch: in a server's message its own, in a client's the highest it has met (0: none yet). */
  readonly epoch: number;
  /** The run of the client process whose conversation this is, in both directions. */
  readonly incarnation: string;
  /** Counts the connections of that incarnation, from 1: a connection given up by either side is never taken up again. */
  readonly session: number;
}

/** What a message says. */
export type Content =
  /** Client to server: begin this session. `identity` is the name it goes by. */
  | { readonly kind: "hello"; readonly identity: string; readonly acceptsBytes: number }
  /** Server to client: the session has begun. */
  | { readonly kind: "welcome"; readonly acceptsBytes: number }
  /** The session is over, or none begins; `again`: the client may begin a new one. `leader`: where, when the sender knows somebody else. */
  | { readonly kind: "bye"; readonly reason: string; readonly again: boolean; readonly leader?: string }
  /** Are you there? */
  | { readonly kind: "heartbeat" }
  /** I am here. */
  | { readonly kind: "alive" }
  | { readonly kind: "request"; readonly id: number; readonly method: string; readonly args: unknown }
  | { readonly kind: "reply"; readonly id: number; readonly args: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly error: WireError }
  | { readonly kind: "event"; readonly method: string; readonly args: unknown };

/** One message of the control plane, without its attachments. */
export type Message = Envelope & Content;

/** Why bytes were refused. */
export type Refusal = "too large" | "garbage" | "foreign version" | "malformed";

/** What `decode` found. `detail` is for people. */
export type Decoded =
  | { readonly ok: true; readonly message: Message }
  | { readonly ok: false; readonly why: Refusal; readonly detail: string };

/** The wire's short names of the kinds, in one table for both directions. */
const KINDS: { readonly [K in Content["kind"]]: string } = {
  hello: "hi",
  welcome: "wel",
  bye: "bye",
  heartbeat: "hb",
  alive: "hbr",
  request: "req",
  reply: "res",
  failure: "err",
  event: "ev",
};
const KIND_OF: ReadonlyMap<unknown, Content["kind"]> = new Map(
  Object.entries(KINDS).map(([kind, short]) => [short, kind as Content["kind"]]),
);

/** The header as it is packed. */
interface Header {
  readonly v: number;
  readonly k: string;
  readonly e: number;
  readonly i: string;
  readonly s: number;
  readonly id?: number;
  readonly m?: string;
  readonly a?: unknown;
}

const packr = new Packr({ useRecords: false, mapsAsObjects: true });

/**
 * The header frame of a message.
 * @throws ProtocolError when a value in it can't travel: a symbol, a key `__proto__`, too deep, too large. The message says what.
 */
export function encode(message: Message): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = packr.pack(headerOf(message));
  } catch (error) {
    throw new ProtocolError(`${nameOf(message)} has a value that can't be packed: ${(error as Error).message}`, { cause: error });
  }
  if (bytes.length > MAX_HEADER_BYTES) {
    throw new ProtocolError(
      `${nameOf(message)} has ${bytes.length} bytes, the limit is ${MAX_HEADER_BYTES}; send what is large as an attachment.`,
    );
  }
  const flaw = flawIn(bytes);
  if (flaw !== undefined) throw new ProtocolError(`${nameOf(message)} can't travel: it has ${flaw}.`);
  return bytes;
}

/** Reads a header frame. Never throws. Binary values in the result are views of `bytes`. */
export function decode(bytes: Uint8Array): Decoded {
  if (bytes.length > MAX_HEADER_BYTES) return refuse("too large", `a header of ${bytes.length} bytes`);
  const flaw = flawIn(bytes);
  if (flaw !== undefined) return refuse("garbage", flaw);
  let header: unknown;
  try {
    header = packr.unpack(bytes);
  } catch (error) {
    return refuse("garbage", String((error as Error).message));
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) return refuse("malformed", "not a map");
  return read(header as Partial<Header>);
}

function headerOf(message: Message): Header {
  const base = { v: PROTOCOL_VERSION, k: KINDS[message.kind], e: message.epoch, i: message.incarnation, s: message.session };
  switch (message.kind) {
    case "hello":
      return { ...base, m: message.identity, a: message.acceptsBytes };
    case "welcome":
      return { ...base, a: message.acceptsBytes };
    case "bye":
      return {
        ...base,
        a: { reason: message.reason, again: message.again, ...(message.leader === undefined ? {} : { leader: message.leader }) },
      };
    case "heartbeat":
    case "alive":
      return base;
    case "request":
      return { ...base, id: message.id, m: message.method, a: message.args };
    case "reply":
      return { ...base, id: message.id, a: message.args };
    case "failure":
      return { ...base, id: message.id, a: message.error };
    case "event":
      return { ...base, m: message.method, a: message.args };
  }
}

/** The names that processes go by. */
export const IDENTITY: RegExp = /^[\w.:@-]{1,128}$/;
const METHOD = /^[A-Za-z][\w.-]{0,63}$/;

const isCount = (value: unknown, least: number): value is number => Number.isSafeInteger(value) && (value as number) >= least;
const isText = (value: unknown, longest: number): value is string => typeof value === "string" && value.length <= longest;
const refuse = (why: Refusal, detail: string): Decoded => ({ ok: false, why, detail });

function read(header: Partial<Header>): Decoded {
  if (header.v !== PROTOCOL_VERSION) {
    return refuse("foreign version", `version ${String(header.v)}; this process speaks ${PROTOCOL_VERSION}`);
  }
  const kind = KIND_OF.get(header.k);
  if (kind === undefined) return refuse("malformed", "an unknown kind");
  const { e: epoch, i: incarnation, s: session } = header;
  if (!isCount(epoch, 0)) return refuse("malformed", "e is not an epoch");
  if (!isText(incarnation, 64) || incarnation === "") return refuse("malformed", "i is not an incarnation");
  if (!isCount(session, 1)) return refuse("malformed", "s is not a session");
  const content = readContent(kind, header);
  return typeof content === "string" ? refuse("malformed", content) : { ok: true, message: { epoch, incarnation, session, ...content } };
}

/** The content, or what is wrong with it. */
function readContent(kind: Content["kind"], { id, m: method, a: args }: Partial<Header>): Content | string {
  switch (kind) {
    case "hello":
      if (typeof method !== "string" || !IDENTITY.test(method)) return "m is not a name of a process";
      return isCount(args, 1) ? { kind, identity: method, acceptsBytes: args } : "a is not a number of bytes";
    case "welcome":
      return isCount(args, 1) ? { kind, acceptsBytes: args } : "a is not a number of bytes";
    case "bye": {
      const { reason, again, leader } = Object(args) as { reason?: unknown; again?: unknown; leader?: unknown };
      if (!isText(reason, 1024) || typeof again !== "boolean") return "a is not a farewell";
      if (leader === undefined) return { kind, reason, again };
      return isText(leader, 1024) ? { kind, reason, again, leader } : "a does not name a leader's address";
    }
    case "heartbeat":
    case "alive":
      return { kind };
    case "request":
      if (!isCount(id, 1)) return "id is not a request's number";
      return typeof method === "string" && METHOD.test(method) ? { kind, id, method, args } : "m is not a method's name";
    case "reply":
      return isCount(id, 1) ? { kind, id, args } : "id is not a request's number";
    case "failure":
      if (!isCount(id, 1)) return "id is not a request's number";
      return isWireError(args) ? { kind, id, error: args } : "a is not an error";
    case "event":
      return typeof method === "string" && METHOD.test(method) ? { kind, method, args } : "m is not a method's name";
  }
}

/** The longest message or stack of an error on the wire, in characters. */
export const MAX_ERROR_TEXT = 65_536;

const DOMAINS: ReadonlySet<unknown> = new Set(["user", "system", "external"]);

function isWireError(value: unknown, depth = 0): value is WireError {
  if (typeof value !== "object" || value === null || depth > 10) return false;
  const { name, code, domain, message, stack, details, cause } = value as Partial<WireError>;
  return (
    isText(name, 256) &&
    isText(code, 256) &&
    DOMAINS.has(domain) &&
    isText(message, MAX_ERROR_TEXT) &&
    (stack === undefined || isText(stack, MAX_ERROR_TEXT)) &&
    (details === undefined || (typeof details === "object" && details !== null && !Array.isArray(details))) &&
    (cause === undefined || isWireError(cause, depth + 1))
  );
}

/** For error messages. */
function nameOf(message: Message): string {
  switch (message.kind) {
    case "request":
      return `the request of ${message.method}`;
    case "event":
      return `the event ${message.method}`;
    case "reply":
      return "the reply";
    default:
      return `the ${message.kind}`;
  }
}

// The walk below is synchronous and calls nothing, so one set of stacks serves all calls.
const itemsLeft = new Float64Array(MAX_DEPTH + 1);
const insideMap = new Uint8Array(MAX_DEPTH + 1);

/**
 * Walks MessagePack without building anything, and says what is wrong with it. It accepts one value of nil, booleans, numbers, strings,
 * bytes, arrays, maps with text keys, and the extensions for `undefined` and dates. The unpacker alone would not do: a claimed length makes
 * it allocate before it looks for the items, nesting makes it recurse, and extensions make it build things that nobody expects.
 */
function flawIn(bytes: Uint8Array): string | undefined {
  const end = bytes.length;
  let at = 0;
  let depth = 0;
  itemsLeft[0] = 1;
  insideMap[0] = 0;
  for (;;) {
    while (itemsLeft[depth] === 0) {
      if (depth === 0) return at === end ? undefined : "bytes after its end";
      depth--;
    }
    if (at >= end) return "an end before its time";
    // A map of n entries is 2n items: an even number of items left means that a key comes next.
    const left = itemsLeft[depth]!;
    const isKey = insideMap[depth] === 1 && left % 2 === 0;
    itemsLeft[depth] = left - 1;
    const token = bytes[at++]!;
    let skip = 0;
    let items = -1;
    let isMap = false;
    let isString = false;
    if (token < 0x80 || token >= 0xe0) skip = 0;
    else if (token < 0x90) {
      items = (token & 0x0f) * 2;
      isMap = true;
    } else if (token < 0xa0) items = token & 0x0f;
    else if (token < 0xc0) {
      skip = token & 0x1f;
      isString = true;
    } else {
      switch (token) {
        case 0xc0: // nil
        case 0xc2: // false
        case 0xc3: // true
          break;
        case 0xc4: // bytes
        case 0xd9: // text
          if (at + 1 > end) return "an end before its time";
          skip = bytes[at]!;
          at += 1;
          isString = token === 0xd9;
          break;
        case 0xc5:
        case 0xda:
          if (at + 2 > end) return "an end before its time";
          skip = bytes[at]! * 256 + bytes[at + 1]!;
          at += 2;
          isString = token === 0xda;
          break;
        case 0xc6:
        case 0xdb:
          if (at + 4 > end) return "an end before its time";
          skip = uint32(bytes, at);
          at += 4;
          isString = token === 0xdb;
          break;
        case 0xcc: // numbers
        case 0xd0:
          skip = 1;
          break;
        case 0xcd:
        case 0xd1:
          skip = 2;
          break;
        case 0xca:
        case 0xce:
        case 0xd2:
          skip = 4;
          break;
        case 0xcb:
        case 0xcf:
        case 0xd3:
          skip = 8;
          break;
        case 0xdc: // arrays
        case 0xde: // maps
          if (at + 2 > end) return "an end before its time";
          items = bytes[at]! * 256 + bytes[at + 1]!;
          at += 2;
          isMap = token === 0xde;
          if (isMap) items *= 2;
          break;
        case 0xdd:
        case 0xdf:
          if (at + 4 > end) return "an end before its time";
          items = uint32(bytes, at);
          at += 4;
          isMap = token === 0xdf;
          if (isMap) items *= 2;
          break;
        case 0xd4: // undefined
          if (bytes[at] !== 0) return "a value of a type that messages don't have";
          skip = 2;
          break;
        case 0xd6: // dates
        case 0xd7:
          if (bytes[at] !== 0xff) return "a value of a type that messages don't have";
          skip = token === 0xd6 ? 5 : 9;
          break;
        case 0xc7:
          if (bytes[at] !== 12 || bytes[at + 1] !== 0xff) return "a value of a type that messages don't have";
          skip = 14;
          break;
        default:
          return "a value of a type that messages don't have";
      }
    }
    if (isKey) {
      if (!isString) return "a key that is not text";
      if (isPrototypeKey(bytes, at, skip)) return "a key __proto__, prototype or constructor";
    }
    if (at + skip > end) return "an end before its time";
    at += skip;
    if (items >= 0) {
      // Every item takes a byte at least; so a claim beyond the rest of the bytes is a lie.
      if (items > end - at) return "an end before its time";
      if (depth === MAX_DEPTH) return `more than ${MAX_DEPTH} levels`;
      depth++;
      itemsLeft[depth] = items;
      insideMap[depth] = isMap ? 1 : 0;
    }
  }
}

const uint32 = (bytes: Uint8Array, at: number): number =>
  bytes[at]! * 0x1000000 + bytes[at + 1]! * 0x10000 + bytes[at + 2]! * 0x100 + bytes[at + 3]!;

const PROTOTYPE_KEYS: readonly Uint8Array[] = ["__proto__", "prototype", "constructor"].map((key) => new TextEncoder().encode(key));

function isPrototypeKey(bytes: Uint8Array, at: number, length: number): boolean {
  if (length !== 9 && length !== 11) return false;
  return PROTOTYPE_KEYS.some((key) => key.length === length && key.every((byte, index) => bytes[at + index] === byte));
}
