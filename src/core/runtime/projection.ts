/**
 * What crosses an exchange can be less than what was emitted: fields that nobody behind the edge reads stay behind (projection push-down,
 * as a query optimizer does it for tables). Which fields a user function reads, its text tells; where it doesn't, whole records cross.
 */
import { connectorKinds } from "../connectors/index.ts";
import type { CompiledJob, TaskSpec } from "../graph/job-graph.ts";
import { operatorKinds } from "../operators/index.ts";
import { type FieldQuestion, type FieldUse, type OperatorKind, eitherUse } from "../operators/operator.ts";
import type { EdgeId } from "../types/ids.ts";

const kinds: ReadonlyMap<string, OperatorKind> = new Map([...operatorKinds, ...connectorKinds].map((kind) => [kind.kind, kind]));

/**
 * The job with the needed fields written on its edges.
 * @param fieldsRead the fields of argument `parameter` that a user function reads; see cluster/code/fields-read.ts.
 */
export function projectEdges(job: CompiledJob, fieldsRead: FieldQuestion["of"]): CompiledJob {
  const needed = new Map<EdgeId, FieldUse>();
  const tasks: TaskSpec[] = [];
  // Vertices stand in topological order, so from the last to the first all consumers are known.
  for (const [index, task] of [...job.tasks.entries()].reverse()) {
    const vertex = job.graph.vertices[index];
    const needs = (operator: number, input: 0 | 1): FieldUse => {
      const it = task.operators[operator];
      if (it === undefined) return "all";
      const fields = kinds.get(it.spec.kind)?.fields;
      if (fields === undefined) return "all";
      const consumers = eitherUse(
        ...it.outputs.map((output) =>
          output.to === "operator" ? needs(output.operator, 0) : (needed.get(task.edges[output.edge]?.id as EdgeId) ?? "all"),
        ),
      );
      return fields(it.spec, { input, of: fieldsRead, consumers });
    };
    for (const edge of job.graph.edges) {
      if (edge.target === vertex?.id) needed.set(edge.id, needs(0, edge.input));
    }
    tasks[index] = {
      ...task,
      edges: task.edges.map((edge) => {
        const { partitioning } = edge;
        const key = partitioning.kind === "hash" || partitioning.kind === "custom" ? fieldsRead(partitioning.key, 0) : new Set<string>();
        const use = eitherUse(needed.get(edge.id) ?? "all", key);
        // The edge's own key is read at its producer; consumers further on may need it of the record that crossed.
        if (use !== "all") needed.set(edge.id, use);
        return use === "all" ? edge : { ...edge, fields: [...use] };
      }),
    };
  }
  return { graph: job.graph, tasks };
}

/** Whether a record has more than these fields; asked of the first record of an edge, since copying all of them would gain nothing. */
export function hasMoreThan(record: unknown, fields: readonly string[]): boolean {
  return typeof record === "object" && record !== null && !Array.isArray(record) && Object.keys(record).length > fields.length;
}
