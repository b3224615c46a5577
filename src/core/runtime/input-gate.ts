/**
 * The channels of a task as its inputs. Takes one segment at a time, fairly from all channels, decodes it and calls the chain; combines
 * the watermarks of all channels of both inputs; notices barriers, idleness and the end.
 *
 * Channels that a barrier holds back are passed over (barrier-aligner.ts decides which). When a checkpoint overtakes, the segments in front
 * of its barriers are copied, those that wait in a channel at once and the others as they come, each with what its decoder knew; a
 * restored task takes them before anything new.
 *
 * Trusts each channel to keep order, so a channel's watermark holds for all rows behind it.
 */
import { BatchDecoder } from "../data/codec.ts";
import type { ClassRegistry } from "../data/classes.ts";
import {
  LAST_PIECE,
  MAX_SEGMENT_ROWS,
  MAX_WATERMARK,
  MIN_WATERMARK,
  SEGMENT_HEADER_BYTES,
  SegmentKind,
  type SegmentMemory,
  segmentFlags,
  segmentKind,
  segmentPayloadBytes,
  segmentRows,
  segmentWatermark,
} from "../data/element.ts";
import { WatermarkCombiner, type WatermarkMemory } from "../time/watermark.ts";
import type { EdgeId } from "../types/ids.ts";
import { readBarrier } from "./barrier.ts";
import { type AlignmentStep, BarrierAligner } from "./barrier-aligner.ts";
import type { InputChannel } from "./channel.ts";
import type { CheckpointTrigger } from "./checkpoint.ts";
import { InFlightReader, InFlightWriter } from "./in-flight.ts";
import type { FusedChain } from "./operator-chain.ts";

/** What the gate tells its task. */
export interface GateListener {
  read(records: number, bytes: number): void;
  watermark(watermark: number): void;
  idle(): void;
  /** A step of a checkpoint, between two segments. */
  align(step: AlignmentStep): void;
  /** Wall clock, milliseconds. */
  now(): number;
}

/** One input of a task. */
export interface GateInput {
  readonly edge: EdgeId;
  readonly input: 0 | 1;
  readonly channels: readonly InputChannel[];
}

interface GateChannel {
  readonly channel: InputChannel;
  readonly edge: EdgeId;
  /** Position in its input. */
  readonly position: number;
  readonly second: boolean;
  readonly decoder: BatchDecoder;
  /** Pieces of a row that is larger than a segment. */
  pieces: Uint8Array[];
  ended: boolean;
  /** In-flight segments of the checkpoint that the task was restored from. */
  restored: InFlightReader | undefined;
  /** Segments at the front of the channel that were looked at for barriers. */
  seen: number;
  /** In-flight segments of the checkpoint that is being taken. */
  log: InFlightWriter | undefined;
  /** Segments at the front of the channel that are in the log already. */
  logged: number;
}

/** Bytes of in-flight segments of one channel. */
export interface ChannelLog {
  readonly edge: EdgeId;
  readonly channel: number;
  readonly bytes: Uint8Array;
}

export class InputGate {
  readonly #channels: readonly GateChannel[];
  readonly #combiner: WatermarkCombiner;
  readonly #aligner: BarrierAligner;
  readonly #blocked: Uint8Array;
  readonly #rows: unknown[] = new Array<unknown>(MAX_SEGMENT_ROWS).fill(undefined);
  readonly #timestamps = new Float64Array(MAX_SEGMENT_ROWS);
  readonly #listener: GateListener;
  /** Barriers are looked for behind other segments, because they may overtake. */
  readonly #looksAhead: boolean;
  /** Channels with restored segments that were not taken yet. */
  #restored = 0;
  #next = 0;
  #idle = false;

