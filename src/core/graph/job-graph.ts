/**
 * A job as the cluster sees it: vertices (chains of operators, each run by `parallelism` subtasks) and the edges between them.
 *
 * The graph itself is plain data: it is sent to the JobManager, stored, and drawn by every layer above. The user's functions are not
 * in it. They stand in one `TaskSpec` per vertex, which the client ships as code; JobManagers only pass that code on.
 * Ids link the three graphs: a vertex lists the operator ids of the StreamGraph, an execution names its vertex.
 */
import type { EdgeId, OperatorId, VertexId } from "../types/ids.ts";
import type { OperatorSpec, Partitioning, PartitioningKind } from "./stream-graph.ts";

/** One operator inside a vertex, for people and tools. */
export interface JobOperator {
  readonly id: OperatorId;
  readonly name: string;
  readonly kind: string;
  readonly uid?: string;
  /** Operators of the same vertex that feed it, by position in the vertex; empty for the head. */
  readonly chainedAfter: readonly number[];
}

/** A chain of operators that share a thread. */
export interface JobVertex {
  readonly id: VertexId;
  /** `Source: rides -> map -> filter`, as Flink names tasks. */
  readonly name: string;
  readonly operators: readonly JobOperator[];
  readonly parallelism: number;
  readonly maxParallelism: number;
  /** The most subtasks it can ever have, whatever the key groups: 1 where its source can't be split. Absent: no such limit. */
  readonly parallelismLimit?: number;
  readonly slotSharingGroup: string;
  /** Some operator needs turns of the event loop, so the task never parks its thread. */
  readonly asynchronous: boolean;
  /** Its sources wait for others; see watermark-alignment.ts. */
  readonly alignment?: { readonly group: string; readonly maxDriftMs: number };
}

/** Records of one vertex on their way to another. */
export interface JobEdge {
  readonly id: EdgeId;
  readonly source: VertexId;
  readonly target: VertexId;
  readonly input: 0 | 1;
  readonly partitioning: PartitioningKind;
  readonly sideOutput?: string;
  /** It leads back to the head of a loop, whose barriers and end come round on it. */
  readonly feedback?: boolean;
}

/** Rows that leave the job for the client: each subtask of the vertex has one channel towards the JobManager. */
export interface JobResult {
  /** Name of the result, unique in the job. */
  readonly name: string;
  readonly vertex: VertexId;
  /** Edge id that the task knows the result's channels by. */
  readonly edge: EdgeId;
}

/** Rows that the client sends into the job; the vertex has parallelism 1. */
export interface JobFeed {
  readonly name: string;
  readonly vertex: VertexId;
  readonly edge: EdgeId;
}

/** A job as data. */
export interface JobGraph {
  readonly name: string;
  /** In topological order, but for edges of feedback. */
  readonly vertices: readonly JobVertex[];
  readonly edges: readonly JobEdge[];
  readonly results: readonly JobResult[];
  readonly feeds: readonly JobFeed[];
  /** Job-wide options under Flink's keys (see options.ts), already checked. */
  readonly options: Readonly<Record<string, string | number | boolean>>;
}

/** Where the output of a chained operator goes. */
export type ChainOutput =
  /** To another operator of the same chain, by a call. */
  | { readonly to: "operator"; readonly operator: number; readonly sideOutput?: string }
  /** Over edge number `edge` of `TaskSpec.edges`. */
  | { readonly to: "edge"; readonly edge: number; readonly sideOutput?: string };

/** An operator with its live functions and its consumers. */
export interface ChainedOperator {
  readonly id: OperatorId;
  readonly name: string;
  readonly spec: OperatorSpec;
  readonly outputs: readonly ChainOutput[];
}

/** An edge as its producer knows it. */
export interface TaskEdge {
  readonly id: EdgeId;
  readonly partitioning: Partitioning;
  /** The edge leads to the client. */
  readonly result?: boolean;
  /** See `JobEdge.feedback`. */
  readonly feedback?: boolean;
  /** The only fields that anybody behind the edge reads; absent: whole records cross. */
  readonly fields?: readonly string[];
}

/** What a subtask runs. This is what is captured and shipped, one per vertex. Operator 0 is the head of the chain. */
export interface TaskSpec {
  readonly operators: readonly ChainedOperator[];
  readonly edges: readonly TaskEdge[];
}

/** A job graph together with the live specs that its client has to ship, in the order of the vertices. */
export interface CompiledJob {
  readonly graph: JobGraph;
  readonly tasks: readonly TaskSpec[];
}

/** The number of slots that a job needs: for each slot-sharing group its largest parallelism, summed. */
export function slotsNeeded(graph: JobGraph): number {
  const largest = new Map<string, number>();
  for (const vertex of graph.vertices) {
    largest.set(vertex.slotSharingGroup, Math.max(largest.get(vertex.slotSharingGroup) ?? 0, vertex.parallelism));
  }
  return [...largest.values()].reduce((sum, parallelism) => sum + parallelism, 0);
}

/**
 * The consumer subtasks that producer subtask `from` of an edge has a channel to, in ascending order.
 * `forward` pairs equal indices; `rescale` gives each producer its share of consumers (or each consumer its share of producers);
 * every other kind links all with all.
 */
export function targetsOf(edge: Pick<JobEdge, "partitioning">, from: number, producers: number, consumers: number): readonly number[] {
  if (edge.partitioning === "forward") return [from];
  if (edge.partitioning === "rescale") {
    if (producers >= consumers) return [Math.floor((from * consumers) / producers)];
    const first = Math.ceil((from * consumers) / producers);
    const end = Math.ceil(((from + 1) * consumers) / producers);
    return range(first, end);
  }
  return range(0, consumers);
}

const range = (first: number, end: number): number[] => Array.from({ length: Math.max(0, end - first) }, (_, index) => first + index);
