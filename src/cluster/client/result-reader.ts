/**
 * Reads one result of a job: the rows that every subtask of the last operator sends to the client, through the JobManager.
 *
 * A subtask may send only as many segments as were granted (cumulative counts, so that a lost or doubled grant heals), and a segment
 * counts as taken when the program took its rows; the JobManager keeps what is not, so that the next reader can go on at that row. Only of
 * a row in more pieces than the window the first ones must be given up before it is whole. At most `RESULT_WINDOW_SEGMENTS` per subtask
 * lie here: a program that reads slowly slows the job down, and memory stays bounded. Rows of one subtask keep their order; between
 * subtasks they come as they arrive, but those from before the job was rescaled before those from after.
 */
import { BatchDecoder } from "../../core/data/codec.ts";
import type { ClassRegistry } from "../../core/data/classes.ts";
import {
  LAST_PIECE,
  SEGMENT_HEADER_BYTES,
  type SegmentMemory,
  SegmentKind,
  segmentFlags,
  segmentKind,
  segmentMemory,
  segmentPayloadBytes,
  segmentRepeatedRows,
  segmentRows,
} from "../../core/data/element.ts";
import type { ResultReader } from "../../core/runtime/executor.ts";
import { ProtocolError } from "../../core/types/errors.ts";
import {
  type ChannelSegments, type OpenedResult, RESULT_WINDOW_SEGMENTS as WINDOW_SEGMENTS, type ResultPosition, type TakenRows,
} from "../protocol/messages.ts";

/** How a result is read. */
export interface ResultStreamOptions {
  /** For messages: the result and the job. */
  readonly name: string;
  readonly subtasks: number;
  /** Rows at the start of each subtask that an earlier reader took. Default: none. */
  readonly skip?: readonly number[];
  /** Number of the first segment of each subtask that this reader gets, counted since the job began. Default: 0. */
  readonly from?: readonly number[];
  readonly classes: ClassRegistry;
  /** Allows a subtask to have sent so many segments in all. */
  readonly grant: (subtask: number, granted: number) => void;
  /** Reading is over, with everything or before; called once. `taken`: how far it came in each subtask. */
  readonly onEnd: (taken: readonly TakenRows[]) => void;
}

/** One subtask's rows. Its counts begin anew with each connection. */
interface Lane {
  readonly decoder: BatchDecoder;
  /** Number, since the job began, of the first segment of this connection. */
  base: number;
  /** Segments at the start of this connection that were read on the one before. */
  repeated: number;
  /** Number of the next segment. */
  next: number;
  /** Segments that were read, and those of them that the JobManager may forget. */
  read: number;
  taken: number;
  granted: number;
  pieces: Uint8Array[];
  /** Rows of the next segment that are not for this reader. */
  skip: number;
  ended: boolean;
}

/** More subtasks than these no job has; a message that names one is broken. */
const MAX_SUBTASKS = 32_768;

/** The rows that were given out last: those of a segment, or one of several segments. */
interface Given {
  readonly lane: Lane;
  readonly subtask: number;
  readonly segments: number;
  readonly skipped: number;
  readonly rows: number;
}

interface Arrived {
  readonly lane: Lane;
  readonly subtask: number;
  readonly segment: Uint8Array;
}

/** A result on its way to the program. Main thread; fed by the client with what arrives. */
export class ResultStream implements ResultReader {
  readonly #options: ResultStreamOptions;
  readonly #lanes: Lane[];
  readonly #arrived: Arrived[] = [];
  #memory: SegmentMemory = segmentMemory(new ArrayBuffer(0));
  #open: number;
  #waiting: { readonly resolve: (rows: readonly unknown[] | null) => void; readonly reject: (error: Error) => void } | undefined;
  #given: Given | undefined;
  #repeated = 0;
  #failure: Error | undefined;
  #closed = false;
  #ended = false;

