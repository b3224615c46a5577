/**
 * A block: some entries of one section, in the value format, with all that is needed to read them and to notice damage. What an entry is
 * made of (a token and a value, a time and a token …) is its section's matter.
 *
 *     0  "dr"  version  0        8  entries            16  characters        24  values …
 *     4  CRC-32 of all from 8    12 bytes of values    20  bytes per character    then the characters
 *
 * Numbers are u32, little end first. Golden tests read stored blocks: a version's layout never changes.
 */
import { crc32 } from "node:zlib";
import type { ClassRegistry } from "../data/classes.ts";
import { bytesPerCharacter } from "../data/text.ts";
import { ValueReader } from "../data/value-reader.ts";
import { ValueWriter } from "../data/value-writer.ts";
import { CorruptCheckpointError } from "../types/errors.ts";

/** Version of the layout. */
export const BLOCK_FORMAT = 1;

const HEADER_BYTES = 24;
const MARK = [0x64, 0x72] as const;
const CRC_AT = 4;
const ENTRIES_AT = 8;
const VALUES_AT = 12;
const CHARACTERS_AT = 16;
const WIDTH_AT = 20;
/** A writer that grew beyond this is not kept for the next block. */
const LARGEST_KEPT = 1024 * 1024;
/**
 * Characters that are joined before they become bytes. While keys change during a snapshot, blocks of all key groups fill at once, and
 * joined strings are garbage in the making: whole blocks of them outlive their youth, and collecting them takes longer than writing.
 */
const JOINED_CHARACTERS = 1_024;

/** Gathers the entries of one block. */
export class BlockWriter {
  readonly #classes: ClassRegistry;
  #writer: ValueWriter;
  #entries = 0;
  /** The characters of all entries but the latest ones: so many, so many bytes each. */
  #text = Buffer.alloc(0);
  #characters = 0;
  #width: 1 | 2 = 1;

  constructor(classes: ClassRegistry) {
    this.#classes = classes;
    this.#writer = new ValueWriter(classes);
    this.#writer.reset();
  }

  /** Entries gathered. */
  get entries(): number {
    return this.#entries;
  }

  /** About how many bytes they take. */
  get size(): number {
    return this.#writer.length + this.#characters * this.#width + this.#writer.text.length;
  }

  /** Begins an entry. @returns where its values go; valid until the entry is complete. */
  entry(): ValueWriter {
    this.#entries++;
    if (this.#writer.text.length >= JOINED_CHARACTERS) this.#takeText();
    this.#writer.beginRow();
    return this.#writer;
  }

  /** The block of all entries gathered since the last call. */
  take(): Uint8Array {
    this.#takeText();
    const { bytes, length } = this.#writer;
    const characters = this.#characters * this.#width;
    // Memory of its own, so that it can be given to another thread as it is; every byte of it is written.
    const block = Buffer.allocUnsafeSlow(HEADER_BYTES + length + characters);
    block[0] = MARK[0];
    block[1] = MARK[1];
    block[2] = BLOCK_FORMAT;
    block[3] = 0;
    block.writeUInt32LE(this.#entries, ENTRIES_AT);
    block.writeUInt32LE(length, VALUES_AT);
    block.writeUInt32LE(this.#characters, CHARACTERS_AT);
    block.writeUInt32LE(this.#width, WIDTH_AT);
    block.set(bytes.subarray(0, length), HEADER_BYTES);
    block.set(this.#text.subarray(0, characters), HEADER_BYTES + length);
    block.writeUInt32LE(crc32(block.subarray(ENTRIES_AT)), CRC_AT);
    this.discard();
    return block;
  }

  /** Forgets the entries gathered since the last block. */
  discard(): void {
    this.#entries = 0;
    this.#characters = 0;
    this.#width = 1;
    if (this.#text.length > LARGEST_KEPT) this.#text = Buffer.alloc(0);
    if (this.#writer.bytes.length > LARGEST_KEPT) this.#writer = new ValueWriter(this.#classes);
    this.#writer.reset();
  }

  /** Makes bytes of the characters that were joined. */
  #takeText(): void {
    const { text } = this.#writer;
    if (text === "") return;
    this.#writer.text = "";
    if (this.#width === 1 && bytesPerCharacter(text) === 2) {
      // The first wide character: what is there becomes wide too.
      this.#text = Buffer.from(this.#text.toString("latin1", 0, this.#characters), "utf16le");
      this.#width = 2;
    }
    const start = this.#characters * this.#width;
    const end = start + text.length * this.#width;
    if (end > this.#text.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end, 2 * this.#text.length));
      larger.set(this.#text.subarray(0, start));
      this.#text = larger;
    }
    this.#text.write(text, start, this.#width === 1 ? "latin1" : "utf16le");
    this.#characters += text.length;
  }
}

/** Reads blocks. Used by one thread; not reentrant. */
export class BlockReader {
  readonly #reader: ValueReader;

  constructor(classes: ClassRegistry) {
    this.#reader = new ValueReader(classes);
  }

  /**
   * Calls a function for each entry, with a reader that stands at its first value. It has to read all of them.
   * @param where names the block in errors.
   * @throws CorruptCheckpointError when these are not the bytes that were written, or are of a later version.
   */
  read(block: Uint8Array, where: string, each: (values: ValueReader) => void): void {
    const bytes = Buffer.from(block.buffer as ArrayBuffer, block.byteOffset, block.byteLength);
    if (bytes.length < HEADER_BYTES || bytes[0] !== MARK[0] || bytes[1] !== MARK[1]) {
      throw new CorruptCheckpointError(`${where} holds no state: ${bytes.length} bytes that begin with ${bytes.toString("hex", 0, 8)}.`);
    }
    if (bytes[2] !== BLOCK_FORMAT) {
      throw new CorruptCheckpointError(
        `${where} was written in version ${bytes[2]} of the state format; this version of drey reads version ${BLOCK_FORMAT}. ` +
          "Restore it with the version that wrote it, or with a later one.",
      );
    }
    const values = bytes.readUInt32LE(VALUES_AT);
    const width = bytes.readUInt32LE(WIDTH_AT);
    const whole = HEADER_BYTES + values + bytes.readUInt32LE(CHARACTERS_AT) * width;
    if (bytes.length !== whole || crc32(bytes.subarray(ENTRIES_AT)) !== bytes.readUInt32LE(CRC_AT)) {
      throw new CorruptCheckpointError(`${where} is damaged: its ${bytes.length} bytes are not those that were written.`);
    }
    const text = bytes.toString(width === 1 ? "latin1" : "utf16le", HEADER_BYTES + values);
    this.#reader.reset(bytes, HEADER_BYTES, text, 0);
    for (let left = bytes.readUInt32LE(ENTRIES_AT); left > 0; left--) {
      this.#reader.beginRow();
      each(this.#reader);
    }
  }
}
