/**
 * All channels between two TaskManagers, in both directions, over one connection. A DataLink knows rings, credits and messages, but no
 * socket: whoever owns the connection takes messages out of it and puts arriving ones in.
 *
 *     producer's thread ─ring─▶ DataLink ══ messages ══▶ DataLink ─ring─▶ consumer's thread
 *
 * Invariants: a segment leaves only against a credit, so what arrives always finds room; a segment's bytes are copied out of the ring
 * before they are sent, because a socket sends later than it says; segments of a channel arrive in order, each once, or the channel
 * fails; a channel of an ended attempt never delivers into another one, for each has its own address and number.
 * Nothing is queued here but control entries: data waits in its ring, credits are computed when a message is built.
 *
 * Trusts the connection to deliver messages whole and in order, and to say when it broke. Lives on the TaskManager's main thread.
 */
import { SEGMENT_HEADER_BYTES, SegmentKind, segmentKind, segmentPayloadBytes } from "../../core/data/element.ts";
import { ConnectionError, InvariantError, ProtocolError, describe } from "../../core/types/errors.ts";
import type { DreyError } from "../../core/types/errors.ts";
import { CreditBalance, CreditGrants } from "./credits.ts";
import {
  ENTRY_HEADER_BYTES, EntryKind, MESSAGE_HEADER_BYTES, Side, entryBytes, readEntries, writeEntryHeader, writeMessageHeader,
} from "./link-message.ts";
import { RingInput, RingOutput } from "./ring-channel.ts";
import type { RingDescriptor } from "./ring-channel.ts";

/** Names one channel of one attempt across the cluster: job, edge, producer, consumer and their attempts. At most 1,024 bytes. */
export type ChannelAddress = string;

/** One end of a channel to another TaskManager, in the hands of the process's main thread. */
export interface OpenChannel {
  readonly channel: ChannelAddress;
  /**
   * Settles once, when no further segment will pass here: with undefined when the end of input passed or the owner closed it, with
   * the error when it failed. Never rejects.
   */
  readonly ended: Promise<DreyError | undefined>;
  /** Stops at once; unsent segments stay in the ring. The peer's end fails unless the end of input has passed. Idempotent. */
  close(reason?: string): void;
}

/** What one end of a channel has done so far. */
export interface ChannelStatistics {
  readonly channel: ChannelAddress;
  readonly direction: "output" | "input";
  readonly segments: number;
  readonly bytes: number;
  /** Segments that the sender may still send without hearing from the receiver, as this end knows it. */
  readonly credits: number;
}

/** Segments are gathered into one message up to this size; a larger one has a message to itself. */
export const BATCH_BYTES: number = 64 * 1024;
const MAX_ADDRESS_BYTES = 1_024;
/** Channels that a peer has opened and nobody here has claimed yet: more than this is a fault, not haste. */
const MAX_UNCLAIMED = 65_536;

/** Shared by everything that a link opens: settles `ended` once. */
class End implements OpenChannel {
  readonly channel: ChannelAddress;
  readonly ended: Promise<DreyError | undefined>;
  readonly ring: RingDescriptor;
  over = false;
  segments = 0;
  bytes = 0;
  private settle: (error: DreyError | undefined) => void = () => {};
  private readonly onClose: (end: End, reason: string) => void;

  constructor(channel: ChannelAddress, ring: RingDescriptor, onClose: (end: End, reason: string) => void) {
    this.channel = channel;
    this.ring = ring;
    this.onClose = onClose;
    this.ended = new Promise((resolve) => (this.settle = resolve));
  }

  close(reason = "its task ended"): void {
    if (!this.over) this.onClose(this, reason);
  }

  finish(error: DreyError | undefined): void {
    this.over = true;
    this.settle(error);
  }
}

class OutputEnd extends End {
  readonly credits = new CreditBalance();
  readonly input: RingInput;
  /** The consumer's number for this channel; -1 until its `open` came. */
  number = -1;

