/**
 * The rows of one result on their way from its tasks to a client, at the JobManager: a bounded queue per subtask with credits on both
 * sides. It takes from a task only what it granted, and gives to a reader only what the reader granted; so a slow or absent reader makes
 * the queues fill, and then the policy decides: the job blocks, old rows are dropped, or the job fails.
 *
 *     task ── resultSegments ──▶ queue of the subtask ── resultSegments ──▶ reader
 *          ◀── grantResult ────                       ◀── grantResult ────
 *
 * Invariants: with policy "block" a subtask's queue, together with what may still arrive, never exceeds its share of the capacity; a
 * segment is delivered in order and to one reader; a gap in what a task sends is noticed at the next segment and fails the job, as rows are
 * missing. Segments are opaque but for three words of their headers: their kind, their number of rows, and whether a piece is the last of
 * its row.
 *
 * A reader that closes says how far it came, and the next one begins with the row after. Of a reader that vanished nobody knows; what was
 * sent to it is gone, so that no row is seen twice. Exactly-once to clients whatever happens needs checkpoints.
 */
import { LAST_PIECE, SEGMENT_HEADER_BYTES, SegmentKind } from "../../core/data/element.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { ConflictError, DeadlineError, type DreyError, JobFailedError, ProtocolError } from "../../core/types/errors.ts";
import { RESULT_WINDOW_SEGMENTS, type TakenRows } from "../protocol/messages.ts";

/** What happens when a result's rows have no room any more (`execution.results.overflow`). */
export type OverflowPolicy = "block" | "drop-oldest" | "fail";

export interface ResultBufferOptions {
  /** The result and its job, for messages: `result "rides" of job "taxi"`. */
  readonly name: string;
  readonly subtasks: number;
  /** Bound of what is kept, in bytes. Each subtask has an equal share of it, and room for one segment at the least. */
  readonly capacityBytes: number;
  /** The size of a segment, in bytes. */
  readonly segmentBytes: number;
  readonly policy: OverflowPolicy;
}

/** Segments for the reader; `sequence` is the number of the first since the reader came. */
export interface Delivery {
  readonly reader: string;
  readonly subtask: number;
  readonly sequence: number;
  readonly segments: readonly Uint8Array[];
}

/** What follows from an input. */
export interface ResultChange {
  /** How many segments the task of a subtask may have sent in all. */
  readonly grants: readonly { readonly subtask: number; readonly granted: number }[];
  readonly deliveries: readonly Delivery[];
  /** The job must fail with this. */
  readonly failure?: DreyError;
  /** The reader should see this in the job's log. */
  readonly warning?: string;
}

/** One message carries at most so much. */
const MAX_DELIVERED_SEGMENTS = 64;
const MAX_DELIVERED_BYTES: number = 4 * 1024 * 1024;
/** What keeping a segment costs beyond its bytes; so tiny segments count too. */
const BOOKKEEPING_BYTES = 256;
/** How long the rest of a result may be on its way after its task has ended and there is room for it. */
export const MAX_TAIL_MS = 30_000;

interface Channel {
  readonly queue: Uint8Array[];
  queuedBytes: number;
  /** Segments that the task has sent, and may have sent. */
  received: number;
  granted: number;
  /** The last segment, once it is here. Every reader gets it, also one that comes when all rows were read. */
  end: Uint8Array | undefined;
  /** Pieces of a row were dropped, so the rest of that row, which is still to come, has to go too. */
  dropsRow: boolean;
  /** The reader has pieces of a row, but not its last. */
  midRow: boolean;
  /** Segments that went to the present reader, and may have gone. */
  sent: number;
  readable: number;
  /** The last of those, which it may not have taken. At most a window of them, since it grants no more before it takes some. */
  readonly untaken: Uint8Array[];
  /** Rows at the start of the queue's first segment that earlier readers have taken. */
  skip: number;
}

/** The buffer of one result. */
export class ResultBuffer {
  readonly #options: ResultBufferOptions;
  readonly #shareBytes: number;
  readonly #channels: readonly Channel[];
  #reader: string | undefined;
  #droppedRows = 0;
  #toldReader = false;

