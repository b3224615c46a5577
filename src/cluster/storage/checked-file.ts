/**
 * Plain data as a file that tells whether it is whole. A storage shows a file whole or not at all, but disks flip bits, and people copy
 * half of a folder.
 *
 *     "drey " kind "\n" · version (u32) · length of the text (u32) · CRC-32 of the text (u32) · the text: JSON, UTF-8
 *
 * Bytes in the data are written as base64.
 */
import { crc32 } from "node:zlib";
import { CorruptCheckpointError } from "../../core/types/errors.ts";

/** A kind of file: the word it begins with, and the version that this drey writes. It reads all up to this one. */
export interface FileKind {
  readonly name: string;
  readonly version: number;
}

/** @param value what JSON can say, and Uint8Arrays. */
export function encodeChecked({ name, version }: FileKind, value: unknown): Uint8Array {
  const magic = magicOf(name);
  const text = new TextEncoder().encode(JSON.stringify(value, writeBytes));
  const bytes = new Uint8Array(magic.length + 12 + text.length);
  bytes.set(magic);
  const header = new DataView(bytes.buffer, magic.length);
  header.setUint32(0, version);
  header.setUint32(4, text.length);
  header.setUint32(8, crc32(text));
  bytes.set(text, magic.length + 12);
  return bytes;
}

/**
 * What `encodeChecked` wrote.
 * @param where the file, for messages.
 * @throws CorruptCheckpointError when it is cut off, damaged, something else, or of a newer version.
 */
export function decodeChecked({ name, version: known }: FileKind, bytes: Uint8Array, where: string): unknown {
  const bad = (what: string): CorruptCheckpointError => new CorruptCheckpointError(`${where} ${what}.`);
  const magic = magicOf(name);
  const start = magic.length + 12;
  if (bytes.length < start || magic.some((byte, index) => bytes[index] !== byte)) throw bad(`is not the ${name} of a drey`);
  const header = new DataView(bytes.buffer, bytes.byteOffset + magic.length);
  const version = header.getUint32(0);
  if (version > known || version === 0) {
    throw bad(`has version ${version}, and this drey reads versions up to ${known}; read it with the drey that wrote it, or a newer one`);
  }
  const text = bytes.subarray(start);
  if (text.length !== header.getUint32(4)) throw bad(`should have ${header.getUint32(4)} bytes of text, but has ${text.length}; it was cut off`);
  if (crc32(text) !== header.getUint32(8)) throw bad("is damaged: its checksum is wrong");
  return JSON.parse(new TextDecoder().decode(text), readBytes);
}

const magicOf = (name: string): Uint8Array => new TextEncoder().encode(`drey ${name}\n`);

function writeBytes(this: unknown, key: string, value: unknown): unknown {
  // A Buffer has made something else of itself before it comes here.
  const bytes = (this as Readonly<Record<string, unknown>>)[key];
  return bytes instanceof Uint8Array ? { $bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64") } : value;
}

function readBytes(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("$bytes" in value)) return value;
  return new Uint8Array(Buffer.from((value as { $bytes: string }).$bytes, "base64"));
}
