/**
 * One table value as bytes of its own, as it lies on disk: what its codec writes, in the value format. Unlike a block it has no checksum
 * and no version: the disk of a running subtask is read by the one that wrote it, and by nobody after it.
 *
 *     bytes per character (u8) · characters (u32) · values … · characters
 */
import type { ClassRegistry } from "../data/classes.ts";
import { refusal, Unshippable } from "../data/refusal.ts";
import { bytesPerCharacter } from "../data/text.ts";
import { ValueReader } from "../data/value-reader.ts";
import { ValueWriter } from "../data/value-writer.ts";
import type { TableCodec } from "./table.ts";

const HEADER_BYTES = 5;

/** Writes and reads the values of tables. Used by one thread; not reentrant. */
export class EntryBytes {
  readonly #writer: ValueWriter;
  readonly #reader: ValueReader;

  constructor(classes: ClassRegistry) {
    this.#writer = new ValueWriter(classes);
    this.#reader = new ValueReader(classes);
  }

  /** @throws RecordError when the value holds what can't be written. */
  write<Value>(codec: TableCodec<Value>, value: Value): Buffer {
    const writer = this.#writer;
    writer.reset();
    try {
      codec.write(writer, value);
    } catch (error) {
      throw error instanceof Unshippable ? refusal(error, value, "state") : error;
    }
    const { length, text } = writer;
    const width = bytesPerCharacter(text);
    const bytes = Buffer.allocUnsafe(HEADER_BYTES + length + text.length * width);
    bytes[0] = width;
    bytes.writeUInt32LE(text.length, 1);
    bytes.set(writer.bytes.subarray(0, length), HEADER_BYTES);
    bytes.write(text, HEADER_BYTES + length, width === 1 ? "latin1" : "utf16le");
    return bytes;
  }

  /** @param bytes what `write` made; not needed any more afterwards. */
  read<Value>(codec: TableCodec<Value>, bytes: Buffer): Value | undefined {
    const width = bytes[0] as number;
    const textAt = bytes.length - bytes.readUInt32LE(1) * width;
    this.#reader.reset(bytes, HEADER_BYTES, bytes.toString(width === 1 ? "latin1" : "utf16le", textAt), 0);
    return codec.read(this.#reader.read(), this.#reader, codec.type);
  }
}
