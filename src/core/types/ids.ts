/**
 * Names of things, each with a type of its own, so that a job is never passed where a task is meant.
 * On the wire and in logs they are plain strings.
 */

declare const brand: unique symbol;
type Id<Name extends string> = string & { readonly [brand]: Name };

/** One submitted job: 32 hexadecimal digits, as in Flink. */
export type JobId = Id<"job">;
/** One operator of a StreamGraph: its uid where the user gave one, else `n` and its position. Stable for the same program. */
export type OperatorId = Id<"operator">;
/** One vertex of a JobGraph (a chain of operators): `v` and its position. */
export type VertexId = Id<"vertex">;
/** One edge of a JobGraph: `source->target` and a number where two vertices are linked twice. */
export type EdgeId = Id<"edge">;
/** One parallel instance of a vertex in one job: `vertex/index`. */
export type SubtaskId = Id<"subtask">;
/** One slot of one TaskManager: `taskManager/index`. */
export type SlotId = Id<"slot">;
/** One TaskManager process, chosen by itself when it starts; a restarted TaskManager has a new one. */
export type TaskManagerId = Id<"taskManager">;

/** A name that came as text, as what it names; the text is not checked. */
export const jobId = (text: string): JobId => text as JobId;
export const operatorId = (text: string): OperatorId => text as OperatorId;
export const vertexId = (text: string): VertexId => text as VertexId;
export const edgeId = (text: string): EdgeId => text as EdgeId;
export const taskManagerId = (text: string): TaskManagerId => text as TaskManagerId;
/** Names made of others. */
export const subtaskId = (vertex: VertexId, index: number): SubtaskId => `${vertex}/${index}` as SubtaskId;
export const slotId = (taskManager: TaskManagerId, index: number): SlotId => `${taskManager}/${index}` as SlotId;

/** A fresh random job id. */
export function newJobId(): JobId {
  return crypto.randomUUID().replaceAll("-", "") as JobId;
}
