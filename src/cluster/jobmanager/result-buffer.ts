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
 * A reader that closes says how far it came, and the next one begins with the row after. Of a reader that vanished nobody knows; what it
 * may not have taken is kept for the next. If that is the same one again it knows itself, and names the number of the segment that it wants
 * (`from`): segments that leave are numbered for the whole life of the job, and the numbers survive a JobManager with the checkpoints.
 *
 * Rows of one subtask keep their order. When the parallelism changes a key may move to another subtask, so all rows from before leave
 * before any from after, whichever subtask they are of: where they end each subtask has a **fence**, and none passes its own before all
 * have come to theirs. So rows of one key keep the order that the last operator gave them.
 *
 * In a job with checkpoints rows are **released** by the checkpoint that covers them:
 *
 *     released, unread │ held: up to barrier 7 │ held: up to barrier 8 │ held: after it
 *                      └ checkpoint 7 completes: released              └ the task fails: dropped, it makes them again
 *
 * so a reader never sees a row that a recovery makes again. What is held may take HELD_SHARES of the share, or the barrier that frees it
 * could not come; from half a share on a checkpoint is asked for. With "at-once" rows are not held, and may come again after a recovery:
 * as many as a subtask had sent since the checkpoint are counted as such in their headers, whether or not they are the very same.
 */
import { LAST_PIECE, REPEATED_ROWS_BIT, SEGMENT_HEADER_BYTES, SegmentKind } from "../../core/data/element.ts";
import { formatDuration } from "../../core/types/duration.ts";
import { ConflictError, DeadlineError, type DreyError, JobFailedError, ProtocolError } from "../../core/types/errors.ts";
import { RESULT_WINDOW_SEGMENTS, type ResultPosition, type TakenRows } from "../protocol/messages.ts";

/** When rows may be read (`execution.results.release`). */
export type ReleasePolicy = "at-once" | "with-checkpoint";

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
  /** Default: at once. */
  readonly release?: ReleasePolicy;
  /** What a checkpoint kept of it. */
  readonly kept?: KeptResult;
  /** The job ran under a former leader, which may have delivered rows that this one knows nothing of. */
  readonly recovered?: boolean;
}

/** What of a result belongs to a checkpoint: rows that are released by it and that nobody may have taken. Plain data. */
export interface KeptResult {
  /** By subtask. */
  readonly lanes: readonly {
    /** Number of its first segment, counted since the job began. */
    readonly number: number;
    /** Rows at the start of that which were taken. */
    readonly skip: number;
    readonly segments: readonly Uint8Array[];
  }[];
  /** Where the parallelism changed among them: the number, by subtask, of the first segment after that. Default: nowhere. */
  readonly fences?: readonly (readonly number[])[];
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
  /** Much is held: a checkpoint should be taken soon. */
  readonly wantsCheckpoint?: boolean;
}

/** One message carries at most so much. */
const MAX_DELIVERED_SEGMENTS = 64;
const MAX_DELIVERED_BYTES: number = 4 * 1024 * 1024;
/** What keeping a segment costs beyond its bytes; so tiny segments count too. */
const BOOKKEEPING_BYTES = 256;
/** What is held for a checkpoint may take so many shares of the capacity, together with what is released. */
const HELD_SHARES = 4;
/** More checkpoints than these are not on their way at a time. */
const MAX_BARRIERS = 256;
/** How long the rest of a result may be on its way after its task has ended and there is room for it. */
export const MAX_TAIL_MS = 30_000;

interface Channel {
  /** Released, and not sent to a reader. */
  readonly queue: Uint8Array[];
  /** Not released yet; barriers among them. */
  readonly held: Uint8Array[];
  heldBytes: number;
  /** The last barrier that came from the present attempt; 0: none. */
  lastBarrier: number;
  /** The task has come to its end, and the rows before it are released; readers learn it when all tasks have. */
  endReady: boolean;
  /** Readers have learned it, or will. A task that starts again says it once more. */
  endReleased: boolean;
  /** Number of the next segment that leaves, since the job began. */
  number: number;
  /** The last segment that the reader took and nobody keeps was a piece of a row, but not its last. */
  tookPiece: boolean;
  /** What is held too. */
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
  /** How far its task is: rows since the job began, those that a failure undid not counted. */
  position: number;
  /** The position that the last completed checkpoint covers, and those at the barriers of later ones. */
  covered: number;
  readonly barriers: { readonly checkpoint: number; readonly position: number }[];
  /** The furthest position ever; rows before it are repeated. Infinite: not known until a checkpoint completes. */
  furthest: number;
}

