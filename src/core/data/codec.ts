/**
 * Batches of records as bytes. One encoder and one decoder face each other at the two ends of a channel, and what the encoder
 * writes reaches the decoder once and in order: so the encoder can announce a row type in front of the first batch that uses it,
 * and the decoder needs to know nothing beforehand but the classes.
 *
 * A batch is one or more *blocks*, one for each row type in it (columnar.ts); most batches have one. Row types are found by looking
 * at rows (schema.ts), and adapt: a type is widened when a value does not fit, a new one is learned when a shape comes up, and what
 * can't be learned (too many shapes, or learning too often) is written row by row as values (value-format.ts). Every way is exact.
 *
 *     payload  i32 blocks | timestamps << 8, bytes of announcements, column of the timestamps, offset of the timestamps
 *              announcements: JSON [[slot, type] …]
 *              with several blocks: the slot of each row, one byte each, in the order of the rows
 *              blocks
 *              timestamps, unless they are a column of the only block
 */
import { InvariantError } from "../types/errors.ts";
import { type ClassRegistry, noClasses } from "./classes.ts";
import { type Pass, pick, RowReader, RowWriter, Stop } from "./columnar.ts";
import { setField } from "./construct.ts";
import { MAX_SEGMENT_ROWS, type SegmentMemory } from "./element.ts";
import { refusal, Unshippable } from "./refusal.ts";
import { type ColumnType, shapeOf, typeFromWire, typeOfValue, typeToWire, widen, type WireType } from "./schema.ts";
import { align8 } from "./text.ts";
import { ValueReader } from "./value-reader.ts";
import { ValueWriter } from "./value-writer.ts";

/** Row types with a slot of their own. */
const MAX_VARIANTS = 8;
/** The slot of rows that have none; known to both sides. */
const ANY_SLOT = MAX_VARIANTS;
const ANY: ColumnType = { kind: "any", nullable: false };
/** Turns in which a batch must have found its form. Each type can be widened at most twice per column. */
const MAX_TURNS = 2_000;
/** Rows looked at to find a type. */
const SAMPLE_ROWS = 64;
/** How often a channel may learn at once … */
const LESSONS = 32;
/** … and after how many batches once more. This bounds the cost of a stream without any regularity. */
const BATCHES_PER_LESSON = 256;
/** A slot whose type was not met for so many batches may be taken for another. */
const BATCHES_OF_GRACE = 64;

const PAYLOAD_HEADER_BYTES = 16;

/** How the timestamps of a batch are written. */
const Timestamps = { each: 0, constant: 1, column: 2 } as const;

/** A row type in its slot. */
interface Variant {
  readonly slot: number;
  readonly shape: string;
  /** Whether a row has this shape. */
  readonly is: (row: unknown) => boolean;
  writer: RowWriter;
  announced: boolean;
  /** Batch in which it was used last. */
  lastUse: number;
  /** Average bytes per row beyond the columns: what the number of rows to try is computed from. */
  looseBytesPerRow: number;
  /** The rows of a mixed batch that are of this type, and their places in it. */
  readonly rows: unknown[];
  readonly places: number[];
}

/** Writes the batches of one channel. One thread, one channel; see `encode`. */
export class BatchEncoder {
  readonly #classes: ClassRegistry;
  readonly #maxRows: number;
  readonly #separable: boolean;
  readonly #pass: Pass;
  readonly #variants: (Variant | undefined)[] = [];
  readonly #catchAll: Variant;
  /** The type that the last batch consisted of, if it was a single one. */
  #current: Variant | undefined;
  /** Rows to try in this turn. */
  #count = 0;
  #batch = 0;
  #adaptations = 0;
  #lessons = LESSONS;
  #mixedBytesPerRow = 64;
  #bytesWritten = 0;