  constructor(options: ResultBufferOptions) {
    this.#options = options;
    this.#shareBytes = Math.max(Math.floor(options.capacityBytes / options.subtasks), options.segmentBytes + BOOKKEEPING_BYTES);
    this.#channels = Array.from({ length: options.subtasks }, () => ({
      queue: [],
      queuedBytes: 0,
      received: 0,
      granted: 0,
      end: undefined,
      dropsRow: false,
      midRow: false,
      sent: 0,
      readable: 0,
      untaken: [],
      skip: 0,
    }));
  }

  /** Subtasks that produce it: as many channels a reader gets. */
  get subtasks(): number {
    return this.#channels.length;
  }

  /** The client that reads it now. */
  get reader(): string | undefined {
    return this.#reader;
  }

  /** Memory that is kept, in bytes. */
  get bufferedBytes(): number {
    return this.#channels.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0);
  }

  /** By subtask: rows at its start that the reader that comes now must pass over. */
  get skip(): readonly number[] {
    return this.#channels.map(({ skip }) => skip);
  }

  /** Rows that were dropped for want of room. */
  get droppedRows(): number {
    return this.#droppedRows;
  }

  /** Whether the last segment of every subtask is here, though perhaps not read. */
  get ended(): boolean {
    return this.#channels.every(({ end }) => end !== undefined);
  }

  /** Subtasks whose last segment is not here. */
  get unfinished(): readonly number[] {
    return this.#channels.flatMap(({ end }, subtask) => (end === undefined ? [subtask] : []));
  }

  /** Whether some of them has credit, so that its rest could be here. */
  get awaitsTail(): boolean {
    return this.#channels.some(({ end, granted, received }) => end === undefined && granted > received);
  }

  /** The error for a tail that did not come within MAX_TAIL_MS. */
  tailMissing(): DreyError {
    return new DeadlineError(
      `the end of ${this.#options.name} did not arrive within ${formatDuration(MAX_TAIL_MS)} after its tasks had ended ` +
        `(subtasks ${this.unfinished.join(", ")}).`,
    );
  }

  /** The tasks are there: grants them what fits. */
  begin(): ResultChange {
    return this.#change(this.#channels.flatMap((channel, subtask) => this.#grant(channel, subtask)));
  }

  /** The task of a subtask has opened its channel: what it was granted before may not have found it. */
  repeatGrant(subtask: number): ResultChange {
    const channel = this.#channels[subtask];
    return this.#change(channel === undefined || channel.granted <= channel.received ? [] : [{ subtask, granted: channel.granted }]);
  }

  /** Segments of a task arrived; `sequence` numbers the first of them, from 0. Repeated ones are passed over. */
  accept(subtask: number, sequence: number, segments: readonly Uint8Array[]): ResultChange {
    const channel = this.#channels[subtask];
    const { name, policy } = this.#options;
    if (channel === undefined) return this.#fails(new ProtocolError(`${name} has no subtask ${subtask}.`));
    if (sequence > channel.received) {
      const lost = sequence - channel.received;
      return this.#fails(
        new ProtocolError(
          `${lost} segments of ${name} (subtask ${subtask + 1} of ${this.subtasks}) got lost on their way to the JobManager.`,
        ),
      );
    }
    for (const segment of segments.slice(channel.received - sequence)) {
      if (channel.received >= channel.granted) {
        return this.#fails(
          new ProtocolError(
            `${name} (subtask ${subtask + 1} of ${this.subtasks}) sent more than the ${channel.granted} segments it was granted.`,
          ),
        );
      }
      if (segment.byteLength < SEGMENT_HEADER_BYTES) {
        return this.#fails(
          new ProtocolError(`${name} sent a segment of ${segment.byteLength} bytes; a header alone has ${SEGMENT_HEADER_BYTES}.`),
        );
      }
      channel.received++;
      if (kindOf(segment) === SegmentKind.end) channel.end = segment;
      channel.queuedBytes += cost(segment);
      if (channel.dropsRow && kindOf(segment) === SegmentKind.piece) {
        this.#passOver(channel, segment);
      } else {
        channel.dropsRow = false;
        channel.queue.push(segment);
      }
    }
    const deliveries = this.#deliver(channel, subtask);
    if (channel.queuedBytes > this.#shareBytes && policy === "fail") return this.#fails(this.#overflow());
    if (channel.queuedBytes > this.#shareBytes && policy === "drop-oldest") this.#drop(channel);
    return this.#change(this.#grant(channel, subtask), deliveries);
  }

  /**
   * A client begins to read; what it may be sent starts at nothing.
   * @throws ConflictError while another client reads and has not got everything.
   */
  open(reader: string): ResultChange {
    if (this.#reader !== undefined && this.#allSent) this.close(this.#reader);
    if (this.#reader !== undefined) {
      throw new ConflictError(
        `${this.#options.name} is read by ${this.#reader === reader ? "this client already" : "another client"}; close that reader first.`,
      );
    }
    this.#reader = reader;
    this.#toldReader = false;
    for (const channel of this.#channels) {
      channel.sent = channel.readable = 0;
      if (channel.end === undefined || channel.queue.includes(channel.end)) continue;
      channel.queue.push(channel.end);
      channel.queuedBytes += cost(channel.end);
    }
    return this.#change([]);
  }

  /**
   * The reader closed it, or (without `taken`) is gone. Harmless when somebody else reads. The rest of a row that it has read in part goes
   * with it.
   */
  close(reader: string, taken: readonly TakenRows[] = []): void {
    if (this.#reader !== reader) return;
    this.#reader = undefined;
    for (const [subtask, channel] of this.#channels.entries()) {
      const came = taken[subtask];
      if (came !== undefined) this.#putBack(channel, came);
      else if (channel.sent > 0) channel.skip = 0;
      channel.untaken.length = 0;
      if (channel.midRow) this.#dropRow(channel, 0);
      channel.midRow = false;
    }
  }

  /** What was sent to a reader and not taken by it is the next one's. */
  #putBack(channel: Channel, { segments, rows }: TakenRows): void {
    const first = channel.sent - channel.untaken.length;
    const back = channel.untaken.slice(Math.max(0, segments - first));
    channel.queue.unshift(...back);
    for (const segment of back) channel.queuedBytes += cost(segment);
    channel.skip = rows;
    // A reader counts no pieces of a row that it has not whole; they are gone only if they are more than a window.
    channel.midRow = segments < first;
  }

  /**
   * The reader can take `granted` segments in all of a subtask, counted since it came. A lower number than before is late and changes
   * nothing.
   */
  read(reader: string, subtask: number, granted: number): ResultChange {
    const channel = this.#channels[subtask];
    if (channel === undefined || this.#reader !== reader) return this.#change([]);
    channel.readable = Math.max(channel.readable, granted);
    this.#forgetTaken(channel);
    const deliveries = this.#deliver(channel, subtask);
    return this.#change(this.#grant(channel, subtask), deliveries);
  }

  /** A reader grants a window beyond what it has taken. */
  #forgetTaken(channel: Channel): void {
    const kept = Math.max(0, channel.sent - channel.readable + RESULT_WINDOW_SEGMENTS);
    if (channel.untaken.length > kept) channel.untaken.splice(0, channel.untaken.length - kept);
  }

  /** What the task may send beyond what it may already. Told in strides, and always to a task that has nothing left. */
  #grant(channel: Channel, subtask: number): ResultChange["grants"] {
    if (channel.end !== undefined) return [];
    const { segmentBytes, policy } = this.#options;
    const window = Math.max(1, Math.floor(this.#shareBytes / (segmentBytes + BOOKKEEPING_BYTES)));
    const outstanding = channel.granted - channel.received;
    const room = this.#shareBytes - channel.queuedBytes - outstanding * (segmentBytes + BOOKKEEPING_BYTES);
    const more = policy === "block" ? Math.floor(room / (segmentBytes + BOOKKEEPING_BYTES)) : window - outstanding;
    if (more <= 0 || (outstanding > 0 && more < window / 4)) return [];
    channel.granted += more;
    return [{ subtask, granted: channel.granted }];
  }

  #deliver(channel: Channel, subtask: number): Delivery[] {
    const reader = this.#reader;
    const deliveries: Delivery[] = [];
    while (reader !== undefined && channel.queue.length > 0 && channel.sent < channel.readable) {
      const limit = Math.min(channel.readable - channel.sent, MAX_DELIVERED_SEGMENTS);
      let count = 0;
      let bytes = 0;
      for (const segment of channel.queue) {
        if (count === limit || (count > 0 && bytes + segment.byteLength > MAX_DELIVERED_BYTES)) break;
        count++;
        bytes += segment.byteLength;
      }
      const segments = channel.queue.splice(0, count);
      channel.untaken.push(...segments);
      channel.queuedBytes -= segments.reduce((sum, segment) => sum + cost(segment), 0);
      deliveries.push({ reader, subtask, sequence: channel.sent, segments });
      channel.sent += count;
      const last = segments[count - 1] as Uint8Array;
      channel.midRow = kindOf(last) === SegmentKind.piece && !isLastPiece(last);
    }
    return deliveries;
  }

  get #allSent(): boolean {
    return this.#channels.every(({ end, queue }) => end !== undefined && queue.length === 0);
  }

  /** Makes room by the oldest segments, whole rows at a time; never by the last segment, nor by the rest of a row that is half read. */
  #drop(channel: Channel): void {
    const { queue } = channel;
    const first = channel.midRow ? queue.findIndex(isLastPiece) + 1 : 0;
    if (channel.midRow && first === 0) return;
    while (channel.queuedBytes > this.#shareBytes) {
      const oldest = queue[first];
      if (oldest === undefined || kindOf(oldest) === SegmentKind.end) return;
      if (first === 0) channel.skip = 0;
      if (kindOf(oldest) === SegmentKind.piece) this.#dropRow(channel, first);
      else this.#passOver(channel, queue.splice(first, 1)[0] as Uint8Array);
    }
  }

  /** Drops the pieces of one row from position `first` on, those to come included. */
  #dropRow(channel: Channel, first: number): void {
    channel.dropsRow = true;
    while (channel.dropsRow && channel.queue.length > first) this.#passOver(channel, channel.queue.splice(first, 1)[0] as Uint8Array);
  }

  #passOver(channel: Channel, segment: Uint8Array): void {
    channel.queuedBytes -= cost(segment);
    const isPiece = kindOf(segment) === SegmentKind.piece;
    channel.dropsRow = isPiece && !isLastPiece(segment);
    if (!isPiece) this.#droppedRows += Math.max(0, word(segment, 1));
    else if (!channel.dropsRow) this.#droppedRows++;
  }

  #overflow(): DreyError {
    const { name, capacityBytes } = this.#options;
    return new JobFailedError(
      `${name} has ${capacityBytes} bytes of rows that nobody reads. Read faster, raise execution.results.buffer-size, ` +
        'or let execution.results.overflow be "block" or "drop-oldest".',
    );
  }

  #fails(failure: DreyError): ResultChange {
    return { grants: [], deliveries: [], failure };
  }

  #change(grants: ResultChange["grants"], deliveries: readonly Delivery[] = []): ResultChange {
    if (this.#droppedRows === 0 || this.#toldReader || this.#reader === undefined) return { grants, deliveries };
    this.#toldReader = true;
    const warning =
      `rows of ${this.#options.name} were dropped, ${this.#droppedRows} so far: they came faster than they were read, ` +
      "execution.results.buffer-size was full and execution.results.overflow is drop-oldest.";
    return { grants, deliveries, warning };
  }
}

const word = (segment: Uint8Array, index: number): number =>
  new DataView(segment.buffer, segment.byteOffset, segment.byteLength).getInt32(4 * index, true);
const kindOf = (segment: Uint8Array): number => word(segment, 0);
const isLastPiece = (segment: Uint8Array): boolean => kindOf(segment) === SegmentKind.piece && (word(segment, 3) & LAST_PIECE) !== 0;
const cost = (segment: Uint8Array): number => segment.byteLength + BOOKKEEPING_BYTES;