/** The buffer of one result. */
export class ResultBuffer {
  readonly #options: ResultBufferOptions;
  readonly #shareBytes: number;
  readonly #channels: Channel[];
  /** Subtasks that there are now; channels beyond are left over from a larger parallelism. */
  #live: number;
  /** Between rows that are here, oldest first; by subtask the number of the first segment behind it. Subtasks that it lacks are behind. */
  #fences: number[][] = [];
  #reader: string | undefined;
  #droppedRows = 0;
  #toldReader = false;

  constructor(options: ResultBufferOptions) {
    this.#options = options;
    this.#shareBytes = Math.max(Math.floor(options.capacityBytes / options.subtasks), options.segmentBytes + BOOKKEEPING_BYTES);
    this.#channels = Array.from({ length: options.subtasks }, newChannel);
    for (const [subtask, { number, skip, segments }] of (options.kept?.lanes ?? []).entries()) {
      const channel = (this.#channels[subtask] ??= newChannel());
      channel.number = number;
      channel.skip = skip;
      channel.queue.push(...segments);
      channel.queuedBytes = segments.reduce((sum, segment) => sum + cost(segment), 0);
      channel.endReleased = segments.some((segment) => kindOf(segment) === SegmentKind.end);
    }
    if (options.recovered === true) for (const channel of this.#channels) channel.furthest = Number.POSITIVE_INFINITY;
    this.#live = options.subtasks;
    this.#fences = (options.kept?.fences ?? []).map((fence) => [...fence]);
    // The next leader may begin at another parallelism.
    this.#fence();
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

  /** By subtask: the number, since the job began, of the segment that the reader that comes now gets first. */
  get from(): readonly number[] {
    return this.#channels.map(({ number }) => number);
  }

  /** Rows that were dropped for want of room. */
  get droppedRows(): number {
    return this.#droppedRows;
  }

  /** Whether the last segment of every subtask is here, though perhaps not read. */
  get ended(): boolean {
    return this.unfinished.length === 0;
  }

  /** Subtasks whose last segment is not here. */
  get unfinished(): readonly number[] {
    return this.#channels.slice(0, this.#live).flatMap(({ end }, subtask) => (end === undefined ? [subtask] : []));
  }

  /** Whether some of them has credit, so that its rest could be here. */
  get awaitsTail(): boolean {
    return this.#channels.slice(0, this.#live).some(({ end, granted, received }) => end === undefined && granted > received);
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
      this.#take(channel, segment);
    }
    const deliveries = this.#releaseEnds() ? this.#deliverAll() : this.#deliver(channel, subtask);
    const full = channel.queuedBytes - channel.heldBytes > this.#shareBytes;
    if (full && policy === "fail") return this.#fails(this.#overflow());
    if (full && policy === "drop-oldest") this.#drop(channel);
    const grants = this.#grant(channel, subtask);
    if (grants.length === 0 && this.#isStuck(channel)) return this.#fails(this.#heldTooMuch());
    const change = this.#change(grants, deliveries);
    return channel.heldBytes > this.#shareBytes / 2 ? { ...change, wantsCheckpoint: true } : change;
  }

  #take(channel: Channel, segment: Uint8Array): void {
    const kind = kindOf(segment);
    if (kind === SegmentKind.end) {
      channel.end = segment;
      // Readers have it, or will.
      if (channel.endReleased) return;
    }
    if (kind === SegmentKind.barrier) {
      channel.lastBarrier = checkpointOf(segment);
      if (!this.#holds) return noteBarrier(channel);
    }
    channel.queuedBytes += cost(segment);
    if (this.#holds) {
      channel.held.push(segment);
      channel.heldBytes += cost(segment);
    } else {
      this.#enqueue(channel, this.#marked(channel, segment));
    }
  }

  /** The segment; its header says how many of its rows may have been delivered before the last failure. */
  #marked(channel: Channel, segment: Uint8Array): Uint8Array {
    const rows = rowsOf(segment);
    const repeated = Math.min(rows, channel.furthest - channel.position);
    if (repeated > 0) setWord(segment, 3, word(segment, 3) | (repeated << REPEATED_ROWS_BIT));
    channel.position += rows;
    channel.furthest = Math.max(channel.furthest, channel.position);
    return segment;
  }

  /** The segment, which counts already, may be read. */
  #enqueue(channel: Channel, segment: Uint8Array): void {
    if (channel.dropsRow && kindOf(segment) === SegmentKind.piece) return this.#passOver(channel, segment);
    channel.dropsRow = false;
    if (kindOf(segment) === SegmentKind.end) {
      channel.endReady = true;
      channel.queuedBytes -= cost(segment);
      return;
    }
    channel.queue.push(segment);
  }

  /** Only when all have come to their ends does any reader learn so: till then the job may be rescaled, and each have rows again. */
  #releaseEnds(): boolean {
    if (!this.#channels.slice(0, this.#live).every(({ endReady, endReleased }) => endReady || endReleased)) return false;
    for (const channel of this.#channels) {
      if (channel.endReleased) continue;
      channel.endReleased = true;
      channel.end ??= END;
      channel.queue.push(channel.end);
      channel.queuedBytes += cost(channel.end);
    }
    return true;
  }

  /** A checkpoint is complete: what it covers may be read. A later one stands for those before. */
  checkpointCompleted(checkpoint: number): ResultChange {
    for (const channel of this.#channels) {
      this.#release(channel, covered(channel, checkpoint));
      coverUpTo(channel, checkpoint);
    }
    return this.#afterRelease();
  }

  /** All tasks have finished: nothing will be made again. */
  finished(): ResultChange {
    for (const channel of this.#channels) this.#release(channel, channel.held.length);
    return this.#afterRelease();
  }

  /** What of this result belongs to a checkpoint that is about to complete; undefined: nothing. */
  keptBy(checkpoint: number): KeptResult | undefined {
    const lanes = this.#channels.map((channel) => ({
      number: channel.number - channel.untaken.length,
      skip: channel.skip,
      segments: [
        ...channel.untaken,
        ...channel.queue,
        ...channel.held.slice(0, covered(channel, checkpoint)).filter((segment) => !isMark(segment)),
      ],
    }));
    if (lanes.every(({ number, segments }) => number === 0 && segments.length === 0)) return undefined;
    return { lanes, ...(this.#fences.length === 0 ? {} : { fences: this.#fences.map((fence) => [...fence]) }) };
  }

  /**
   * Tasks start again, from the last completed checkpoint or from the beginning: what they sent and it does not cover is dropped, and they
   * send from 0 again.
   * @param restarted the subtasks; those that are not named go on.
   * @param subtasks how many there are from now on.
   */
  restart(restarted: readonly number[], subtasks: number = this.subtasks): ResultChange {
    let repeated = false;
    for (const subtask of restarted) {
      const channel = this.#channels[subtask];
      if (channel === undefined) continue;
      repeated ||= !this.#holds && channel.received > 0;
      channel.queuedBytes -= channel.heldBytes;
      channel.heldBytes = channel.held.length = channel.received = channel.granted = channel.lastBarrier = 0;
      channel.end = undefined;
      channel.endReady = false;
      channel.position = channel.covered;
      channel.barriers.length = 0;
    }
    if (subtasks !== this.#live) this.#fence();
    const reader = this.#reader;
    const added: Delivery[] = [];
    while (this.#channels.length < subtasks) {
      // A reader that is there already learns of it, or it would take the end of the others for the end of all.
      if (reader !== undefined) added.push({ reader, subtask: this.#channels.length, sequence: 0, segments: [] });
      this.#channels.push({ ...newChannel(), readable: reader === undefined ? 0 : RESULT_WINDOW_SEGMENTS });
    }
    // Which subtask made a row, or makes it again, is no more the same.
    if (repeated && subtasks !== this.#live) for (const channel of this.#channels) channel.furthest = Number.POSITIVE_INFINITY;
    this.#live = subtasks;
    this.#releaseEnds();
    const deliveries = this.#deliverAll();
    const change = this.#change([], [...added, ...deliveries]);
    const { name } = this.#options;
    const warning = `rows of ${name} that were read since the last checkpoint may come again: its tasks started again from there.`;
    return repeated ? { ...change, warning } : change;
  }

  #release(channel: Channel, count: number): void {
    for (const segment of channel.held.splice(0, count)) {
      channel.heldBytes -= cost(segment);
      if (kindOf(segment) === SegmentKind.barrier) channel.queuedBytes -= cost(segment);
      else this.#enqueue(channel, segment);
    }
  }

  #afterRelease(): ResultChange {
    this.#releaseEnds();
    const deliveries = this.#deliverAll();
    if (this.#options.policy === "drop-oldest") for (const channel of this.#channels) this.#drop(channel);
    const full = this.#channels.some(({ queuedBytes, heldBytes }) => queuedBytes - heldBytes > HELD_SHARES * this.#shareBytes);
    if (full && this.#options.policy === "fail") return this.#fails(this.#overflow());
    return this.#change(this.#channels.flatMap((channel, subtask) => this.#grant(channel, subtask)), deliveries);
  }

  get #holds(): boolean {
    return this.#options.release === "with-checkpoint";
  }

  /** Nothing can make room: what fills it is held, and the barrier that would release it finds none. */
  #isStuck(channel: Channel): boolean {
    const waits = channel.end === undefined && channel.granted === channel.received && channel.held.length > 0;
    return waits && channel.queue.length === 0 && !channel.held.some((segment) => kindOf(segment) === SegmentKind.barrier);
  }

  /**
   * A client begins to read; what it may be sent starts at nothing.
   * @param from where it goes on, by subtask, if it has read this result before and lost its connection.
   * @throws ConflictError while another client reads and has not got everything.
   */
  open(reader: string, from: readonly ResultPosition[] = []): ResultChange {
    if (this.#reader === reader && from.length > 0) this.close(reader);
    if (this.#reader !== undefined && this.#allSent) {
      this.close(this.#reader, this.#channels.map(({ sent }) => ({ segments: sent, rows: 0 })));
    }
    if (this.#reader !== undefined) {
      throw new ConflictError(
        `${this.#options.name} is read by ${this.#reader === reader ? "this client already" : "another client"}; close that reader first.`,
      );
    }
    this.#reader = reader;
    this.#toldReader = false;
    for (const [subtask, channel] of this.#channels.entries()) {
      channel.sent = channel.readable = 0;
      const position = from[subtask];
      if (position !== undefined) this.#goOnAt(channel, position);
      else if (channel.midRow) this.#dropRow(channel, 0);
      channel.midRow = false;
      if (!channel.endReleased || channel.queue.some((segment) => kindOf(segment) === SegmentKind.end)) continue;
      channel.end ??= END;
      channel.queue.push(channel.end);
      channel.queuedBytes += cost(channel.end);
    }
    return this.#change([]);
  }

  /** Segments before the position have been read, though nobody said so here. */
  #goOnAt(channel: Channel, { number, rows }: ResultPosition): void {
    const read = channel.queue.splice(0, Math.max(0, number - channel.number));
    for (const segment of read) channel.queuedBytes -= cost(segment);
    channel.number += read.length;
    if (channel.number === number) channel.skip = rows;
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
      const first = channel.sent - channel.untaken.length;
      this.#putBack(channel, came ?? { segments: first, rows: first === 0 ? channel.skip : 0 });
      channel.untaken.length = 0;
      // If it comes back it can use the rest of such a row.
      if (came === undefined) channel.midRow = channel.tookPiece;
      channel.tookPiece = false;
      if (came === undefined) continue;
      if (channel.midRow) this.#dropRow(channel, 0);
      channel.midRow = false;
    }
  }

  /** What was sent to a reader and not taken by it is the next one's. */
  #putBack(channel: Channel, { segments, rows }: TakenRows): void {
    const first = channel.sent - channel.untaken.length;
    const back = channel.untaken.slice(Math.max(0, segments - first));
    channel.queue.unshift(...back);
    channel.number -= back.length;
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
    const fenced = this.#fences.length > 0;
    const deliveries = this.#deliver(channel, subtask);
    // Others may have passed a fence, and have room now.
    const grants = fenced ? this.#channels.flatMap((each, index) => this.#grant(each, index)) : this.#grant(channel, subtask);
    return this.#change(grants, deliveries);
  }

  /** What is released comes before all that will be. */
  #fence(): void {
    const last = this.#fences.at(-1);
    const fence = this.#channels.map(({ number, queue }) => number + queue.length);
    const begins = this.#channels.map(({ number, untaken }, subtask) => last?.[subtask] ?? number - untaken.length);
    if (fence.some((end, subtask) => end > (begins[subtask] as number))) this.#fences.push(fence);
  }

  /** The first fence that not all have come to. */
  get #nextFence(): readonly number[] | undefined {
    return this.#fences.find((fence) => fence.some((end, subtask) => (this.#channels[subtask]?.number ?? end) < end));
  }

