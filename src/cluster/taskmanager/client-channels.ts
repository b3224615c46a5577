/**
 * The channels between tasks of this process and clients, by way of the JobManager: results (rows that leave a job) and feeds (rows that
 * a client sends in). A task sees a ring like any other; this file carries segments between the rings and the connection to the
 * JobManager, under credits in both directions, so that a client that reads slowly holds the task back, and a task that is slow holds the
 * client back.
 *
 *     task ─ring─▶ ResultEnd ── resultSegments ──▶ JobManager        as far as grantResult allows
 *     task ◀─ring─ FeedEnd   ◀── feedSegments ──── JobManager        as far as grantFeed allowed
 *
 * Invariants: a segment is sent only against a credit and is copied out of its ring before; segments of a channel are numbered from 0
 * without a gap; what arrives against a credit finds room. Grants are limits that only rise (see exchange/credits.ts), so a lost one is
 * healed by the next, and `repeatGrants` says the last ones again.
 * Bounds: nothing is queued here; rows wait in their rings. A message has at most MESSAGE_SEGMENTS segments and about MESSAGE_BYTES bytes.
 *
 * Trusts the session with the JobManager to lose no message while it lasts; a gap that arises all the same is seen by the receiver's count.
 * Lives on the TaskManager's main thread.
 */
import { SEGMENT_HEADER_BYTES, SegmentKind, segmentCheckpoint, segmentKind, segmentPayloadBytes } from "../../core/data/element.ts";
import { ProtocolError } from "../../core/types/errors.ts";
import { CreditBalance, CreditGrants } from "../exchange/credits.ts";
import { createBell, ringBell, waitForBell } from "../exchange/doorbell.ts";
import type { BellDescriptor } from "../exchange/doorbell.ts";
import { RingInput, RingOutput } from "../exchange/ring-channel.ts";
import type { RingDescriptor } from "../exchange/ring-channel.ts";
import type { ChannelGrant, ChannelSegments, ExecutionAddress } from "../protocol/messages.ts";

const MESSAGE_SEGMENTS = 64;
const MESSAGE_BYTES = 256 * 1024;
/** The pump looks after so long even when nobody rings. */
const LOOK_MS = 1_000;

/** Which channel of which subtask, as messages name it. */
export type ClientChannelAddress = Omit<ChannelGrant, "granted">;

/** The address of a result or feed of an execution. */
export const clientChannel = ({ job, subtask, attempt }: ExecutionAddress, name: string): ClientChannelAddress => ({
  job,
  name,
  subtask,
  attempt,
});

const keyOf = ({ job, name, subtask, attempt }: ClientChannelAddress): string => `${job}/${subtask}#${attempt}/${name}`;

/** How segments and grants leave. Neither call blocks. */
export interface ClientChannelsOptions {
  readonly sendResult: (segments: ChannelSegments, bytes: readonly Uint8Array[]) => void;
  readonly sendGrant: (grant: ChannelGrant) => void;
}

interface ResultEnd {
  readonly address: ClientChannelAddress;
  readonly input: RingInput;
  readonly credits: CreditBalance;
  readonly onEnded: () => void;
  /** The last barrier that was sent; 0: none. */
  barrier: number;
  /** Who waits for one. */
  readonly waiting: { readonly checkpoint: number; readonly tell: () => void }[];
}

interface FeedEnd {
  readonly address: ClientChannelAddress;
  readonly output: RingOutput;
  readonly segmentBytes: number;
  readonly credits: CreditGrants;
  readonly onFailed: (error: Error) => void;
  ended: boolean;
}

export class ClientChannels {
  /** Consumer's bell of every ring given to `openResult`, producer's bell of every ring given to `openFeed`. */
  readonly bell: BellDescriptor = createBell();
  readonly #options: ClientChannelsOptions;
  readonly #results = new Map<string, ResultEnd>();
  readonly #feeds = new Map<string, FeedEnd>();
  readonly #closed = new AbortController();
  #pumping: Promise<void> | undefined;
  /** Messages for channels that are not open here (any more). */
  dropped = 0;

