/** Two streams as the inputs of one operator (Flink: ConnectedStreams). Their records come in any order between the two. */
import type { Collector, CoProcessFunction, ProcessContext } from "../operators/function.ts";
import { GraphError } from "../types/errors.ts";
import { DataStream, KeyedStream } from "./data-stream.ts";
import { type Literal, nameOf, processOf } from "./process-spec.ts";
import { functionOf, specOf } from "./spec.ts";

/** Two streams that one operator reads. */
export class ConnectedStreams<A, B, K = unknown> {
  readonly #first: DataStream<A>;
  readonly #second: DataStream<B>;

  constructor(first: DataStream<A>, second: DataStream<B>) {
    this.#first = first;
    this.#second = second;
  }

  /** Both streams grouped by key; records of one key meet in the same subtask and share state. */
  keyBy<Key>(first: (value: A) => Key, second: (value: B) => Key): ConnectedStreams<A, B, Key> {
    return new ConnectedStreams<A, B, Key>(this.#first.keyBy<Key>(first as never), this.#second.keyBy<Key>(second as never));
  }

  /** Each record of either stream through a CoProcessFunction. */
  process<Out>(process: CoProcessFunction<A, B, Out, K>): DataStream<Out>;
  process<Out>(process: Literal<CoProcessFunction<A, B, Out, K>>): DataStream<Out>;
  process<Out>(process: CoProcessFunction<A, B, Out, K>): DataStream<Out> {
    const { environment } = this.#first;
    const [key, key2] = [this.#first, this.#second].map((stream) => (stream instanceof KeyedStream ? stream.key : undefined));
    if ((key === undefined) !== (key2 === undefined)) {
      throw new GraphError(
        "One of the connected streams is keyed and the other is not; write connect(…).keyBy(first, second), or key neither.",
      );
    }
    const node = environment.add({
      name: nameOf(process, "coProcess"),
      spec: specOf("coProcess", { function: processOf(process), ...(key === undefined ? {} : { key, key2 }) }),
      inputs: [...this.#first.edges(0), ...this.#second.edges(1)],
    });
    return new DataStream<Out>(environment, [{ from: node, partitioning: undefined, sideOutput: undefined }]);
  }

  /** Each record of either stream to any number of results, each through a function of its own. */
  flatMap<Out>(first: (value: A) => Iterable<Out>, second: (value: B) => Iterable<Out>): DataStream<Out> {
    const [one, two] = [functionOf(first, "flatMap()"), functionOf(second, "flatMap()")];
    return this.process<Out>({
      processElement1: (value: A, _context: ProcessContext<K>, out: Collector<Out>) => {
        for (const result of one(value)) out.collect(result);
      },
      processElement2: (value: B, _context: ProcessContext<K>, out: Collector<Out>) => {
        for (const result of two(value)) out.collect(result);
      },
    }).name("coFlatMap");
  }

  /** Each record of either stream through a function of its own. */
  map<Out>(first: (value: A) => Out, second: (value: B) => Out): DataStream<Out> {
    const [one, two] = [functionOf(first, "map()"), functionOf(second, "map()")];
    return this.process<Out>({
      processElement1: (value: A, _context: ProcessContext<K>, out: Collector<Out>) => out.collect(one(value)),
      processElement2: (value: B, _context: ProcessContext<K>, out: Collector<Out>) => out.collect(two(value)),
    }).name("coMap");
  }
}