  constructor(channel: ChannelAddress, ring: RingDescriptor, onClose: (end: End, reason: string) => void) {
    super(channel, ring, onClose);
    this.input = new RingInput(ring);
  }
}

class InputEnd extends End {
  readonly credits: CreditGrants;
  readonly output: RingOutput;
  readonly number: number;

  constructor(channel: ChannelAddress, ring: RingDescriptor, number: number, onClose: (end: End, reason: string) => void) {
    super(channel, ring, onClose);
    this.number = number;
    this.output = new RingOutput(ring);
    this.credits = new CreditGrants(ring.segments);
  }
}

interface ControlEntry {
  readonly kind: EntryKind;
  readonly side: Side;
  readonly channel: number;
  readonly value: number;
  readonly body: Buffer;
}

const NO_BODY = Buffer.alloc(0);
// One scratch for all links: a message is built and copied without a pause in between.
const scratch = Buffer.allocUnsafeSlow(BATCH_BYTES);

export class DataLink {
  readonly peerId: string;
  /** True between the greeting and the loss of the connection; only then do channels' messages flow. */
  ready = false;
  /** Names this life of the connection; set by `greet`. */
  epoch = 0;
  bytesSent = 0;
  bytesReceived = 0;
  segmentsSent = 0;
  segmentsReceived = 0;
  /** Segments that came for a channel which had been closed here meanwhile. */
  segmentsDropped = 0;
  messagesSent = 0;
  messagesReceived = 0;
  private failure: DreyError | undefined;
  private greeting = false;
  private control: ControlEntry[] = [];
  private nextNumber = 0;
  private nextTurn = 0;
  private readonly inputs = new Map<number, InputEnd>();
  private readonly outputs = new Map<ChannelAddress, OutputEnd>();
  private readonly granted = new Map<number, OutputEnd>();
  /** The same as `granted`, in the order in which they take turns. */
  private turns: OutputEnd[] = [];
  private readonly unclaimed = new Map<ChannelAddress, { readonly number: number; readonly limit: number }>();

  constructor(peerId: string) {
    this.peerId = peerId;
  }

  /** Channels of this link that are neither closed nor at their end. */
  get channels(): number {
    return this.inputs.size + this.outputs.size;
  }

  get statistics(): ChannelStatistics[] {
    const all: ChannelStatistics[] = [];
    for (const { channel, segments, bytes, credits } of this.outputs.values()) {
      all.push({ channel, direction: "output", segments, bytes, credits: credits.available });
    }
    for (const { channel, segments, bytes, credits } of this.inputs.values()) {
      all.push({ channel, direction: "input", segments, bytes, credits: credits.announced - credits.arrived });
    }
    return all;
  }

  /** Starts a life of the connection: says hello in its next message. */
  greet(epoch: number): void {
    this.epoch = epoch;
    this.greeting = true;
  }

  /** Makes the next message carry a probe, if it would carry nothing else. */
  probe(): void {
    if (this.ready && this.control.length === 0) this.say(EntryKind.probe, Side.none, 0);
  }

  /**
   * Sends the segments of `ring` to the peer as its credits allow.
   * @throws InvariantError when the channel is open already.
   */
  openOutput(channel: ChannelAddress, ring: RingDescriptor): OpenChannel {
    checkAddress(channel);
    if (this.outputs.has(channel)) throw new InvariantError(`The channel ${channel} to ${this.peerId} is open already.`);
    const end = new OutputEnd(channel, ring, (_end, reason) => this.closeOutput(end, undefined, reason));
    if (this.failure !== undefined) {
      end.finish(this.failure);
      return end;
    }
    this.outputs.set(channel, end);
    const open = this.unclaimed.get(channel);
    if (open !== undefined) {
      this.unclaimed.delete(channel);
      this.grant(end, open.number, open.limit);
    }
    return end;
  }

