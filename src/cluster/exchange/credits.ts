/**
 * Credit-based flow control for one channel between two processes: the receiver grants, the sender spends, and a segment is sent only
 * against a credit, so that whatever arrives finds a free segment in the receiver's ring. Neither socket buffers nor ZeroMQ's
 * high-water mark take part.
 *
 * Both sides count from the channel's first segment. A grant is a *limit*, "you may have sent L segments in all", never an increment:
 * limits only rise, so a grant that arrives twice or late changes nothing and one that is lost is healed by the next.
 *
 *     receiver                                   sender
 *     limit = arrived + free   ── limit ──▶      sends while sent < limit
 *     arrived, in order        ◀── segment ──    sent + 1
 *
 * Invariant: arrived ≤ sent ≤ limit ≤ released + capacity, hence at most `capacity` segments are on the way or unread together.
 * Pure: no sockets, clocks or rings.
 */
import { InvariantError, ProtocolError } from "../../core/types/errors.ts";

/** The receiver's account of one channel. Used by one thread. */
export class CreditGrants {
  /** Segments that the receiver's ring holds. */
  readonly capacity: number;
  private arrivedCount = 0;
  private announcedLimit = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** Segments that arrived so far; also the sequence number of the next one. */
  get arrived(): number {
    return this.arrivedCount;
  }

  /** The limit that was last given to the sender. */
  get announced(): number {
    return this.announcedLimit;
  }

  /**
   * The limit to announce now, or -1 when it is not worth a message: fewer than half the ring became free since the last one.
   * (The sender holds the other half or has segments unread here, so it is never forgotten: an empty ring always grants in full.)
   * @param free segments of the ring that hold nothing unread now, 0 … capacity.
   */
  due(free: number): number {
    const limit = this.arrivedCount + free;
    if (limit < this.announcedLimit) {
      throw new InvariantError(`A channel's limit would fall from ${this.announcedLimit} to ${limit}.`);
    }
    return limit > this.announcedLimit && (limit - this.announcedLimit) * 2 >= this.capacity ? limit : -1;
  }

  /**
   * Free segments at which `due` will have something to say, for whoever wants to be woken then. More than `capacity`: not before
   * another segment arrives.
   */
  get wakeAt(): number {
    return this.announcedLimit - this.arrivedCount + ((this.capacity + 1) >> 1);
  }

  /** Notes that `limit`, a result of `due`, was sent. */
  announce(limit: number): void {
    this.announcedLimit = limit;
  }

  /**
   * Accepts a segment.
   * @throws ProtocolError when it is not the next one (lost, doubled or swapped), or nobody granted it.
   */
  accept(sequence: number): void {
    if (sequence !== this.arrivedCount) {
      throw new ProtocolError(`Segment ${sequence} arrived where segment ${this.arrivedCount} was expected.`);
    }
    if (sequence >= this.announcedLimit) {
      throw new ProtocolError(`Segment ${sequence} arrived, but only ${this.announcedLimit} were granted.`);
    }
    this.arrivedCount = sequence + 1;
  }
}

/** The sender's account of one channel. Used by one thread. */
export class CreditBalance {
  private sentCount = 0;
  private limit = 0;

  /** Segments sent so far; also the sequence number of the next one. */
  get sent(): number {
    return this.sentCount;
  }

  /** Segments that may be sent now. */
  get available(): number {
    return this.limit - this.sentCount;
  }

  /** Takes a limit from the receiver; an old or repeated one changes nothing. */
  receive(limit: number): void {
    if (limit > this.limit) this.limit = limit;
  }

  /**
   * Spends a credit.
   * @returns the sequence number of the segment to send.
   * @throws InvariantError without a credit.
   */
  spend(): number {
    if (this.sentCount >= this.limit) throw new InvariantError(`Segment ${this.sentCount} was to be sent without a credit.`);
    return this.sentCount++;
  }
}
