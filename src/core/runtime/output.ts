/**
 * One edge of a running task, seen from its producer: which of the consumer's subtasks gets a record (pact), and the batches that
 * wait to be written. The order of records between one producer and one consumer is kept.
 *
 * A watermark goes to every consumer, behind all records that were emitted before it: it ends the batches that are under way.
 */
import { BatchEncoder } from "../data/codec.ts";
import type { ClassRegistry } from "../data/classes.ts";
import {
  LAST_PIECE,
  MIN_WATERMARK,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
  type SegmentMemory,
  segmentMemory,
  writeSegmentHeader,
} from "../data/element.ts";
import { keyGroupOf, subtaskOfKeyGroup } from "../data/key-groups.ts";
import { keyToken } from "../data/keys.ts";
import type { Partitioning } from "../graph/stream-graph.ts";
import { GraphError, describe } from "../types/errors.ts";
import { BARRIER_BYTES, writeBarrier } from "./barrier.ts";
import type { OutputChannel } from "./channel.ts";
import type { CheckpointTrigger } from "./checkpoint.ts";

/** What an output needs from its task. */
export interface OutputHost {
  /**
   * Waits until the channel has room: parks the thread. Absent in a task that may not park; its writers then keep finished segments
   * aside until `drain`, and the task takes no more input meanwhile.
   */
  readonly waitForRoom?: (channel: OutputChannel) => void;
  readonly classes: ClassRegistry;
  /** Rows that are gathered before they are written: enough to pay for a segment, few enough to stay in the cache. */
  readonly batchRows: number;
  /** Each segment must be readable without those before it, because its reader may change. Default false. */
  readonly separable?: boolean;
  /** Counts what was written. */
  wrote(records: number, bytes: number): void;
}

/** An edge. `emit` is called by generated code for each record. */
export interface Output {
  emit(value: unknown, timestamp: number): void;
  emitWatermark(watermark: number): void;
  emitIdle(): void;
  /** Writes what is gathered, then the barrier. */
  emitBarrier(trigger: CheckpointTrigger): void;
  /** Writes what is gathered. */
  flush(): void;
  /** Writes what is gathered for consumers that have read at least half of what they were sent. @returns true when nothing is left. */
  flushWhereRead(): boolean;
  /** Writes segments that found their channel full. @returns true when none is left. */
  drain(): boolean;
  /** Writes everything and the end of input. */
  end(): void;
  readonly writers: readonly ChannelWriter[];
}

/** The output of an edge by its partitioning. */
export function output(
  partitioning: Partitioning,
  channels: readonly OutputChannel[],
  host: OutputHost,
  maxParallelism: number,
  subtask: number,
): Output {
  const writers = channels.map((channel) => new ChannelWriter(channel, host));
  switch (partitioning.kind) {
    case "hash":
      return new HashOutput(writers, partitioning.key as (value: unknown) => unknown, maxParallelism);
    case "broadcast":
      return new BroadcastOutput(writers);
    case "custom":
      return new CustomOutput(
        writers,
        partitioning.key as (value: unknown) => unknown,
        partitioning.partition as (key: unknown, partitions: number) => number,
      );
    case "shuffle":
      return new ShuffleOutput(writers, subtask);
    case "rebalance":
    case "rescale":
      // Producers begin at different consumers, so that few rows from many producers spread too.
      return writers.length === 1 ? new SingleOutput(writers) : new RoundRobinOutput(writers, subtask % writers.length);
    case "forward":
    case "global":
      return new SingleOutput(writers);
  }
}

/** Gathers rows for one channel and writes them as segments. */
export class ChannelWriter {
  readonly channel: OutputChannel;
  readonly #host: OutputHost;
  readonly #encoder: BatchEncoder;
  readonly #batchRows: number;
  readonly #rows: unknown[];
  readonly #timestamps: Float64Array;
  #count = 0;
  /** Finished segments that found the channel full (tasks that may not park). */
  readonly #aside: Uint8Array[] = [];
  #scratch: SegmentMemory | undefined;

  constructor(channel: OutputChannel, host: OutputHost) {
    this.channel = channel;
    this.#host = host;
    this.#batchRows = host.batchRows;
    this.#rows = new Array<unknown>(host.batchRows).fill(undefined);
    this.#timestamps = new Float64Array(host.batchRows);
    this.#encoder = new BatchEncoder({ classes: host.classes, separable: host.separable ?? false });
  }

