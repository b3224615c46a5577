/**
 * A question about the keyed state of a running task, answered in its thread between two records. Only the subtask that owns the key
 * answers; so of all subtasks that are asked, one at the most knows.
 */
import { BatchDecoder, BatchEncoder } from "../../core/data/codec.ts";
import type { ClassRegistry } from "../../core/data/classes.ts";
import { keyGroupOf, subtaskOfKeyGroup } from "../../core/data/key-groups.ts";
import { keyToken } from "../../core/data/keys.ts";
import type { Task } from "../../core/runtime/task.ts";
import { StateError, toWire } from "../../core/types/errors.ts";
import type { StateAnswer, StateQuestion, TaskAssignment } from "./thread-messages.ts";

/** What the task knows. Never throws. The task's thread. */
export function answerOf(
  { id, name, key }: StateQuestion,
  task: Task,
  { vertex, subtask }: Pick<TaskAssignment, "vertex" | "subtask">,
  classes: ClassRegistry,
): StateAnswer {
  try {
    const asked = new BatchDecoder({ classes }).decodeRow(key).row;
    const { parallelism, maxParallelism } = vertex;
    if (subtaskOfKeyGroup(keyGroupOf(keyToken(asked), maxParallelism), parallelism, maxParallelism) !== subtask) {
      return { kind: "answer", id, declared: false };
    }
    for (const { states } of task.states) {
      let value: unknown;
      try {
        value = states.keyed.query(name, asked);
      } catch (error) {
        if (error instanceof StateError) continue;
        throw error;
      }
      const encoded = value === undefined ? {} : { value: new Uint8Array(new BatchEncoder({ classes }).encodeRow(value, Number.NaN)) };
      return { kind: "answer", id, declared: true, ...encoded };
    }
    return { kind: "answer", id, declared: false };
  } catch (error) {
    return { kind: "answer", id, declared: true, error: toWire(error) };
  }
}
