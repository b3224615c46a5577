/**
 * The heap of one slot, shared by the threads of its subtasks. V8 fixes the heap limit of a thread when it starts, and nobody knows then
 * how a job's heap will be spread over its vertices. So every thread may grow to the whole slot's limit, and what keeps the slot within
 * it is this account: each thread notes what it keeps alive, and may use what the others leave. The thread that grows meets the limit
 * first, and fails alone; V8's own limit stands behind it.
 *
 * What a heap holds is live objects and garbage in unknown shares, and garbage must fail nobody. For its own heap, a task that comes near
 * the limit collects garbage and looks again (core/runtime/task.ts). For the others' it takes the least that they held lately, which is
 * close to what survives their collections.
 *
 * Trusts each thread to write its own word only. The account is exact to a few seconds; V8's limit per thread is exact always.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { HeapShare } from "./thread-messages.ts";

/** Subtasks of one slot that can have a word of their own: more than anybody deploys. */
export const MAX_SLOT_THREADS = 256;
/** The lowest reading counts for one to two spans of this length. */
const SPAN_MS = 5_000;
/** What survived a collection counts as the heap for this time, or until the heap grew by this share of the limit. */
const CALM_MS = 1_000;
const CALM_SHARE = 0.02;

/** The memory of a slot's account: bytes kept alive by each thread. */
export const createSlotHeap = (): SharedArrayBuffer => new SharedArrayBuffer(MAX_SLOT_THREADS * Float64Array.BYTES_PER_ELEMENT);

/** One thread's view of its slot's heap. Lives in that thread. */
export class SlotHeap {
  readonly #uses: Float64Array;
  readonly #share: HeapShare;
  readonly #now: () => number;
  readonly #heapBytes: () => number;
  #collect: (() => void) | undefined;
  #lowBefore = Number.POSITIVE_INFINITY;
  #lowNow = Number.POSITIVE_INFINITY;
  #spanEndsMs = 0;
  #collectedMs = Number.NEGATIVE_INFINITY;
  #survivedBytes = 0;

  /**
   * @param now monotonic clock, milliseconds. @param heapBytes reads this thread's heap. Both are given by tests only.
   */
  constructor(share: HeapShare, now: () => number = () => performance.now(), heapBytes: () => number = usedHeapBytes) {
    this.#uses = new Float64Array(share.uses);
    this.#share = share;
    this.#now = now;
    this.#heapBytes = heapBytes;
  }

  /** What this thread may use now: the slot's heap without what the other threads keep alive, at least 0. */
  get limitBytes(): number {
    const { limitBytes, place } = this.#share;
    if (limitBytes === 0) return 0;
    let others = -(this.#uses[place] as number);
    for (let index = 0; index < this.#uses.length; index++) others += this.#uses[index] as number;
    return Math.max(1, limitBytes - others);
  }

  /**
   * Bytes that count against the limit: what this thread's heap holds. Right after a collection, what survived it, until the heap grew
   * noticeably; so that a heap close to its limit is not collected again and again.
   */
  usedBytes(): number {
    const used = this.#heapBytes();
    this.#note(used);
    return this.#hardlyGrew(used) ? this.#survivedBytes : used;
  }

  /** Collects all garbage of this thread, so that what is over the guard afterwards is alive. Takes milliseconds per 10 MB. */
  collectGarbage(): void {
    this.#collect ??= garbageCollection();
    this.#collect();
    this.#collectedMs = this.#now();
    this.#survivedBytes = this.#heapBytes();
    this.#note(this.#survivedBytes);
  }

  #hardlyGrew(used: number): boolean {
    return this.#now() - this.#collectedMs < CALM_MS && used - this.#survivedBytes < this.#share.limitBytes * CALM_SHARE;
  }

  #note(used: number): void {
    const now = this.#now();
    if (now >= this.#spanEndsMs) {
      this.#lowBefore = this.#lowNow;
      this.#lowNow = used;
      this.#spanEndsMs = now + SPAN_MS;
    } else if (used < this.#lowNow) {
      this.#lowNow = used;
    }
    this.#uses[this.#share.place] = Math.min(this.#lowBefore, this.#lowNow);
  }
}

const usedHeapBytes = (): number => getHeapStatistics().used_heap_size;

/** V8's own collector, without leaving a global `gc` for user code to find. */
function garbageCollection(): () => void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  setFlagsFromString("--no-expose-gc");
  return collect;
}