  /**
   * @param options maxRows: rows per batch at the most, default MAX_SEGMENT_ROWS. separable: each batch announces all its row types, so
   * that it can be read without those before it; for channels whose reader may change or miss batches. Costs some bytes per batch.
   */
  constructor(options: { readonly classes?: ClassRegistry; readonly maxRows?: number; readonly separable?: boolean } = {}) {
    this.#classes = options.classes ?? noClasses;
    this.#maxRows = options.maxRows ?? MAX_SEGMENT_ROWS;
    this.#separable = options.separable ?? false;
    const writer = new ValueWriter(this.#classes);
    this.#pass = { writer, width: 1, narrowTexts: 0, budget: 0, stopped: Stop.none, index: 0, text: "", characters: [] };
    this.#catchAll = newVariant(ANY_SLOT, "", writerOf(ANY, this.#classes));
    this.#catchAll.announced = true;
  }

  /** Bytes of the payload that the last successful `encode` wrote. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /**
   * Writes as many of rows[from … to) with their timestamps as fit between `offset` and `limit`, both multiples of 8: the payload
   * of a segment. What was written must reach the decoder, in order.
   * @returns how many rows were written. 0: not even one fits; send it by `encodeRow`.
   * @throws RecordError if a row holds a value that can't travel; nothing is then written.
   */
  encode(
    memory: SegmentMemory, offset: number, limit: number, rows: readonly unknown[], timestamps: Float64Array, from: number, to: number,
  ): number {
    this.#count = Math.min(to - from, this.#maxRows);
    if (this.#count <= 0) return 0;
    this.#batch++;
    this.#adaptations = 0;
    if (this.#batch % BATCHES_PER_LESSON === 0 && this.#lessons < LESSONS) this.#lessons++;
    // Each turn either succeeds, or widens a type, or learns one, or lowers the count, or reserves wider characters: it ends.
    for (let turn = 0; turn < MAX_TURNS; turn++) {
      const written: number = this.#current === undefined
        ? this.#encodeMixed(memory, offset, limit, rows, timestamps, from)
        : this.#encodeSingle(memory, offset, limit, rows, timestamps, from, this.#current);
      if (written === AGAIN) continue;
      this.#pass.text = "";
      return written;
    }
    throw new InvariantError(`A batch of ${to - from} rows could not be encoded in ${MAX_TURNS} turns.`);
  }

  /** One row in a message of its own, whatever its size; for rows that fit into no segment. */
  encodeRow(row: unknown, timestamp: number): Uint8Array {
    const message = writeMessage(this.#pass.writer, row, "record", 8);
    new DataView(message.buffer).setFloat64(0, timestamp, true);
    return message;
  }

  /** Writes a batch of one type. @returns the rows written, 0, or AGAIN. */
  #encodeSingle(
    memory: SegmentMemory, offset: number, limit: number, rows: readonly unknown[], timestamps: Float64Array, from: number,
    variant: Variant,
  ): number {
    const { writer } = variant;
    const start = this.#announce(memory, offset, limit, [variant]);
    if (start < 0) return 0;
    const fitting = Math.floor((limit - start - writer.overheadBytes) / (writer.bytesPerRow + 8 + variant.looseBytesPerRow));
    let tried = Math.max(1, Math.min(this.#count, fitting));
    let end = this.#block(variant, memory, start, limit - 8 * tried, rows, from, tried);
    if (end < 0 && this.#pass.stopped === Stop.full && tried > 1) {
      // Columns for many rows left no room for the text of the first: try it alone.
      tried = 1;
      end = this.#block(variant, memory, start, limit - 8, rows, from, 1);
    }
    const written = end < 0 ? 0 : (memory.i32[(start >> 2) + 1] as number);
    switch (this.#pass.stopped) {
      case Stop.none:
        break;
      case Stop.full:
        if (written === 0) return 0;
        break;
      case Stop.width:
        return AGAIN;
      case Stop.shape:
        this.#current = undefined;
        return AGAIN;
      default:
        this.#adapt(variant, rows, from + written, from + tried);
        return AGAIN;
    }
    const loose = (end - start) / written - writer.bytesPerRow;
    variant.looseBytesPerRow += (Math.max(0, loose) - variant.looseBytesPerRow) / 4;
    variant.lastUse = this.#batch;
    variant.announced = true;
    this.#finish(memory, offset, 1, end, timestamps, from, written, variant, start, tried);
    return written;
  }

  /** Writes a batch of several types, or of none. @returns the rows written, 0, or AGAIN. */
  #encodeMixed(
    memory: SegmentMemory, offset: number, limit: number, rows: readonly unknown[], timestamps: Float64Array, from: number,
  ): number {
    const tried = Math.max(1, Math.min(this.#count, Math.floor((limit - offset) / (this.#mixedBytesPerRow + 9))));
    const used = this.#classify(rows, from, tried, from + this.#count);
    const only = used.length === 1 ? (used[0] as Variant) : undefined;
    if (only !== undefined && only.writer.type.kind !== "any") {
      forget(used);
      this.#current = only;
      // Only of these rows is it known that they are of one type.
      this.#count = tried;
      return AGAIN;
    }
    const written = this.#encodeBlocks(memory, offset, limit, timestamps, from, tried, used, only);
    forget(used);
    return written;
  }

  #encodeBlocks(
    memory: SegmentMemory, offset: number, limit: number, timestamps: Float64Array, from: number, tried: number,
    used: readonly Variant[], only: Variant | undefined,
  ): number {
    const tags = this.#announce(memory, offset, limit, used);
    const start = only === undefined ? tags + align8(tried) : tags;
    if (tags < 0 || start > limit) return this.#fewer(tried, tried >> 1);
    let end = start;
    let count = tried;
    for (const variant of used) {
      const block = end;
      end = this.#block(variant, memory, block, limit - 8 * tried, variant.rows, 0, variant.rows.length);
      const { stopped } = this.#pass;
      if (stopped === Stop.none) continue;
      const written = end < 0 ? 0 : (memory.i32[(block >> 2) + 1] as number);
      if (stopped === Stop.full) {
        if (only === undefined || written === 0) return this.#fewer(tried, (variant.places[written] as number) || tried >> 1);
        count = written;
      } else {
        if (stopped !== Stop.width) this.#adapt(variant, variant.rows, written, variant.rows.length);
        return AGAIN;
      }
    }
    for (const variant of used) {
      if (only === undefined) for (const place of variant.places) memory.bytes[tags + place] = variant.slot;
      variant.announced = true;
      variant.lastUse = this.#batch;
    }
    this.#mixedBytesPerRow += ((end - offset) / count - this.#mixedBytesPerRow) / 4;
    this.#finish(memory, offset, used.length, end, timestamps, from, count, undefined, start, count);
    return count;
  }

  /** The next turn tries fewer rows. */
  #fewer(tried: number, rather: number): number {
    if (tried === 1) return 0;
    this.#count = rather;
    return AGAIN;
  }

  /** Sorts rows by their type; learns types. @returns the variants met, in that order. */
  #classify(rows: readonly unknown[], from: number, count: number, end: number): Variant[] {
    const used: Variant[] = [];
    let last: Variant | undefined;
    for (let i = 0; i < count; i++) {
      const row = rows[from + i];
      let variant = last !== undefined && last !== this.#catchAll && last.is(row) ? last : this.#find(row);
      if (variant === undefined && this.#lessons > 0) {
        this.#learn(rows, from + i, end);
        variant = this.#find(row);
      }
      variant ??= this.#catchAll;
      last = variant;
      if (variant.rows.length === 0) {
        used.push(variant);
        variant.lastUse = this.#batch;
      }
      variant.rows.push(row);
      variant.places.push(i);
    }
    return used;
  }

  #find(row: unknown): Variant | undefined {
    for (const variant of this.#variants) if (variant?.is(row) === true) return variant;
    return undefined;
  }

  /** Gives the shapes of the next rows slots of their own, as far as there are any. */
  #learn(rows: readonly unknown[], from: number, to: number): void {
    this.#lessons--;
    const types = new Map<string, ColumnType>();
    for (let i = from; i < Math.min(to, from + SAMPLE_ROWS); i++) {
      const type = typeOfValue(rows[i], this.#classes);
      if (type.kind === "any") continue;
      const shape = shapeOf(type);
      const known = types.get(shape);
      types.set(shape, known === undefined ? type : widen(known, type));
    }
    for (const [shape, type] of types) {
      if (this.#variants.some((variant) => variant?.shape === shape)) continue;
      const slot = this.#freeSlot();
      if (slot < 0) return;
      this.#variants[slot] = newVariant(slot, shape, writerOf(type, this.#classes));
    }
  }

  #freeSlot(): number {
    for (let slot = 0; slot < MAX_VARIANTS; slot++) {
      const variant = this.#variants[slot];
      if (variant === undefined || variant.lastUse < this.#batch - BATCHES_OF_GRACE) return slot;
    }
    return -1;
  }

  /** Widens a type so that the row that stopped it, and those behind it, fit. */
  #adapt(variant: Variant, rows: readonly unknown[], from: number, to: number): void {
    let type = variant.writer.type;
    const before = JSON.stringify(type);
    if (this.#pass.stopped === Stop.type) {
      // A batch that needs this twice is looked at as a whole, so that it doesn't need it once per field.
      const end = this.#adaptations++ === 0 ? Math.min(to, from + SAMPLE_ROWS) : to;
      for (let i = from; i < end; i++) {
        const next = typeOfValue(rows[i], this.#classes);
        if (shapeOf(next) === variant.shape) type = widen(type, next);
      }
    }
    // A row is not stopped by its own least type, except by what a type does not see: one object in two places, a prototype with
    // enumerable fields. Then only values are left.
    if (JSON.stringify(type) === before) type = ANY;
    variant.writer = writerOf(type, this.#classes);
    variant.announced = false;
    if (variant.writer.type.kind === "any") this.#current = undefined;
  }

  #block(
    variant: Variant, memory: SegmentMemory, offset: number, limit: number, rows: readonly unknown[], base: number, count: number,
  ): number {
    try {
      return variant.writer.write(variant.slot, memory, offset, limit, rows, base, count, this.#pass);
    } catch (thrown) {
      for (const each of [...this.#variants, this.#catchAll]) if (each !== undefined) forget([each]);
      throw thrown instanceof Unshippable ? refusal(thrown, rows[base + this.#pass.index]) : thrown;
    }
  }

  /** Writes the announcements that these variants still need. @returns where the blocks begin, or -1 if there is no room. */
  #announce(memory: SegmentMemory, offset: number, limit: number, variants: readonly Variant[]): number {
    const start = offset + PAYLOAD_HEADER_BYTES;
    if (start > limit) return -1;
    const news = variants.filter((variant) => !variant.announced || (this.#separable && variant !== this.#catchAll));
    memory.i32[(offset >> 2) + 1] = 0;
    if (news.length === 0) return start;
    const text = Buffer.from(JSON.stringify(news.map((variant) => [variant.slot, typeToWire(variant.writer.type)])));
    if (start + align8(text.length) > limit) return -1;
    memory.bytes.set(text, start);
    memory.i32[(offset >> 2) + 1] = text.length;
    return start + align8(text.length);
  }

  /** Writes the timestamps and the header of the payload. @param block of the only variant. */
  #finish(
    memory: SegmentMemory, offset: number, blocks: number, end: number, timestamps: Float64Array, from: number, count: number,
    only: Variant | undefined, block: number, stride: number,
  ): void {
    const header = offset >> 2;
    let mode: number = Timestamps.each;
    let column = 0;
    let after = end;
    if (isConstant(timestamps, from, count)) {
      mode = Timestamps.constant;
      memory.f64[end >> 3] = timestamps[from] as number;
      after += 8;
    } else {
      column = only === undefined ? -1 : sameColumn(only.writer, memory, block, stride, timestamps, from, count);
      if (column >= 0) mode = Timestamps.column;
      else {
        memory.f64.set(timestamps.subarray(from, from + count), end >> 3);
        after += 8 * count;
      }
    }
    memory.i32[header] = blocks | (mode << 8);
    memory.i32[header + 2] = column;
    memory.i32[header + 3] = end - offset;
    this.#bytesWritten = after - offset;
  }
}

/** Not a count of rows, but: another turn. */
const AGAIN = -1;

/** Reads the batches of one channel, in the order in which they were written. One thread. */
export class BatchDecoder {
  readonly #classes: ClassRegistry;
  readonly #columns: ReadonlySet<string> | undefined;
  readonly #reader: ValueReader;
  readonly #readers: RowReader[] = [];
  /** The announcements that were read last: separable batches mostly repeat them. */
  #learned = "";
  /** What is announced in each slot. */
  readonly #announced = new Map<number, WireType>();
  /** The rows of each block of a mixed batch, by slot, until they are put in order. */
  readonly #parts: unknown[][] = [];
  readonly #next: number[] = [];

  /** @param options columns: top fields to read; others are absent from the decoded records. Default: all. */
  constructor(options: { readonly classes?: ClassRegistry; readonly columns?: readonly string[] } = {}) {
    this.#classes = options.classes ?? noClasses;
    this.#columns = options.columns === undefined ? undefined : new Set(options.columns);
    this.#reader = new ValueReader(this.#classes);
    this.#readers[ANY_SLOT] = readerOf(ANY, this.#classes, this.#columns);
  }

  /**
   * Reads the payload at `offset` into rows[0 … rowCount) and timestamps[0 … rowCount). Strings of 13 or more characters keep the
   * whole batch's text alive: see `flattenString`. Nothing else refers to the memory afterwards.
   */
  decode(memory: SegmentMemory, offset: number, rowCount: number, rows: unknown[], timestamps: Float64Array): void {
    const header = offset >> 2;
    const first = memory.i32[header] as number;
    const blocks = first & 255;
    const mode = first >> 8;
    const announcements = memory.i32[header + 1] as number;
    const start = offset + PAYLOAD_HEADER_BYTES;
    if (announcements > 0) this.#learn(memory.buffer.toString("utf8", start, start + announcements));
    let at = start + align8(announcements);
    if (blocks === 1) {
      const reader = this.#readerOf(memory.i32[at >> 2] as number);
      const count = reader.read(memory, at, rows, 0, this.#reader);
      if (count !== rowCount) throw new InvariantError(`A batch of ${count} rows came in a segment of ${rowCount}.`);
      if (mode === Timestamps.column) return reader.readTimestamps(memory, at, memory.i32[header + 2] as number, timestamps);
    } else {
      const tags = at;
      at += align8(rowCount);
      this.#mixed(memory, tags, at, blocks, rowCount, rows);
    }
    const place = (offset + (memory.i32[header + 3] as number)) >> 3;
    if (mode === Timestamps.constant) timestamps.fill(memory.f64[place] as number, 0, rowCount);
    else timestamps.set(memory.f64.subarray(place, place + rowCount));
  }

  /** All that the batches so far have announced. Another decoder that learns it can go on in this one's place. */
  get announcements(): string {
    return JSON.stringify([...this.#announced]);
  }

  /** Knows beforehand what the `announcements` of another decoder say. */
  learn(announcements: string): void {
    this.#learn(announcements);
  }

  /** Reads what `encodeRow` wrote. */
  decodeRow(bytes: Uint8Array): { row: unknown; timestamp: number } {
    const timestamp = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0, true);
    const row = this.#reader.message(bytes, 8);
    return { row: this.#columns === undefined ? row : pick(row, this.#columns), timestamp };
  }

  #mixed(memory: SegmentMemory, tags: number, firstBlock: number, blocks: number, rowCount: number, rows: unknown[]): void {
    let at = firstBlock;
    for (let i = 0; i < blocks; i++) {
      const slot = memory.i32[at >> 2] as number;
      const part = (this.#parts[slot] ??= []);
      this.#readerOf(slot).read(memory, at, part, 0, this.#reader);
      this.#next[slot] = 0;
      at += memory.i32[(at >> 2) + 4] as number;
    }
    for (let i = 0; i < rowCount; i++) {
      const slot = memory.bytes[tags + i] as number;
      const next = this.#next[slot] as number;
      rows[i] = (this.#parts[slot] as unknown[])[next];
      this.#next[slot] = next + 1;
    }
    for (const part of this.#parts) if (part !== undefined) part.length = 0;
  }

  #learn(text: string): void {
    if (text === this.#learned) return;
    this.#learned = text;
    for (const [slot, type] of JSON.parse(text) as [number, WireType][]) {
      this.#announced.set(slot, type);
      this.#readers[slot] = readerOf(typeFromWire(type), this.#classes, this.#columns);
    }
  }

  #readerOf(slot: number): RowReader {
    const reader = this.#readers[slot];
    if (reader === undefined) throw new InvariantError(`A batch is of row type ${slot}, which was not announced on its channel.`);
    return reader;
  }
}

/** A copy of a record as it would arrive at the other end of a channel. @throws RecordError as `BatchEncoder.encode` does. */
export function copyRecord<T>(record: T, classes: ClassRegistry = noClasses): T {
  if (typeof record !== "object" || record === null) {
    if (typeof record === "function" || typeof record === "symbol") encodeValue(record, classes);
    return record;
  }
  const copy = copySmall(record, classes, []);
  return (copy === INTRICATE ? decodeValue(encodeValue(record, classes), classes) : copy) as T;
}

const INTRICATE = Symbol("a value that is more than a small tree of records");
/** Objects of a small tree; the search for one in two places is then short. */
const FEW_OBJECTS = 8;

/** Copies small trees of records and arrays, which nearly all records are, ten times faster than through bytes. */
function copySmall(value: object, classes: ClassRegistry, seen: object[]): unknown {
  if (seen.length === FEW_OBJECTS || seen.includes(value)) return INTRICATE;
  seen.push(value);
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === Object.prototype) {
    // Spreading copies the layout at once; field by field took twice as long.
    const copy = { ...value } as Record<string, unknown>;
    for (const name in copy) {
      const field = copy[name];
      if (typeof field !== "object" && typeof field !== "function" && typeof field !== "symbol") continue;
      const copied = copyPart(field, classes, seen);
      if (copied === INTRICATE || name === "__proto__") return INTRICATE;
      copy[name] = copied;
    }
    return copy;
  }
  if (prototype === Array.prototype && Array.isArray(value)) {
    const copy: unknown[] = [];
    for (let i = 0; i < value.length; i++) {
      const item = copyPart(value[i], classes, seen);
      if (item === INTRICATE || (item === undefined && !(i in value))) return INTRICATE;
      copy.push(item);
    }
    return copy;
  }
  if (prototype === Date.prototype) return new Date((value as Date).getTime());
  const known = prototype === null ? undefined : classes.ofPrototype(prototype);
  if (known === undefined || known.base !== "object" || known.privateFields.length > 0) return INTRICATE;
  return copyFields(value, Object.create(prototype) as object, classes, seen);
}

function copyFields(from: object, to: object, classes: ClassRegistry, seen: object[]): unknown {
  const names = Object.keys(from);
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    const field = copyPart((from as Record<string, unknown>)[name], classes, seen);
    if (field === INTRICATE) return INTRICATE;
    setField(to, name, field);
  }
  return to;
}

function copyPart(value: unknown, classes: ClassRegistry, seen: object[]): unknown {
  if (typeof value === "object") return value === null ? null : copySmall(value, classes, seen);
  return typeof value === "function" || typeof value === "symbol" ? INTRICATE : value;
}

/** Any value that can travel, as bytes that need nothing else to be read: for state, broadcasts, snapshots. */
export function encodeValue(value: unknown, classes: ClassRegistry = noClasses): Uint8Array {
  return writeMessage(spare(classes).writer, value, "value", 0);
}

/** The value that `encodeValue` wrote. @throws RecordError if it holds an instance of a class that is not among `classes`. */
export function decodeValue(bytes: Uint8Array, classes: ClassRegistry = noClasses): unknown {
  return spare(classes).reader.message(bytes, 0);
}

/** One writer and reader per registry and thread, for single values. */
const spares = new WeakMap<ClassRegistry, { writer: ValueWriter; reader: ValueReader }>();

function spare(classes: ClassRegistry): { writer: ValueWriter; reader: ValueReader } {
  let pair = spares.get(classes);
  if (pair === undefined) spares.set(classes, (pair = { writer: new ValueWriter(classes), reader: new ValueReader(classes) }));
  return pair;
}

function writeMessage(writer: ValueWriter, value: unknown, name: string, lead: number): Uint8Array {
  try {
    return writer.message(value, lead);
  } catch (thrown) {
    throw thrown instanceof Unshippable ? refusal(thrown, value, name) : thrown;
  }
}

function newVariant(slot: number, shape: string, writer: RowWriter): Variant {
  return { slot, shape, is: writer.is, writer, announced: false, lastUse: 0, looseBytesPerRow: 16, rows: [], places: [] };
}

/** Lets go of the rows that were sorted for a mixed batch. */
function forget(variants: readonly Variant[]): void {
  for (const variant of variants) {
    variant.rows.length = 0;
    variant.places.length = 0;
  }
}

function isConstant(timestamps: Float64Array, from: number, count: number): boolean {
  const first = timestamps[from];
  for (let i = from + 1; i < from + count; i++) if (!Object.is(timestamps[i], first)) return false;
  return true;
}

/** The number column of a block that equals the timestamps, or -1. Nearly always found, or not, by the first row. */
function sameColumn(
  writer: RowWriter, memory: SegmentMemory, block: number, stride: number, timestamps: Float64Array, from: number, count: number,
): number {
  for (let index = 0; index < writer.numbers.length; index++) {
    const column = writer.numbers[index] as RowWriter["numbers"][number];
    const offset = writer.offsetOf(column, block, stride);
    const numbers = column.wide ? memory.f64 : memory.i32;
    const start = column.wide ? offset >> 3 : offset >> 2;
    let i = 0;
    while (i < count && numbers[start + i] === timestamps[from + i]) i++;
    if (i === count) return index;
  }
  return -1;
}

/** Compiled functions by type, of a registry; all channels of a thread share them, so that they are warm for the second one. */
interface Compiled {
  readonly writers: Map<string, RowWriter>;
  readonly readers: Map<string, RowReader>;
}

const compiled = new WeakMap<ClassRegistry, Compiled>();
/** Types kept compiled; beyond it the oldest is dropped. */
const MAX_COMPILED = 256;

function compiledFor(classes: ClassRegistry): Compiled {
  let found = compiled.get(classes);
  if (found === undefined) compiled.set(classes, (found = { writers: new Map(), readers: new Map() }));
  return found;
}

function writerOf(type: ColumnType, classes: ClassRegistry): RowWriter {
  return remember(compiledFor(classes).writers, JSON.stringify(type), () => new RowWriter(type, classes));
}

function readerOf(type: ColumnType, classes: ClassRegistry, columns: ReadonlySet<string> | undefined): RowReader {
  const key = JSON.stringify([type, columns === undefined ? null : [...columns]]);
  return remember(compiledFor(classes).readers, key, () => new RowReader(type, classes, columns));
}

function remember<T>(cache: Map<string, T>, key: string, make: () => T): T {
  const known = cache.get(key);
  if (known !== undefined) return known;
  if (cache.size >= MAX_COMPILED) cache.delete(cache.keys().next().value as string);
  const made = make();
  cache.set(key, made);
  return made;
}
