/**
 * The TaskManagers of the cluster and who holds which of their slots.
 *
 * Invariants: a slot has at most one job; it is free only when its TaskManager is registered, has said that nothing of a former job is left
 * in it (`released`), and owes no such word from before it was lost. Liveness is not judged here: the transport's heartbeats do that and
 * report a loss as a fact.
 */
import type { JobId, TaskManagerId } from "../../core/types/ids.ts";
import { InvariantError } from "../../core/types/errors.ts";
import type { Registration } from "../protocol/messages.ts";
import type { FreeSlots } from "./scheduler.ts";
import type { Placement } from "./slot-pool.ts";

/** One registered TaskManager. */
export interface TaskManagerRecord {
  readonly registration: Registration;
  /** Milliseconds since the epoch. */
  readonly registeredAtMs: number;
  /** The holder of each slot. */
  readonly slots: readonly (JobId | undefined)[];
  /** Its process metrics, as reported last. */
  readonly process: Readonly<Record<string, number>>;
}

interface TaskManager extends TaskManagerRecord {
  readonly slots: (JobId | undefined)[];
  process: Readonly<Record<string, number>>;
  /** Jobs it ran when it was lost, and has not released yet. */
  readonly owed: Set<JobId>;
}

/** Lost TaskManagers whose debts are remembered. */
const MAX_REMEMBERED = 256;

/** The slots of the cluster. */
export class ResourceManager {
  readonly #taskManagers = new Map<TaskManagerId, TaskManager>();
  readonly #lostWith = new Map<TaskManagerId, ReadonlySet<JobId>>();

  /** The registered TaskManagers, in order of registration. */
  get taskManagers(): readonly TaskManagerRecord[] {
    return [...this.#taskManagers.values()];
  }

  find(taskManager: TaskManagerId): TaskManagerRecord | undefined {
    return this.#taskManagers.get(taskManager);
  }

  /**
   * A TaskManager joined. Returns the jobs that it must release first, as it ran them when it was lost: till then it has no free slots.
   */
  register(registration: Registration, atMs: number): readonly JobId[] {
    const { taskManager, slots } = registration;
    if (this.#taskManagers.has(taskManager)) throw new InvariantError(`TaskManager ${taskManager} registered twice without being lost.`);
    const owed = new Set(this.#lostWith.get(taskManager));
    this.#lostWith.delete(taskManager);
    this.#taskManagers.set(taskManager, {
      registration,
      registeredAtMs: atMs,
      slots: Array.from({ length: slots }, () => undefined),
      process: {},
      owed,
    });
    return [...owed];
  }

  /** A TaskManager is gone. Returns what it was, or undefined when it was not registered. */
  lose(taskManager: TaskManagerId): TaskManagerRecord | undefined {
    const lost = this.#taskManagers.get(taskManager);
    if (lost === undefined) return undefined;
    this.#taskManagers.delete(taskManager);
    this.#lostWith.set(taskManager, new Set([...lost.owed, ...lost.slots.filter((job) => job !== undefined)]));
    if (this.#lostWith.size > MAX_REMEMBERED) this.#lostWith.delete(this.#lostWith.keys().next().value as TaskManagerId);
    return lost;
  }

  /** Slots become a job's. They are free. */
  take(job: JobId, placements: readonly Placement[]): void {
    for (const { at } of placements) {
      const slots = this.#taskManagers.get(at.taskManager)?.slots;
      if (slots === undefined || !(at.slot in slots) || slots[at.slot] !== undefined) {
        throw new InvariantError(`slot ${at.slot} of TaskManager ${at.taskManager} was given to job ${job}, but is not free.`);
      }
      slots[at.slot] = job;
    }
  }

  /** A TaskManager has released a job: its slots there are free. */
  released(taskManager: TaskManagerId, job: JobId): void {
    const record = this.#taskManagers.get(taskManager);
    if (record === undefined) return;
    record.owed.delete(job);
    for (const [slot, holder] of record.slots.entries()) if (holder === job) record.slots[slot] = undefined;
  }

  /** Whether a TaskManager may run tasks of a job. */
  holds(taskManager: TaskManagerId, job: JobId): boolean {
    const record = this.#taskManagers.get(taskManager);
    return record !== undefined && (record.owed.has(job) || record.slots.includes(job));
  }

  reported(taskManager: TaskManagerId, process: Readonly<Record<string, number>>): void {
    const record = this.#taskManagers.get(taskManager);
    if (record !== undefined) record.process = process;
  }

  /** Free slots, TaskManagers in order of registration. */
  get free(): readonly FreeSlots[] {
    return [...this.#taskManagers].map(([taskManager, { slots, owed }]) => ({
      taskManager,
      slots: owed.size > 0 ? [] : slots.flatMap((holder, slot) => (holder === undefined ? [slot] : [])),
    }));
  }

  get slotsTotal(): number {
    return [...this.#taskManagers.values()].reduce((sum, { slots }) => sum + slots.length, 0);
  }

  get slotsFree(): number {
    return this.free.reduce((sum, { slots }) => sum + slots.length, 0);
  }
}