  constructor(options: ClientChannelsOptions) {
    this.#options = options;
  }

  /** Results and feeds that are open now. */
  get open(): number {
    return this.#results.size + this.#feeds.size;
  }

  /**
   * Sends the segments of `ring`, as they are granted.
   * @param onEnded called once when the end of input was sent; not when the channel is closed before.
   */
  openResult(address: ClientChannelAddress, ring: RingDescriptor, onEnded: () => void): void {
    this.#results.set(keyOf(address), {
      address, input: new RingInput(ring), credits: new CreditBalance(), onEnded, barrier: 0, waiting: [],
    });
    this.#wake();
  }

  /**
   * Grants room of `ring`, which is empty, and writes arriving segments into it.
   * @param onFailed called when segments arrive that can't be the next ones; nothing more is accepted then.
   */
  openFeed(address: ClientChannelAddress, ring: RingDescriptor, onFailed: (error: Error) => void): void {
    const end = {
      address,
      output: new RingOutput(ring),
      segmentBytes: ring.segmentBytes,
      credits: new CreditGrants(ring.segments),
      onFailed,
      ended: false,
    };
    this.#feeds.set(keyOf(address), end);
    this.#wake();
  }

  /**
   * Resolves when the rows of a result that belong before a checkpoint have been sent, or the channel is not open (any more). What is said
   * to the JobManager after that arrives after them.
   */
  barrierSent(address: ClientChannelAddress, checkpoint: number): Promise<void> {
    const end = this.#results.get(keyOf(address));
    if (end === undefined || end.barrier >= checkpoint) return Promise.resolve();
    return new Promise((tell) => end.waiting.push({ checkpoint, tell }));
  }

  /** Forgets a channel; its ring is not touched any more. Harmless when it is not open. */
  close(address: ClientChannelAddress): void {
    const end = this.#results.get(keyOf(address));
    if (end !== undefined) tellAll(end, Number.POSITIVE_INFINITY);
    this.#results.delete(keyOf(address));
    this.#feeds.delete(keyOf(address));
  }

  /** More of a result may be sent. */
  grantResult(grant: ChannelGrant): void {
    const end = this.#results.get(keyOf(grant));
    if (end === undefined) {
      this.dropped += 1;
      return;
    }
    end.credits.receive(grant.granted);
    this.#wake();
  }

  /** Rows of a feed arrived. Its task fails when they are not the ones that were granted. */
  feedSegments(segments: ChannelSegments, bytes: readonly Uint8Array[]): void {
    const end = this.#feeds.get(keyOf(segments));
    if (end === undefined || end.ended) {
      this.dropped += bytes.length;
      return;
    }
    try {
      bytes.forEach((segment, index) => this.#accept(end, segments.sequence + index, segment));
    } catch (error) {
      end.ended = true;
      end.onFailed(
        new ProtocolError(`The feed "${segments.name}" broke on its way from the client. ${(error as Error).message}`, { cause: error }),
      );
    }
    this.#wake();
  }

  /** Says the last grants again, in case one got lost. */
  repeatGrants(): void {
    for (const { address, credits, ended } of this.#feeds.values()) {
      if (!ended && credits.announced > credits.arrived) this.#options.sendGrant({ ...address, granted: credits.announced });
    }
  }

  /** Forgets all channels and stops. */
  async stop(): Promise<void> {
    this.#closed.abort();
    for (const end of this.#results.values()) tellAll(end, Number.POSITIVE_INFINITY);
    this.#results.clear();
    this.#feeds.clear();
    await this.#pumping;
  }

  #wake(): void {
    if (this.#closed.signal.aborted) return;
    ringBell(this.bell);
    this.#pumping ??= this.#pump().finally(() => (this.#pumping = undefined));
  }

  async #pump(): Promise<void> {
    while (!this.#closed.signal.aborted && this.open > 0) {
      if (this.#turn()) await turnOfEventLoop();
      else await waitForBell(this.bell, LOOK_MS, this.#closed.signal, () => this.#hasWork());
    }
  }

  /** One message per result and one grant per feed; true when there was anything to say. */
  #turn(): boolean {
    let worked = false;
    for (const end of this.#results.values()) worked = this.#send(end) || worked;
    for (const { address, output, credits, ended } of this.#feeds.values()) {
      const limit = ended ? -1 : credits.due(output.capacity - output.queued);
      if (limit < 0) continue;
      credits.announce(limit);
      this.#options.sendGrant({ ...address, granted: limit });
      worked = true;
    }
    return worked;
  }

  /** When false, each ring has been asked to ring the bell as soon as this changes. */
  #hasWork(): boolean {
    for (const { credits, input } of this.#results.values()) {
      if (credits.available > 0 && input.tryPeek() >= 0) return true;
    }
    for (const { credits, output, ended } of this.#feeds.values()) {
      if (ended || credits.wakeAt > output.capacity) continue;
      output.wantRoom(credits.wakeAt);
      if (credits.due(output.capacity - output.queued) >= 0) return true;
    }
    return false;
  }

  #send(end: ResultEnd): boolean {
    const { address, input, credits, onEnded } = end;
    const segments: Uint8Array[] = [];
    const sequence = credits.sent;
    let bytes = 0;
    let last = false;
    while (!last && segments.length < MESSAGE_SEGMENTS && bytes < MESSAGE_BYTES && credits.available > 0) {
      const offset = input.tryPeek();
      if (offset < 0) break;
      const { memory } = input;
      const until = offset + SEGMENT_HEADER_BYTES + segmentPayloadBytes(memory, offset);
      const copy = Buffer.allocUnsafeSlow(until - offset);
      memory.buffer.copy(copy, 0, offset, until);
      const kind = segmentKind(memory, offset);
      last = kind === SegmentKind.end;
      if (kind === SegmentKind.barrier) end.barrier = segmentCheckpoint(memory, offset);
      credits.spend();
      input.release();
      segments.push(copy);
      bytes += copy.byteLength;
    }
    if (segments.length === 0) return false;
    this.#options.sendResult({ ...address, sequence }, segments);
    tellAll(end, last ? Number.POSITIVE_INFINITY : end.barrier);
    if (last) {
      this.#results.delete(keyOf(address));
      onEnded();
    }
    return true;
  }

  #accept(end: FeedEnd, sequence: number, segment: Uint8Array): void {
    end.credits.accept(sequence);
    if (segment.byteLength < SEGMENT_HEADER_BYTES || segment.byteLength > end.segmentBytes) {
      throw new ProtocolError(`A segment of ${segment.byteLength} bytes came where segments have at most ${end.segmentBytes}.`);
    }
    const offset = end.output.tryAcquire();
    if (offset < 0) throw new ProtocolError(`Segment ${sequence} was granted and finds no room.`);
    const { memory } = end.output;
    memory.bytes.set(segment, offset);
    const payloadBytes = segmentPayloadBytes(memory, offset);
    if (payloadBytes !== segment.byteLength - SEGMENT_HEADER_BYTES) {
      throw new ProtocolError(`A segment of ${segment.byteLength} bytes says that its payload has ${payloadBytes}.`);
    }
    if (segmentKind(memory, offset) === SegmentKind.end) end.ended = true;
    end.output.publish();
  }
}

/** Answers those who wait for a barrier up to this one. */
function tellAll({ waiting }: ResultEnd, checkpoint: number): void {
  for (const it of waiting.splice(0)) {
    if (it.checkpoint <= checkpoint) it.tell();
    else waiting.push(it);
  }
}

const turnOfEventLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
