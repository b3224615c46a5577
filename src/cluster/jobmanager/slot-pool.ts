/**
 * The slots that one job holds, and which of its subtasks lives in which. A slot stays in the pool until its TaskManager has released the
 * job or is gone: only then may another job have it, because only then no thread of this job runs in it any more.
 */
import type { SubtaskId, TaskManagerId, VertexId } from "../../core/types/ids.ts";
import { subtaskId } from "../../core/types/ids.ts";
import type { SlotShare } from "./slot-sharing.ts";

/** A slot of a TaskManager. */
export interface Slot {
  readonly taskManager: TaskManagerId;
  /** Its number on that TaskManager, from 0. */
  readonly slot: number;
}

/** A share and the slot that was found for it. */
export interface Placement {
  readonly share: SlotShare;
  readonly at: Slot;
}

/** The slots of one job. */
export class SlotPool {
  readonly #slots = new Map<SubtaskId, Slot>();
  readonly #taskManagers = new Set<TaskManagerId>();

  /** Takes the slots that were assigned to the job. */
  fill(placements: readonly Placement[]): void {
    for (const { share, at } of placements) {
      this.#taskManagers.add(at.taskManager);
      for (const { vertex, subtask } of share.subtasks) this.#slots.set(subtaskId(vertex, subtask), at);
    }
  }

  /** Where a subtask lives or lived; undefined while the job has no slots. */
  slotOf(vertex: VertexId, subtask: number): Slot | undefined {
    return this.#slots.get(subtaskId(vertex, subtask));
  }

  /** The TaskManagers whose slots the job still holds. */
  get taskManagers(): ReadonlySet<TaskManagerId> {
    return this.#taskManagers;
  }

  /** Those of the shares that have no slot. */
  missing(shares: readonly SlotShare[]): readonly SlotShare[] {
    return shares.filter(({ subtasks }) => subtasks.some(({ vertex, subtask }) => !this.#slots.has(subtaskId(vertex, subtask))));
  }

  /** No subtask has a slot any more; the slots stay in the pool. */
  forget(): void {
    this.#slots.clear();
  }

  /** A TaskManager is gone, and its slots with it: their subtasks need others. */
  lose(taskManager: TaskManagerId): void {
    this.#taskManagers.delete(taskManager);
    for (const [subtask, slot] of this.#slots) if (slot.taskManager === taskManager) this.#slots.delete(subtask);
  }

  /** The slots on a TaskManager are no longer the job's. Where its subtasks lived is still known. */
  give(taskManager: TaskManagerId): void {
    this.#taskManagers.delete(taskManager);
  }
}