  /** A fence that nothing will be put back before is over. */
  #forgetFences(): void {
    const isOver = (fence: readonly number[]): boolean =>
      this.#channels.every(({ number, untaken }, subtask) => number - untaken.length >= (fence[subtask] ?? 0));
    this.#fences.splice(0, this.#fences.findLastIndex(isOver) + 1);
  }

  /** A reader grants a window beyond what it has taken. */
  #forgetTaken(channel: Channel): void {
    const kept = Math.max(0, channel.sent - channel.readable + RESULT_WINDOW_SEGMENTS);
    if (channel.untaken.length <= kept) return;
    const last = channel.untaken.splice(0, channel.untaken.length - kept).at(-1) as Uint8Array;
    channel.tookPiece = kindOf(last) === SegmentKind.piece && !isLastPiece(last);
  }

  /** What the task may send beyond what it may already. Told in strides, and always to a task that has nothing left. */
  #grant(channel: Channel, subtask: number): ResultChange["grants"] {
    if (channel.end !== undefined || subtask >= this.#live) return [];
    const { segmentBytes, policy } = this.#options;
    const window = Math.max(1, Math.floor(this.#shareBytes / (segmentBytes + BOOKKEEPING_BYTES)));
    const outstanding = channel.granted - channel.received;
    const limitBytes = channel.held.length > 0 ? HELD_SHARES * this.#shareBytes : this.#shareBytes;
    const room = limitBytes - channel.queuedBytes - outstanding * (segmentBytes + BOOKKEEPING_BYTES);
    const fits = Math.floor(room / (segmentBytes + BOOKKEEPING_BYTES));
    const more = policy === "block" || this.#holds ? Math.min(fits, this.#holds ? window : fits) : window - outstanding;
    if (more <= 0 || (outstanding > 0 && more < window / 4)) return [];
    channel.granted += more;
    return [{ subtask, granted: channel.granted }];
  }

  #deliverAll(): Delivery[] {
    const deliveries: Delivery[] = [];
    for (;;) {
      const fence = this.#nextFence;
      for (const [subtask, channel] of this.#channels.entries()) {
        deliveries.push(...this.#send(channel, subtask, fence === undefined ? Number.POSITIVE_INFINITY : (fence[subtask] ?? 0)));
      }
      if (fence === undefined || this.#nextFence === fence) break;
    }
    if (this.#fences.length > 0) this.#forgetFences();
    return deliveries;
  }

  /** What of a subtask may leave now; with a fence also what of others may because of it. */
  #deliver(channel: Channel, subtask: number): Delivery[] {
    return this.#fences.length > 0 ? this.#deliverAll() : this.#send(channel, subtask, Number.POSITIVE_INFINITY);
  }

  /** @param end the number of the first segment that may not leave. */
  #send(channel: Channel, subtask: number, end: number): Delivery[] {
    const reader = this.#reader;
    const deliveries: Delivery[] = [];
    while (reader !== undefined && channel.queue.length > 0 && channel.sent < channel.readable && channel.number < end) {
      const limit = Math.min(channel.readable - channel.sent, MAX_DELIVERED_SEGMENTS, end - channel.number);
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
      channel.number += count;
      const last = segments[count - 1] as Uint8Array;
      channel.midRow = kindOf(last) === SegmentKind.piece && !isLastPiece(last);
    }
    return deliveries;
  }

  get #allSent(): boolean {
    return this.#channels.every(({ endReleased, queue }) => endReleased && queue.length === 0);
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
      else this.#passOver(channel, this.#takeOut(channel, first));
    }
  }

  /** Drops the pieces of one row from position `first` on, those to come included. */
  #dropRow(channel: Channel, first: number): void {
    channel.dropsRow = true;
    while (channel.dropsRow && channel.queue.length > first) this.#passOver(channel, this.#takeOut(channel, first));
  }

  /** Takes a segment out of the queue that will never leave: those behind it have lower numbers now. */
  #takeOut(channel: Channel, position: number): Uint8Array {
    if (this.#fences.length > 0) {
      const subtask = this.#channels.indexOf(channel);
      for (const fence of this.#fences) if ((fence[subtask] ?? 0) > channel.number + position) (fence[subtask] as number)--;
    }
    return channel.queue.splice(position, 1)[0] as Uint8Array;
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

  #heldTooMuch(): DreyError {
    const { name } = this.#options;
    const bytes = HELD_SHARES * this.#shareBytes;
    return new JobFailedError(
      `${name} has more than ${bytes} bytes of rows of one subtask between two checkpoints. Let execution.checkpointing.interval be shorter, ` +
        'raise execution.results.buffer-size, or let execution.results.release be "at-once".',
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
const setWord = (segment: Uint8Array, index: number, value: number): void =>
  new DataView(segment.buffer, segment.byteOffset, segment.byteLength).setInt32(4 * index, value, true);
const kindOf = (segment: Uint8Array): number => word(segment, 0);
/** Rows that end in it. */
const rowsOf = (segment: Uint8Array): number =>
  kindOf(segment) === SegmentKind.rows ? Math.max(0, word(segment, 1)) : Number(isLastPiece(segment));
const checkpointOf = ({ buffer, byteOffset, byteLength }: Uint8Array): number =>
  new DataView(buffer, byteOffset, byteLength).getFloat64(24, true);
const isLastPiece = (segment: Uint8Array): boolean => kindOf(segment) === SegmentKind.piece && (word(segment, 3) & LAST_PIECE) !== 0;
const cost = (segment: Uint8Array): number => segment.byteLength + BOOKKEEPING_BYTES;

/** Not rows. */
const isMark = (segment: Uint8Array): boolean => kindOf(segment) === SegmentKind.barrier || kindOf(segment) === SegmentKind.end;

/** How many of the held segments a completed checkpoint covers. */
function covered({ held, end, lastBarrier }: Channel, checkpoint: number): number {
  // A task that took no part in it had ended before: it covers all of it.
  if (end !== undefined && lastBarrier < checkpoint) return held.length;
  return held.findLastIndex((segment) => kindOf(segment) === SegmentKind.barrier && checkpointOf(segment) <= checkpoint) + 1;
}

function noteBarrier({ barriers, lastBarrier: checkpoint, position }: Channel): void {
  barriers.push({ checkpoint, position });
  // Of checkpoints that failed; nobody says so here.
  if (barriers.length > MAX_BARRIERS) barriers.shift();
}

/** A restart goes back no further than this checkpoint. */
function coverUpTo(channel: Channel, checkpoint: number): void {
  const last = channel.barriers.findLastIndex((barrier) => barrier.checkpoint <= checkpoint);
  channel.covered = channel.barriers[last]?.position ?? channel.covered;
  channel.barriers.splice(0, last + 1);
  if (channel.furthest === Number.POSITIVE_INFINITY) channel.furthest = channel.position;
}

const newChannel = (): Channel => ({
  queue: [],
  held: [],
  heldBytes: 0,
  lastBarrier: 0,
  endReady: false,
  endReleased: false,
  number: 0,
  tookPiece: false,
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
  position: 0,
  covered: 0,
  barriers: [],
  furthest: 0,
});

/** The end of a subtask that is no more: a header that says so. */
const END: Uint8Array = new Uint8Array(new Int32Array([SegmentKind.end, 0, 0, 0, 0, 0, 0, 0]).buffer);
