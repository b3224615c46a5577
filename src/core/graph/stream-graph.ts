/**
 * What the user built: operators and the edges between them, before anything is decided about threads and machines.
 *
 * Nodes know their inputs only, never their consumers, so that a stream is cold: whoever wants results walks from the sinks to the
 * sources and finds exactly the operators needed (`streamGraph`). The nodes hold the user's live functions; they stay in the
 * process that built them and travel as a `TaskSpec` (see job-graph.ts) once code has been captured.
 */
import { GraphError, describe } from "../types/errors.ts";
import { type OperatorId, operatorId } from "../types/ids.ts";

/** The key of a record. Must be a pure function: it is called at the sender and again at the receiver. */
export type KeySelector<T = never, K = unknown> = (value: T) => K;

/** How the records of an edge choose the subtask that gets them. */
export type Partitioning =
  /** To the subtask of the same index; needs equal parallelism on both sides. */
  | { readonly kind: "forward" }
  /** By key group of the key. */
  | { readonly kind: "hash"; readonly key: KeySelector }
  /** Round robin over all subtasks. */
  | { readonly kind: "rebalance" }
  /** Round robin over a local share of the subtasks, so that each consumer is fed by few producers. */
  | { readonly kind: "rescale" }
  /** To a random subtask. */
  | { readonly kind: "shuffle" }
  /** To every subtask. */
  | { readonly kind: "broadcast" }
  /** To subtask 0. */
  | { readonly kind: "global" }
  /** To the subtask whose index the user's function returns. */
  | { readonly kind: "custom"; readonly key: KeySelector; readonly partition: (key: never, partitions: number) => number };

/** The ways of partitioning, by name. */
export type PartitioningKind = Partitioning["kind"];

/**
 * An operator as the user gave it: its kind (the name in the operator registry) and its parameters, functions included.
 * Everything in it must be shippable.
 */
export interface OperatorSpec {
  readonly kind: string;
}

/** May this operator share a thread with the one before it: always, only as the first of a chain, or never with anyone. */
export type ChainingStrategy = "always" | "head" | "never";

/** One operator of the program. Mutable only through the setters of the stream that made it, until the job is submitted. */
export interface StreamNode {
  readonly id: OperatorId;
  /** Position in the order of creation, from 1. */
  readonly position: number;
  name: string;
  uid: string | undefined;
  readonly spec: OperatorSpec;
  /** Grows when a loop is closed. */
  inputs: readonly StreamEdge[];
  /** undefined: the environment's default. */
  parallelism: number | undefined;
  /** The largest parallelism this operator can ever have (sources that cannot be split: 1). */
  readonly parallelismLimit: number;
  maxParallelism: number | undefined;
  slotSharingGroup: string | undefined;
  chaining: ChainingStrategy;
  /** It needs turns of the event loop, so its task never parks its thread. */
  readonly asynchronous: boolean;
}

/** From an operator to an input of another. */
export interface StreamEdge {
  readonly from: StreamNode;
  /** 0, or 1 for the second input of a connected operator. Several edges may lead to one input (union). */
  readonly input: 0 | 1;
  /** undefined: forward where both sides have the same parallelism, else rebalance. */
  readonly partitioning: Partitioning | undefined;
  /** Take the side output of this tag instead of the main output. */
  readonly sideOutput: string | undefined;
  /** It leads back to the head of a loop. */
  readonly feedback?: boolean;
}

/** What an operator is made with; see `StreamNode`. */
export interface StreamNodeOptions {
  readonly name: string;
  readonly spec: OperatorSpec;
  readonly inputs?: readonly StreamEdge[];
  readonly parallelism?: number;
  readonly parallelismLimit?: number;
  readonly chaining?: ChainingStrategy;
  readonly asynchronous?: boolean;
}

/** A new operator at a position of the program. */
export function streamNode(position: number, options: StreamNodeOptions): StreamNode {
  return {
    id: operatorId(`n${position}`),
    position,
    name: options.name,
    uid: undefined,
    spec: options.spec,
    inputs: options.inputs ?? [],
    parallelism: options.parallelism,
    parallelismLimit: options.parallelismLimit ?? Number.POSITIVE_INFINITY,
    maxParallelism: undefined,
    slotSharingGroup: undefined,
    chaining: options.chaining ?? "always",
    asynchronous: options.asynchronous ?? false,
  };
}

/** All operators that some sinks need, inputs before consumers. */
export interface StreamGraph {
  readonly jobName: string;
  readonly nodes: readonly StreamNode[];
}

/**
 * The part of a program that leads to `sinks`: every ancestor once, in order of creation.
 * @throws GraphError on duplicate uids, a parallelism that is not a positive integer, or operators that feed each other in a circle
 *   without being the loop of an `iterate`.
 */
export function streamGraph(jobName: string, sinks: readonly StreamNode[]): StreamGraph {
  const found = new Set<StreamNode>();
  const waiting = [...sinks];
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (found.has(node)) continue;
    found.add(node);
    for (const edge of node.inputs) waiting.push(edge.from);
  }
  const nodes = [...found].sort((a, b) => a.position - b.position);
  const uids = new Map<string, StreamNode>();
  for (const node of nodes) {
    checkParallelism(node.parallelism, node.name);
    if (node.uid === undefined) continue;
    const other = uids.get(node.uid);
    if (other !== undefined) {
      throw new GraphError(
        `Two operators have the uid ${describe(node.uid)}: "${other.name}" and "${node.name}". Give each a uid of its own.`,
      );
    }
    uids.set(node.uid, node);
  }
  requireNoCircle(nodes);
  return { jobName, nodes };
}

function requireNoCircle(nodes: readonly StreamNode[]): void {
  const sound = new Set<StreamNode>();
  const visit = (node: StreamNode, way: readonly StreamNode[]): void => {
    if (sound.has(node)) return;
    const from = way.indexOf(node);
    if (from >= 0) {
      const names = [...way.slice(from), node].reverse().map(({ name }) => `"${name}"`);
      throw new GraphError(`Operators feed each other in a circle: ${names.join(" → ")}. A loop is written with iterate(…).`);
    }
    for (const edge of node.inputs) if (edge.feedback !== true) visit(edge.from, [...way, node]);
    sound.add(node);
  };
  for (const node of nodes) visit(node, []);
}

/** @throws GraphError unless `parallelism` is undefined or a positive integer up to 32,768 (Flink's bound). */
export function checkParallelism(parallelism: number | undefined, who: string): void {
  if (parallelism === undefined) return;
  if (!Number.isInteger(parallelism) || parallelism < 1 || parallelism > 32_768) {
    throw new GraphError(`The parallelism of "${who}" is ${describe(parallelism)}; give an integer from 1 to 32768.`);
  }
}
