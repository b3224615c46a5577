/**
 * What a failure means for its job. A failure takes down its pipelined region: the subtasks that exchange records with the failed one
 * while both run, directly or over others, since rows on their way between them are lost. All of it ends and begins anew from the last
 * checkpoint, and other regions go on. Whether there is a restart at all is the restart strategy's say.
 */
import { type JobGraph, targetsOf } from "../../core/graph/job-graph.ts";
import { type SubtaskId, subtaskId } from "../../core/types/ids.ts";

/** Subtasks that fail and restart together. */
export type Region = ReadonlySet<SubtaskId>;

/**
 * The pipelined regions of a job; each subtask is in exactly one. Every exchange is pipelined: a job without edges has a region per
 * subtask.
 */
export function regionsOf(graph: JobGraph): readonly Region[] {
  const regionOf = new Map<SubtaskId, Set<SubtaskId>>();
  const parallelism = new Map(graph.vertices.map((vertex) => [vertex.id, vertex.parallelism]));
  for (const vertex of graph.vertices) {
    for (let subtask = 0; subtask < vertex.parallelism; subtask++) {
      regionOf.set(subtaskId(vertex.id, subtask), new Set([subtaskId(vertex.id, subtask)]));
    }
  }
  const merge = (a: SubtaskId, b: SubtaskId): void => {
    const [one, other] = [regionOf.get(a) as Set<SubtaskId>, regionOf.get(b) as Set<SubtaskId>];
    if (one === other) return;
    const [large, small] = one.size >= other.size ? [one, other] : [other, one];
    for (const subtask of small) {
      large.add(subtask);
      regionOf.set(subtask, large);
    }
  };
  for (const edge of graph.edges) {
    const [producers, consumers] = [parallelism.get(edge.source) as number, parallelism.get(edge.target) as number];
    for (let from = 0; from < producers; from++) {
      for (const to of targetsOf(edge, from, producers, consumers)) merge(subtaskId(edge.source, from), subtaskId(edge.target, to));
    }
  }
  return [...new Set(regionOf.values())];
}

/**
 * What restarts with these subtasks.
 * @param strategy value of `jobmanager.execution.failover-strategy`.
 */
export function affectedBy(failed: Iterable<SubtaskId>, graph: JobGraph, strategy: string): Region {
  const regions = regionsOf(graph);
  if (strategy === "full") return new Set(regions.flatMap((region) => [...region]));
  const affected = new Set<SubtaskId>();
  for (const subtask of failed) {
    if (affected.has(subtask)) continue;
    for (const member of regions.find((region) => region.has(subtask)) ?? []) affected.add(member);
  }
  return affected;
}
