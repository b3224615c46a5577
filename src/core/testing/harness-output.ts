/**
 * One output of a pipeline under test: what left it since somebody last took, in order. With several subtasks the order between them is
 * that of the one thread that ran them, always the same for the same calls.
 */
import { BatchDecoder } from "../data/codec.ts";
import type { ClassRegistry } from "../data/classes.ts";
import {
  LAST_PIECE, MAX_SEGMENT_ROWS, MIN_WATERMARK, SEGMENT_HEADER_BYTES, SegmentKind, segmentCheckpoint, segmentFlags, segmentKind,
  segmentPayloadBytes, segmentRows, segmentWatermark,
} from "../data/element.ts";
import type { MemoryChannel } from "../runtime/memory-channel.ts";
import { WatermarkCombiner } from "../time/watermark.ts";

/** A record as it left: with its event time, undefined where it has none. */
export interface StreamRecord<T> {
  readonly value: T;
  readonly timestamp: number | undefined;
}

/** A record or a watermark as it left. */
export type StreamElement<T> = StreamRecord<T> | { readonly watermark: number };

interface Source {
  readonly channel: MemoryChannel;
  readonly decoder: BatchDecoder;
  pieces: Uint8Array[];
  ended: boolean;
  /** Positions in `records` of what came from here. */
  readonly records: number[];
  /** By checkpoint, how many had come when its barrier did. */
  readonly before: Map<number, number>;
}

/** An output. Made by `testHarness`. */
export class HarnessOutput<T> {
  readonly #sources: readonly Source[];
  readonly #combiner: WatermarkCombiner;
  readonly #timestamps = new Float64Array(MAX_SEGMENT_ROWS);
  #elements: StreamElement<T>[] = [];
  #all: StreamRecord<T>[] = [];

  constructor(channels: readonly MemoryChannel[], classes: readonly ClassRegistry[]) {
    this.#sources = channels.map((channel, index) => ({
      channel, decoder: new BatchDecoder({ classes: classes[index] as ClassRegistry }), pieces: [], ended: false, records: [],
      before: new Map(),
    }));
    this.#combiner = new WatermarkCombiner(Math.max(1, channels.length));
  }

  /** The records that left since the last call of one of the `take` methods, without their times. */
  take(): T[] {
    return this.takeRecords().map(({ value }) => value);
  }

  /** The same, with their times. */
  takeRecords(): StreamRecord<T>[] {
    return this.takeElements().filter((element): element is StreamRecord<T> => "value" in element);
  }

  /** The same, with the watermarks among them (of all subtasks together: the slowest decides). */
  takeElements(): StreamElement<T>[] {
    const elements = this.#elements;
    this.#elements = [];
    return elements;
  }

  /** All records that ever left, taken or not. */
  get records(): readonly StreamRecord<T>[] {
    return this.#all;
  }

  /** The records that left before a snapshot, in order: what it covers. What it doesn't cover leaves again after a restore. */
  recordsBefore({ checkpoint }: { readonly checkpoint: number }): StreamRecord<T>[] {
    const covered = this.#sources.flatMap(({ records, before }) => records.slice(0, before.get(checkpoint) ?? records.length));
    return covered.sort((a, b) => a - b).map((at) => this.#all[at] as StreamRecord<T>);
  }

  /** Records that wait to be taken. */
  get size(): number {
    return this.#elements.filter((element) => "value" in element).length;
  }

  /** The watermark behind what has left; -Infinity before the first. */
  get watermark(): number {
    return this.#combiner.current;
  }

  /** All subtasks have ended. */
  get ended(): boolean {
    return this.#sources.every(({ ended }) => ended);
  }

  /** For the harness: reads what waits in the channels. @returns whether there was anything. */
  read(): boolean {
    let any = false;
    for (const [index, source] of this.#sources.entries()) {
      for (let offset = source.channel.tryPeek(); offset >= 0; offset = source.channel.tryPeek()) {
        this.#take(index, source, offset);
        any = true;
      }
    }
    return any;
  }

  #take(index: number, source: Source, offset: number): void {
    const { channel, decoder } = source;
    const { memory } = channel;
    const start = offset + SEGMENT_HEADER_BYTES;
    switch (segmentKind(memory, offset)) {
      case SegmentKind.rows: {
        const count = segmentRows(memory, offset);
        const watermark = segmentWatermark(memory, offset);
        const rows = new Array<unknown>(count);
        if (count > 0) decoder.decode(memory, start, count, rows, this.#timestamps);
        channel.release();
        if (count > 0) this.#combiner.active(index);
        for (let at = 0; at < count; at++) this.#add(source, rows[at], this.#timestamps[at] as number);
        if (watermark !== MIN_WATERMARK && this.#combiner.advance(index, watermark)) this.#rose();
        return;
      }
      case SegmentKind.piece: {
        source.pieces.push(memory.bytes.slice(start, start + segmentPayloadBytes(memory, offset)));
        const last = (segmentFlags(memory, offset) & LAST_PIECE) !== 0;
        channel.release();
        if (!last) return;
        const { row, timestamp } = decoder.decodeRow(Buffer.concat(source.pieces));
        source.pieces = [];
        this.#combiner.active(index);
        this.#add(source, row, timestamp);
        return;
      }
      case SegmentKind.idle:
        channel.release();
        if (this.#combiner.setIdle(index)) this.#rose();
        return;
      case SegmentKind.end:
        channel.release();
        source.ended = true;
        if (this.#combiner.end(index)) this.#rose();
        return;
      case SegmentKind.barrier:
        source.before.set(segmentCheckpoint(memory, offset), source.records.length);
        channel.release();
        return;
    }
  }

  #add(source: Source, value: unknown, timestamp: number): void {
    source.records.push(this.#all.length);
    const record: StreamRecord<T> = { value: value as T, timestamp: Number.isNaN(timestamp) ? undefined : timestamp };
    this.#elements.push(record);
    this.#all.push(record);
  }

  #rose(): void {
    this.#elements.push({ watermark: this.#combiner.current });
  }
}
