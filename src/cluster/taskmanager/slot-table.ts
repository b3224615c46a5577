/**
 * The slots of a TaskManager: who holds them, and the memory that belongs to each. A slot is the unit in which resources are given out:
 * a heap limit for its threads and network memory for their channels. Subtasks of one job share it; two jobs never do.
 *
 * Invariant: a slot holds tasks of one job at most, and is free again only when all threads of that job in it are gone.
 */
import { ConfigurationError, InvariantError, describe } from "../../core/types/errors.ts";
import type { JobId, TaskManagerId } from "../../core/types/ids.ts";
import { slotId } from "../../core/types/ids.ts";
import { BufferPool } from "../exchange/buffer-pool.ts";
import { MAX_SLOT_THREADS, createSlotHeap } from "./slot-heap.ts";
import type { HeapShare } from "./thread-messages.ts";

/** One slot. In the hands of the main thread. */
export class Slot {
  readonly index: number;
  /** Network memory of the slot's tasks. */
  readonly pool: BufferPool;
  readonly #heapBytes: number;
  readonly #heap: SharedArrayBuffer = createSlotHeap();
  readonly #places = new Set<number>();
  /** Who holds the slot. */
  job: JobId | undefined;

  constructor(taskManager: TaskManagerId, index: number, heapBytes: number, networkBytes: number) {
    this.index = index;
    this.#heapBytes = heapBytes;
    this.pool = new BufferPool(`slot ${slotId(taskManager, index)}`, networkBytes);
  }

  /** Tasks that have a share of this slot now. */
  get tasks(): number {
    return this.#places.size;
  }

  /** A share of the slot's heap for one more thread. @throws ConfigurationError when there are too many. */
  share(): HeapShare {
    let place = 0;
    while (this.#places.has(place)) place += 1;
    if (place >= MAX_SLOT_THREADS) {
      throw new ConfigurationError(
        `${this.pool.owner} runs ${MAX_SLOT_THREADS} subtasks already, and can't run more; chain operators, or use slot-sharing groups.`,
      );
    }
    this.#places.add(place);
    return { limitBytes: this.#heapBytes, uses: this.#heap, place };
  }

  /** The thread with this share is gone. */
  giveBack(share: HeapShare): void {
    new Float64Array(this.#heap)[share.place] = 0;
    this.#places.delete(share.place);
  }

  /** Nobody holds the slot any more. @throws InvariantError while tasks run in it. */
  release(): void {
    if (this.tasks > 0) throw new InvariantError(`${this.pool.owner} was released while ${this.tasks} tasks run in it.`);
    this.job = undefined;
    this.pool.clear();
  }
}

/** All slots of one TaskManager. */
export class SlotTable {
  readonly #slots: readonly Slot[];
  readonly #taskManager: TaskManagerId;

  /** @param heapBytes heap limit of a slot. @param networkBytes network memory of a slot. */
  constructor(taskManager: TaskManagerId, slots: number, heapBytes: number, networkBytes: number) {
    this.#taskManager = taskManager;
    this.#slots = Array.from({ length: slots }, (_, index) => new Slot(taskManager, index, heapBytes, networkBytes));
  }

  get size(): number {
    return this.#slots.length;
  }

  /** Slots that no job holds. */
  get free(): number {
    return this.#slots.filter((slot) => slot.job === undefined).length;
  }

  /** The jobs that hold slots. */
  get jobs(): readonly JobId[] {
    return [...new Set(this.#slots.flatMap((slot) => slot.job ?? []))];
  }

  get networkBytesUsed(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.pool.usedBytes, 0);
  }

  /**
   * The slot, for tasks of a job; it is the job's from now on.
   * @param onFresh called when it was free before.
   * @throws InvariantError when there is no such slot or another job holds it: the JobManager's books differ from ours.
   */
  claim(index: number, job: JobId, onFresh: (slot: Slot) => void = () => {}): Slot {
    const slot = this.#slots[index];
    if (slot === undefined) {
      throw new InvariantError(
        `TaskManager ${this.#taskManager} has slots 0 to ${this.#slots.length - 1}, and a task was deployed to slot ${describe(index)}.`,
      );
    }
    if (slot.job !== undefined && slot.job !== job) {
      throw new InvariantError(
        `Slot ${index} of TaskManager ${this.#taskManager} belongs to job ${slot.job}, and a task of job ${job} was deployed to it.`,
      );
    }
    if (slot.job === undefined) onFresh(slot);
    slot.job = job;
    return slot;
  }

  /** The job's slots are free again. @throws InvariantError while tasks run in them. */
  release(job: JobId): void {
    for (const slot of this.#slots) if (slot.job === job) slot.release();
  }
}
