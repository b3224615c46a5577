/**
 * Which operators share a thread. Two operators are chained when nothing needs to move between them: one forward edge, the same
 * parallelism, the same slot-sharing group, and neither the user nor the operator forbids it (Flink: StreamingJobGraphGenerator).
 * Records then pass from one to the next by a call, without being copied, queued or sent.
 */
import type { WatermarkStrategy } from "../time/watermark.ts";
import { GraphError } from "../types/errors.ts";
import { type EdgeId, type VertexId, edgeId, vertexId } from "../types/ids.ts";
import type {
  ChainOutput,
  ChainedOperator,
  CompiledJob,
  JobEdge,
  JobFeed,
  JobOperator,
  JobResult,
  JobVertex,
  TaskSpec,
} from "./job-graph.ts";
import type { Partitioning, StreamEdge, StreamGraph, StreamNode } from "./stream-graph.ts";

export interface ChainingOptions {
  /** Parallelism of operators that have none of their own. */
  readonly parallelism: number;
  /** Number of key groups of operators that have none of their own. */
  readonly maxParallelism: number;
  /** `pipeline.operator-chaining.enabled`. */
  readonly chaining: boolean;
  /** Job options that travel with the graph. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** Operator kinds whose rows come from or go to the client instead of another vertex. */
export const FEED_KIND = "feed" as const;
export const RESULT_KIND = "result" as const;

const DEFAULT_GROUP = "default";
const FORWARD: Partitioning = { kind: "forward" };
const REBALANCE: Partitioning = { kind: "rebalance" };

/** An edge with everything decided. */
interface DecidedEdge {
  readonly edge: StreamEdge;
  readonly to: StreamNode;
  readonly partitioning: Partitioning;
}

/**
 * Turns the program into a job graph and one task spec per vertex.
 * @throws GraphError where a forward edge joins different parallelisms, or a parallelism exceeds the number of key groups.
 */
export function compileJob(program: StreamGraph, options: ChainingOptions): CompiledJob {
  const parallelism = new Map<StreamNode, number>();
  const group = new Map<StreamNode, string>();
  for (const node of program.nodes) {
    // A result is taken where it arises: spreading it over more subtasks on its way to the client would only cost its order.
    const inherits = node.spec.kind === RESULT_KIND && node.inputs.length > 0;
    const otherwise = inherits ? Math.max(...node.inputs.map((edge) => parallelism.get(edge.from) as number)) : options.parallelism;
    parallelism.set(node, Math.min(node.parallelism ?? otherwise, node.parallelismLimit));
    // As in Flink: an operator without a group joins its inputs' group if they agree.
    const inherited = new Set(node.inputs.filter(({ feedback }) => feedback !== true).map((edge) => group.get(edge.from) as string));
    group.set(node, node.slotSharingGroup ?? (inherited.size === 1 ? ([...inherited][0] as string) : DEFAULT_GROUP));
  }
  const maxParallelismOf = (node: StreamNode): number => node.maxParallelism ?? options.maxParallelism;
  const parallelismOf = (node: StreamNode): number => parallelism.get(node) as number;
  for (const node of program.nodes) {
    if (parallelismOf(node) > maxParallelismOf(node)) {
      throw new GraphError(
        `"${node.name}" has parallelism ${parallelismOf(node)} but only ${maxParallelismOf(node)} key groups (max parallelism); ` +
          `lower the one or raise the other with setMaxParallelism().`,
      );
    }
  }

  const edges = program.nodes.flatMap((to) =>
    to.inputs.map((edge): DecidedEdge => ({ edge, to, partitioning: decide(edge, to, parallelismOf) })),
  );
  const chained = new Set<DecidedEdge>(
    edges.filter((it) => isChained(it, options.chaining, parallelismOf, (node) => group.get(node) as string)),
  );

  // The chains: each node that no chained edge leads to is a head; the others join the vertex of their only input.
  const vertexOf = new Map<StreamNode, number>();
  const members: StreamNode[][] = [];
  for (const node of program.nodes) {
    const chainedInput = edges.find((it) => it.to === node && chained.has(it));
    const vertex = chainedInput === undefined ? members.push([]) - 1 : (vertexOf.get(chainedInput.edge.from) as number);
    vertexOf.set(node, vertex);
    (members[vertex] as StreamNode[]).push(node);
  }

  const vertexIds = members.map((_, index): VertexId => vertexId(`v${index + 1}`));
  const jobEdges: JobEdge[] = [];
  const results: JobResult[] = [];
  const feeds: JobFeed[] = [];
  const usedEdgeIds = new Set<string>();
  const freshEdgeId = (text: string): EdgeId => {
    let id = text;
    for (let n = 2; usedEdgeIds.has(id); n++) id = `${text}.${n}`;
    usedEdgeIds.add(id);
    return edgeId(id);
  };

  const tasks: TaskSpec[] = [];
  const vertices: JobVertex[] = [];
  for (const [index, nodes] of members.entries()) {
    const id = vertexIds[index] as VertexId;
    const position = new Map(nodes.map((node, at) => [node, at]));
    const taskEdges: { id: EdgeId; partitioning: Partitioning; result?: boolean; feedback?: boolean }[] = [];
    const operators: ChainedOperator[] = [];
    const jobOperators: JobOperator[] = [];
    for (const node of nodes) {
      const outputs: ChainOutput[] = [];
      for (const it of edges) {
        if (it.edge.from !== node) continue;
        const side = it.edge.sideOutput === undefined ? {} : { sideOutput: it.edge.sideOutput };
        if (chained.has(it)) {
          outputs.push({ to: "operator", operator: position.get(it.to) as number, ...side });
          continue;
        }
        const target = vertexIds[vertexOf.get(it.to) as number] as VertexId;
        const feedback = it.edge.feedback === true ? { feedback: true } : {};
        const edge: JobEdge = {
          id: freshEdgeId(`${id}->${target}`), source: id, target, input: it.edge.input, partitioning: it.partitioning.kind, ...side,
          ...feedback,
        };
        jobEdges.push(edge);
        outputs.push({ to: "edge", edge: taskEdges.push({ id: edge.id, partitioning: it.partitioning, ...feedback }) - 1, ...side });
      }
      if (node.spec.kind === RESULT_KIND) {
        const edge = freshEdgeId(`${id}->client`);
        results.push({ name: resultName(node, results), vertex: id, edge });
        outputs.push({ to: "edge", edge: taskEdges.push({ id: edge, partitioning: { kind: "global" }, result: true }) - 1 });
      }
      if (node.spec.kind === FEED_KIND) feeds.push({ name: node.name, vertex: id, edge: freshEdgeId(`client->${id}`) });
      operators.push({ id: node.id, name: node.name, spec: node.spec, outputs });
      const chainedAfter = edges.filter((it) => it.to === node && chained.has(it)).map((it) => position.get(it.edge.from) as number);
      jobOperators.push({
        id: node.id, name: node.name, kind: node.spec.kind, ...(node.uid === undefined ? {} : { uid: node.uid }), chainedAfter,
      });
    }
    tasks.push({ operators, edges: taskEdges });
    const head = nodes[0] as StreamNode;
    const limit = Math.min(...nodes.map((node) => node.parallelismLimit));
    vertices.push({
      id,
      name: nodes.map((node) => node.name).join(" -> "),
      operators: jobOperators,
      parallelism: parallelismOf(head),
      maxParallelism: maxParallelismOf(head),
      ...(Number.isFinite(limit) ? { parallelismLimit: limit } : {}),
      slotSharingGroup: group.get(head) as string,
      asynchronous: nodes.some((node) => node.asynchronous),
      ...alignmentOf(nodes),
    });
  }
  return { graph: { name: program.jobName, vertices, edges: jobEdges, results, feeds, options: options.options }, tasks };
}

/** @throws GraphError where watermarks are aligned and the vertex is no source that could wait. */
function alignmentOf(nodes: readonly StreamNode[]): Pick<JobVertex, "alignment"> {
  const aligned = nodes.find((node) => strategyOf(node)?.alignment !== undefined);
  if (aligned === undefined) return {};
  const head = nodes[0] as StreamNode;
  if (head.inputs.length > 0 || head.spec.kind === FEED_KIND) {
    throw new GraphError(
      `"${aligned.name}" aligns watermarks, but shares no thread with a source that could wait: it begins at "${head.name}". Assign ` +
        "timestamps right after a source that runs on the cluster (files, generate(), a function), at the same parallelism.",
    );
  }
  return { alignment: strategyOf(aligned)?.alignment as NonNullable<JobVertex["alignment"]> };
}

const strategyOf = (node: StreamNode): WatermarkStrategy | undefined =>
  (node.spec as { readonly strategy?: WatermarkStrategy }).strategy;

function decide(edge: StreamEdge, to: StreamNode, parallelismOf: (node: StreamNode) => number): Partitioning {
  const same = parallelismOf(edge.from) === parallelismOf(to);
  // The heads of a loop agree on its end through ways from every subtask to each of them.
  if (edge.feedback === true && ["forward", "rescale"].includes(edge.partitioning?.kind ?? "forward")) return REBALANCE;
  if (edge.partitioning === undefined) return same ? FORWARD : REBALANCE;
  if (edge.partitioning.kind === "forward" && !same) {
    throw new GraphError(
      `forward() joins "${edge.from.name}" (parallelism ${parallelismOf(edge.from)}) to "${to.name}" (parallelism ${parallelismOf(to)}); ` +
        `forward needs the same parallelism on both sides: use rebalance() or rescale(), or set the parallelism.`,
    );
  }
  return edge.partitioning;
}

function isChained(
  it: DecidedEdge, enabled: boolean, parallelismOf: (node: StreamNode) => number, groupOf: (node: StreamNode) => string,
): boolean {
  const { from } = it.edge;
  return (
    enabled &&
    it.partitioning.kind === "forward" &&
    it.to.inputs.length === 1 &&
    it.to.chaining === "always" &&
    from.chaining !== "never" &&
    parallelismOf(from) === parallelismOf(it.to) &&
    groupOf(from) === groupOf(it.to)
  );
}

function resultName(node: StreamNode, taken: readonly JobResult[]): string {
  const wanted = (node.spec as { readonly name?: string }).name ?? node.name;
  if (!taken.some((result) => result.name === wanted)) return wanted;
  throw new GraphError(`Two results of the job are named "${wanted}"; give each a name of its own.`);
}