  /** Grants the peer credits for the segments of `ring` and writes what arrives into it. The ring is empty. */
  openInput(channel: ChannelAddress, ring: RingDescriptor): OpenChannel {
    checkAddress(channel);
    const end = new InputEnd(channel, ring, this.nextNumber++, (_end, reason) => this.closeInput(end, undefined, reason));
    if (this.failure !== undefined) {
      end.finish(this.failure);
      return end;
    }
    this.inputs.set(end.number, end);
    const limit = end.credits.due(end.output.capacity - end.output.queued);
    if (limit !== ring.segments) throw new InvariantError(`The channel ${channel} was opened on a ring that is not empty.`);
    end.credits.announce(limit);
    this.say(EntryKind.open, Side.consumer, end.number, limit, channel);
    return end;
  }

  /** Fails a channel of this link, telling the peer. For deadlines. */
  failChannel(open: OpenChannel, error: DreyError): void {
    if (open instanceof OutputEnd && !open.over) this.closeOutput(open, error, error.message);
    if (open instanceof InputEnd && !open.over) this.closeInput(open, error, error.message);
  }

  /** True when an output waits for the consumer's end to be opened. */
  isUnopened(open: OpenChannel): boolean {
    return !this.ready || (open instanceof OutputEnd && open.number < 0);
  }

  /** Ends the link: all its channels end with `error` (undefined: they were closed by their owner), later ones at once. */
  fail(error: DreyError | undefined): void {
    this.failure = error ?? new ConnectionError(`The data connection to TaskManager ${this.peerId} is closed.`);
    this.ready = false;
    this.control = [];
    const ends = [...this.inputs.values(), ...this.outputs.values()];
    for (const map of [this.inputs, this.outputs, this.granted, this.unclaimed]) map.clear();
    this.turns = [];
    for (const end of ends) end.finish(error);
  }

  /**
   * Whether `takeMessage` would return one. When not, every ring of this link has been asked to ring the main thread's bell as soon as
   * this changes; so the answer may be used to decide to sleep.
   */
  hasWork(): boolean {
    if (this.greeting) return true;
    if (!this.ready) return false;
    if (this.control.length > 0) return true;
    for (const end of this.turns) {
      if (end.credits.available > 0 && end.input.tryPeek() >= 0) return true;
    }
    for (const { credits, output } of this.inputs.values()) {
      // Most channels are quiet, and this says so without a look at shared memory.
      if (credits.wakeAt > output.capacity) continue;
      output.wantRoom(credits.wakeAt);
      if (credits.due(output.capacity - output.queued) >= 0) return true;
    }
    return false;
  }

  /**
   * The next message to send, or undefined. Control entries first, then credits, then segments, one per channel and turn. The segments
   * are out of their rings when this returns: the caller must send the message, or end the link.
   */
  takeMessage(): Buffer | undefined {
    if (this.greeting) {
      this.greeting = false;
      const hello = Buffer.alloc(MESSAGE_HEADER_BYTES + ENTRY_HEADER_BYTES);
      writeMessageHeader(hello, this.epoch);
      writeEntryHeader(hello, MESSAGE_HEADER_BYTES, EntryKind.hello, Side.none, 0, 0, 0);
      return hello;
    }
    if (!this.ready) return undefined;
    let at = this.writeControl(MESSAGE_HEADER_BYTES);
    at = this.writeCredits(at);
    const message = this.writeSegments(at);
    if (message === undefined) return undefined;
    writeMessageHeader(message, this.epoch);
    this.messagesSent += 1;
    this.bytesSent += message.length;
    return message;
  }

  /**
   * Takes in a message of this life of the connection.
   * @throws ProtocolError when it can't be read; the connection is of no use any more then.
   */
  acceptMessage(message: Buffer): void {
    this.messagesReceived += 1;
    this.bytesReceived += message.length;
    readEntries(message, (kind, side, channel, value, start, end) => {
      switch (kind) {
        case EntryKind.data:
          this.acceptSegment(channel, value, message, start, end);
          break;
        case EntryKind.credit:
          this.granted.get(channel)?.credits.receive(value);
          break;
        case EntryKind.open:
          this.acceptOpen(channel, value, message.toString("utf8", start, end));
          break;
        case EntryKind.close:
          this.acceptClose(channel, side, message.toString("utf8", start, end));
          break;
        case EntryKind.hello:
        case EntryKind.probe:
          break;
        default:
          throw new ProtocolError(`An entry has the unknown kind ${describe(kind satisfies never)}.`);
      }
    });
  }