  constructor(options: ResultStreamOptions) {
    this.#options = options;
    this.#open = options.subtasks;
    this.#lanes = Array.from({ length: options.subtasks }, (_, subtask) => this.#lane(options.from?.[subtask], options.skip?.[subtask]));
  }

  /** Lets the subtasks begin. */
  start(): void {
    this.#lanes.forEach((lane, subtask) => this.#grant(lane, subtask));
    if (this.#open === 0) this.#end();
  }

  get repeated(): number {
    return this.#repeated;
  }

  next(): Promise<readonly unknown[] | null> {
    if (this.#waiting !== undefined)
      return Promise.reject(new ProtocolError(`${this.#options.name} is being read already; one call of next() at a time.`));
    this.#takeGiven();
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#serve();
    });
  }

  close(unread = 0): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#arrived.length = 0;
    this.#end(unread);
    this.#serve();
  }

  /**
   * Where it goes on when the connection is lost and there is another: behind the rows that the program got. What has arrived and was not
   * given out is forgotten. Call `resume` then.
   */
  interrupt(): readonly ResultPosition[] {
    this.#arrived.length = 0;
    this.#given = undefined;
    return this.#lanes.map(({ base, read, skip }) => ({ number: base + read, rows: skip }));
  }

  /** There is another connection. @param positions what `interrupt` said. */
  resume({ subtasks, skip, from }: OpenedResult, positions: readonly ResultPosition[]): void {
    while (this.#lanes.length < subtasks) this.#addLane();
    for (const [subtask, lane] of this.#lanes.entries()) {
      const { number, rows } = positions[subtask] ?? { number: 0, rows: 0 };
      const base = from[subtask] ?? number;
      if (base > number && !lane.ended) {
        const { name } = this.#options;
        const gone = `rows of ${name} are gone: it is to go on at segment ${number}, and there are only those from ${base} on.`;
        return this.fail(new ProtocolError(gone));
      }
      lane.base = base;
      lane.repeated = number - base;
      lane.next = lane.read = lane.taken = lane.granted = 0;
      lane.skip = lane.repeated > 0 ? rows : (skip[subtask] ?? 0);
    }
    this.start();
  }

  /** Segments have arrived. Repeats are passed over; a gap fails the reader. */
  accept({ subtask, sequence }: ChannelSegments, segments: readonly Uint8Array[]): void {
    if (this.#closed || this.#failure !== undefined || subtask > MAX_SUBTASKS) return;
    // The job was rescaled; a new subtask may send a window at once.
    while (this.#lanes.length <= subtask) this.#addLane().granted = WINDOW_SEGMENTS;
    const lane = this.#lanes[subtask] as Lane;
    for (const [index, segment] of segments.entries()) {
      const number = sequence + index;
      if (number < lane.next) continue;
      if (number > lane.next) {
        return this.fail(
          new ProtocolError(
            `rows of ${this.#options.name} got lost on their way: segment ${number} of subtask ${subtask} came after ${lane.next - 1}.`,
          ),
        );
      }
      lane.next++;
      this.#arrived.push({ lane, subtask, segment });
    }
    this.#serve();
  }

  /** No more will arrive. Rows that are here are still given out, then `next` rejects with the error. */
  fail(error: Error): void {
    if (this.#closed || this.#failure !== undefined || this.#open === 0) return;
    this.#failure = error;
    this.#end();
    this.#serve();
  }

  #end(unread = 0): void {
    if (this.#ended) return;
    this.#ended = true;
    const given = unread > 0 ? this.#given : undefined;
    this.#options.onEnd(
      this.#lanes.map((lane) => {
        if (lane !== given?.lane) return { segments: lane.read - lane.pieces.length, rows: lane.skip };
        const rows = given.segments === 1 ? given.skipped + given.rows - unread : 0;
        return { segments: lane.read - given.segments, rows };
      }),
    );
  }

  #addLane(): Lane {
    const lane = this.#lane();
    this.#lanes.push(lane);
    this.#open++;
    return lane;
  }

  #lane(base = 0, skip = 0): Lane {
    return {
      decoder: new BatchDecoder({ classes: this.#options.classes }),
      base,
      repeated: 0,
      next: 0,
      read: 0,
      taken: 0,
      granted: 0,
      pieces: [],
      skip,
      ended: false,
    };
  }

  #grant(lane: Lane, subtask: number): void {
    const granted = lane.taken + WINDOW_SEGMENTS;
    // Fewer, larger steps: one message per half window, unless the subtask waits for it.
    if (granted <= lane.granted || (granted - lane.granted < WINDOW_SEGMENTS / 2 && lane.read < lane.granted)) return;
    lane.granted = granted;
    this.#options.grant(subtask, granted);
  }

  /** The program has taken what it was given. */
  #takeGiven(): void {
    if (this.#given === undefined) return;
    const { lane, subtask } = this.#given;
    this.#given = undefined;
    lane.taken = lane.read;
    this.#grant(lane, subtask);
  }

  /** Answers the call that waits, if there is one and something to say. */
  #serve(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    const answer = (act: () => void): void => {
      this.#waiting = undefined;
      act();
    };
    if (this.#closed) return answer(() => waiting.resolve(null));
    try {
      for (let arrived = this.#arrived.shift(); arrived !== undefined; arrived = this.#arrived.shift()) {
        const rows = this.#read(arrived);
        if (rows.length > 0) return answer(() => waiting.resolve(rows));
      }
    } catch (error) {
      this.fail(error as Error);
    }
    if (this.#failure !== undefined) return answer(() => waiting.reject(this.#failure!));
    if (this.#open === 0) return answer(() => waiting.resolve(null));
  }

  #read({ lane, subtask, segment }: Arrived): unknown[] {
    const memory = this.#aligned(segment);
    let rows: unknown[] = [];
    let segments = 1;
    if (lane.repeated > 0) {
      lane.repeated--;
      lane.taken = ++lane.read;
      this.#grant(lane, subtask);
      return rows;
    }
    const skipped = lane.skip;
    lane.skip = 0;
    switch (segmentKind(memory, 0)) {
      case SegmentKind.rows: {
        const count = segmentRows(memory, 0);
        if (count > 0) lane.decoder.decode(memory, SEGMENT_HEADER_BYTES, count, rows, new Float64Array(count));
        if (skipped > 0) rows = rows.slice(skipped);
        break;
      }
      case SegmentKind.piece: {
        lane.pieces.push(memory.bytes.slice(SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + segmentPayloadBytes(memory, 0)));
        if ((segmentFlags(memory, 0) & LAST_PIECE) === 0) {
          lane.read++;
          if (lane.pieces.length >= WINDOW_SEGMENTS) lane.taken = lane.read;
          this.#grant(lane, subtask);
          return rows;
        }
        segments = lane.pieces.length;
        rows.push(lane.decoder.decodeRow(Buffer.concat(lane.pieces.splice(0))).row);
        break;
      }
      case SegmentKind.end: {
        lane.read++;
        if (!lane.ended && --this.#open === 0) this.#end();
        lane.ended = true;
        return rows;
      }
      case SegmentKind.barrier:
      case SegmentKind.idle:
        break;
    }
    lane.read++;
    this.#repeated = Math.max(0, segmentRepeatedRows(memory, 0) - skipped);
    this.#given = { lane, subtask, segments, skipped, rows: rows.length };
    if (rows.length === 0) this.#takeGiven();
    return rows;
  }

  /** The segment in memory that starts at a multiple of 8, as codecs need it; valid until the next call. */
  #aligned(segment: Uint8Array): SegmentMemory {
    if (this.#memory.bytes.length < segment.byteLength)
      this.#memory = segmentMemory(new ArrayBuffer(Math.ceil(segment.byteLength / 4096) * 4096));
    this.#memory.bytes.set(segment);
    return this.#memory;
  }
}