  constructor(inputs: readonly GateInput[], classes: ClassRegistry, listener: GateListener, looksAhead = false) {
    this.#channels = inputs.flatMap(({ edge, input, channels }) =>
      channels.map((channel, position): GateChannel => ({
        channel,
        edge,
        position,
        second: input === 1,
        decoder: new BatchDecoder({ classes }),
        pieces: [],
        ended: false,
        restored: undefined,
        seen: 0,
        log: undefined,
        logged: 0,
      })),
    );
    this.#combiner = new WatermarkCombiner(Math.max(1, this.#channels.length));
    this.#aligner = new BarrierAligner(this.#channels.length);
    this.#blocked = this.#aligner.blocked;
    this.#listener = listener;
    this.#looksAhead = looksAhead;
  }

  /** All channels have ended. */
  get ended(): boolean {
    return this.#combiner.ended;
  }

  /** The last watermark has come on all channels; never for a task without any. */
  get passedLastWatermark(): boolean {
    return this.#combiner.current === MAX_WATERMARK;
  }

  /** A segment waits on some channel that may be read. */
  get hasInput(): boolean {
    if (this.#restored > 0) return true;
    const channels = this.#channels;
    for (let index = 0; index < channels.length; index++) {
      const it = channels[index] as GateChannel;
      if (!it.ended && (this.#blocked[index] === 0 || this.#looksAhead) && it.channel.peekAhead(this.#unread(index, it)) >= 0) return true;
    }
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

  /** When `poll` wants to be called although nothing comes, wall clock: a checkpoint begins to overtake. */
  get deadlineMs(): number {
    return this.#aligner.deadlineMs;
  }

  /** What the watermarks of all channels are, to be restored by `restore`. */
  get watermarks(): WatermarkMemory {
    return this.#combiner.memory;
  }

  /**
   * Before the first segment: begins with the watermarks of a former run, channel by channel if they are as many.
   * @returns the combined watermark.
   */
  restoreWatermarks(memory: WatermarkMemory): number {
    this.#combiner.restore(memory);
    return this.#combiner.current;
  }

  /** Before the first segment: what was in flight on a channel. @returns false when there is no such channel. */
  restoreChannel(edge: EdgeId, position: number, bytes: Uint8Array): boolean {
    const it = this.#channels.find((each) => each.edge === edge && each.position === position);
    if (it === undefined) return false;
    it.restored = new InFlightReader(bytes);
    it.decoder.learn(it.restored.announcements);
    it.pieces = [...it.restored.pieces];
    this.#restored++;
    return true;
  }

  /** The coordinator says that a checkpoint is on its way. For tasks whose producers have ended, and that therefore see no barrier. */
  expect(trigger: CheckpointTrigger): void {
    this.#do(this.#aligner.announced(trigger, this.#listener.now()));
  }

  /** A checkpoint was given up: nothing waits for it any more. */
  abort(checkpoint: number): void {
    this.#aligner.abort(checkpoint);
  }

  /** Nothing may be taken at present: only looks for barriers that overtake. */
  watch(): void {
    if (this.#looksAhead && this.#restored === 0) this.#lookAhead();
  }

  /** Takes the next segment, if there is one, through the chain. @returns false when no channel had any. */
  poll(chain: FusedChain): boolean {
    if (this.#restored > 0) return this.#replay(chain);
    if (this.#looksAhead) this.#lookAhead();
    const channels = this.#channels;
    for (let tried = 0; tried < channels.length; tried++) {
      const index = this.#next;
      this.#next = index + 1 === channels.length ? 0 : index + 1;
      const it = channels[index] as GateChannel;
      if (it.ended || this.#blocked[index] !== 0) continue;
      const offset = it.channel.tryPeek();
      if (offset < 0) continue;
      this.#take(index, it, offset, chain);
      return true;
    }
    return false;
  }

  /** The in-flight segments that were stored since a checkpoint began to overtake. */
  takeLogs(): readonly ChannelLog[] {
    const logs = this.#channels.flatMap(({ edge, position, log }) =>
      log === undefined || log.segments === 0 ? [] : [{ edge, channel: position, bytes: log.bytes() }],
    );
    this.dropLogs();
    return logs;
  }

  /** Forgets in-flight segments. */
  dropLogs(): void {
    for (const it of this.#channels) {
      it.log = undefined;
      it.logged = 0;
    }
  }

  /** The first segment that would be news: a channel that is held back has some if it was not looked through yet. */
  #unread(index: number, it: GateChannel): number {
    return this.#blocked[index] === 0 ? 0 : it.seen;
  }

  #take(index: number, it: GateChannel, offset: number, chain: FusedChain): void {
    const { channel } = it;
    const { memory } = channel;
    if (segmentKind(memory, offset) === SegmentKind.barrier) {
      const trigger = readBarrier(memory, offset);
      this.#release(it, SEGMENT_HEADER_BYTES);
      this.#do(this.#aligner.barrier(index, trigger, this.#listener.now()));
      return;
    }
    if (this.#looksAhead && it.logged === 0 && this.#aligner.inFlight(index) !== 0) this.#log(it, memory, offset);
    this.#segment(index, it, memory, offset, chain, true);
  }

  /** Runs a segment other than a barrier through the chain. */
  #segment(index: number, it: GateChannel, memory: SegmentMemory, offset: number, chain: FusedChain, release: boolean): void {
    const payload = segmentPayloadBytes(memory, offset);
    switch (segmentKind(memory, offset)) {
      case SegmentKind.rows: {
        const count = segmentRows(memory, offset);
        const watermark = segmentWatermark(memory, offset);
        if (count > 0) it.decoder.decode(memory, offset + SEGMENT_HEADER_BYTES, count, this.#rows, this.#timestamps);
        if (release) this.#release(it, 0);
        this.#listener.read(count, payload + SEGMENT_HEADER_BYTES);
        if (count > 0) this.#process(index, it, count, chain);
        if (watermark !== MIN_WATERMARK && this.#combiner.advance(index, watermark)) this.#listener.watermark(this.#combiner.current);
        return;
      }
      case SegmentKind.piece: {
        const start = offset + SEGMENT_HEADER_BYTES;
        it.pieces.push(memory.bytes.slice(start, start + payload));
        const last = (segmentFlags(memory, offset) & LAST_PIECE) !== 0;
        if (release) this.#release(it, 0);
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
        if (release) this.#release(it, SEGMENT_HEADER_BYTES);
        if (this.#combiner.setIdle(index)) this.#listener.watermark(this.#combiner.current);
        if (this.#combiner.idle && !this.#idle) {
          this.#idle = true;
          this.#listener.idle();
        }
        return;
      case SegmentKind.end:
        if (release) this.#release(it, SEGMENT_HEADER_BYTES);
        it.ended = true;
        if (this.#combiner.end(index)) this.#listener.watermark(this.#combiner.current);
        this.#do(this.#aligner.end(index, this.#listener.now()));
        return;
      case SegmentKind.barrier:
        return;
    }
  }

  /** @param bytes to count as read; 0: they are counted elsewhere. */
  #release(it: GateChannel, bytes: number): void {
    it.channel.release();
    if (it.seen > 0) it.seen--;
    if (it.logged > 0) it.logged--;
    if (bytes > 0) this.#listener.read(0, bytes);
  }

  #process(index: number, it: GateChannel, count: number, chain: FusedChain): void {
    this.#combiner.active(index);
    this.#idle = false;
    if (it.second) chain.process2(this.#rows, this.#timestamps, count);
    else chain.process(this.#rows, this.#timestamps, count);
  }

  /** Takes one restored segment. */
  #replay(chain: FusedChain): boolean {
    const index = this.#channels.findIndex(({ restored }) => restored !== undefined);
    const it = this.#channels[index] as GateChannel;
    const reader = it.restored as InFlightReader;
    const memory = reader.next();
    if (memory !== undefined) this.#segment(index, it, memory, 0, chain, false);
    else {
      it.restored = undefined;
      this.#restored--;
      // The producer begins anew too, and announces everything again.
      it.pieces = [];
    }
    return true;
  }

  /** Finds barriers behind other segments, and what is in flight in front of them. */
  #lookAhead(): void {
    const now = this.#listener.now();
    const channels = this.#channels;
    for (let index = 0; index < channels.length; index++) {
      const it = channels[index] as GateChannel;
      if (it.ended) continue;
      for (let offset = it.channel.peekAhead(it.seen); offset >= 0; offset = it.channel.peekAhead(it.seen)) {
        it.seen++;
        const { memory } = it.channel;
        if (segmentKind(memory, offset) === SegmentKind.barrier) this.#do(this.#aligner.announced(readBarrier(memory, offset), now));
      }
    }
    this.#do(this.#aligner.overdue(now));
    if (!this.#aligner.waiting) return;
    for (let index = 0; index < channels.length; index++) {
      const checkpoint = this.#aligner.inFlight(index);
      if (checkpoint !== 0) this.#logAhead(index, channels[index] as GateChannel, checkpoint);
    }
  }

  /** Copies the segments in front of the barrier of a checkpoint that overtakes. */
  #logAhead(index: number, it: GateChannel, checkpoint: number): void {
    const { memory } = it.channel;
    for (let offset = it.channel.peekAhead(it.logged); offset >= 0; offset = it.channel.peekAhead(it.logged)) {
      const kind = segmentKind(memory, offset);
      const last = kind === SegmentKind.barrier ? readBarrier(memory, offset).checkpoint === checkpoint : kind === SegmentKind.end;
      if (last) return this.#do(this.#aligner.stored(index, checkpoint));
      this.#log(it, memory, offset);
      it.logged++;
    }
  }

  /** An end is not logged: a restored producer says it again. Nor are barriers of checkpoints that came to nothing. */
  #log(it: GateChannel, memory: SegmentMemory, offset: number): void {
    const kind = segmentKind(memory, offset);
    if (kind === SegmentKind.end || kind === SegmentKind.barrier) return;
    it.log ??= new InFlightWriter(it.decoder.announcements, it.pieces);
    const length = SEGMENT_HEADER_BYTES + segmentPayloadBytes(memory, offset);
    it.log.add(memory.bytes.slice(offset, offset + length));
  }

  #do(steps: readonly AlignmentStep[]): void {
    for (const step of steps) {
      if (step.do === "abort") this.dropLogs();
      this.#listener.align(step);
    }
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
