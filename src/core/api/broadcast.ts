/** Streams that every subtask of another one gets, with the state that they leave there. */
import type { BroadcastProcessFunction, KeyedBroadcastProcessFunction } from "../operators/broadcast-process.ts";
import type { MapStateDescriptor } from "../state/descriptors.ts";
import { GraphError, describe } from "../types/errors.ts";
import { DataStream, KeyedStream } from "./data-stream.ts";
import { functionOf, specOf } from "./spec.ts";

/** A stream to be connected to another one; made by `stream.broadcast(descriptor, …)`. */
export class BroadcastStream<T> {
  /** Every record to every subtask. For the API's own use. */
  readonly stream: DataStream<T>;
  /** Names of the states that its records change. For the API's own use. */
  readonly states: readonly string[];

  /** @throws GraphError for anything but map states. */
  constructor(stream: DataStream<T>, descriptors: readonly MapStateDescriptor<unknown, unknown>[]) {
    for (const it of descriptors) {
      if (it?.kind !== "map") throw new GraphError(`broadcast() got ${describe(it)}; broadcast state is declared with mapState(name).`);
    }
    this.stream = stream;
    this.states = descriptors.map(({ name }) => name);
  }
}

/** A stream and a broadcast one. K is never for a stream without keys. */
export class BroadcastConnectedStream<T, B, K> {
  readonly #stream: DataStream<T>;
  readonly #broadcast: BroadcastStream<B>;

  constructor(stream: DataStream<T>, broadcast: BroadcastStream<B>) {
    this.#stream = stream;
    this.#broadcast = broadcast;
  }

  /** Each record of either stream through a BroadcastProcessFunction; of a keyed stream, through a KeyedBroadcastProcessFunction. */
  process<Out>(
    process: BroadcastProcessFunction<T, B, Out> | KeyedBroadcastProcessFunction<K, T, B, Out>,
  ): DataStream<Out> {
    for (const name of ["processElement", "processBroadcastElement"] as const) functionOf(process?.[name], `process(): ${name}`);
    const { environment } = this.#stream;
    const node = environment.add({
      name: process.constructor.name === "Object" ? "broadcastProcess" : process.constructor.name,
      spec: specOf("broadcastProcess", {
        function: process, states: this.#broadcast.states,
        ...(this.#stream instanceof KeyedStream ? { key: (this.#stream as KeyedStream<T, K>).key } : {}),
      }),
      inputs: [...this.#stream.edges(0), ...this.#broadcast.stream.edges(1)],
    });
    return new DataStream<Out>(environment, [{ from: node, partitioning: undefined, sideOutput: undefined }]);
  }
}