  /** Rows gathered and not written yet. */
  get gathered(): number {
    return this.#count;
  }

  emit(value: unknown, timestamp: number): void {
    const count = this.#count;
    this.#rows[count] = value;
    this.#timestamps[count] = timestamp;
    this.#count = count + 1;
    if (count + 1 === this.#batchRows) this.write(MIN_WATERMARK);
  }

  /** Writes the gathered rows, then the watermark (MIN_WATERMARK: none), in as few segments as they fit. */
  write(watermark: number): void {
    const count = this.#count;
    let from = 0;
    this.#count = 0;
    do {
      const memory = this.#acquire();
      const offset = this.#offset;
      const start = offset + SEGMENT_HEADER_BYTES;
      const written =
        from === count
          ? 0
          : this.#encoder.encode(memory, start, offset + this.channel.segmentBytes, this.#rows, this.#timestamps, from, count);
      if (written === 0 && from < count) {
        this.#writePieces(this.#encoder.encodeRow(this.#rows[from], this.#timestamps[from] as number));
        from++;
        if (from === count && watermark !== MIN_WATERMARK) this.#publishEmpty(SegmentKind.rows, watermark);
        continue;
      }
      from += written;
      const payload = written === 0 ? 0 : this.#encoder.bytesWritten;
      writeSegmentHeader(memory, offset, SegmentKind.rows, written, payload, from === count ? watermark : MIN_WATERMARK);
      this.#publish(written, payload);
    } while (from < count);
    // Rows written are not kept alive by this array.
    this.#rows.fill(undefined, 0, count);
  }

  signal(kind: SegmentKind, watermark: number = MIN_WATERMARK): void {
    if (this.#count > 0) this.write(MIN_WATERMARK);
    this.#publishEmpty(kind, watermark);
  }

  barrier(trigger: CheckpointTrigger): void {
    if (this.#count > 0) this.write(MIN_WATERMARK);
    const memory = this.#acquire();
    writeBarrier(memory, this.#offset, trigger);
    this.#publish(0, BARRIER_BYTES - SEGMENT_HEADER_BYTES);
  }

  /** @returns true when nothing is kept aside any more. */
  drain(): boolean {
    while (this.#aside.length > 0) {
      const offset = this.channel.tryAcquire();
      if (offset < 0) return false;
      const segment = this.#aside.shift() as Uint8Array;
      this.channel.memory.bytes.set(segment, offset);
      this.channel.publish();
    }
    return true;
  }

  /** Where the next segment is written: in the channel, or aside. */
  #offset = 0;
  #inScratch = false;

  #acquire(): SegmentMemory {
    let offset = this.#aside.length > 0 ? -1 : this.channel.tryAcquire();
    if (offset < 0 && this.#host.waitForRoom !== undefined) {
      this.#host.waitForRoom(this.channel);
      offset = this.channel.tryAcquire();
    }
    this.#inScratch = offset < 0;
    if (offset < 0) {
      this.#scratch ??= segmentMemory(new ArrayBuffer(this.channel.segmentBytes));
      this.#offset = 0;
      return this.#scratch;
    }
    this.#offset = offset;
    return this.channel.memory;
  }

  #publish(records: number, payloadBytes: number): void {
    this.#host.wrote(records, SEGMENT_HEADER_BYTES + payloadBytes);
    if (this.#inScratch) this.#aside.push((this.#scratch as SegmentMemory).bytes.slice(0, SEGMENT_HEADER_BYTES + payloadBytes));
    else this.channel.publish();
  }

  #publishEmpty(kind: SegmentKind, watermark: number): void {
    const memory = this.#acquire();
    writeSegmentHeader(memory, this.#offset, kind, 0, 0, watermark);
    this.#publish(0, 0);
  }

  #writePieces(row: Uint8Array): void {
    const room = this.channel.segmentBytes - SEGMENT_HEADER_BYTES;
    for (let from = 0; from < row.length; from += room) {
      const piece = row.subarray(from, from + room);
      const last = from + room >= row.length;
      const memory = this.#acquire();
      memory.bytes.set(piece, this.#offset + SEGMENT_HEADER_BYTES);
      writeSegmentHeader(memory, this.#offset, SegmentKind.piece, 0, piece.length, MIN_WATERMARK, last ? LAST_PIECE : 0);
      this.#publish(last ? 1 : 0, piece.length);
    }
  }
}

/** What all outputs share. */
abstract class Writers implements Output {
  readonly writers: readonly ChannelWriter[];

  constructor(writers: readonly ChannelWriter[]) {
    this.writers = writers;
  }

  abstract emit(value: unknown, timestamp: number): void;

  emitWatermark(watermark: number): void {
    for (const writer of this.writers) writer.write(watermark);
  }

  emitIdle(): void {
    for (const writer of this.writers) writer.signal(SegmentKind.idle);
  }

  emitBarrier(trigger: CheckpointTrigger): void {
    for (const writer of this.writers) writer.barrier(trigger);
  }

  flushWhereRead(): boolean {
    let all = true;
    for (const writer of this.writers) {
      if (writer.gathered === 0) continue;
      if (writer.channel.queued * 2 <= writer.channel.capacity) writer.write(MIN_WATERMARK);
      else all = false;
    }
    return all;
  }

  flush(): void {
    for (const writer of this.writers) if (writer.gathered > 0) writer.write(MIN_WATERMARK);
  }

  drain(): boolean {
    let done = true;
    for (const writer of this.writers) done = writer.drain() && done;
    return done;
  }

  end(): void {
    for (const writer of this.writers) writer.signal(SegmentKind.end);
  }
}

class SingleOutput extends Writers {
  readonly #writer: ChannelWriter;

  constructor(writers: readonly ChannelWriter[]) {
    super(writers);
    this.#writer = writers[0] as ChannelWriter;
  }

  emit(value: unknown, timestamp: number): void {
    this.#writer.emit(value, timestamp);
  }
}

class HashOutput extends Writers {
  readonly #key: (value: unknown) => unknown;
  readonly #maxParallelism: number;
  /** Key group to writer. */
  readonly #targets: ChannelWriter[];

  constructor(writers: readonly ChannelWriter[], key: (value: unknown) => unknown, maxParallelism: number) {
    super(writers);
    this.#key = key;
    this.#maxParallelism = maxParallelism;
    this.#targets = Array.from(
      { length: maxParallelism },
      (_, keyGroup) => writers[subtaskOfKeyGroup(keyGroup, writers.length, maxParallelism)] as ChannelWriter,
    );
  }

  emit(value: unknown, timestamp: number): void {
    const token = keyToken(this.#key(value));
    (this.#targets[keyGroupOf(token, this.#maxParallelism)] as ChannelWriter).emit(value, timestamp);
  }
}

class BroadcastOutput extends Writers {
  emit(value: unknown, timestamp: number): void {
    for (let i = 0; i < this.writers.length; i++) (this.writers[i] as ChannelWriter).emit(value, timestamp);
  }
}

class RoundRobinOutput extends Writers {
  #next: number;

  constructor(writers: readonly ChannelWriter[], first: number) {
    super(writers);
    this.#next = first;
  }

  emit(value: unknown, timestamp: number): void {
    const next = this.#next;
    this.#next = next + 1 === this.writers.length ? 0 : next + 1;
    (this.writers[next] as ChannelWriter).emit(value, timestamp);
  }
}

class ShuffleOutput extends Writers {
  /** xorshift32: cheap, and the same on every run. */
  #random: number;

  constructor(writers: readonly ChannelWriter[], subtask: number) {
    super(writers);
    this.#random = Math.imul(subtask + 1, 0x9e3779b9) | 1;
  }

  emit(value: unknown, timestamp: number): void {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    (this.writers[(x >>> 0) % this.writers.length] as ChannelWriter).emit(value, timestamp);
  }
}

class CustomOutput extends Writers {
  readonly #key: (value: unknown) => unknown;
  readonly #partition: (key: unknown, partitions: number) => number;

  constructor(
    writers: readonly ChannelWriter[],
    key: (value: unknown) => unknown,
    partition: (key: unknown, partitions: number) => number,
  ) {
    super(writers);
    this.#key = key;
    this.#partition = partition;
  }

  emit(value: unknown, timestamp: number): void {
    const target = this.#partition(this.#key(value), this.writers.length);
    const writer = this.writers[target];
    if (writer === undefined) {
      throw new GraphError(
        `The partitioner returned ${describe(target)} for ${describe(value)}; it must return an integer from 0 to ${this.writers.length - 1}.`,
      );
    }
    writer.emit(value, timestamp);
  }
}
