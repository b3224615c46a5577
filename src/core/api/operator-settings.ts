/** Settings of one operator of a program, on the stream or sink that it made. They may be changed until the job is submitted. */
import { type StreamNode, checkParallelism } from "../graph/stream-graph.ts";
import { GraphError } from "../types/errors.ts";

/** What streams and sinks have in common: the operator that made them. */
export abstract class OperatorSettings {
  /** The operator. */
  protected abstract get node(): StreamNode;

  /** Number of subtasks. @throws GraphError unless it is a positive integer that the operator allows. */
  setParallelism(parallelism: number): this {
    checkParallelism(parallelism, this.node.name);
    if (parallelism > this.node.parallelismLimit) {
      throw new GraphError(
        `"${this.node.name}" cannot be split: its parallelism is at most ${this.node.parallelismLimit}, not ${parallelism}.`,
      );
    }
    this.node.parallelism = parallelism;
    return this;
  }

  /** Number of key groups: the bound of the parallelism for ever. */
  setMaxParallelism(maxParallelism: number): this {
    checkParallelism(maxParallelism, this.node.name);
    this.node.maxParallelism = maxParallelism;
    return this;
  }

  /** The name in graphs, metrics and errors. */
  name(name: string): this {
    this.node.name = name;
    return this;
  }

  /** The identity across versions of the program. Must be unique in the job. */
  uid(uid: string): this {
    this.node.uid = uid;
    return this;
  }

  /** Operators of different groups never share a slot. Default: the group of its inputs, else `default`. */
  slotSharingGroup(group: string): this {
    this.node.slotSharingGroup = group;
    return this;
  }

  /** Begins a new chain with this operator. */
  startNewChain(): this {
    this.node.chaining = "head";
    return this;
  }

  /** Chains this operator with none. */
  disableChaining(): this {
    this.node.chaining = "never";
    return this;
  }
}

/** A declared sink, for its settings. */
export class DataStreamSink extends OperatorSettings {
  protected override readonly node: StreamNode;

  constructor(node: StreamNode) {
    super();
    this.node = node;
  }
}
