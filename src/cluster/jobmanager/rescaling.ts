/**
 * The graph of a job at another parallelism. Every vertex gets it that can: a source that can't be split stays at one, vertices that the
 * program runs at less than the others stay there, those with a smaller maximal parallelism go as far as that, and vertices that are linked
 * subtask by subtask stay equal.
 */
import { type JobGraph, type JobVertex, slotsNeeded } from "../../core/graph/job-graph.ts";
import { ConfigurationError } from "../../core/types/errors.ts";
import type { VertexId } from "../../core/types/ids.ts";

/**
 * @param graph as it was submitted: what is bound there stays bound however often the job is rescaled.
 * @throws ConfigurationError when no vertex can have this parallelism.
 */
export function rescaled(graph: JobGraph, parallelism: number): JobGraph {
  const fed = new Set(graph.feeds.map(({ vertex }) => vertex));
  const single = new Set(graph.edges.filter(({ partitioning }) => partitioning === "global").map(({ target }) => target));
  const largest = Math.max(...graph.vertices.map((vertex) => vertex.parallelism));
  // Where some vertices run at less than the others, the program says so.
  const isBound = ({ id, parallelism: now }: JobVertex): boolean => fed.has(id) || single.has(id) || now < largest;
  const limitOf = ({ maxParallelism, parallelismLimit }: JobVertex): number => Math.min(maxParallelism, parallelismLimit ?? maxParallelism);
  const next = new Map<VertexId, number>(
    graph.vertices.map((vertex) => [vertex.id, isBound(vertex) ? vertex.parallelism : Math.min(parallelism, limitOf(vertex))]),
  );
  const parallelismOf = (id: VertexId): number => next.get(id) as number;
  for (let changed = true; changed; ) {
    changed = false;
    for (const { source, target, partitioning } of graph.edges) {
      if (partitioning !== "forward" || parallelismOf(source) === parallelismOf(target)) continue;
      const least = Math.min(parallelismOf(source), parallelismOf(target));
      next.set(source, least).set(target, least);
      changed = true;
    }
  }
  if (![...next.values()].includes(parallelism)) {
    throw new ConfigurationError(
      `job ${JSON.stringify(graph.name)} can't run at parallelism ${parallelism}: none of its vertices can ` +
        `(${graph.vertices.map((vertex) => `${vertex.name}: at most ${isBound(vertex) ? vertex.parallelism : limitOf(vertex)}`).join(", ")}).`,
    );
  }
  return { ...graph, vertices: graph.vertices.map((vertex) => ({ ...vertex, parallelism: parallelismOf(vertex.id) })) };
}

/** The job at the highest parallelism that so many slots allow; undefined: not even one is enough. @param graph as it was submitted. */
export function fitted(graph: JobGraph, slots: number): JobGraph | undefined {
  for (let parallelism = slots; parallelism > 0; parallelism--) {
    try {
      const candidate = rescaled(graph, parallelism);
      if (slotsNeeded(candidate) <= slots) return candidate;
    } catch (error) {
      // No vertex can have so many subtasks.
      if (!(error instanceof ConfigurationError)) throw error;
    }
  }
  return undefined;
}

/** The job at the parallelism that its vertices had when a checkpoint was taken. @param graph as it was submitted. */
export function asBefore(graph: JobGraph, before: readonly { readonly id: string; readonly parallelism: number }[]): JobGraph {
  const known = new Map(before.map((vertex) => [vertex.id, vertex.parallelism]));
  const vertices = graph.vertices.map((vertex) => ({ ...vertex, parallelism: known.get(vertex.id) ?? vertex.parallelism }));
  return { ...graph, vertices };
}
