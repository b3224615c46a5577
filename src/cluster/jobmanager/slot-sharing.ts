/**
 * Which subtasks of a job live in one slot. Within a slot-sharing group, slot i holds subtask i of every vertex of the group; so a whole
 * pipeline stands side by side in one slot, and a group needs as many slots as its largest parallelism, however many vertices it has.
 *
 * Invariants: every subtask is in exactly one share, and a share holds at most one subtask of each vertex.
 */
import type { JobGraph } from "../../core/graph/job-graph.ts";
import type { VertexId } from "../../core/types/ids.ts";

/** What one slot will hold. */
export interface SlotShare {
  readonly group: string;
  /** Position in the group, from 0. */
  readonly index: number;
  readonly subtasks: readonly { readonly vertex: VertexId; readonly subtask: number }[];
}

/**
 * The shares of a job. Neighbours in the list belong together: of two groups, the shares that stand at the same fraction of their group
 * are adjacent, so that whoever cuts the list into a piece for each TaskManager keeps pipelines and rescaled neighbours together.
 */
export function shareSlots(graph: JobGraph): readonly SlotShare[] {
  const groups = new Map<string, SlotShare[]>();
  for (const vertex of graph.vertices) {
    const shares = groups.get(vertex.slotSharingGroup) ?? [];
    groups.set(vertex.slotSharingGroup, shares);
    for (let subtask = 0; subtask < vertex.parallelism; subtask++) {
      const share = shares[subtask];
      const subtasks = [...(share?.subtasks ?? []), { vertex: vertex.id, subtask }];
      shares[subtask] = { group: vertex.slotSharingGroup, index: subtask, subtasks };
    }
  }
  const placed = [...groups.values()].flatMap((shares, group) =>
    shares.map((share) => ({ share, group, fraction: share.index / shares.length })),
  );
  placed.sort((a, b) => a.fraction - b.fraction || a.group - b.group);
  return placed.map(({ share }) => share);
}
