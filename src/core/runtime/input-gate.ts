/**
 * The channels of a task as its inputs. Takes one segment at a time, fairly from all channels, decodes it and calls the chain; combines
 * the watermarks of all channels of both inputs; notices idleness and the end.
 *
 * Trusts each channel to keep order, so a channel's watermark holds for all rows behind it.
 */
import { BatchDecoder } from "../data/codec.ts";
import type { ClassRegistry } from "../data/classes.ts";
import {
  LAST_PIECE,
  MAX_SEGMENT_ROWS,
  MIN_WATERMARK,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
  segmentFlags,
  segmentKind,
  segmentPayloadBytes,
  segmentRows,
  segmentWatermark,
} from "../data/element.ts";
import { WatermarkCombiner } from "../time/watermark.ts";
import { InvariantError } from "../types/errors.ts";
import type { InputChannel } from "./channel.ts";
import type { FusedChain } from "./operator-chain.ts";

/** What the gate tells its task. */
export interface GateListener {
  read(records: number, bytes: number): void;
  watermark(watermark: number): void;
  idle(): void;
}

/** One input of a task. */
export interface GateInput {
  readonly input: 0 | 1;
  readonly channels: readonly InputChannel[];
}

interface GateChannel {
  readonly channel: InputChannel;
  readonly second: boolean;
  readonly decoder: BatchDecoder;
  /** Pieces of a row that is larger than a segment. */
  pieces: Uint8Array[];
  ended: boolean;
}

export class InputGate {
  readonly #channels: readonly GateChannel[];
  readonly #combiner: WatermarkCombiner;
  readonly #rows: unknown[] = new Array<unknown>(MAX_SEGMENT_ROWS).fill(undefined);
  readonly #timestamps = new Float64Array(MAX_SEGMENT_ROWS);
  readonly #listener: GateListener;
  #next = 0;
  #idle = false;

  constructor(inputs: readonly GateInput[], classes: ClassRegistry, listener: GateListener) {
    this.#channels = inputs.flatMap(({ input, channels }) =>
      channels.map((channel): GateChannel => ({
        channel,
        second: input === 1,
        decoder: new BatchDecoder({ classes }),
        pieces: [],
        ended: false,
      })),
    );
    this.#combiner = new WatermarkCombiner(Math.max(1, this.#channels.length));
    this.#listener = listener;
  }

  /** All channels have ended. */
  get ended(): boolean {
    return this.#combiner.ended;
  }

  /** A segment waits on some channel. */
  get hasInput(): boolean {
    for (const it of this.#channels) if (!it.ended && it.channel.tryPeek() >= 0) return true;
    return false;
  }

  /** How full the channels are on average, 0 … 1. */
  get usage(): number {
    let queued = 0;
    let capacity = 0;
    for (const { channel } of this.#channels) {
      queued += channel.queued;
      capacity += channel.capacity;
    }
    return capacity === 0 ? 0 : queued / capacity;
  }

  /** Takes the next segment, if there is one, through the chain. @returns false when no channel had any. */
  poll(chain: FusedChain): boolean {
    const channels = this.#channels;
    for (let tried = 0; tried < channels.length; tried++) {
      const index = this.#next;
      this.#next = index + 1 === channels.length ? 0 : index + 1;
      const it = channels[index] as GateChannel;
      if (it.ended) continue;
      const offset = it.channel.tryPeek();
      if (offset < 0) continue;
      this.#take(index, it, offset, chain);
      return true;
    }
    return false;
  }

  #take(index: number, it: GateChannel, offset: number, chain: FusedChain): void {
    const { channel } = it;
    const { memory } = channel;
    const kind = segmentKind(memory, offset);
    const payload = segmentPayloadBytes(memory, offset);
    switch (kind) {
      case SegmentKind.rows: {
        const count = segmentRows(memory, offset);
        const watermark = segmentWatermark(memory, offset);
        if (count > 0) it.decoder.decode(memory, offset + SEGMENT_HEADER_BYTES, count, this.#rows, this.#timestamps);
        channel.release();
        this.#listener.read(count, payload + SEGMENT_HEADER_BYTES);
        if (count > 0) this.#process(index, it, count, chain);
        if (watermark !== MIN_WATERMARK && this.#combiner.advance(index, watermark)) this.#listener.watermark(this.#combiner.current);
        return;
      }
      case SegmentKind.piece: {
        const start = offset + SEGMENT_HEADER_BYTES;
        it.pieces.push(memory.bytes.slice(start, start + payload));
        const last = (segmentFlags(memory, offset) & LAST_PIECE) !== 0;
        channel.release();
        this.#listener.read(last ? 1 : 0, payload + SEGMENT_HEADER_BYTES);
        if (!last) return;
        const { row, timestamp } = it.decoder.decodeRow(joined(it.pieces));
        it.pieces = [];
        this.#rows[0] = row;
        this.#timestamps[0] = timestamp;
        this.#process(index, it, 1, chain);
        return;
      }
      case SegmentKind.idle:
        channel.release();
        this.#listener.read(0, SEGMENT_HEADER_BYTES);
        if (this.#combiner.setIdle(index)) this.#listener.watermark(this.#combiner.current);
        if (this.#combiner.idle && !this.#idle) {
          this.#idle = true;
          this.#listener.idle();
        }
        return;
      case SegmentKind.end:
        channel.release();
        this.#listener.read(0, SEGMENT_HEADER_BYTES);
        it.ended = true;
        if (this.#combiner.end(index)) this.#listener.watermark(this.#combiner.current);
        return;
      case SegmentKind.barrier:
        throw new InvariantError("A barrier arrived in a job without checkpoints.");
    }
  }

  #process(index: number, it: GateChannel, count: number, chain: FusedChain): void {
    this.#combiner.active(index);
    this.#idle = false;
    if (it.second) chain.process2(this.#rows, this.#timestamps, count);
    else chain.process(this.#rows, this.#timestamps, count);
  }
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
