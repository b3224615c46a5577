/**
 * What two TaskManagers write to each other on their data connection. A message is one ZeroMQ frame: a header and a run of entries, so
 * that many small segments and credits of many channels travel together. Little-endian, every entry padded to 8 bytes:
 *
 *     message   version u8 │ 0 u8 │ 0 u16 │ epoch u32 │ entry …
 *     entry     kind u8 │ side u8 │ 0 u16 │ channel u32 │ body bytes u32 │ 0 u32 │ value f64 │ body, padded
 *
 *     kind      direction              channel   value          body
 *     hello     both, first            –         –              –
 *     probe     any                    –         –              –              (asks the socket whether the peer is still there)
 *     open      consumer → producer    number    credit limit   channel address, UTF-8
 *     credit    consumer → producer    number    credit limit   –
 *     data      producer → consumer    number    sequence       segment: its header and payload only
 *     close     any, `side` says who   number    –              reason, UTF-8
 *
 * The consumer's TaskManager numbers the channels of a link; `open` binds the number to the address and carries the first credits, so
 * a segment can't come before its channel is open. The epoch names one life of the connection: what is left of an earlier one is dropped.
 */
import { ProtocolError, describe } from "../../core/types/errors.ts";

/** Version of this layout; TaskManagers of one cluster speak the same. */
export const LINK_VERSION = 1;
/** Bytes before the first entry of a message, and before the body of each entry. */
export const MESSAGE_HEADER_BYTES = 8;
export const ENTRY_HEADER_BYTES = 24;

/** What an entry is; 0 is none. */
export const EntryKind = { hello: 1, probe: 2, open: 3, credit: 4, data: 5, close: 6 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

/** Who closes a channel. */
export const Side = { none: 0, producer: 1, consumer: 2 } as const;
export type Side = (typeof Side)[keyof typeof Side];

// Not by bit operations: a length that a peer invents may have its 32nd bit set.
const pad = (bytes: number): number => Math.ceil(bytes / 8) * 8;
/** Bytes of an entry with a body of so many bytes. */
export const entryBytes = (bodyBytes: number): number => ENTRY_HEADER_BYTES + pad(bodyBytes);

/** Writes the header of a message of one life of the connection. */
export function writeMessageHeader(message: Buffer, epoch: number): void {
  message.writeUInt32LE(LINK_VERSION, 0);
  message.writeUInt32LE(epoch, 4);
}

/** Version and epoch that a message came with; the version is −1 when it is too short to be one. */
export const messageVersion = (message: Buffer): number => (message.length < MESSAGE_HEADER_BYTES ? -1 : (message[0] as number));
export const messageEpoch = (message: Buffer): number => message.readUInt32LE(4);
/** Kind of the first entry, or 0 when there is none. */
export const firstKind = (message: Buffer): number => message[MESSAGE_HEADER_BYTES] ?? 0;

/**
 * Writes an entry's header at `at`, and zeroes behind its body; the caller writes the body.
 * @returns where the body starts.
 */
export function writeEntryHeader(
  message: Buffer, at: number, kind: EntryKind, side: Side, channel: number, bodyBytes: number, value: number,
): number {
  message.writeUInt32LE(kind | (side << 8), at);
  message.writeUInt32LE(channel, at + 4);
  message.writeUInt32LE(bodyBytes, at + 8);
  message.writeUInt32LE(0, at + 12);
  message.writeDoubleLE(value, at + 16);
  const body = at + ENTRY_HEADER_BYTES;
  if (bodyBytes % 8 !== 0) message.fill(0, body + bodyBytes, body + pad(bodyBytes));
  return body;
}

/** What `readEntries` hands out; the body is `message[start … end)`. */
export type EntryVisitor = (kind: EntryKind, side: Side, channel: number, value: number, start: number, end: number) => void;

/**
 * Calls `visit` for each entry of a message in order.
 * @throws ProtocolError when the message is not of this layout; entries before the fault were visited.
 */
export function readEntries(message: Buffer, visit: EntryVisitor): void {
  if (messageVersion(message) !== LINK_VERSION) {
    throw new ProtocolError(`A message has version ${messageVersion(message)}, and this process speaks ${LINK_VERSION}.`);
  }
  let at = MESSAGE_HEADER_BYTES;
  while (at < message.length) {
    if (at + ENTRY_HEADER_BYTES > message.length) throw new ProtocolError(`A message of ${message.length} bytes breaks off at byte ${at}.`);
    const kind = message[at] as EntryKind;
    const end = at + ENTRY_HEADER_BYTES + message.readUInt32LE(at + 8);
    const following = at + entryBytes(message.readUInt32LE(at + 8));
    if (kind < EntryKind.hello || kind > EntryKind.close) throw new ProtocolError(`An entry has the unknown kind ${describe(kind)}.`);
    if (following > message.length) throw new ProtocolError(`The entry at byte ${at} ends behind its message of ${message.length} bytes.`);
    visit(kind, message[at + 1] as Side, message.readUInt32LE(at + 4), message.readDoubleLE(at + 16), at + ENTRY_HEADER_BYTES, end);
    at = following;
  }
}