  private writeControl(at: number): number {
    let written = 0;
    for (const { kind, side, channel, value, body } of this.control) {
      if (at + entryBytes(body.length) > BATCH_BYTES) break;
      body.copy(scratch, writeEntryHeader(scratch, at, kind, side, channel, body.length, value));
      at += entryBytes(body.length);
      written += 1;
    }
    if (written === this.control.length) this.control = [];
    else this.control.splice(0, written);
    return at;
  }

  private writeCredits(at: number): number {
    for (const { credits, output, number } of this.inputs.values()) {
      if (credits.wakeAt > output.capacity) continue;
      const limit = credits.due(output.capacity - output.queued);
      if (limit < 0) continue;
      if (at + ENTRY_HEADER_BYTES > BATCH_BYTES) break;
      writeEntryHeader(scratch, at, EntryKind.credit, Side.consumer, number, 0, limit);
      credits.announce(limit);
      at += ENTRY_HEADER_BYTES;
    }
    return at;
  }

  /** Adds segments behind what stands in `scratch` up to `at`, and copies it all to a message of its own. */
  private writeSegments(at: number): Buffer | undefined {
    let idle = 0;
    while (idle < this.turns.length) {
      if (this.nextTurn >= this.turns.length) this.nextTurn = 0;
      const end = this.turns[this.nextTurn] as OutputEnd;
      const offset = end.credits.available > 0 ? end.input.tryPeek() : -1;
      if (offset < 0) {
        idle += 1;
        this.nextTurn += 1;
        continue;
      }
      idle = 0;
      const memory = end.input.memory;
      const bytes = SEGMENT_HEADER_BYTES + segmentPayloadBytes(memory, offset);
      if (bytes < SEGMENT_HEADER_BYTES || bytes > end.ring.segmentBytes) {
        const limit = end.ring.segmentBytes;
        this.closeOutput(end, new InvariantError(`A segment of ${bytes} bytes stands in ${end.channel}, whose segments have ${limit}.`));
        continue;
      }
      const room = at + entryBytes(bytes) <= BATCH_BYTES;
      // A segment that doesn't fit waits for the next message, unless it could never fit: then it is the last of this one.
      if (!room && MESSAGE_HEADER_BYTES + entryBytes(bytes) <= BATCH_BYTES) break;
      let message = scratch;
      if (!room) {
        message = Buffer.allocUnsafeSlow(at + entryBytes(bytes));
        scratch.copy(message, 0, 0, at);
      }
      const sequence = end.credits.spend();
      const body = writeEntryHeader(message, at, EntryKind.data, Side.producer, end.number, bytes, sequence);
      memory.buffer.copy(message, body, offset, offset + bytes);
      const last = segmentKind(memory, offset) === SegmentKind.end;
      end.input.release();
      at += entryBytes(bytes);
      this.segmentsSent += 1;
      end.segments += 1;
      end.bytes += bytes;
      this.nextTurn += 1;
      if (last) this.retireOutput(end, undefined);
      if (!room) return message;
    }
    return at === MESSAGE_HEADER_BYTES ? undefined : Buffer.from(scratch.subarray(0, at));
  }

  private acceptSegment(number: number, sequence: number, message: Buffer, start: number, end: number): void {
    const input = this.inputs.get(number);
    if (input === undefined) {
      if (number >= this.nextNumber) throw new ProtocolError(`A segment came for channel ${number}, which was never opened.`);
      this.segmentsDropped += 1;
      return;
    }
    try {
      input.credits.accept(sequence);
      if (end - start < SEGMENT_HEADER_BYTES || end - start > input.ring.segmentBytes) {
        throw new ProtocolError(`A segment of ${end - start} bytes came where segments have at most ${input.ring.segmentBytes}.`);
      }
      const offset = input.output.tryAcquire();
      if (offset < 0) throw new InvariantError(`A credited segment found no room in the ring.`);
      const memory = input.output.memory;
      message.copy(memory.buffer, offset, start, end);
      const last = segmentKind(memory, offset) === SegmentKind.end;
      if (segmentPayloadBytes(memory, offset) !== end - start - SEGMENT_HEADER_BYTES) {
        throw new ProtocolError(`A segment of ${end - start} bytes says that its payload has ${segmentPayloadBytes(memory, offset)}.`);
      }
      input.output.publish();
      this.segmentsReceived += 1;
      input.segments += 1;
      input.bytes += end - start;
      if (last) {
        this.inputs.delete(number);
        input.finish(undefined);
      }
    } catch (error) {
      const Kind = error instanceof InvariantError ? InvariantError : ProtocolError;
      const what = `Channel ${input.channel} from TaskManager ${this.peerId} broke. ${(error as Error).message}`;
      const failed = new Kind(what, { cause: error });
      this.closeInput(input, failed, failed.message);
    }
  }

  private acceptOpen(number: number, limit: number, channel: ChannelAddress): void {
    const end = this.outputs.get(channel);
    if (end === undefined) {
      if (this.unclaimed.size >= MAX_UNCLAIMED) throw new ProtocolError(`The peer opened ${MAX_UNCLAIMED} channels that nobody uses.`);
      this.unclaimed.set(channel, { number, limit });
    } else if (end.number >= 0) {
      throw new ProtocolError(`The peer opened channel ${channel} twice.`);
    } else {
      this.grant(end, number, limit);
    }
  }

  private acceptClose(number: number, side: Side, reason: string): void {
    const end = side === Side.consumer ? this.granted.get(number) : this.inputs.get(number);
    const who = side === Side.consumer ? "consumer" : "producer";
    if (end === undefined) {
      if (side !== Side.consumer) return;
      for (const [channel, open] of this.unclaimed) if (open.number === number) this.unclaimed.delete(channel);
      return;
    }
    const error = new ConnectionError(`The ${who} of channel ${end.channel}, on TaskManager ${this.peerId}, closed it: ${reason}.`);
    if (end instanceof OutputEnd) {
      this.retireOutput(end, error);
    } else {
      this.inputs.delete(number);
      end.finish(error);
    }
  }

  private grant(end: OutputEnd, number: number, limit: number): void {
    end.number = number;
    end.credits.receive(limit);
    this.granted.set(number, end);
    this.turns.push(end);
  }

  private retireOutput(end: OutputEnd, error: DreyError | undefined): void {
    this.outputs.delete(end.channel);
    this.granted.delete(end.number);
    const turn = this.turns.indexOf(end);
    if (turn >= 0) {
      this.turns.splice(turn, 1);
      if (turn < this.nextTurn) this.nextTurn -= 1;
    }
    end.finish(error);
  }

  private closeOutput(end: OutputEnd, error: DreyError | undefined, reason: string = error?.message ?? ""): void {
    this.retireOutput(end, error);
    if (end.number >= 0) this.say(EntryKind.close, Side.producer, end.number, 0, reason);
  }

  private closeInput(end: InputEnd, error: DreyError | undefined, reason: string): void {
    this.inputs.delete(end.number);
    this.say(EntryKind.close, Side.consumer, end.number, 0, reason);
    end.finish(error);
  }

  private say(kind: EntryKind, side: Side, channel: number, value = 0, text = ""): void {
    const body = text === "" ? NO_BODY : Buffer.from(text.slice(0, MAX_ADDRESS_BYTES), "utf8");
    this.control.push({ kind, side, channel, value, body });
  }
}

function checkAddress(channel: ChannelAddress): void {
  if (channel === "" || Buffer.byteLength(channel) > MAX_ADDRESS_BYTES) {
    throw new InvariantError(`${describe(channel)} is no channel address: it must have 1 to ${MAX_ADDRESS_BYTES} bytes.`);
  }
}
